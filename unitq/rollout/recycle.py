"""Workers that have become too large or too old: who is due, and replacing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.instances import observe, paused
from unitq.linux import proc
from unitq.model.recycle import Due, Seen, due
from unitq.model.settings import Share
from unitq.rollout import blocking_rollout
from unitq.rollout.plan import Change, PlannedChange, keep
from unitq.rollout.workers import over

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from unitq.model.names import InstanceName
    from unitq.revisions.model import Revision, WorkerRevision
    from unitq.rollout.operation import Operation
    from unitq.rollout.report import Report


class RecycleList(NamedTuple):
    """Who is to be replaced now."""

    revision: Revision
    due: tuple[Due, ...]
    held_back: tuple[tuple[str, str], ...]  # workers that are left alone, and why
    lives: Mapping[InstanceName, str]  # the invocation of each that is due

    def to_json(self) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        rows = [{"instance": str(due.name), "why": due.why} for due in self.due]
        return {"format": 1, "app": self.revision.app, "due": rows}


def look(operation: Operation) -> RecycleList:
    """Who is beyond the limits of its worker's `recycle`. Raises NoMatchError, SystemdError."""
    scope = operation.scope
    revision = scope.installed()
    where = observe.machine(operation.systemd, scope.layout)
    workers = {worker.name: worker for worker in revision.workers if worker.recycle}
    found = observe.instances(
        operation.systemd, where, revision.app, workers, revision.instances, detailed=True
    )
    notes = paused.notes(scope.layout, revision.app)
    every: list[Due] = []
    held_back = []
    for worker in workers.values():
        # What somebody has paused must not take jobs again because of a timer.
        mine = [
            one
            for name, one in found.items()
            if name.worker == worker.name and notes.get(name) != (one.invocation or None)
        ]
        if reason := _held_back(mine):
            held_back.append((worker.name, reason))
            continue
        every += _due(worker, mine, revision.rollout.min_healthy.seconds)
    lives = {one.name: found[one.name].invocation for one in every}
    return RecycleList(revision, tuple(every), tuple(held_back), lives)


def replace_due(operation: Operation, found: RecycleList) -> Report:
    """Replaces those that are due, one of a worker at a time.

    One that somebody has replaced since the look is left alone. Raises LockedError where a rollout
    is in the way.
    """
    if not found.due:
        return operation.close_unchanged(found.revision, found.revision.id)
    reasons = {one.name: one.why for one in found.due}

    def choose(name: InstanceName, instance: observe.Instance) -> PlannedChange:
        if name not in reasons or instance.invocation != found.lives[name]:
            return keep(name)  # somebody has replaced it meanwhile
        return PlannedChange(name, Change.RESTART, reasons[name])

    blocking_rollout.require_none(operation.scope, found.revision.app)
    return over(
        operation,
        tuple(str(name) for name in reasons),
        choose,
        settings=lambda settings: settings.with_max_unavailable(Share(1)),
    )


def _due(
    worker: WorkerRevision, found: Iterable[observe.Instance], least_age: float
) -> tuple[Due, ...]:
    assert worker.recycle
    seen = [
        Seen(one.name, one.invocation, proc.age(one.main_pid) or 0.0, one.memory)
        for one in found
        if one.serving
    ]
    return due(worker.recycle, seen, least_age)


def _held_back(found: Iterable[observe.Instance]) -> str:
    """Why a worker's instances had better go on as they are; empty: they need not."""
    for one in found:
        # What somebody has stopped is no sign of trouble.
        if one.active == "failed" or one.sub == "auto-restart":
            return f"{one.name} is {one.active} ({one.sub})"
    return ""
