"""A plan on the terminal and as JSON."""

from __future__ import annotations

from math import isinf
from typing import TYPE_CHECKING, Any

from unitq.model.settings import Share
from unitq.rollout import report, report_text
from unitq.rollout.deploy import if_it_fails, replaced_in_place
from unitq.rollout.forecast import forecast
from unitq.rollout.plan import Do
from unitq.text import duration, plural

if TYPE_CHECKING:
    from unitq.rollout.prepare import Prepared


def as_json(prepared: Prepared) -> dict[str, Any]:
    """The plan; docs/json.md describes it."""
    found = prepared.plan
    return {
            "format": 1,
            "app": found.target.app,
            "pending": found.pending,
            "revision": found.target.id,
            "previous_revision": found.current.id if found.current else None,
            "units": [
                {
                    "unit": change.name,
                    "change": "create" if change.before is None
                    else "delete" if change.after is None else "replace",
                    "diff": change.diff,
                }
                for change in found.files
            ],
            "instances": [
                {"instance": str(step.instance), "action": str(step.do), "why": step.why}
                for step in found.steps
            ],
            "boot_links": list(found.links),
            "daemon_reload": found.reloads > 0,
            "daemon_reloads": found.reloads,
            "rollback_to": prepared.rollback_target.id
            if prepared.rollback_target and not prepared.restore
            else None,
            "in_place": replaced_in_place(prepared),
            "restore": prepared.restore or None,
            "stop_timeouts": report.stop_timeouts(found.limits),
            "workers": [
                {
                    "worker": part.worker,
                    "instances": part.instances,
                    "replaced": part.replaced,
                    "serving": part.serving,
                    "least_serving": part.least,
                    "most_processes": part.most,
                    "canaries": part.canaries,
                    "longest_seconds": None if isinf(part.seconds) else round(part.seconds, 3),
                }
                for part in forecast(found.steps, found.target, prepared.settings, found.limits)
            ],
    }  # fmt: skip


def as_text(prepared: Prepared) -> list[str]:
    """Lines: the changes as a diff, and one per instance."""
    found = prepared.plan
    if not found.pending:
        return [f"{found.target.app}: nothing to do: all on revision {found.target.number}"]
    lines = [report.replaces(found.target, found.current.id if found.current else None)]
    lines += [line for change in found.files for line in change.diff.rstrip("\n").split("\n")]
    lines += [f"  {step.instance}: {step.do} ({step.why})" for step in found.steps]
    counts = {do: sum(step.do is do for step in found.steps) for do in Do}
    total = ", ".join(f"{count} {do}" for do, count in counts.items() if count)
    most = found.reloads
    reloads = {0: "no daemon-reload", 1: "one daemon-reload"}.get(most, f"{most} daemon-reloads")
    if most > 1 and prepared.settings.max_unavailable != Share(1):
        reloads = f"at most {reloads}"  # those that switch at once share one
    lines.append(f"{total or 'no instance is touched'}; {reloads}")
    lines += report_text.limits(report.stop_timeouts(found.limits))
    for part in forecast(found.steps, found.target, prepared.settings, found.limits):
        if part.replaced:
            first = f"{plural(part.canaries, 'canary')} first, " if part.canaries else ""
            now = "" if part.serving == part.instances else f" ({part.serving} now)"
            longest = "as long as it takes" if isinf(part.seconds) else duration(part.seconds)
            lines.append(
                f"{part.worker}: {first}never fewer than {part.least} of {part.instances} "
                f"serving{now}, never more than {plural(part.most, 'process')}, at the very "
                f"longest {longest}"
            )
    lines.append(if_it_fails(prepared))
    if any(worker.credentials for worker in prepared.app.workers):
        lines.append("systemd reads credentials at each start: no way back brings an old one back")
    return lines
