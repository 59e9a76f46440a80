"""What env(1) starts: what it prints of itself is what is told here."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from unitq.cmdline.env_line import Started, started

if TYPE_CHECKING:
    from pathlib import Path

TOLD = [
    ("php", Started("php")),
    ("-S php -d x=y", Started("php")),
    ("-vS php", Started("php")),
    ("--split-string=php -q", Started("php")),
    ("A=1 php B=2", Started("php")),
    ("-u A php", Started("php")),
    ("-uA --unset=B php", Started("php")),
    ("-- A=1 php", Started("php")),
    ("PATH=/x:/y php", Started("php", "/x:/y")),
    ("-i php", Started("php", "/bin:/usr/bin")),
    ("- PATH=/x php", Started("php", "/x")),
    ("-u PATH php", Started("php", "/bin:/usr/bin")),
    ("--unset=PATH php", Started("php", "/bin:/usr/bin")),
    ("./bin/php", Started("./bin/php")),
]


@pytest.mark.parametrize(("line", "told"), TOLD)
def test_what_is_told(line: str, told: Started) -> None:
    assert started(line.split()) == told


@pytest.mark.parametrize("line", ["", "A=1", "-C /srv php", "--block-signal php", "-S ${X} php"])
def test_what_only_env_can_tell(line: str) -> None:
    assert started(line.split()) is None


@pytest.mark.parametrize("line", [line for line, told in TOLD if told == Started("php")])
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
