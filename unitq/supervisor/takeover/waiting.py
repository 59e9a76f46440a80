"""Waiting for processes to end, for several at a time, while a person may lose patience.

Whatever waits is a generator that yields what for; one loop waits for all of them together.
"""

from __future__ import annotations

import select
from math import isfinite
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import Exit, UnitqError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from typing import TypeAlias, TypeVar

    from unitq.linux.interrupts import Interrupts
    from unitq.linux.pidfd import Handle

    T = TypeVar("T")
    Steps: TypeAlias = Generator["Wait", None, T]


class HandoverError(UnitqError):
    """A process of Supervisor's could not be brought to its end."""

    exit = Exit.DEGRADED


class GaveUpError(HandoverError):
    """The time that somebody wanted to wait is over."""

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


def gone(handles: Iterable[Handle], limit: float | None) -> Steps[list[Handle]]:
    """Waits until all have ended, at most `limit` seconds; those that have not."""
    end = float("inf") if limit is None else monotonic() + limit
    waiting = {handle.descriptor: handle for handle in handles}
    while waiting and monotonic() < end:
        for descriptor in _readable(waiting, 0.0):
            del waiting[descriptor]
        if waiting:
            yield Wait(tuple(waiting), end)
    return list(waiting.values())


def over(waits: Iterable[Wait]) -> list[bool]:
    """Of each of these whether it is over now."""
    every = list(waits)
    ready = set(_readable([one for wait in every for one in wait.descriptors], 0.0))
    now = monotonic()
    return [wait.until <= now or not ready.isdisjoint(wait.descriptors) for wait in every]


class Patience:
    """How long to wait, and for whom to stop."""

    def __init__(
        self, interrupts: Interrupts, say: Callable[[str], None], deadline: float | None
    ) -> None:
        """`deadline` is on the monotonic clock."""
        self._interrupts = interrupts
        self._say = say
        self._deadline = deadline
        self._noticed = False

    def until(self, waits: Iterable[Wait]) -> None:
        """Waits until one of these is over, or a signal came. Raises GaveUpError, DetachedError."""
        every = list(waits)
        ends = [wait.until for wait in every]
        if self._deadline is not None:
            if monotonic() >= self._deadline:
                raise GaveUpError("gave up waiting (--timeout)")
            ends.append(self._deadline)
        end = min(ends, default=float("inf"))
        seconds = max(0.0, end - monotonic()) if isfinite(end) else None
        wake = self._interrupts.wake
        if self._interrupts.count <= 1:
            descriptors = [one for wait in every for one in wait.descriptors]
            if wake in _readable([*descriptors, wake], seconds):
                self._interrupts.clear()
        if self._interrupts.count > 1:
            raise DetachedError("detached; what was told to finish its job does so")
        if self._interrupts.count and not self._noticed:
            self._noticed = True
            hand = "this one is" if len(every) == 1 else f"these {len(every)} are"
            self._say(f"interrupted: {hand} finished; again: leave at once")


def _readable(descriptors: Iterable[int], seconds: float | None) -> list[int]:
    """Those that can be read, at once or after as many seconds; None: as long as it takes."""
    poll = select.poll()  # select(2) has an end at 1024
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    # Rounded up: it must not wake a moment too early, again and again.
    most = None if seconds is None else min(int(seconds * 1000) + bool(seconds), 2**31 - 1)
    return [descriptor for descriptor, _ in poll.poll(most)]
