"""Who calls unitq with a standard stream closed, as daemons and `>&-` do, gets the same answer."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import combinations
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

CLOSED = [each for count in (1, 2, 3) for each in combinations((0, 1, 2), count)]
# What may be in the directory that it is told to write to, and nothing else.
TOML = "unitq.toml"


def run(closed: tuple[int, ...], *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    def close() -> None:
        for number in closed:
            os.close(number)

    return subprocess.run(
        [sys.executable, "-m", "unitq", *arguments],
        preexec_fn=close,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False, cwd=cwd,
    )  # fmt: skip


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("presets",), 0),
        (("presets", "--json"), 0),
        (("presets", "nosuch", "--json"), 4),
        (("nosuch",), 2),
        (("-c", "/nosuch", "check"), 2),
    ],
)
def test_the_code_is_the_same_and_no_bug_is_reported(
    closed: tuple[int, ...], words: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    done = run(closed, *words, cwd=tmp_path)
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    assert bool(done.stdout) == (bool(run((), *words, cwd=tmp_path).stdout) and 1 not in closed)


def test_what_would_be_printed_gets_into_no_file(tmp_path: Path) -> None:
    (tmp_path / TOML).write_text("kept")
    run((1, 2), "init", "--help", cwd=tmp_path)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [(TOML, "kept")]
