"""What a deploy would do, as a value: for people, and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from math import isinf
from typing import TYPE_CHECKING, Any

from unitq.errors import Exit
from unitq.model.settings import OnFailure, Share
from unitq.revisions import in_place
from unitq.rollout.forecast import forecast
from unitq.rollout.reports.observed_report import replaces, stop_timeouts

if TYPE_CHECKING:
    from unitq.rollout.forecast import Forecast
    from unitq.rollout.plan import PlannedChange
    from unitq.rollout.prepare import Prepared
    from unitq.rollout.reports.report import StopTimeout
    from unitq.units.text import FileChange


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """A plan, and what follows where it fails."""

    app: str
    pending: bool  # there is something to do
    headline: str
    revision: str  # ids; the number of this one stands before the hyphen
    previous: str | None
    units: tuple[FileChange, ...]
    instances: tuple[PlannedChange, ...]
    boot_links: tuple[str, ...]
    daemon_reloads: int  # at most so many where `shared`
    shared: bool  # those that switch at once share one
    rollback_to: str | None  # the revision; None: there is none, or its code is overwritten
    in_place: tuple[str, ...]  # directories whose files the code of this plan has replaced
    restore: str  # what brings their old code back; empty: a rollback does
    stop_timeouts: tuple[StopTimeout, ...]  # where that of old processes changes
    workers: tuple[Forecast, ...]
    if_it_fails: str
    credentials: bool  # a worker has some, and systemd reads them at each start
    unknown: bool  # only root can tell whether an environment has changed

    @property
    def exit_code(self) -> Exit:
        """What `plan` exits with."""
        if self.pending:
            return Exit.PENDING
        return Exit.NOT_PERMITTED if self.unknown else Exit.OK

    def to_json(self) -> dict[str, Any]:
        """Returns it as docs/json.md describes it."""
        return {
            "format": 1,
            "app": self.app,
            "pending": self.pending,
            "revision": self.revision,
            "previous_revision": self.previous,
            "units": [
                {"unit": change.name, "change": _verb(change), "diff": change.diff}
                for change in self.units
            ],
            "instances": [
                {"instance": str(step.instance), "action": str(step.change), "why": step.why}
                for step in self.instances
            ],
            "boot_links": list(self.boot_links),
            "daemon_reload": self.daemon_reloads > 0,
            "daemon_reloads": self.daemon_reloads,
            "rollback_to": self.rollback_to,
            "in_place": list(self.in_place),
            "restore": self.restore or None,
            "stop_timeouts": [limit._asdict() for limit in self.stop_timeouts],
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
                for part in self.workers
            ],
        }


def summary(prepared: Prepared) -> PlanSummary:
    """Returns what there is to say of the plan."""
    plan, settings, back = prepared.plan, prepared.settings, prepared.rollback_target
    previous = plan.current.id if plan.current else None
    return PlanSummary(
        app=plan.target.app,
        pending=plan.pending,
        headline=replaces(plan.target, previous),
        revision=plan.target.id,
        previous=previous,
        units=plan.files,
        instances=plan.changes,
        boot_links=plan.links,
        daemon_reloads=plan.reloads,
        shared=settings.max_unavailable != Share(1),
        rollback_to=back.id if back and not prepared.restore else None,
        in_place=_overwritten_directories(prepared),
        restore=prepared.restore,
        stop_timeouts=stop_timeouts(plan.limits),
        workers=forecast(plan.changes, plan.target, settings, plan.limits),
        if_it_fails=if_it_fails(prepared),
        credentials=any(worker.credentials for worker in prepared.app.workers),
        unknown=prepared.unknown,
    )


def if_it_fails(prepared: Prepared) -> str:
    """Returns what follows a failure, in words."""
    if prepared.restore:
        places = ", ".join(_overwritten_directories(prepared))
        return (
            f"code in place ({places}): if it fails, there is no rollback, as the old files are "
            "gone (settings and environment are kept, code is not). Instances that were not "
            f"restarted keep the old code in memory. To bring the old code back: {prepared.restore}"
        )
    if prepared.settings.on_failure is not OnFailure.ROLLBACK:
        return "if it fails, all is left as it is (on_failure)"
    if prepared.rollback_target is None:
        return "if it fails there is no way back: no earlier revision was stable and is still there"
    return f"if it fails: back to revision {prepared.rollback_target.number}"


def _overwritten_directories(prepared: Prepared) -> tuple[str, ...]:
    """Returns the directories whose files the code of this plan has replaced."""
    old = prepared.rollback_target
    if old is None:
        return ()
    return tuple(in_place.directories(in_place.overwritten_workers(old, prepared.plan.target)))


def _verb(change: FileChange) -> str:
    if change.before is None:
        return "create"
    return "delete" if change.after is None else "replace"
