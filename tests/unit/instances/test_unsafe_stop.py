"""Whether the stop signal of a unit reaches the worker below its main process."""

from __future__ import annotations

import signal

import pytest

from unitq.instances.state import Wrapper, unsafe_stop

BASH = Wrapper("bash")
HONCHO = Wrapper("honcho", kills=True)


def bits(*signals: int) -> int:
    return sum(1 << (number - 1) for number in signals)


QUIET = bits(signal.SIGCHLD, signal.SIGINT)  # what bash has handlers for in any case


@pytest.mark.parametrize(
    ("wrapper", "number", "mixed", "caught", "expected"),
    [
        (BASH, signal.SIGQUIT, True, QUIET, "bash (PID 12); php below it does not get SIGQUIT"),
        (BASH, signal.SIGTERM, True, QUIET, "bash (PID 12); php below it does not get SIGTERM"),
        # bash catches INT while it waits, and tells nobody.
        (BASH, signal.SIGINT, True, QUIET, "bash (PID 12); php below it does not get SIGINT"),
        # A trap may pass it on.
        (BASH, signal.SIGTERM, True, QUIET | bits(signal.SIGTERM), ""),
        # Every process gets the signal.
        (BASH, signal.SIGQUIT, False, QUIET, ""),
        (HONCHO, signal.SIGTERM, False, bits(signal.SIGTERM), "soon ends php below it"),
        (HONCHO, signal.SIGTERM, True, bits(signal.SIGTERM), "soon ends php below it"),
    ],
)
def test_unreached(wrapper: Wrapper, number: int, mixed: bool, caught: int, expected: str) -> None:
    found = unsafe_stop(wrapper, "php", number, mixed=mixed, caught=caught)
    words = found.words(12) if found else ""
    assert expected in words
    assert bool(words) is bool(expected)
