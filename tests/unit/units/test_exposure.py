"""What is made of what systemd-analyze says, and of one that is too old to say it."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.harness.build import app, rendered
from unitq.linux import programs
from unitq.model.finding import Level
from unitq.rollout.checks.preflight import verify
from unitq.units.exposure import scores

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

UNIT = rendered(app('[workers.sms]\ncommand = "/bin/true"\nhardening = "strict"')).workers[0].unit


@pytest.fixture
def analyze(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`analyze(SCRIPT)`: what `systemd-analyze` is from now on."""

    def make(script: str) -> None:
        program = tmp_path / "systemd-analyze"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        monkeypatch.setattr(programs, "PATH", f"{tmp_path}:/usr/bin:/bin")

    return make


def test_the_score_is_read(analyze: Callable[[str], None]) -> None:
    analyze('echo "→ Overall exposure level for unitq-shop-sms@i.service: 1.8 OK 🙂"')
    assert scores({"sms": UNIT}) == {"sms": 1.8}


@pytest.mark.parametrize(
    "script",
    ["echo \"systemd-analyze: unrecognized option '--offline=true'\" >&2; exit 1", "echo 9.9"],
)
def test_one_that_rates_no_files_is_no_mistake(script: str, analyze: Callable[[str], None]) -> None:
    analyze(script)
    assert scores({"sms": UNIT}) == {}


def test_a_machine_without_it_is_none_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(programs, "PATH", "/nonexistent")
    assert scores({"sms": UNIT}) == {}


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("Unknown key name 'ProtectProc' in section 'Service', ignoring.", Level.NOTE),
        ("Unknown lvalue 'ProtectProc' in section 'Service'", Level.NOTE),
        ("Unknown key name 'ProtectEverything' in section 'Service', ignoring.", Level.ERROR),
        ("Failed to parse ProtectProc value, ignoring: x", Level.ERROR),
    ],
)
def test_a_line_that_an_older_systemd_does_not_know_stops_no_deploy(
    line: str, level: Level, analyze: Callable[[str], None]
) -> None:
    analyze(f'echo "unitq-shop-sms@.service:9: {line}" >&2; exit 0')
    (finding,) = verify([UNIT], user_scope=False)
    assert finding.level is level


@pytest.mark.skipif(os.geteuid() != 0, reason="is about root's TMPDIR")
def test_root_makes_nothing_where_its_environment_says(
    analyze: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "evil"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    analyze(f'echo "$@" >> {tmp_path}/told')
    scores({"sms": UNIT})
    verify([UNIT], user_scope=False)
    told = (tmp_path / "told").read_text()
    assert told.count(UNIT.name) == 2
    assert "evil" not in told
