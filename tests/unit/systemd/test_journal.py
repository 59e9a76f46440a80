"""The journal's JSON, in which a process may say what it likes, as often as it likes."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from unitq.errors import UnitqError
from unitq.linux import programs
from unitq.systemd import journal

if TYPE_CHECKING:
    from pathlib import Path

START = "15b4b3258b39471fad1270da738bcb97"
WHOLE: dict[str, Any] = {
    "__REALTIME_TIMESTAMP": "1796003697443799",
    "_BOOT_ID": "4c37cec6b27f4978a4b5eedd47dac808",
    "_HOSTNAME": "web1",
    "_COMM": "php",
    "_PID": "187",
    "_SYSTEMD_INVOCATION_ID": START,
    "PRIORITY": "4",
    "MESSAGE": "hello",
}


def entry(**fields: Any) -> journal.Entry:
    return journal.entry(json.dumps(WHOLE | fields).encode())


def test_an_entry() -> None:
    assert entry() == journal.Entry(
        1796003697.443799, "4c37cec6b27f4978a4b5eedd47dac808", "web1", "php", "187", 4, "hello"
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([27, 91, 50, 74], "\x1b[2J"),
        ([255, 97], "�a"),
        (["one", "two"], "one"),
        ([[27, 91], "two"], "\x1b["),
        ([], ""),
        (None, ""),
        (5, ""),
        ({}, ""),
    ],
)
def test_a_field_that_is_no_text(value: object, expected: str) -> None:
    assert entry(MESSAGE=value).message == expected
    assert entry(SYSLOG_IDENTIFIER=value).identifier == (expected or "php")


@pytest.mark.parametrize("value", ["", "8", "-1", "44", "x", ["3", "4"], [51], None])
def test_a_priority_that_is_none(value: object) -> None:
    assert entry(PRIORITY=value).priority in (3, 6)


@pytest.fixture
def journalctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journalctl that runs what is written there."""
    path = tmp_path / "journalctl"
    path.write_text(f"#!{sys.executable}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "PATH", str(tmp_path))
    return path


def test_what_was_printed_twice_over_is_read(journalctl: Path) -> None:
    fields = WHOLE | {"MESSAGE": ["begins a", "begins b"]}
    with journalctl.open("a") as file:
        file.write(f"print({json.dumps(fields)!r})\n")
    found = journal.output_by_invocation([START], None, 5, ended=False, user=True)
    assert [each.text for each in found[START]] == ["begins a"]


def test_lines_come_as_they_are_printed(journalctl: Path) -> None:
    with journalctl.open("a") as file:
        file.write("import os\nos.write(1, b'one\\ntw')\nos.write(1, b'o\\n\\nthree')\n")
    with open("/dev/null", "wb") as out:
        found = [line for part in journal.stream([], out.fileno()) for line in part]
    assert found == [b"one", b"two", b"", b"three"]


def test_a_journalctl_that_fails_is_an_error(journalctl: Path) -> None:
    with journalctl.open("a") as file:
        file.write("raise SystemExit(3)\n")
    with open("/dev/null", "wb") as out, pytest.raises(UnitqError, match="ended with 3"):
        list(journal.stream([], out.fileno()))
    journalctl.unlink()
    with open("/dev/null", "wb") as out, pytest.raises(UnitqError, match="cannot run journalctl"):
        list(journal.stream([], out.fileno()))


def test_it_ends_with_the_reader(journalctl: Path) -> None:
    """`unitq logs -f | head -1`: nobody waits for the next line."""
    with journalctl.open("a") as file:
        file.write("import time\nprint('one', flush=True)\ntime.sleep(600)\n")
    reader, writer = os.pipe()
    try:
        parts = journal.stream([], writer)
        assert next(parts) == [b"one"]
        os.close(reader)
        assert list(parts) == []
    finally:
        os.close(writer)
