"""What a process tells of itself: its environment as the kernel shows it (proc(5))."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from unitq.linux.proc import evidence, invocation, pids

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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


@pytest.mark.parametrize(
    ("path", "revision"),
    [
        ("revisions/42-3fa9c1/sms/stdin", "42-3fa9c1"),
        ("elsewhere/42-3fa9c1/sms/stdin", None),
        ("revisions/42-3fa9c1/sms/env", None),
        ("revisions/42-3fa9c1/stdin", None),
    ],
)
@pytest.mark.parametrize("deleted", [False, True])
def test_one_that_has_overwritten_its_environment_has_the_standard_input_of_its_revision(
    path: str, revision: str | None, deleted: bool, tmp_path: Path
) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.touch()
    with file.open() as stdin, subprocess.Popen(["sleep", "60"], env={}, stdin=stdin) as child:
        try:
            if deleted:
                file.unlink()  # `unitq prune`
            assert evidence(child.pid).revision == revision
        finally:
            child.kill()


def test_one_that_may_not_be_looked_at_says_so() -> None:
    """Unknown is not "it says nothing"."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    script = "from unitq.linux.proc import evidence; import sys; print(*evidence(%d))"
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all")
    with process({"UNITQ_REVISION": "5-abc"}) as pid:
        done = subprocess.run(
            [*nobody, "/usr/bin/python3", "-c", script % pid],
            env={"PYTHONPATH": os.getcwd()}, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
    assert done.stdout.split() == ["None", "None", "False", "None"], done.stderr


def test_the_processes_of_a_cgroup_are_those_below_it_too(tmp_path: Path) -> None:
    """As a delegated one has: a container, or a worker's own."""
    for name, text in {".": "7\n8\n", "payload": "9\n", "payload/job": "10\n11\n"}.items():
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "cgroup.procs").write_text(text)
    (tmp_path / "empty").mkdir()
    assert sorted(pids(str(tmp_path))) == [7, 8, 9, 10, 11]
    assert pids(str(tmp_path / "payload/job")) == (10, 11)
    assert pids(str(tmp_path / "gone")) == ()


@pytest.mark.parametrize(
    ("own", "known"),
    [
        ("a" * 32, True),  # the link is of this start
        (None, True),  # it has written over its environment: the link is all there is
        ("b" * 32, False),  # RestartMode=direct: started again, and the link is as it was
    ],
)
def test_the_invocation_is_the_link_s_unless_the_main_process_says_otherwise(
    tmp_path: Path, own: str | None, known: bool
) -> None:
    folder = tmp_path / "systemd/units"
    folder.mkdir(parents=True)
    link = folder / "invocation:w.service"
    link.symlink_to("a" * 32)
    os.utime(link, (1000, 1000), follow_symlinks=False)
    with process({"INVOCATION_ID": own} if own else {}) as pid:
        assert evidence(pid).invocation == own
        found = invocation("w.service", str(tmp_path), pid, own)
    assert found is not None
    if known:
        assert found == ("a" * 32, 1000.0)
    else:
        # Only systemd knows which; it began when the process did, or a little before.
        assert found.id == ""
        assert abs(found.begun - time.time()) < 30


def test_an_invocation_without_a_link_or_a_process_is_not_known(tmp_path: Path) -> None:
    assert invocation("w.service", str(tmp_path)) is None
    folder = tmp_path / "systemd/units"
    folder.mkdir(parents=True)
    (folder / "invocation:w.service").symlink_to("a" * 32)
    with process({}) as pid:
        pass
    assert invocation("w.service", str(tmp_path), pid, "b" * 32) is None
