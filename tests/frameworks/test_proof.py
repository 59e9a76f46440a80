"""Each framework under systemd, with the settings that unitq gives it: no job is harmed.

The jobs themselves write down that they begin and that they are done; see runs.py. `script/test`
runs the quick half of it, `script/test frameworks` all, which also writes docs/frameworks-proof.md
if UNITQ_UPDATE_DOCS is set.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.frameworks.table import FRAMEWORKS, Framework, Promise, Shell, Worker, worker_table
from tests.systemd.conftest import Site, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from tests.frameworks.conftest import Proof

    Prove = Callable[..., Proof]
    Seen = MutableMapping[tuple[str, str, str], str]

pytestmark = pytest.mark.frameworks


# How long a job that came to no end is watched for somebody else who begins it again.
WATCH = 3.0


@dataclass(frozen=True)
class Size:
    """How much of it."""

    name: str
    seconds: float
    """Of the long job."""
    jobs: int
    """How many short ones, and how many restarts they go through."""
    restarts: int
    watch: float
    """How long, once all is done, for somebody who does a job again."""
    shells: tuple[Shell, ...]


QUICK = Size("quick", 6.0, 40, 2, 0.5, (Shell.NONE,))
FULL = Size("full", 20.0, 200, 5, WATCH, tuple(Shell))
SHORT = 0.3  # seconds
INSTANCES = 2


def _rows(*sizes: Size) -> list[Any]:
    return [
        pytest.param(
            framework,
            size,
            id=f"{size.name}-{framework.name}",
            marks=[pytest.mark.quick] if size is QUICK else [],
        )
        for size in sizes
        for framework in FRAMEWORKS
        if size is FULL or framework.quick
    ]


every_row = pytest.mark.parametrize(("framework", "size"), _rows(QUICK, FULL))
full_rows = pytest.mark.parametrize(("framework", "size"), _rows(FULL))


@pytest.fixture
def note(seen: Seen, framework: Framework, size: Size) -> Callable[[str, str, str], None]:
    """`note(case, shell, what was seen)`, for the page; the quick half is not in there."""

    def put(case: str, shell: str, what: str) -> None:
        if size is FULL:
            seen[framework.name, case, shell] = what

    return put


@every_row
def test_a_long_job_in_hand_is_not_harmed(
    framework: Framework, size: Size, prove: Prove, note: Callable[[str, str, str], None]
) -> None:
    proof = prove(framework, grace=int(size.seconds) + 5)
    for shell in size.shells:
        note("long", shell, "**failed**")
    workers = proof.deploy(size.shells)
    for worker in workers:
        worker.enqueue(1, size.seconds)
    for worker in workers:
        wait_until(worker.runs, 120, f"the long job of {worker.name} begun")
    before = {worker.name: proof.starts(worker) for worker in workers}

    restart = proof.site.start("restart", "--json")
    for worker in workers:
        proof.wait_told(worker, before[worker.name])
        # What comes in now is for the next one.
        worker.enqueue(1, SHORT)
    result = restart.wait(300)
    assert result.code == 0, result
    for worker in workers:
        proof.wait_done(worker)
    time.sleep(size.watch)

    report = result.json
    assert report["killed"] == report["failed"] == [], report
    for worker in workers:
        count, runs = worker.count(), worker.runs()
        long = [run for run in runs if run.job == 0]
        assert long[0] in proof.interrupted(worker), "nothing was in hand: this proves nothing"
        assert {long[0].start} == set(before[worker.name].values())
        if framework.promise is Promise.ONCE:
            assert count.once, f"{worker.name}: {count}"
        else:
            assert count.done_once, f"{worker.name}: {count}"
            assert count.begun_twice == (0,), f"{worker.name}: {count}"
        # An early return of its sleep would be harm, too.
        assert long[-1].seconds >= size.seconds - 0.1
        (second,) = (run for run in runs if run.job == 1)
        if not framework.takes_another:
            assert second.start != long[0].start, "it took another job after it was told to stop"
        (entry,) = (each for each in report["instances"] if each["instance"] == f"{worker.name}@1")
        assert entry["ending"] == "drained", entry
        note("long", worker.name, f"{_said(count)}; stopped in {entry['drain_seconds']:.1f} s")


@every_row
def test_short_jobs_through_rolling_restarts(
    framework: Framework, size: Size, prove: Prove, note: Callable[[str, str, str], None]
) -> None:
    # saq takes all of its grace each time.
    proof = prove(framework, grace=2)
    for shell in size.shells:
        note("short", shell, "**failed**")
    workers = proof.deploy(size.shells, instances=INSTANCES)
    for turn in range(size.restarts):
        for worker in workers:
            worker.enqueue(size.jobs // size.restarts, SHORT)
        for worker in workers:
            proof.wait_at_work(worker, INSTANCES)
        if turn % 2:
            proof.site.switch(2 - turn // 2 % 2)
            report = proof.roll("deploy")
        else:
            report = proof.roll("restart")
        assert report["killed"] == report["failed"] == [], report
        assert report["result"] == "ok", report
        assert {each["ending"] for each in report["instances"]} == {"drained"}, report
    for worker in workers:
        proof.wait_done(worker)
    time.sleep(size.watch)

    for worker in workers:
        count, interrupted = worker.count(), proof.interrupted(worker)
        told = sum(len(moments) for moments in proof.stops(worker).values())
        assert told == INSTANCES * size.restarts
        assert len(interrupted) >= size.restarts, "too few were in hand: this proves nothing"
        if framework.promise is Promise.ONCE:
            assert count.once, f"{worker.name}: {count}"
        else:
            assert count.done_once, f"{worker.name}: {count}"
            assert set(count.begun_twice) <= {run.job for run in interrupted}
        note("short", worker.name, f"{_said(count)}; {len(interrupted)} in hand at {told} stops")


@full_rows
def test_after_stop_timeout_a_worker_is_killed_and_named(
    framework: Framework, size: Size, prove: Prove, note: Callable[[str, str, str], None]
) -> None:
    proof = prove(framework, grace=60)
    for shell in size.shells:
        note("killed", shell, "**failed**")
    workers = proof.deploy(size.shells, stop_timeout="2s")
    for worker in workers:
        worker.enqueue(1, 30.0)
    for worker in workers:
        wait_until(worker.runs, 120, f"the long job of {worker.name} begun")
    result = proof.site.unitq("restart", timeout=120)
    assert result.code == 0, result
    time.sleep(WATCH)
    for worker in workers:
        first, *more = worker.runs()
        told = f"{worker.name}@1 was killed" in result.stderr
        if framework.promise is Promise.AGAIN:
            # It cancels its job, and is gone before its time is over.
            assert not told, result
            note("killed", worker.name, "it cancels the job, and need not be killed")
            continue
        assert told, result
        assert first.done is None, first
        after = "begun again at once" if more else f"not begun again within {WATCH:g} s"
        note("killed", worker.name, f"named; job {after}")


@full_rows
def test_a_shell_that_stays_is_refused(
    framework: Framework, size: Size, system_site: Site, note: Callable[[str, str, str], None]
) -> None:
    site = system_site
    for shell in (Shell.SH, Shell.BASH):
        note("refused", shell, "**failed**")
        worker = Worker(framework, str(shell), site, None, 0)  # type: ignore[arg-type]
        command = shell.in_between(framework.command.format(queue="q", redis="redis://127.0.0.1/"))
        site.config(workers={worker.name: {**worker_table(framework), "command": command}})
        for verb in ("check", "deploy"):
            result = site.unitq(verb)
            assert result.code != 0, result
            assert "exec" in result.output, result
        assert site.show() == {}, "it was installed all the same"
        note("refused", shell, "refused")


def _said(count: Any) -> str:
    if count.once:
        return f"{count.jobs} of {count.jobs} once"
    return f"{count.jobs} of {count.jobs} done once, {len(count.begun_twice)} of them begun twice"
