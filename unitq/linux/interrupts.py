"""Signals that a person, or a CI job, sends to unitq itself."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


# What `unitq rollout pause` sends to the unitq at work.
PAUSE = signal.SIGUSR1
_COUNTED = (signal.SIGINT, signal.SIGTERM, PAUSE)


@contextmanager
def defer() -> Iterator[None]:
    """Lets counted signals come after this block: for a call that one would break off.

    sd_bus_call(3) ends with EINTR at any signal, and then it is unknown whether systemd took the
    order. Where Ctrl-C just ends us it may end the call as well.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _COUNTED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Interrupts:
    """Counts Ctrl-C and SIGTERM: one stops at a safe point, two detach. And notes a pause."""

    def __init__(self) -> None:
        self.count = 0
        self.paused = False  # stop at a safe point, to be resumed later
        self.wake = -1  # can be read once a signal came: a wait on it ends at once

    def _note(self, number: int, frame: object) -> None:  # noqa: ARG002
        if number == PAUSE:
            self.paused = True
        else:
            self.count += 1

    def clear(self) -> None:
        """Takes what a signal wrote, so that the next wait waits."""
        with suppress(BlockingIOError):
            os.read(self.wake, 64)

    @contextmanager
    def caught(self) -> Iterator[Interrupts]:
        """Catches them in this block; a terminal that goes away does not stop a rollout.

        Python runs handlers in the main thread only (signal(3py)): in another one none is caught,
        and what they do is up to the program.
        """
        self.wake, written = os.pipe()
        for descriptor in (self.wake, written):
            os.set_blocking(descriptor, False)
        main = threading.current_thread() is threading.main_thread()
        try:
            with self._handled(written) if main else nullcontext():
                yield self
        finally:
            os.close(self.wake)
            os.close(written)

    @contextmanager
    def _handled(self, written: int) -> Iterator[None]:
        wakeup = signal.set_wakeup_fd(written, warn_on_full_buffer=False)
        before = {number: signal.getsignal(number) for number in (*_COUNTED, signal.SIGHUP)}
        for number in _COUNTED:
            signal.signal(number, self._note)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup)
