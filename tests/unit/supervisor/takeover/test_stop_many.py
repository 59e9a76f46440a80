"""A process of Supervisor's is brought to its end: with real processes and a supervisord of paper.

The real one: tests/systemd/supervisor/test_takeover.py. Here is what a race would decide there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.harness.build import app
from tests.unit.supervisor.takeover.test_strategy import SETTINGS
from unitq.errors import UnitqError
from unitq.linux.interrupts import Interrupts
from unitq.linux.proc import alive
from unitq.supervisor.takeover import process_tree
from unitq.supervisor.takeover.rpc import Info
from unitq.supervisor.takeover.stop_many import StopGroup
from unitq.supervisor.takeover.stop_one import Stopped, Task
from unitq.supervisor.takeover.waiting import GaveUpError, HandoverError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from unitq.model.process import Process

BEGIN = """\
import os, signal, socket, sys, time
def term(*_):
    time.sleep(0.2)
    open(sys.argv[1], "a").write("finished\\n")
    os._exit(0)
signal.signal(signal.SIGTERM, term)
"""
READY = """
open(sys.argv[1] + ".ready", "w").close()
while True:
    time.sleep(60)
"""
# What it has open when it is looked at.
IDLE = "one = open('/etc/passwd'); two = os.pipe(); three = open('/dev/null', 'w')"
CONNECTED = "one = socket.socket()"
WRITING = "one = open(sys.argv[1] + '.queue', 'w')"
PARENT = "os.fork()"


def itself() -> Process:
    """This process: what the workers are children of."""
    found = alive(os.getpid())
    assert found
    return found


def is_held(pid: int) -> bool:
    found = alive(pid)
    assert found
    return found.held


class Paper:
    """A supervisord that starts the next of its programs whenever one has ended."""

    def __init__(self, out: Path, programs: list[str], *, again: bool = True) -> None:
        self.daemon = itself()
        self.pid = self.daemon.pid
        self.out = out
        self.again = again
        self.programs = programs
        self.state = "STOPPED"
        self.stopped: list[int] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.every: list[subprocess.Popen[bytes]] = []
        self.spawn()

    def spawn(self) -> None:
        """Starts one, and returns when it has opened what it opens."""
        ready = self.out.with_name(f"{self.out.name}.ready")
        ready.unlink(missing_ok=True)
        code = BEGIN + self.programs.pop(0) + READY
        self.process = subprocess.Popen(
            [sys.executable, "-IS", "-c", code, str(self.out)], start_new_session=True
        )
        self.every.append(self.process)
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        self.state = "RUNNING"

    def info(self, name: str) -> Info:
        """As the real one, which looks after its processes between two calls."""
        process = self.process
        if process and process.poll() is not None:
            self.process = None
            self.state = "STOPPED" if self.state == "STOPPING" else "EXITED"
        elif self.state == "EXITED" and self.again:
            self.spawn()
        return Info(name, self.state, self.process.pid if self.process else 0)

    def stop(self, _: str) -> bool:
        """Says that it is to stop; the signal comes from the test's own side."""
        assert self.process
        self.state = "STOPPING"
        self.stopped.append(self.process.pid)
        return True


@pytest.fixture
def papers() -> Iterator[list[Paper]]:
    made: list[Paper] = []
    yield made
    for paper in made:
        for process in paper.every:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            process.wait()


def task(stop_timeout: str = "60s") -> Task:
    (worker,) = app(
        '[workers.w]\ncommand = "/bin/w"\nstop_signal = "SIGTERM"\nkill_mode = "mixed"\n'
        f'stop_timeout = "{stop_timeout}"'
    ).workers
    accounts = frozenset({os.getuid()})
    return Task("w:w", SETTINGS, worker, None, known=False, accounts=accounts)


def end(made: StopGroup, *tasks: Task) -> dict[str, Stopped | UnitqError]:
    """How each of them ended."""
    for one in tasks:
        made.begin(one)
    found: dict[str, Stopped | UnitqError] = {}
    try:
        while made.active:
            made.wait()
            made.turn()
            found |= made.results()
    finally:
        made.close()
    return found


def ended_of(made: StopGroup, one: Task) -> Stopped:
    (found,) = end(made, one).values()
    if isinstance(found, UnitqError):
        raise found
    return found


def handover(paper: Paper | Papers, tmp_path: Path, deadline: float | None = None) -> StopGroup:
    interrupts = Interrupts()
    interrupts.wake = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    reading, writing = os.pipe()
    os.close(interrupts.wake)
    interrupts.wake = reading
    _ = writing  # open for as long as the test: nothing ever wakes us
    return StopGroup(cast("Any", paper), tmp_path / "told", interrupts, lambda _: None, deadline)


def test_a_successor_that_may_have_a_job_finishes_it(tmp_path: Path, papers: list[Paper]) -> None:
    out = tmp_path / "out"
    paper = Paper(out, [IDLE, CONNECTED, WRITING, PARENT, IDLE])
    papers.append(paper)
    ended = ended_of(handover(paper, tmp_path), task())
    told = [process.pid for process in paper.every]
    # The first and the three that have begun each finish; the last has nothing to finish.
    assert out.read_text().count("finished\n") >= 4
    assert [process.returncode for process in paper.every] == [0, 0, 0, 0, -signal.SIGKILL]
    assert paper.stopped == told[-1:]
    assert ended.signalled == tuple(told[:4])
    assert ended.successors == 1
    assert not paper.programs


