"""Each framework under systemd, with the settings that unitq gives it: no job is harmed.

The jobs themselves write down that they begin and that they are done; see runs.py. `script/test`
runs the quick half of it, `script/test frameworks` all, which also writes docs/proof.json
if UNITQ_UPDATE_DOCS is set.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.frameworks import runs
from tests.frameworks.table import APPS, FRAMEWORKS, Framework, Promise, Way, Worker
from tests.systemd.conftest import wait_until
from unitq.presets.redis_keys import WITH_PIDS

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from tests.frameworks.conftest import Proof
    from tests.harness.redis_server import RedisServer
    from tests.systemd.conftest import Site

    Prove = Callable[..., Proof]
    Seen = MutableMapping[tuple[str, str, str], str]

pytestmark = pytest.mark.frameworks


# Frameworks that do not tell in Redis which jobs are at work, but print it.
PRINTS = frozenset({"celery", "huey"})

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
    ways: tuple[Way, ...]


QUICK = Size("quick", 6.0, 40, 2, 0.5, (Way.DIRECT,))
FULL = Size("full", 20.0, 200, 5, WATCH, tuple(Way))
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
    """`note(case, way, what was seen)`, for the page; the quick half is not in there."""

    def put(case: str, way: str, what: str) -> None:
        if size is FULL:
            seen[framework.name, case, way] = what

    return put


@every_row
def test_a_long_job_in_hand_is_not_harmed(
    framework: Framework, size: Size, prove: Prove, note: Callable[[str, str, str], None]
) -> None:
    proof = prove(framework, grace=int(size.seconds) + 5)
    for way in size.ways:
        note("long", way, "**failed**")
    workers = proof.deploy(size.ways)
    proof.enqueue(1, size.seconds)
    for worker in workers:
        wait_until(worker.runs, 120, f"the long job of {worker.name} begun")
    before = {worker.name: proof.starts(worker) for worker in workers}

    restart = proof.site.start("restart", "--json")
    for worker in workers:
        proof.wait_told(worker, before[worker.name])
    # What comes in now is for the next one.
    proof.enqueue(1, SHORT)
    result = restart.wait(300)
    assert result.code == 0, result
    for worker in workers:
        proof.wait_done(worker)
    time.sleep(size.watch)

    report = result.json
    assert report["killed"] == report["failed"] == [], report
    for worker in workers:
        count, found = worker.count(), worker.runs()
        long = [run for run in found if run.job == 0]
        assert long[0] in proof.interrupted(worker), "nothing was in hand: this proves nothing"
        assert {long[0].start} == set(before[worker.name].values())
        if framework.promise is Promise.ONCE:
            assert count.once, f"{worker.name}: {count}"
        else:
            assert count.done_once, f"{worker.name}: {count}"
            assert count.begun_twice == (0,), f"{worker.name}: {count}"
        # An early return of its sleep would be harm, too.
        assert long[-1].seconds >= size.seconds - 0.1
        (second,) = (run for run in found if run.job == 1)
        if not framework.idle_hangs:
            assert second.start != long[0].start, "it took another job after it was told to stop"
        (entry,) = (each for each in report["instances"] if each["instance"] == f"{worker.name}@1")
        assert entry["ending"] in worker.endings, entry
        note("long", worker.name, f"{_said(count)}; stopped in {entry['drain_seconds']:.1f} s")


@every_row
def test_short_jobs_through_rolling_restarts(
    framework: Framework, size: Size, prove: Prove, note: Callable[[str, str, str], None]
) -> None:
    # saq takes all of its grace each time.
    proof = prove(framework, grace=2)
    for way in size.ways:
        note("short", way, "**failed**")
    killed: list[str] = []
    workers = proof.deploy(size.ways, instances=INSTANCES)
    for turn in range(size.restarts):
        # A worker that is still loading would be harmed by nothing.
        for worker in workers:
            proof.wait_at_work(worker, INSTANCES)
        proof.enqueue(size.jobs // size.restarts, SHORT)
        if turn % 2:
            proof.site.switch(2 - turn // 2 % 2)
            report = proof.roll("deploy")
        else:
            report = proof.roll("restart")
        assert (report["result"], report["failed"]) == ("ok", []), report
        # One that has nothing in hand and does not end: its jobs are counted all the same.
        assert report["killed"] == [] or framework.idle_hangs, report
        killed += report["killed"]
        for worker in workers:
            for number in range(1, INSTANCES + 1):
                assert _ending(report, worker, number) in {*worker.endings, *_hung(framework)}
    for worker in workers:
        proof.wait_done(worker)
    time.sleep(size.watch)

    for worker in workers:
        parked = worker.parked()
        # What was put aside was not begun, and is not lost.
        assert not parked & {run.job for run in worker.runs()}
        count = runs.count(set(worker.jobs) - parked, worker.runs())
        interrupted = proof.interrupted(worker)
        told = sum(len(moments) for moments in proof.stops(worker).values())
        assert told == INSTANCES * size.restarts
        assert len(interrupted) >= size.restarts, "too few were in hand: this proves nothing"
        if framework.promise is Promise.ONCE:
            assert count.once, f"{worker.name}: {count}"
        else:
            assert count.done_once, f"{worker.name}: {count}"
            assert set(count.begun_twice) <= {run.job for run in interrupted}
        seen = f"{_said(count)}; {len(interrupted)} in hand at {told} stops"
        if parked:
            seen += f"; {len(parked)} more left where it was being fetched"
        if hung := [name for name in killed if name.startswith(f"{worker.name}@")]:
            seen += f"; {len(hung)} killed with nothing in hand"
        note("short", worker.name, seen)


@full_rows
def test_after_stop_timeout_a_worker_is_killed_and_named(
    framework: Framework, size: Size, prove: Prove, note: Callable[[str, str, str], None]
) -> None:
    proof = prove(framework, grace=60)
    for way in size.ways:
        note("killed", way, "**failed**")
    workers = proof.deploy(size.ways, stop_timeout="2s")
    # Celery prints what it fetches, and fetches one ahead: which of the two it runs is to be told.
    proof.enqueue(2 if framework.preset == "celery" else 1, 30.0)
    for worker in workers:
        wait_until(worker.runs, 120, f"the long job of {worker.name} begun")
    known = framework.preset in {*WITH_PIDS, "php-resque"}
    if known:
        # Sidekiq writes what it has in hand every few seconds only.
        wait_until(lambda: _held(proof.site) == len(workers), 60, "Redis knows the jobs in hand")
    result = proof.site.unitq("restart", "--json", timeout=120)
    assert result.code == 0, result
    time.sleep(WATCH)
    for worker in workers:
        first, *more = [run for run in worker.runs() if run.job == 0]
        told = f"{worker.name}@1" in result.json["killed"]
        if framework.promise is Promise.AGAIN:
            # It cancels its job, and is gone before its time is over.
            assert not told, result
            note("killed", worker.name, "it cancels the job, and need not be killed")
            continue
        assert told, result
        assert first.done is None, first
        (row,) = (r for r in result.json["instances"] if r["instance"] == f"{worker.name}@1")
        what = "and its job"
        if known:
            # Its framework keeps its PID with its job.
            (lost,) = row["jobs"]
            assert lost["name"], lost
            assert lost["hash"], lost
        elif framework.preset in PRINTS:
            (lost,) = row["jobs"]
            assert lost["name"], lost
            assert framework.preset == "huey" or lost["id"] == f"{worker.name}-0", lost
            what = "and its job, by what it printed"
        else:
            # Of the jobs in its queues this is the one that it can have had.
            assert row["jobs"] is None, row
            (lost,) = row["possible_jobs"]
            what = "and the one job that it can have had"
            assert lost["hash"], lost
        # Huey prints no queue.
        assert lost["queue"] == (None if framework.preset == "huey" else worker.name), lost
        # node-resque's jobs have no ids.
        assert bool(lost["id"]) is (framework.preset != "node-resque"), lost
        after = "begun again at once" if more else f"not begun again within {WATCH:g} s"
        note("killed", worker.name, f"named, {what}; job {after}")


@full_rows
def test_a_shell_that_stays_is_refused_where_it_would_harm_jobs(
    framework: Framework,
    size: Size,
    system_site: Site,
    redis: RedisServer,
    note: Callable[[str, str, str], None],
) -> None:
    site = system_site
    shutil.copytree(APPS, site.release(1), dirs_exist_ok=True)
    for way in (Way.SH, Way.BASH):
        note("refused", way, "**failed**")
        worker = Worker(framework, way, site, redis, 0)
        # As in `table`, but never with `exec`.
        command = worker.command if framework.variable else worker.whole_command
        site.config(workers={worker.name: {**worker.table, "command": way.around(command)}})
        result = site.unitq("check", "--json")
        errors = [each for each in result.json["findings"] if each["level"] == "error"]
        if not framework.shell_refused:
            assert errors == [], result
            assert "KillMode=control-group" in site.unitq("render").stdout
            note("refused", way, "taken; `KillMode=control-group`")
            continue
        assert result.code != 0, result
        (error,) = errors
        assert error["place"] == f"workers.{worker.name}.command", error
        assert "exec" in error["hint"], error
        deploy = site.unitq("deploy")
        assert deploy.code != 0, deploy
        assert site.show() == {}, "it was installed all the same"
        note("refused", way, "refused, with the line that has `exec`")


def _held(site: Site) -> int:
    return len(site.unitq("queues", "--interval", "0", "--json").json["jobs"])


def _ending(report: Any, worker: Worker, number: int) -> str:
    name = f"{worker.name}@{number}"
    (entry,) = (each for each in report["instances"] if each["instance"] == name)
    return str(entry["ending"])


def _hung(framework: Framework) -> set[str]:
    return {"killed"} if framework.idle_hangs else set()


def _said(count: Any) -> str:
    if count.once:
        return f"{count.jobs} of {count.jobs} once"
    return f"{count.jobs} of {count.jobs} done once, {len(count.begun_twice)} of them begun twice"
