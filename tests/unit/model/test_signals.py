"""Signals by number and by name: one reader, and what it reads back is what it wrote."""

from __future__ import annotations

import signal

import pytest

from unitq.model import signals

LEAST, MOST = int(signal.SIGRTMIN), int(signal.SIGRTMAX)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("15", 15),
        ("TERM", 15),
        ("SIGTERM", 15),
        ("sigterm", 15),
        ("CLD", int(signal.SIGCHLD)),
        ("RTMIN", LEAST),
        ("SIGRTMIN+3", LEAST + 3),
        ("SIGRTMAX-2", MOST - 2),
        ("rtmax", MOST),
        (str(LEAST + 1), LEAST + 1),
    ],
)
def test_read(text: str, number: int) -> None:
    assert signals.number(text) == number


@pytest.mark.parametrize(
    "text",
    ["", "0", "99", "-1", "1_5", "BOGUS", "SIG", "SIGRTMIN+31", "SIGRTMAX-31", "RTMIN-1"],
)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no signal"):
        signals.number(text)


def test_every_name_is_read_back() -> None:
    for number in signal.valid_signals():
        assert signals.number(signals.name(int(number))) == number
    assert signals.name(3) == "SIGQUIT"
    assert signals.name(99) == "signal 99"
