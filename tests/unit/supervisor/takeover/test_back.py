"""The printed way back gives a program its autostart again, by what is typed and nothing else."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from unitq.supervisor.takeover import autostart

if TYPE_CHECKING:
    from pathlib import Path

TWO = """\
[program:a] ; the first
command=x
{a}
; between
[program:b]
command=/bin/sh -c "echo [x] & \\\\"
{b}
[program:ab]
command=y
"""


def typed(commands: list[str]) -> None:
    for command in commands:
        subprocess.run(["/bin/sh", "-ec", command], check=True, timeout=30)


def autostarts(conf: Path) -> dict[str, bool]:
    programs = autostart.load(conf, {}).read.programs
    return {program.name: program.settings.autostart for program in programs}


@pytest.mark.parametrize("first", ["", "autostart=true", "autostart = yes ; at a boot"])
@pytest.mark.parametrize("second", ["", " AUTOSTART : on ; a/b & c\\d [e] $f* .^", "priority=1"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_one_program_of_a_file_with_several(
    tmp_path: Path, first: str, second: str, end: str
) -> None:
    conf = tmp_path / "s.conf"
    before = TWO.format(a=first, b=second).replace("\n", end)
    conf.write_bytes(before.encode())
    autostart.switch_off(conf, {}, ["program:a", "program:b"])
    assert autostarts(conf) == {"a": False, "b": False, "ab": True}
    typed(autostart.way_back(conf, {}, "program:b"))
    assert autostarts(conf) == {"a": False, "b": True, "ab": True}
    assert autostart.way_back(conf, {}, "program:b") == []
    typed(autostart.way_back(conf, {}, "program:a"))
    assert autostarts(conf) == {"a": True, "b": True, "ab": True}
    assert conf.read_bytes() == before.encode()


def test_lines_that_came_later_stay(tmp_path: Path) -> None:
    conf = tmp_path / "s.conf"
    conf.write_text(TWO.format(a="", b="autostart=true"))
    autostart.switch_off(conf, {}, ["program:a", "program:b"])
    more = "; new\n[program:c]\nautostart=false\ncommand=z\n"
    conf.write_text(more + conf.read_text())
    for section in ("program:a", "program:b"):
        typed(autostart.way_back(conf, {}, section))
    assert conf.read_text() == more + TWO.format(a="", b="autostart=true")


def test_a_copy_that_holds_more_than_a_line_is_not_typed(tmp_path: Path) -> None:
    conf = tmp_path / "s.conf"
    conf.write_text(TWO.format(a="autostart=true", b=""))
    autostart.switch_off(conf, {}, ["program:a"])
    copy = autostart.copy_for(autostart.load(conf, {}), str(conf))
    copy.write_text(TWO.format(a="autostart=true\n  e touch x", b=""))
    (line,) = autostart.way_back(conf, {}, "program:a")
    assert line == f"# autostart of [program:a] in {conf} again as it was"


def test_what_was_off_before_stays_off(tmp_path: Path) -> None:
    conf = tmp_path / "s.conf"
    conf.write_text(TWO.format(a="autostart=off", b=""))
    autostart.switch_off(conf, {}, ["program:b"])
    assert autostart.way_back(conf, {}, "program:a") == []
