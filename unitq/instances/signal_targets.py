"""Which processes of an instance a signal may be sent to: those that have a handler for it. Pure.

A signal without a handler mostly ends a process (signal(7)), and USR2 to the shell around a worker
would end all of it. So it goes to the first process on each branch that catches it: the worker
below its shell, not the children that do its jobs and have inherited its handlers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Process(NamedTuple):
    """What the kernel tells of a process."""

    pid: int
    parent: int
    catches: bool  # has a handler for the signal in question


def recipients(processes: Iterable[Process]) -> tuple[int, ...]:
    """The processes that get the signal; none: nobody has a handler for it."""
    known = {process.pid: process for process in processes}

    def below_another(process: Process) -> bool:
        parent = known.get(process.parent)
        # A PID that was used again could make a circle: nobody is his own ancestor.
        seen = {process.pid}
        while parent is not None and parent.pid not in seen:
            if parent.catches:
                return True
            seen.add(parent.pid)
            parent = known.get(parent.parent)
        return False

    return tuple(
        process.pid for process in known.values() if process.catches and not below_another(process)
    )
