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


@pytest.mark.parametrize("first", ["", "autostart=true", "autostart = yes ; at a boot"])
@pytest.mark.parametrize("second", ["", " AUTOSTART : on ; a/b & c\\d [e] $f* .^", "priority=1"])
def test_one_program_of_a_file_with_several(tmp_path: Path, first: str, second: str) -> None:
    conf = tmp_path / "s.conf"
    before = TWO.format(a=first, b=second)
    conf.write_text(before)
    autostart.switch_off(conf, {}, ["program:a"])
    only = conf.read_text()
    autostart.switch_off(conf, {}, ["program:b"])
    both = conf.read_text()
    assert before != only != both
    back = autostart.way_back(conf, {}, "program:b")
    assert not back[0].startswith("#"), back
    typed(back)
    assert conf.read_text() == only
    assert autostart.way_back(conf, {}, "program:b") == []
    # The other one is the last, so the whole file is put back.
    back = autostart.way_back(conf, {}, "program:a")
    assert back == [f"mv {conf}.before-unitq {conf}"]
    typed(back)
    assert conf.read_text() == before


def test_lines_that_came_later_stay(tmp_path: Path) -> None:
    conf = tmp_path / "s.conf"
    conf.write_text(TWO.format(a="", b="autostart=true"))
    autostart.switch_off(conf, {}, ["program:a", "program:b"])
    conf.write_text("; new\n[program:c]\nautostart=false\ncommand=z\n" + conf.read_text())
    for section in ("program:a", "program:b"):
        typed(autostart.way_back(conf, {}, section))
    assert conf.read_text() == "; new\n[program:c]\nautostart=false\ncommand=z\n" + TWO.format(
        a="", b="autostart=true"
    )


def test_what_cannot_be_typed_is_said(tmp_path: Path) -> None:
    """sed(1) would leave half a line end."""
    conf = tmp_path / "s.conf"
    conf.write_bytes(TWO.format(a="", b="").replace("\n", "\r\n").encode())
    autostart.switch_off(conf, {}, ["program:a", "program:b"])
    (back,) = autostart.way_back(conf, {}, "program:b")
    assert back == f"# autostart of [program:b] in {conf} again as in {conf}.before-unitq"
