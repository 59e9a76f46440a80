"""Apps for the proof: one worker for each way to start a framework, and the table of what was seen.

The fixtures `make_site`, `system_site` and `redis` are those of the tests against systemd.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.frameworks import page
from tests.frameworks.table import APPS, Framework, Way, Worker
from tests.systemd.conftest import (  # noqa: F401  (fixtures)
    Site,
    _redis,
    _sandbox,
    make_site,
    redis,
    system_site,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.frameworks.runs import Run
    from tests.harness.redis_server import RedisServer

# Two cores start thirty Python programs now and then; nothing is asserted about how long it takes.
READY = 120.0

# systemd's "Stopping …": catalog id of SD_MESSAGE_UNIT_STOPPING.
_STOPPING = "de5b426a63be47a7b6ac3eaac82e2f6f"


class Proof:
    """One app whose workers are one framework, started in different ways."""

    def __init__(self, site: Site, server: RedisServer, framework: Framework, grace: int) -> None:
        self.site = site
        self.framework = framework
        self.redis = server
        self._grace = grace
        self.workers: list[Worker] = []

    def deploy(self, ways: Sequence[Way], **settings: Any) -> list[Worker]:
        """Deploy a worker for each of the ways, all with the preset's settings and these."""
        self.workers = [
            Worker(self.framework, way, self.site, self.redis, self._grace) for way in ways
        ]
        for release in (1, 2):
            shutil.copytree(APPS, self.site.release(release), dirs_exist_ok=True)
        self.site.config(
            workers={
                each.name: {"instances": 1, **each.table, **settings} for each in self.workers
            },
            rollout={"min_healthy": "1s", "start_timeout": "90s"},
            redis={"url": self.redis.url},
        )
        self.site.deploy(timeout=READY)
        return self.workers

    def roll(self, command: str) -> dict[str, Any]:
        """`unitq restart` or `deploy`, one instance of each worker at a time; its report."""
        result = self.site.unitq(command, "--json", timeout=300)
        assert result.code == 0, result
        report: dict[str, Any] = result.json
        return report

    def enqueue(self, number: int, seconds: float) -> None:
        """Give each worker so many jobs, all at the same time."""
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda worker: worker.enqueue(number, seconds), self.workers))

    def starts(self, worker: Worker) -> dict[str, str]:
        """Which start each active instance is now: systemd's invocation, by its number."""
        shown = self.site.show(worker.name)
        return {
            name.partition("@")[2]: properties["InvocationID"]
            for name, properties in shown.items()
            if properties["ActiveState"] == "active"
        }

    def wait_at_work(self, worker: Worker, instances: int) -> None:
        """Wait until each instance has begun a job since it was started; add jobs if need be."""

        def at_work() -> bool:
            begun = {run.start for run in worker.runs()}
            starts = self.starts(worker)
            if len(starts) == instances and set(starts.values()) <= begun:
                return True
            if not worker.count().never_done:
                worker.enqueue(instances, 0.3)
            return False

        wait_until(at_work, READY, f"a job begun by each instance of {worker.name}", interval=0.2)

    def wait_told(self, worker: Worker, before: dict[str, str]) -> None:
        """Wait until its instances, which were these starts, were told to stop."""
        wait_until(lambda: self.starts(worker) != before, 60, f"{worker.name} told to stop")

    def wait_done(self, worker: Worker, seconds: float = READY) -> None:
        """Wait until each of its jobs is done at least once, or put aside by the framework."""
        try:
            wait_until(lambda: not worker.missing(), seconds, interval=0.2)
        except AssertionError:
            pytest.fail(f"not done within {seconds:g} s, {worker.name}: {worker.count()}")

    def stops(self, worker: Worker) -> dict[str, list[float]]:
        """When systemd told each instance to stop, by its number: from its journal."""
        subprocess.run(["journalctl", "--sync"], timeout=30, check=True, capture_output=True)
        found: dict[str, list[float]] = {}
        for number in self.site.show(worker.name):
            unit = self.site.unit(worker.name, int(number.partition("@")[2]))
            told = self.site.scope.run(
                *("journalctl", "--quiet", "--output=json", f"MESSAGE_ID={_STOPPING}"),
                f"UNIT={unit}",
            )
            entries = [json.loads(line) for line in told.stdout.splitlines()]
            found[number.partition("@")[2]] = [
                int(entry["__REALTIME_TIMESTAMP"]) / 1e6 for entry in entries
            ]
        return found

    def interrupted(self, worker: Worker) -> list[Run]:
        """The jobs that were in hand when their instance was told to stop."""
        found = []
        all_runs = worker.runs()
        for instance, moments in self.stops(worker).items():
            own = [run for run in all_runs if run.instance == instance]
            for moment in moments:
                before = [run for run in own if run.begun < moment]
                last = before[-1].start if before else ""
                found += [run for run in before if run.start == last and run.in_hand(moment)]
        return found


@pytest.fixture
def prove(system_site: Site, redis: RedisServer) -> Callable[..., Proof]:  # noqa: F811
    """`prove(framework, grace=25)`: an app of this framework, to be deployed."""

    def make(framework: Framework, grace: int = 25) -> Proof:
        return Proof(system_site, redis, framework, grace)

    return make


@pytest.fixture(scope="session")
def seen() -> Iterator[dict[tuple[str, str, str], str]]:
    """What was seen, by framework, case and way; goes into the page at the end of a full run."""
    found: dict[tuple[str, str, str], str] = {}
    yield found
    if os.environ.get("UNITQ_UPDATE_DOCS"):
        page.add(found)
