"""Sends a signal to the processes of an instance that have a handler for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.instances.signal_targets import recipients
from unitq.linux import pidfd
from unitq.linux.proc import process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def recipients_of(pids: Iterable[int], number: int) -> tuple[int, ...]:
    """Returns those of these processes that get the signal; none: they would die of it."""
    return tuple(each.pid for each in recipients(filter(None, map(process, pids)), number))


def send(pid: int, number: int, still: Callable[[], Iterable[int]]) -> bool:
    """Sends the signal if the PID is still one of them, asked while it cannot be used again.

    Returns False where it is gone. Raises NotPermittedError.
    """
    with pidfd.hold((pid,)) as held:
        return pid in held and pid in still() and held[pid].send(number)
