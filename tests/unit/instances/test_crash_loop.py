"""Crash loops, from what systemd wrote into the journal."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from unitq.instances.crash_loop import CrashLoop, count_lives, crash_loop
from unitq.linux import programs
from unitq.systemd import journal
from unitq.systemd.journal_event import Event, Kind

if TYPE_CHECKING:
    from pathlib import Path

LEAST = 10.0


def lives(*seconds: float, how: str = "exited with status 1", delay: float = 1.0) -> list[Event]:
    """One life after the other, each ended and restarted."""
    at, found = 0.0, []
    for each in seconds:
        found.append(Event(at, Kind.STARTED))
        at += each
        if how:
            found.append(Event(at, Kind.ENDED, how))
        at += delay
        found.append(Event(at, Kind.RESTARTED))
    return found


@pytest.mark.parametrize(
    ("events", "ends", "expected"),
    [
        ([], 0, None),
        (lives(1, 1), 2, None),
        (lives(1, 1, 1), 3, CrashLoop(3, 6.0, "exited with status 1")),
        # Healthy in between: a new count.
        (lives(1, 1, 11, 1, 1), 5, None),
        (lives(1, 11, 1, 1, 1), 5, CrashLoop(3, 6.0, "exited with status 1")),
        # A deliberate start since then.
        (lives(1, 1, 1, 1), 2, None),
        (lives(1, 1, 1, 1), 0, None),
        # A worker that recycles itself, however often.
        (lives(11, 12, 10, 50), 4, None),
        # What exits with 0 at once does no work either; systemd does not write that end down.
        (lives(1, 1, 1, how="", delay=0.0), 3, CrashLoop(3, 3.0, "exited with status 0")),
        # Between two lives: the last end is known, the restart is not ordered yet.
        (lives(1, 1, 1)[:-1], 3, CrashLoop(2, 5.0, "exited with status 1")),
        # RestartSteps=: the delay is no life.
        (lives(1, 1, 1, delay=100.0), 3, CrashLoop(3, 303.0, "exited with status 1")),
    ],
)
def test_loops(events: list[Event], ends: int, expected: CrashLoop | None) -> None:
    now = events[-1].at if events else 0.0
    assert crash_loop(events, now, LEAST, ends) == expected


def test_a_start_that_fails_is_no_life() -> None:
    """With Type=exec the end is told before "Failed to start"."""
    one = [
        Event(1.0, Kind.ENDED, "the command cannot be executed (203/EXEC)"),
        Event(1.1, Kind.STARTED),
        Event(2.0, Kind.RESTARTED),
    ]
    events = [event._replace(at=event.at + 20 * n) for n in range(3) for event in one]
    found = crash_loop(events, 50.0, LEAST, 3)
    assert found
    assert (found.restarts, found.last) == (3, "the command cannot be executed (203/EXEC)")


def test_a_life_whose_begin_is_not_known_is_not_called_short() -> None:
    events = lives(1, 1, 1)[1:]
    assert crash_loop(events, 6.0, LEAST, 3) is None
    assert count_lives(events) == 2


def test_only_what_the_manager_said_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker may write any field but those that begin with "_"."""
    path = tmp_path / "journalctl"
    path.write_text(f"#!{sys.executable}\nimport sys\nopen({str(tmp_path / 'asked')!r}, 'w')")
    path.write_text(f"{path.read_text()}.write('\\n'.join(sys.argv[1:]))\n")
    path.chmod(0o755)
    monkeypatch.setattr(programs, "PATH", str(tmp_path))
    assert journal.lives(["unitq-shop-sms@1.service"], user=False) == {
        "unitq-shop-sms@1.service": []
    }
    asked = (tmp_path / "asked").read_text().splitlines()
    assert "_PID=1" in asked
    assert "UNIT=unitq-shop-sms@1.service" in asked
    journal.lives(["unitq-shop-sms@1.service"], user=True)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert "_SYSTEMD_USER_UNIT=init.scope" in asked


BASE = {"__MONOTONIC_TIMESTAMP": "100000000", "MESSAGE": "x"}
START = "15b4b3258b39471fad1270da738bcb97"
EXITED = BASE | {
    "MESSAGE_ID": "98e322203f7a4ed290d09fe03c09fe15", "COMMAND": "ExecStart",
    "EXIT_CODE": "exited", "EXIT_STATUS": "1",
}  # fmt: skip
YESTERDAY = {"__MONOTONIC_TIMESTAMP": "1000000"}
CLEANED_UP = BASE | {"MESSAGE": "x.service: Killing process 4711 (sleep) with signal SIGKILL."}
TIMED_OUT = BASE | {"MESSAGE": "x.service: State 'stop-sigterm' timed out. Killing."}
STOPPED = BASE | {"MESSAGE_ID": "9d1aaa27d60140bd96365438aad20286", "MESSAGE": "Stopped x."}


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        # A crash whose child systemd cleans up is a crash.
        ([EXITED, CLEANED_UP, STOPPED], ("died", "exited with status 1")),
        ([CLEANED_UP, STOPPED], ("drained", "")),
        ([TIMED_OUT, CLEANED_UP, STOPPED], ("killed", "SIGKILL at stop_timeout")),
        # RestartMode=direct: the same invocation as yesterday.
        ([TIMED_OUT | YESTERDAY, EXITED | YESTERDAY, STOPPED], ("drained", "")),
        ([STOPPED | YESTERDAY], ("unknown", "nobody saw how it ended")),
        # That of another command of the unit.
        ([EXITED | {"COMMAND": "ExecStopPost"}, STOPPED], ("drained", "")),
    ],
)
def test_how_one_ended_that_nobody_watched(
    entries: list[dict[str, str]],
    expected: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "journalctl"
    lines = "\n".join(json.dumps(entry) for entry in entries)
    path.write_text(f"#!{sys.executable}\nprint({lines!r})\n")
    path.chmod(0o755)
    monkeypatch.setattr(programs, "PATH", str(tmp_path))
    found = journal.ending(START, 50.0, user=True)
    assert (str(found.end), found.detail) == expected
    named = [("4711", "sleep")] if CLEANED_UP in entries else []
    assert journal.sigkills(START, 50.0, user=True) == named
