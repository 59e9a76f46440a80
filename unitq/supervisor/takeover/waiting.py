"""Waiting for processes to end, for several at a time, until a person interrupts.

What waits is a generator that yields what for; one loop waits for all of them together.
"""

from __future__ import annotations

import select
from math import inf, isfinite
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import Exit, UnitqError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from typing import TypeAlias, TypeVar

    from unitq.linux.interrupts import Interrupts
    from unitq.linux.pidfd import Handle

    T = TypeVar("T")
    Steps: TypeAlias = Generator["Wait", None, T]


class HandoverError(UnitqError):
    """A process of Supervisor's could not be brought to its end."""

    exit = Exit.DEGRADED


class GaveUpError(HandoverError):
    """The time that the user wanted to wait is over."""

    exit = Exit.GAVE_UP_WAITING


class DetachedError(HandoverError):
    """A second Ctrl-C."""

    exit = Exit.DETACHED


class Wait(NamedTuple):
    """Over as soon as one of these can be read, or at that time."""

    descriptors: tuple[int, ...]
    until: float  # on the monotonic clock


def pause(seconds: float) -> Steps[None]:
    """Waits so long."""
    yield Wait((), monotonic() + seconds)


def wait_for_end(handles: Iterable[Handle], limit: float | None) -> Steps[list[Handle]]:
    """Waits until all have ended, at most `limit` seconds; returns those that have not."""
    end = inf if limit is None else monotonic() + limit
    waiting = {handle.descriptor: handle for handle in handles}
    while waiting and monotonic() < end:
        for descriptor in _readable(waiting, 0.0):
            del waiting[descriptor]
        if waiting:
            yield Wait(tuple(waiting), end)
    return list(waiting.values())


def are_over(waits: Sequence[Wait]) -> list[bool]:
    """Returns of each of these whether it is over now."""
    ready = set(_readable([fd for wait in waits for fd in wait.descriptors], 0.0))
    now = monotonic()
    return [wait.until <= now or not ready.isdisjoint(wait.descriptors) for wait in waits]


class Waiter:
    """Waits until something is due, the time is over, or the user interrupts."""

    def __init__(
        self, interrupts: Interrupts, say: Callable[[str], None], deadline: float | None
    ) -> None:
        """`deadline` is on the monotonic clock."""
        self._interrupts = interrupts
        self._say = say
        self._deadline = inf if deadline is None else deadline
        self._noticed = False

    def until(self, waits: Sequence[Wait]) -> None:
        """Waits until one of these is over, or a signal came. Raises GaveUpError, DetachedError."""
        if monotonic() >= self._deadline:
            raise GaveUpError("gave up waiting (--timeout)")
        end = min([self._deadline, *(wait.until for wait in waits)])
        seconds = max(0.0, end - monotonic()) if isfinite(end) else None
        wake = self._interrupts.wake
        if self._interrupts.count <= 1:
            descriptors = [fd for wait in waits for fd in wait.descriptors]
            if wake in _readable([*descriptors, wake], seconds):
                self._interrupts.clear()
        if self._interrupts.count > 1:
            raise DetachedError("detached; a worker that got its signal finishes its job")
        if self._interrupts.count and not self._noticed:
            self._noticed = True
            these = "this one is" if len(waits) == 1 else f"these {len(waits)} are"
            self._say(f"interrupted: {these} finished; again: leave at once")


def _readable(descriptors: Iterable[int], seconds: float | None) -> list[int]:
    """Those that can be read, at once or after as many seconds; None: as long as it takes."""
    poll = select.poll()  # select(2) has an end at 1024
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    # Rounded up: it must not wake a moment too early, again and again.
    most = None if seconds is None else min(int(seconds * 1000) + bool(seconds), 2**31 - 1)
    return [descriptor for descriptor, _ in poll.poll(most)]
