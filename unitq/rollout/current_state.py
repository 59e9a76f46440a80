"""What a plan has to know of what runs now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.linux import proc
from unitq.rollout.plan import Running

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.instances import observe
    from unitq.model.names import InstanceName


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
