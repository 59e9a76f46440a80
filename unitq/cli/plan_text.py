"""A plan on the terminal and as JSON."""

from __future__ import annotations

from math import isinf
from typing import TYPE_CHECKING, Any

from unitq.cli import report_text
from unitq.model.settings import OnFailure, Share
from unitq.revisions.in_place import directories, overwritten
from unitq.rollout import report
from unitq.rollout.forecast import forecast
from unitq.rollout.plan import Change
from unitq.text import duration, plural

if TYPE_CHECKING:
    from unitq.cli.deploy import Prepared


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
                {"instance": str(step.instance), "action": str(step.change), "why": step.why}
                for step in found.changes
            ],
            "boot_links": list(found.links),
            "daemon_reload": found.reloads > 0,
            "daemon_reloads": found.reloads,
            "rollback_to": prepared.way_back.id
            if prepared.way_back and not prepared.restore
            else None,
            "in_place": _in_place(prepared),
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
                for part in forecast(found.changes, found.target, prepared.settings, found.limits)
            ],
    }  # fmt: skip


def as_text(prepared: Prepared) -> list[str]:
    """Lines: the changes as a diff, and one per instance."""
    found = prepared.plan
    if not found.pending:
        return [f"{found.target.app}: nothing to do: all on revision {found.target.number}"]
    lines = [report.replaces(found.target, found.current.id if found.current else None)]
    lines += [line for change in found.files for line in change.diff.rstrip("\n").split("\n")]
    lines += [f"  {step.instance}: {step.change} ({step.why})" for step in found.changes]
    counts = {do: sum(step.change is do for step in found.changes) for do in Change}
    total = ", ".join(f"{count} {do}" for do, count in counts.items() if count)
    most = found.reloads
    reloads = {0: "no daemon-reload", 1: "one daemon-reload"}.get(most, f"{most} daemon-reloads")
    if most > 1 and prepared.settings.max_unavailable != Share(1):
        reloads = f"at most {reloads}"  # those that switch at once share one
    lines.append(f"{total or 'no instance is touched'}; {reloads}")
    lines += report_text.limits(report.stop_timeouts(found.limits))
    for part in forecast(found.changes, found.target, prepared.settings, found.limits):
        if part.replaced:
            first = f"{plural(part.canaries, 'canary')} first, " if part.canaries else ""
            now = "" if part.serving == part.instances else f" ({part.serving} now)"
            longest = "as long as it takes" if isinf(part.seconds) else duration(part.seconds)
            lines.append(
                f"{part.worker}: {first}never fewer than {part.least} of {part.instances} "
                f"serving{now}, never more than {plural(part.most, 'process')}, at the very "
                f"longest {longest}"
            )
    lines.append(way_back(prepared))
    if any(worker.credentials for worker in prepared.app.workers):
        lines.append("systemd reads credentials at each start: no way back brings an old one back")
    return lines


def _in_place(prepared: Prepared) -> list[str]:
    """The directories whose files the code of this plan has replaced."""
    old = prepared.way_back
    return directories(overwritten(old, prepared.plan.target)) if old else []


def way_back(prepared: Prepared) -> str:
    """What follows where it fails."""
    if prepared.restore:
        places = ", ".join(_in_place(prepared))
        return (
            f"code in place ({places}): if it fails, there is no rollback, as the old files are "
            "gone (settings and environment are kept, code is not). Instances that were not "
            f"restarted keep the old code in memory. To bring the old code back: {prepared.restore}"
        )
    if prepared.settings.on_failure is not OnFailure.ROLLBACK:
        return "if it fails, all is left as it is (on_failure)"
    if prepared.way_back is None:
        return "if it fails there is no way back: no earlier revision was stable and is still there"
    return f"if it fails: back to revision {prepared.way_back.number}"
