"""A process as one value, and held: with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from unitq.instances.signals import recipients_of, send
from unitq.linux import pidfd
from unitq.linux.proc import alive, process, same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CODE = """\
import signal, sys
signal.signal(signal.SIGUSR2, lambda *_: sys.exit(7))
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """It has a handler for SIGUSR2, by which it exits 7."""
    with subprocess.Popen(
        [sys.executable, "-IS", "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as made:
        assert made.stdout
        made.stdout.readline()
        yield made
        made.kill()


def test_what_is_read_of_a_process(child: subprocess.Popen[bytes]) -> None:
    found = process(child.pid, program=True)
    assert found
    assert (found.pid, found.parent, found.group) == (child.pid, os.getpid(), os.getpgrp())
    assert (found.uid, found.uids) == (
        os.geteuid(),
        frozenset({os.getuid(), os.geteuid()}),
    )
    assert found.words == (sys.executable, "-IS", "-c", CODE)
    assert found.executable == os.path.realpath(sys.executable)
    assert found.catches(signal.SIGUSR2)
    assert not found.catches(signal.SIGUSR1)
    assert not found.dead
    assert not found.held


def test_one_that_is_stopped_is_held_and_a_zombie_is_not_alive(
    child: subprocess.Popen[bytes],
) -> None:
    before = alive(child.pid)
    assert before
    assert same(before, alive(child.pid))
    child.send_signal(signal.SIGSTOP)
    _until(lambda: bool((one := process(child.pid)) and one.held))
    child.kill()
    _until(lambda: bool((one := process(child.pid)) and one.dead))
    assert alive(child.pid) is None
    assert not same(before, alive(child.pid))
    child.wait()
    assert process(child.pid) is None


def test_only_who_has_a_handler_gets_a_signal_and_only_who_is_still_meant(
    child: subprocess.Popen[bytes],
) -> None:
    assert recipients_of([child.pid], signal.SIGUSR1) == ()
    assert recipients_of([child.pid], signal.SIGUSR2) == (child.pid,)
    assert not send(child.pid, signal.SIGUSR2, lambda: ())
    assert child.poll() is None
    assert send(child.pid, signal.SIGUSR2, lambda: (child.pid,))
    assert child.wait(60) == 7
    assert not send(child.pid, signal.SIGUSR2, lambda: (child.pid,))


def test_each_that_is_held_is_waited_for_until_it_ends_or_its_time_is_over(
    child: subprocess.Popen[bytes],
) -> None:
    ended = []
    with subprocess.Popen(["sleep", "60"]) as other:
        with pidfd.hold((child.pid, other.pid, 2**22 + 1)) as held:
            assert list(held) == [child.pid, other.pid]
            assert held[child.pid].send(signal.SIGUSR2)
            until = {held[child.pid]: None, held[other.pid]: time.monotonic() + 0.1}
            pidfd.wait(until, lambda handle, _: ended.append(handle.pid))
            _until(lambda: not held[child.pid].lives)
            assert held[other.pid].lives
            child.wait()
            assert not held[child.pid].send(signal.SIGKILL), "nobody gets it, whoever has the PID"
        other.kill()
    assert ended == [child.pid]


def _until(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.01)