def test_what_is_not_started_again_is_only_told(tmp_path: Path, papers: list[Paper]) -> None:
    paper = Paper(tmp_path / "out", [CONNECTED], again=False)
    papers.append(paper)
    ended = ended_of(handover(paper, tmp_path), task())
    assert paper.every[0].returncode == 0
    assert not paper.stopped
    assert ended.successors == 0


def test_it_gives_up_and_kills_nothing(tmp_path: Path, papers: list[Paper]) -> None:
    paper = Paper(tmp_path / "out", [CONNECTED] * 11)
    papers.append(paper)
    made = handover(paper, tmp_path)
    with pytest.raises(HandoverError, match="faster than it can be held"):
        ended_of(made, task())
    # Whoever was told has ended; the last one was not, and goes on.
    assert made.unfinished["w:w"] == paper.every[-2].pid
    assert not paper.stopped
    assert all(process.poll() in (0, None) for process in paper.every)
    assert paper.every[-1].poll() is None
    assert not is_held(paper.every[-1].pid)


def test_what_works_for_too_long_is_left_to_it(tmp_path: Path, papers: list[Paper]) -> None:
    stubborn = "signal.signal(signal.SIGTERM, lambda *_: None)"
    paper = Paper(tmp_path / "out", [stubborn])
    papers.append(paper)
    with pytest.raises(HandoverError, match="still works, 1s after SIGTERM"):
        ended_of(handover(paper, tmp_path), task("1s"))
    assert paper.every[0].poll() is None
    with pytest.raises(GaveUpError):
        ended_of(handover(paper, tmp_path, time.monotonic() + 0.2), task())
    assert paper.every[0].poll() is None
    assert not paper.stopped


class Papers:
    """A supervisord with several of them, by name."""

    def __init__(self, papers: dict[str, Paper]) -> None:
        self.daemon = itself()
        self.pid = self.daemon.pid
        self.papers = papers

    def info(self, name: str) -> Info:
        """Of one of them."""
        return self.papers[name].info(name)

    def stop(self, name: str) -> bool:
        """One of them."""
        return self.papers[name].stop(name)


STUBBORN = "signal.signal(signal.SIGTERM, lambda *_: None)"


def named(name: str, stop_timeout: str = "60s") -> Task:
    return replace(task(stop_timeout), process=name)


def test_none_waits_for_another_and_a_failure_is_its_own(
    tmp_path: Path, papers: list[Paper]
) -> None:
    programs = {"w:slow": [STUBBORN], "w:late": [STUBBORN], "w:quick": [CONNECTED, IDLE]}
    for name, each in programs.items():
        papers.append(Paper(tmp_path / name, each))
    supervisord = Papers(dict(zip(programs, papers, strict=True)))
    made = handover(supervisord, tmp_path)
    made.begin(named("w:slow"))
    made.begin(named("w:late", "1s"))
    made.begin(named("w:quick"))
    found: dict[str, Stopped | UnitqError] = {}
    while len(found) < 2:
        made.wait()
        made.turn()
        found |= made.results()
    assert list(made.active) == ["w:slow"]
    late, quick = found["w:late"], found["w:quick"]
    assert isinstance(late, HandoverError)
    assert "still works, 1s after SIGTERM" in late.message
    assert isinstance(quick, Stopped)
    assert (len(quick.signalled), quick.successors) == (1, 1)
    assert [len(paper.stopped) for paper in papers] == [0, 0, 1]
    # Both were told, and Supervisor has them until they end.
    slow, late_one = (paper.every[0].pid for paper in papers[:2])
    assert made.unfinished == {"w:late": late_one}
    made.close()
    assert made.unfinished == {"w:late": late_one, "w:slow": slow}
    assert len(made.active) == 0
    assert all(paper.every[0].poll() is None for paper in papers[:2])


def test_what_is_held_is_let_go_when_all_is_left(tmp_path: Path, papers: list[Paper]) -> None:
    """The shell above a worker that still works."""
    paper = Paper(tmp_path / "out", [""])
    papers.append(paper)
    script = f'{sys.executable} -IS -c "$0" "$1"; true'
    shell = subprocess.Popen(
        ["/bin/sh", "-c", script, BEGIN + READY, str(tmp_path / "below")], start_new_session=True
    )
    paper.every.append(shell)
    paper.process = shell
    made = handover(paper, tmp_path)

    def below() -> list[Process]:
        return [one for one in process_tree.below(shell.pid) if one.catches(signal.SIGTERM)]

    deadline = time.monotonic() + 60
    while not below():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (worker,) = below()
    os.kill(worker.pid, signal.SIGSTOP)  # so that it does not end when it is told
    made.begin(task())
    while not is_held(shell.pid):
        made.wait()
        made.turn()
    made.turn()
    made.close()
    assert not is_held(shell.pid)
