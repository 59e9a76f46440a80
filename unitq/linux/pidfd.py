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
from typing import TYPE_CHECKING

from unitq.errors import NotPermittedError
from unitq.linux import changes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


@contextmanager
def held(pids: Iterable[int]) -> Iterator[dict[int, int]]:
    """A descriptor of each of these that lives, in this block."""
    found: dict[int, int] = {}
    try:
        for pid in pids:
            with suppress(ProcessLookupError):
                found[pid] = os.pidfd_open(pid)
        yield found
    finally:
        for descriptor in found.values():
            os.close(descriptor)


def lives(descriptor: int) -> bool:
    """Whether the process has not ended."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return not poll.poll(0)


def send(descriptor: int, number: int) -> bool:
    """Sends a signal; False: the process is gone. Raises NotPermittedError."""
    changes.note()
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    except PermissionError as error:
        raise NotPermittedError(f"a signal: {error.strerror}", hint="run it as root") from error
    return True


def wait(until: Mapping[int, float | None], ended: Callable[[int, float], None]) -> None:
    """Waits for the end of each process, or for its time.

    `until` says by descriptor when that is, by the monotonic clock; None: at any time. `ended` is
    told which one has ended, and when.
    """
    poll = select.poll()
    waiting = dict(until)
    for descriptor in waiting:
        poll.register(descriptor, select.POLLIN)
    while waiting:
        now = monotonic()
        for descriptor, end in list(waiting.items()):
            if end is not None and end <= now and lives(descriptor):
                poll.unregister(descriptor)
                del waiting[descriptor]
        times = [end for end in waiting.values() if end is not None]
        # Rounded up: it must not wake a moment too early, again and again.
        most = None if not times else max(0, int((min(times) - now) * 1000) + 1)
        if not waiting:
            return
        for descriptor, _ in poll.poll(most):
            poll.unregister(descriptor)
            del waiting[descriptor]
            ended(descriptor, monotonic())
