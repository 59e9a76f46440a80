"""Ctrl-C before unitq has begun, and a second one while it says its last words."""

from __future__ import annotations

import subprocess
import sys

import pytest

AT_IMPORT = """\
import sys
class Interrupted:
    def find_spec(self, name, *_):
        if name == {name!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
"""
RUN = """\
sys.argv = ["unitq", *{words!r}]
from unitq.__main__ import run
run()
"""
# As it leaves: whoever is impatient presses the keys again and again.
AGAIN = """\
import os, signal
from unitq.cli import output
flush = output.flush
def slow():
    os.kill(os.getpid(), signal.SIGINT)
    flush()
output.flush = slow
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("name", ["click", "unitq.cli.output", "unitq.errors", "unitq.linux"])
def test_in_the_first_moment(name: str) -> None:
    done = run(AT_IMPORT.format(name=name) + RUN.format(words=["presets"]))
    assert (done.returncode, done.stdout) == (10, "")
    assert done.stderr == "\nunitq: interrupted; nothing was changed\n"


def test_again_at_the_end() -> None:
    # The command's own module comes late.
    program = AT_IMPORT.format(name="unitq.cli.presets") + AGAIN + RUN.format(words=["presets"])
    done = run(program)
    assert done.returncode == 10, done
    assert "Traceback" not in done.stderr
    assert "unitq: interrupted; nothing was changed" in done.stderr
