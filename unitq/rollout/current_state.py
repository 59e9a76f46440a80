"""What runs of an installed app now, and what of it a plan has to know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.instances import observe
from unitq.linux import proc
from unitq.revisions import state
from unitq.rollout.plan import Running

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.context import Scope
    from unitq.model.names import InstanceName
    from unitq.revisions.model import Revision
    from unitq.systemd.manager import Systemd


def running(
    systemd: Systemd, scope: Scope, where: observe.Machine, revision: Revision
) -> dict[InstanceName, observe.Instance]:
    """Every instance of the app: those that systemd knows and those that should be there."""
    pinned = state.instances_with_pin(scope.layout.app(revision.app))
    workers = {worker.name for worker in revision.workers} | {name.worker for name in pinned}
    known = pinned | set(revision.instances)
    instances = observe.instances(systemd, where, revision.app, workers, known)
    instances = observe.compare_code(revision, instances)
    # What is loaded, not wanted, not there and not pinned is only a memory of systemd's.
    return {
        name: instance
        for name, instance in instances.items()
        if name in known or instance.present or revision.goal(name)
    }


def as_running(
    instances: Mapping[InstanceName, observe.Instance],
    min_healthy: float = 0.0,
    notes: Mapping[InstanceName, str] | None = None,
) -> dict[InstanceName, Running]:
    """What a plan needs to know of them; `notes` say which are paused (instances/paused.py)."""
    notes = notes or {}
    return {
        name: Running(
            active=instance.present,
            revision=instance.known_revision,
            moved=instance.moved or ("a commit that nothing tells" if instance.doubtful else ""),
            serving=instance.serving,
            ending=instance.draining,
            replaced=bool(instance.replaced),
            unproven=instance.begun is not None and _age(instance) < min_healthy,
            paused=name in notes and notes[name] == instance.invocation,
        )
        for name, instance in instances.items()
    }


def _age(instance: observe.Instance) -> float:
    """Returns how many seconds its main process has lived; inf: it is gone.

    0 where it has ended since systemd called it running: what follows is unproven.
    """
    age = proc.age(instance.main_pid) if instance.main_pid else None
    if age is None:
        return 0.0 if instance.serving else float("inf")
    return age
