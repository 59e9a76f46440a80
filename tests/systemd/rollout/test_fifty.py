"""Fifty deploys in a row under load: every job once, and none with old code after its deploy.

Nothing in here takes unitq's word for anything: jobs are counted in Redis, processes in /proc,
daemon-reloads in systemd's journal, and an observer of its own watches systemd and the cgroups.

The suite has 5,000 jobs in all; with UNITQ_SOAK=1 each deploy has that many, and the test takes
ten minutes:

    UNITQ_SOAK=1 script/test systemd tests/systemd/rollout/test_fifty.py
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.harness import leftovers
from tests.harness.load import Load
from tests.systemd.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.harness.load import Run
    from tests.harness.observer import Observer
    from tests.harness.redis_server import RedisServer
    from tests.systemd.conftest import Site

pytestmark = [pytest.mark.systemd, pytest.mark.long]

WORKERS = 4
DEPLOYS = 50
JOBS = 5000
RATE = 70.0  # jobs a second; what is missing to JOBS at the end comes at once
SOAK = bool(os.environ.get("UNITQ_SOAK"))
KEPT = 5  # revisions

# These bring new unit texts as well.
UNIT_CHANGES = (13, 26, 39)


def test_fifty_deploys_under_load(
    system_site: Site,
    redis: RedisServer,
    observe: Callable[[Site], AbstractContextManager[Observer]],
) -> None:
    site = system_site
    # As in the incident. Without the second command bash would replace itself by the worker.
    command = f'/bin/bash -c "{site.php()}; exit $$?"'

    def config(nice: int) -> None:
        site.config(
            history=KEPT,
            environment=site.resque_environment(redis, INTERVAL="0.02"),
            rollout={"max_unavailable": 2, "min_healthy": "50ms"},
            workers={"sms": {"command": command, "instances": WORKERS, "nice": nice}},
        )

    config(0)
    site.deploy()
    # Of those that come at once a worker has one in hand whenever it is stopped.
    load = Load(redis.client, rate=RATE, seconds=(0.0, 0.002) if SOAK else (0.005, 0.03))
    ends: list[float] = []
    reloads = [site.reloads()]
    with observe(site) as observer:
        begun = time.time()
        with load:
            for number in range(1, DEPLOYS + 1):
                if number in UNIT_CHANGES:
                    reloads.append(site.reloads())
                    config(number % 10)
                site.switch(2 if number % 2 else 1)
                if SOAK:
                    load.enqueue(JOBS)
                result = site.deploy("--json")
                ends.append(time.time())
                assert result.json["result"] == "ok", result
                assert result.json["killed"] == []
                assert site.outside() == ()
                assert leftovers.not_of_revision(site.workers(), result.json["revision"]) == ()
                if number in UNIT_CHANGES:
                    reloads.append(site.reloads())
                if SOAK:
                    wait_until(lambda: redis.client.llen("resque:queue:sms") < RATE, 120, "drained")
        reloads.append(site.reloads())
        if load.enqueued < JOBS:
            load.enqueue(JOBS - load.enqueued)
        count = load.wait_drained(60)
        end = time.time()

    assert count.enqueued >= (JOBS * DEPLOYS if SOAK else JOBS)
    assert count.finished == count.enqueued, count
    assert (count.lost, count.twice, count.failed) == ((), (), ()), count
    assert _old_code(count.runs, ends) == []
    # The load was there all the time: every revision has had jobs to do.
    assert {_number(run) for run in count.runs} == set(range(1, DEPLOYS + 2))
    # In pairs: code only, unit change, code only …
    apart = [after - before for before, after in pairwise(reloads)]
    assert apart[::2] == [0] * (len(UNIT_CHANGES) + 1), apart
    # One for the template, then at most one for each instance.
    assert all(1 <= each <= 1 + WORKERS for each in apart[1::2]), apart
    seen = observer.summary(begun, end)
    assert seen.least_active("sms") >= WORKERS - 2
    assert seen.most_instances("sms") == WORKERS
    assert site.active("sms") == WORKERS
    assert site.outside() == ()
    # And no litter.
    kept = list((site.scope.state_dir / site.app / "revisions").iterdir())
    assert len(kept) <= KEPT + 1, kept
    print(
        f"\n{DEPLOYS} deploys in {ends[-1] - begun:.1f} s, {count}, "
        f"least active {seen.least_active('sms')}, reloads {apart}"
    )


def _number(run: Run) -> int:
    """The number of the revision that did the job, as its environment named it."""
    return int(run.revision.partition("-")[0])


def _old_code(runs: tuple[Run, ...], ends: list[float]) -> list[Run]:
    """The jobs begun with an older revision, or its code, after the deploy of another had ended."""
    found = []
    for run in runs:
        # Deploy k, counted from 1, brought revision k+1; odd ones bring release 2.
        number = _number(run)
        text = "text 2" if number % 2 == 0 else "text 1"
        if number < bisect_left(ends, run.begun) + 1 or run.text != text:
            found.append(run)
    return found
