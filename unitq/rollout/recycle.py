"""Workers that have become too large or too old: who is due, and replacing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.instances import observe, paused
from unitq.linux import proc
from unitq.model.recycle import Due, Usage, due
from unitq.model.settings import Share
from unitq.rollout import blocking_rollout
from unitq.rollout.plan import Change, PlannedChange, keep
from unitq.rollout.workers import over

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from unitq.model.names import InstanceName
    from unitq.revisions.model import Revision, WorkerRevision
    from unitq.rollout.operation import Operation
    from unitq.rollout.reports.report import Report


class RecycleList(NamedTuple):
    """Who is to be replaced now."""

    revision: Revision
    due: tuple[Due, ...]
    held_back: tuple[tuple[str, str], ...]  # workers that are left alone, and why
    lives: Mapping[InstanceName, str]  # the invocation of each that is due

    def to_json(self) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        rows = [{"instance": str(item.name), "why": item.why} for item in self.due]
        return {"format": 1, "app": self.revision.app, "due": rows}


def look(operation: Operation) -> RecycleList:
    """Who is beyond the limits of its worker's `recycle`. Raises NoMatchError, SystemdError."""
    scope = operation.scope
    revision = scope.installed()
    where = observe.machine(operation.systemd, scope.layout)
    workers = {worker.name: worker for worker in revision.workers if worker.recycle}
    instances = observe.instances(
        operation.systemd, where, revision.app, workers, revision.instances, detailed=True
    )
    notes = paused.notes(scope.layout, revision.app)
    due_instances: list[Due] = []
    held_back = []
    for worker in workers.values():
        # What somebody has paused must not take jobs again because of a timer.
        members = [
            instance
            for name, instance in instances.items()
            if name.worker == worker.name and notes.get(name) != (instance.invocation or None)
        ]
        if reason := _reason_to_wait(members):
            held_back.append((worker.name, reason))
            continue
        due_instances += _due(worker, members, revision.rollout.min_healthy.seconds)
    lives = {instance.name: instances[instance.name].invocation for instance in due_instances}
    return RecycleList(revision, tuple(due_instances), tuple(held_back), lives)


def replace_due(operation: Operation, look: RecycleList) -> Report:
    """Replaces those that are due, one of a worker at a time.

    One that somebody has replaced since the look is left alone. Raises LockedError where a rollout
    is in the way.
    """
    if not look.due:
        return operation.close_unchanged(look.revision, look.revision.id)
    reasons = {item.name: item.why for item in look.due}

    def choose(name: InstanceName, instance: observe.Instance) -> PlannedChange:
        if name not in reasons or instance.invocation != look.lives[name]:
            return keep(name)  # somebody has replaced it meanwhile
        return PlannedChange(name, Change.RESTART, reasons[name])

    blocking_rollout.require_none(operation.scope, look.revision.app)
    return over(
        operation,
        tuple(str(name) for name in reasons),
        choose,
        settings=lambda settings: settings.with_max_unavailable(Share(1)),
    )


def _due(
    worker: WorkerRevision, instances: Iterable[observe.Instance], least_age: float
) -> tuple[Due, ...]:
    assert worker.recycle
    seen = [
        Usage(
            instance.name, instance.invocation, proc.age(instance.main_pid) or 0.0, instance.memory
        )
        for instance in instances
        if instance.serving
    ]
    return due(worker.recycle, seen, least_age)


def _reason_to_wait(instances: Iterable[observe.Instance]) -> str:
    """Returns why a worker's instances had better go on as they are; empty: they need not."""
    for instance in instances:
        # What somebody has stopped is no sign of trouble.
        if instance.active == "failed" or instance.sub == "auto-restart":
            return f"{instance.name} is {instance.active} ({instance.sub})"
    return ""
