"""A plan as text."""

from __future__ import annotations

from math import isinf
from typing import TYPE_CHECKING

from unitq.rollout.plan import Change
from unitq.rollout.reports import report_text
from unitq.text import duration, number, plural

if TYPE_CHECKING:
    from unitq.rollout.plan_summary import PlanSummary


def as_text(found: PlanSummary) -> list[str]:
    """Returns the changes as a diff, and a line per instance."""
    if not found.pending:
        return [f"{found.app}: nothing to do: all on revision {number(found.revision)}"]
    lines = [found.headline]
    lines += [line for change in found.units for line in change.diff.rstrip("\n").split("\n")]
    lines += [f"  {step.instance}: {step.change} ({step.why})" for step in found.instances]
    counts = {do: sum(step.change is do for step in found.instances) for do in Change}
    total = ", ".join(f"{count} {do}" for do, count in counts.items() if count)
    most = found.daemon_reloads
    reloads = {0: "no daemon-reload", 1: "one daemon-reload"}.get(most, f"{most} daemon-reloads")
    if most > 1 and found.shared:
        reloads = f"at most {reloads}"
    lines.append(f"{total or 'no instance is touched'}; {reloads}")
    lines += report_text.limits(found.stop_timeouts)
    for part in found.workers:
        if part.replaced:
            first = f"{plural(part.canaries, 'canary')} first, " if part.canaries else ""
            now = "" if part.serving == part.instances else f" ({part.serving} now)"
            longest = "as long as it takes" if isinf(part.seconds) else duration(part.seconds)
            lines.append(
                f"{part.worker}: {first}never fewer than {part.least} of {part.instances} "
                f"serving{now}, never more than {plural(part.most, 'process')}, at the very "
                f"longest {longest}"
            )
    lines.append(found.if_it_fails)
    if found.credentials:
        lines.append("systemd reads credentials at each start: no way back brings an old one back")
    return lines
