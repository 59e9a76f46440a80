"""Processes that are held on to: a signal reaches this one or nobody, however PIDs are used again.

A descriptor is opened first, and then looked at again whether the process is still the one that is
meant (pidfd_open(2)): if it lives after that, what was read was of it.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import contextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import NotPermittedError
from unitq.linux import changes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


class Handle(NamedTuple):
    """A process that is this one and no other, for as long as it is held."""

    pid: int
    descriptor: int

    @property
    def lives(self) -> bool:
        """Whether it has not ended."""
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        return not poll.poll(0)

    def send(self, number: int) -> bool:
        """Sends it a signal; False: it is gone. Raises NotPermittedError."""
        changes.note()
        try:
            signal.pidfd_send_signal(self.descriptor, number)
        except ProcessLookupError:
            return False
        except PermissionError as error:
            raise NotPermittedError(
                f"PID {self.pid}: {error.strerror}", hint="run it as root (sudo)"
            ) from error
        return True


@contextmanager
def hold(pids: Iterable[int]) -> Iterator[dict[int, Handle]]:
    """Each of these that lives, held in this block; by PID."""
    handles: dict[int, Handle] = {}
    try:
        for pid in pids:
            with suppress(ProcessLookupError):
                handles[pid] = Handle(pid, os.pidfd_open(pid))
        yield handles
    finally:
        for handle in handles.values():
            os.close(handle.descriptor)


def wait(until: Mapping[Handle, float | None], ended: Callable[[Handle, float], None]) -> None:
    """Waits for the end of each process, or for its time.

    `until` says when that is, by the monotonic clock; None: at any time. `ended` is told which one
    has ended, and when.
    """
    poll = select.poll()
    waiting = dict(until)
    by_descriptor = {handle.descriptor: handle for handle in until}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    while waiting:
        now = monotonic()
        for handle, end in list(waiting.items()):
            if end is not None and end <= now and handle.lives:
                poll.unregister(handle.descriptor)
                del waiting[handle]
        times = [end for end in waiting.values() if end is not None]
        # Rounded up: it must not wake a moment too early, again and again.
        most = None if not times else max(0, int((min(times) - now) * 1000) + 1)
        if not waiting:
            return
        for descriptor, _ in poll.poll(most):
            handle = by_descriptor[descriptor]
            poll.unregister(descriptor)
            del waiting[handle]
            ended(handle, monotonic())
