"""What env(1) starts: what it prints of itself is what is told here."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from unitq.cmdline.env_line import EnvProgram, env_program

if TYPE_CHECKING:
    from pathlib import Path

TOLD = [
    ("php", EnvProgram("php")),
    ("-S php -d x=y", EnvProgram("php")),
    ("-vS php", EnvProgram("php")),
    ("--split-string=php -q", EnvProgram("php")),
    ("A=1 php B=2", EnvProgram("php")),
    ("-u A php", EnvProgram("php")),
    ("-uA --unset=B php", EnvProgram("php")),
    ("-- A=1 php", EnvProgram("php")),
    ("PATH=/x:/y php", EnvProgram("php", "/x:/y")),
    ("-i php", EnvProgram("php", "/bin:/usr/bin")),
    ("- PATH=/x php", EnvProgram("php", "/x")),
    ("-u PATH php", EnvProgram("php", "/bin:/usr/bin")),
    ("--unset=PATH php", EnvProgram("php", "/bin:/usr/bin")),
    ("./bin/php", EnvProgram("./bin/php")),
]


@pytest.mark.parametrize(("line", "told"), TOLD)
def test_what_is_told(line: str, told: EnvProgram) -> None:
    assert env_program(line.split()) == told


@pytest.mark.parametrize("line", ["", "A=1", "-C /srv php", "--block-signal php", "-S ${X} php"])
def test_what_only_env_can_tell(line: str) -> None:
    assert env_program(line.split()) is None


@pytest.mark.parametrize("line", [line for line, told in TOLD if told == EnvProgram("php")])
def test_env_does_so(line: str, tmp_path: Path) -> None:
    (tmp_path / "php").write_text("#!/bin/sh\necho found\n")
    (tmp_path / "php").chmod(0o755)
    done = subprocess.run(
        ["/usr/bin/env", *line.split()],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "found\n"
