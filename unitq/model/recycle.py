"""Recycling: instances that have become too large or too old are replaced before they do harm.

systemd's MemoryMax= kills a worker that leaks, and its in-flight job with it; here it drains. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from unitq.model.settings import Share

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unitq.model.names import InstanceName
    from unitq.model.settings import Duration


class Recycle(NamedTuple):
    """When an instance of a worker is due."""

    memory: int | None = None  # bytes
    age: Duration | None = None
    # How much earlier it may be due, by either limit: not all are to be at once.
    jitter: Share = Share(10, percent=True)


class Usage(NamedTuple):
    """What there is to know of an instance that serves."""

    name: InstanceName
    invocation: str
    age: float  # seconds
    memory: int | None  # bytes; None: not to be read


class Due(NamedTuple):
    """An instance that is to be replaced, and why."""

    name: InstanceName
    why: str


def due(limits: Recycle, seen: Iterable[Usage], least_age: float) -> tuple[Due, ...]:
    """Who is beyond the limits, the oldest first.

    What has not run for `least_age` seconds is left alone, whatever its size: a memory limit that
    a new process exceeds already would make it start for ever.
    """
    instances = []
    for instance in sorted(seen, key=lambda instance: -instance.age):
        if instance.age < least_age:
            continue
        share = 1.0 - limits.jitter.number / 100 * _luck(instance.invocation)
        if limits.age and instance.age >= limits.age.seconds * share:
            instances.append(
                Due(instance.name, f"{instance.age / 60:.0f} min old, and {limits.age} is the age")
            )
        elif (
            limits.memory
            and instance.memory is not None
            and instance.memory >= limits.memory * share
        ):
            reason = f"{instance.memory / 2**20:.0f}M in use"
            instances.append(
                Due(instance.name, f"{reason}, and {limits.memory / 2**20:.0f}M is the limit")
            )
    return tuple(instances)


def _luck(invocation: str) -> float:
    """From 0 to 1, and the same for one process each time it is asked."""
    return crc32(invocation.encode()) / 0xFFFFFFFF
