"""The case that unitq exists for: under load, code changes, and no customer gets the old text.

Nothing in here takes unitq's word for anything: jobs are counted in Redis, processes in /proc,
and an observer of its own watches systemd and the cgroups.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness import leftovers
from tests.harness.load import Load
from tests.systemd.conftest import Scope

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.harness.load import Run
    from tests.harness.observer import Observer
    from tests.harness.redis_server import RedisServer
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd

WORKERS = 4
DEPLOYS = 5
JOBS = 200


@pytest.mark.parametrize(
    ("where", "through", "max_unavailable"),
    [("system", "bash", 1), ("system", "itself", "50%"), ("user", "bash", 2)],
    ids=["bash-system", "direct-system", "bash-user"],
)
def test_five_deploys_under_load_lose_no_job_and_leave_no_old_code(
    where: str,
    through: str,
    max_unavailable: int | str,
    make_site: Callable[..., Site],
    redis: RedisServer,
    observe: Callable[[Site], AbstractContextManager[Observer]],
) -> None:
    site = make_site(Scope(where))
    command = site.php()
    if through == "bash":
        # As in the incident. Without the second command bash would replace itself by the worker.
        command = f'/bin/bash -c "{command}; exit $$?"'
    site.config(
        environment=site.resque_environment(redis),
        rollout={"max_unavailable": max_unavailable},
        workers={"sms": {"command": command, "instances": WORKERS, "queues": ["sms"]}},
    )
    load = Load(redis.client, rate=24, seconds=(0.03, 0.15))
    ends: list[float] = []
    site.deploy()
    mains = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in site.pids().values()}
    assert mains == ({"bash"} if through == "bash" else {"php"})

    with observe(site) as observer:
        begun = time.time()
        with load:
            for number in range(2, DEPLOYS + 2):
                site.release(number)
                site.switch(number)
                deploy = site.start("deploy", "--json")
                while deploy.running:
                    assert site.outside() == ()
                    time.sleep(0.2)
                result = deploy.wait()
                ends.append(time.time())
                assert result.code == 0, result
                assert site.outside() == ()
                revision = result.json["revision"]
                assert leftovers.not_of_revision(site.workers(), revision) == ()
        if load.enqueued < JOBS:
            load.enqueue(JOBS - load.enqueued)
        count = load.wait_drained(60)
        end = time.time()

    assert count.enqueued >= JOBS
    assert count.finished == count.enqueued, count
    assert (count.lost, count.twice, count.failed) == ((), (), ()), count
    assert _begun_with_old_text(count.runs, ends) == []
    # The load was there all the time: every release has had jobs to do.
    assert {run.text for run in count.runs} == {f"text {n}" for n in range(1, DEPLOYS + 2)}
    seen = observer.summary(begun, end)
    assert seen.least_active("sms") >= (3 if max_unavailable == 1 else 2)
    assert seen.gaps == ()
    assert seen.most_instances("sms") == WORKERS
    assert site.active("sms") == WORKERS
    assert len(set(site.revisions("sms").values())) == 1


def _begun_with_old_text(runs: tuple[Run, ...], ends: list[float]) -> list[Run]:
    """The jobs begun with an older text than that of the last deploy that had ended by then."""
    # Deploy k, counted from 0, brought "text k+2"; before it there was "text 1".
    return [run for run in runs if int(run.text.split()[1]) < bisect_left(ends, run.begun) + 1]
