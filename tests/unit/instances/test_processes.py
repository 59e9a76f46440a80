"""What a process tells of itself: its environment as the kernel shows it (proc(5))."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from unitq.host.processes import evidence

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def process(environment: dict[str, str]) -> Iterator[int]:
    """A process with this environment and nothing else in it."""
    script = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-IS", "-c", script],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout
        assert child.stdin
        child.stdout.readline()
        try:
            yield child.pid
        finally:
            child.stdin.close()


@pytest.mark.parametrize(
    ("environment", "revision"),
    [
        ({"UNITQ_REVISION": "5-abc"}, "5-abc"),
        ({"A": "1", "UNITQ_REVISION": "5-abc", "Z": "2"}, "5-abc"),
        ({"MY_UNITQ_REVISION": "4-old"}, None),
        ({"MY_UNITQ_REVISION": "4-old", "UNITQ_REVISION": "5-abc"}, "5-abc"),
        ({"NOTE": "UNITQ_REVISION=4-old", "UNITQ_REVISION": "5-abc"}, "5-abc"),
        ({"UNITQ_REVISIONS": "4-old"}, None),
        # More than the kernel hands out at a time, and than one read takes.
        ({"BIG": "x" * 70_000, "UNITQ_REVISION": "5-abc"}, "5-abc"),
        ({f"BIG{n}": "x" * 30_000 for n in range(20)} | {"UNITQ_REVISION": "5-abc"}, "5-abc"),
        ({}, None),
    ],
    ids=range(9),
)
def test_the_revision_is_that_of_the_variable(
    environment: dict[str, str], revision: str | None
) -> None:
    with process(environment) as pid:
        found = evidence(pid)
    assert (found.revision, found.readable) == (revision, True)


def test_the_main_process_is_the_one_that_systemd_started() -> None:
    with process({"MY_SYSTEMD_EXEC_PID": "1", "SYSTEMD_EXEC_PID": "4711"}) as pid:
        assert evidence(pid).main_pid == 4711
    with process({"MY_SYSTEMD_EXEC_PID": "1"}) as pid:
        assert evidence(pid).main_pid is None
