"""Waiting for processes to end, while a person may lose patience."""

from __future__ import annotations

import select
from time import monotonic
from typing import TYPE_CHECKING

from unitq.core.errors import Exit, UnitqError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from unitq.host.family import Handle
    from unitq.host.interrupts import Interrupts


class HandoverError(UnitqError):
    """A process of Supervisor's could not be brought to its end."""

    exit = Exit.DEGRADED


class GaveUpError(HandoverError):
    """The time that somebody wanted to wait is over."""

    exit = Exit.GAVE_UP_WAITING


class DetachedError(HandoverError):
    """A second Ctrl-C."""

    exit = Exit.DETACHED


class Patience:
    """How long to wait, and for whom to stop."""

    def __init__(
        self, interrupts: Interrupts, say: Callable[[str], None], deadline: float | None
    ) -> None:
        """`deadline` is on the monotonic clock."""
        self._interrupts = interrupts
        self._say = say
        self._deadline = deadline

    def gone(self, handles: Iterable[Handle], limit: float | None) -> list[Handle]:
        """Waits until all have ended, at most `limit` seconds; those that have not."""
        begun = monotonic()
        waiting = {handle.descriptor: handle for handle in handles}
        while waiting:
            rest = None if limit is None else begun + limit - monotonic()
            if rest is not None and rest <= 0:
                break
            for descriptor in self._select(list(waiting), rest):
                waiting.pop(descriptor, None)
        return list(waiting.values())

    def pause(self, seconds: float) -> None:
        """Waits so long."""
        self._select([], seconds)

    def _select(self, descriptors: list[int], seconds: float | None) -> list[int]:
        """Those of them that are ready. Raises GaveUpError, DetachedError."""
        if self._deadline is not None:
            rest = self._deadline - monotonic()
            if rest <= 0:
                raise GaveUpError("gave up waiting (--timeout)")
            seconds = rest if seconds is None else min(seconds, rest)
        if seconds == float("inf"):
            seconds = None
        before = self._interrupts.count
        wake = self._interrupts.wake
        ready: list[int] = []
        if before <= 1:
            ready, _, _ = select.select([*descriptors, wake], [], [], seconds)
            if wake in ready:
                self._interrupts.clear()
        if self._interrupts.count > 1:
            raise DetachedError("detached; what was told to finish its job does so")
        if self._interrupts.count > before:
            self._say("interrupted: this one is finished; again: leave at once")
        return [each for each in ready if each != wake]
