"""Names of units and what they stand for (systemd.unit(5), systemd.slice(5))."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

from typing import TYPE_CHECKING

ROOT_SLICE = "unitq.slice"

_INSTANCE = re.compile(r"(?P<prefix>unitq-.+)@(?P<number>[1-9][0-9]{0,3})\.service")


class InstanceName(NamedTuple):
    """One instance as users write it: `sms@3`."""

    worker: str
    number: int

    def __str__(self) -> str:
        return f"{self.worker}@{self.number}"


def template(app: str, worker: str) -> str:
    """The template unit of a worker: `unitq-shop-sms@.service`."""
    return f"unitq-{app}-{worker}@.service"


def unit(app: str, instance: InstanceName) -> str:
    """The unit of an instance: `unitq-shop-sms@3.service`."""
    return f"unitq-{app}-{instance.worker}@{instance.number}.service"


def probe_template(app: str, worker: str) -> str:
    """The template unit of a worker's probe: `unitq-shop-sms.probe@.service`.

    No name holds a ".", so it is never that of a worker, and no glob of a worker's instances
    (`unitq-shop-sms@*`) matches it.
    """
    return f"unitq-{app}-{worker}.probe@.service"


def probe_identifier(app: str, instance: InstanceName) -> str:
    """Under what the journal has what a probe says: `shop-sms@3-probe`."""
    return f"{app}-{instance}-probe"


def probe(app: str, instance: InstanceName) -> str:
    """The unit that asks an instance whether it is well: `unitq-shop-sms.probe@3.service`."""
    return f"unitq-{app}-{instance.worker}.probe@{instance.number}.service"


def target(app: str) -> str:
    """The target that starts and stops the whole app: `unitq-shop.target`."""
    return f"unitq-{app}.target"


def rollout(app: str) -> str:
    """The unit of a detached rollout: `unitq-rollout-shop.service`."""
    return f"unitq-rollout-{app}.service"


def recycle_timer(app: str) -> str:
    """The timer that looks for instances to be recycled: `unitq-shop-recycle.timer`.

    Never a worker's: those have an "@".
    """
    return f"unitq-{app}-recycle.timer"


def recycle(app: str) -> str:
    """The unit that the timer starts: `unitq-shop-recycle.service`."""
    return f"unitq-{app}-recycle.service"


def app_slice(app: str) -> str:
    """The app's slice, below `unitq.slice`."""
    return f"unitq-{_escape(app)}.slice"


def worker_slice(app: str, worker: str) -> str:
    """The worker's slice, below the app's: everything that belongs to the worker lives there."""
    return f"unitq-{_escape(app)}-{_escape(worker)}.slice"


def slice_path(app: str) -> str:
    """The app's slice as a path below the manager's cgroup."""
    return f"{ROOT_SLICE}/{app_slice(app)}"


def cgroup_path(app: str, instance: InstanceName) -> str:
    """An instance's cgroup as a path below the manager's cgroup."""
    return f"{slice_path(app)}/{worker_slice(app, instance.worker)}/{unit(app, instance)}"


def instances(worker: str, count: int) -> tuple[InstanceName, ...]:
    """The instances of a worker: numbers 1 to count."""
    return tuple(InstanceName(worker, number) for number in range(1, count + 1))


def of_worker(app: str, worker: str, units: Iterable[str]) -> dict[InstanceName, str]:
    """Those units that are instances of this very worker.

    The glob `unitq-a-b@*` is exact about the worker, as a name holds no `@`; what is left out
    here are instances that unitq did not make, such as `…@old.service`.
    """
    prefix = f"unitq-{app}-{worker}"
    instances = {}
    for name in units:
        match = _INSTANCE.fullmatch(name)
        if match and match["prefix"] == prefix:
            instances[InstanceName(worker, int(match["number"]))] = name
    return instances


def is_instance(unit: str) -> bool:
    """Whether a unit is one of the instances that unitq makes, and not a template."""
    return _INSTANCE.fullmatch(unit) is not None


def matching(
    app: str, known: Iterable[InstanceName], patterns: Iterable[str]
) -> tuple[tuple[InstanceName, ...], tuple[str, ...]]:
    """The instances that any pattern names, and the patterns that name none.

    A pattern is a worker (`sms`), an instance (`sms@3`), a glob of either (`s*`, `sms@[12]`) or
    a unit's name. No pattern at all means every instance.
    """
    instances = tuple(sorted(known))
    wanted = tuple(patterns)
    if not wanted:
        return instances, ()
    hits: dict[str, list[InstanceName]] = {pattern: [] for pattern in wanted}
    for instance in instances:
        for pattern in wanted:
            names = (instance.worker, str(instance), unit(app, instance))
            if any(fnmatchcase(name, pattern) for name in names):
                hits[pattern].append(instance)
    chosen = {instance for matches in hits.values() for instance in matches}
    return tuple(sorted(chosen)), tuple(pattern for pattern in wanted if not hits[pattern])


def _escape(name: str) -> str:
    # In a slice's name "-" means nesting: a dash that is part of a name is escaped as
    # systemd-escape(1) does it.
    return name.replace("-", r"\x2d")


UNIT_NAME = r"[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]*)?\.(service|socket|target|mount|path|device)"
