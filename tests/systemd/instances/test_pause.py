"""pause and resume: the job in hand is finished, no other is taken, and everybody can see it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.harness.load import Load
from tests.systemd.cli.test_json import documented, shape
from tests.systemd.conftest import wait_until

if TYPE_CHECKING:
    from tests.harness.redis_server import RedisServer
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd


def config(site: Site, redis: RedisServer, command: str | None = None) -> None:
    site.config(
        environment=site.resque_environment(redis, INTERVAL="0.02"),
        workers={"sms": {"preset": "php-resque", "command": command or site.php(), "instances": 2}},
    )


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_job_in_hand_is_finished_and_no_other_is_taken(
    system_site: Site, redis: RedisServer, wrapped: bool
) -> None:
    site = system_site
    # Without the second command bash would replace itself by the worker.
    config(site, redis, f'/bin/bash -c "{site.php()}; exit $$?"' if wrapped else None)
    site.deploy()
    before = site.pids("sms")
    load = Load(redis.client)
    load.enqueue(2, 1.0)
    wait_until(lambda: redis.client.llen("resque:begun") == 2, 10, "both are at work")
    result = site.unitq("pause", "--json")
    assert result.code == 0, result
    assert shape(result.json) == shape(documented("pause"))
    load.enqueue(3, 0.01)
    wait_until(lambda: redis.client.llen("resque:sent") == 2, 10, "both jobs are done")
    time.sleep(0.5)
    assert redis.client.llen("resque:begun") == 2
    assert site.pids("sms") == before
    status = site.unitq("status", "--json")
    assert status.code == 3
    (worker,) = status.json["apps"][0]["workers"]
    assert (worker["serving"], [one["paused"] for one in worker["instances"]]) == (0, [True, True])
    shown = site.unitq("status").stdout
    assert "0 of 2 serving, 2 paused" in shown
    assert "was paused already" in site.unitq("pause", "sms@1").stdout
    # Looking does not change it.
    assert site.unitq("plan").code == 0
    assert redis.client.llen("resque:begun") == 2
    assert site.unitq("resume").code == 0
    wait_until(lambda: redis.client.llen("resque:sent") == 5, 10, "they take jobs again")
    assert site.unitq("status").code == 0
    assert site.pids("sms") == before
    assert load.tally().twice == ()


def test_a_restart_says_that_the_successor_takes_jobs(
    system_site: Site, redis: RedisServer
) -> None:
    site = system_site
    config(site, redis)
    site.deploy()
    assert site.unitq("pause", "sms@1").code == 0
    site.switch(2)
    plan = site.unitq("plan")
    assert "it is paused, and its successor will take jobs" in plan.stdout
    assert plan.stdout.count("it is paused") == 1
    deploy = site.deploy()
    assert "sms@1 is paused, and what takes the place will take jobs" in deploy.stderr
    assert site.unitq("status").code == 0
    # A restart says the same of one that runs the wanted code already.
    assert site.unitq("pause", "sms@2").code == 0
    restart = site.unitq("restart")
    assert "sms@2 is paused, and what takes the place will take jobs" in restart.stderr
    # The note held for the process that is gone.
    assert "paused" not in site.unitq("status").stdout
    assert site.unitq("resume").code == 0


def test_what_would_die_of_the_signal_does_not_get_it(system_site: Site) -> None:
    site = system_site
    # It says that it is php-resque, and has no handler for SIGUSR2.
    site.config(
        workers={"sms": {"preset": "php-resque", "command": "/bin/sleep infinity", "instances": 1}}
    )
    site.deploy()
    before = site.pids("sms")
    result = site.unitq("pause")
    assert result.code == 3
    assert "none of its processes has a handler for SIGUSR2" in result.stderr
    assert site.pids("sms") == before
    assert site.unitq("status").code == 0


def test_a_framework_without_such_a_signal_has_another_way(system_site: Site) -> None:
    site = system_site
    site.config(
        workers={
            "a": {"preset": "rq", "command": site.odd("steady"), "instances": 1},
            "b": {"command": site.odd("steady"), "instances": 1},
        }
    )
    site.deploy()
    result = site.unitq("pause", "a")
    assert result.code == 2
    assert "a: rq has no signal that pauses it" in result.stderr
    assert "rq suspend" in result.stderr
    result = site.unitq("pause", "b")
    assert (result.code, "without a preset there is no signal" in result.stderr) == (2, True)
    assert site.unitq("status").code == 0


def test_what_does_not_run_cannot_be_paused(system_site: Site, redis: RedisServer) -> None:
    site = system_site
    config(site, redis)
    site.deploy()
    site.unitq("stop", "sms@2")
    result = site.unitq("pause")
    assert (result.code, "sms@2: not running" in result.stderr) == (3, True)
    assert "sms@1: paused (PID" in result.stdout


def test_a_timer_does_not_end_a_pause(system_site: Site, redis: RedisServer) -> None:
    site = system_site
    site.config(
        environment=site.resque_environment(redis, INTERVAL="0.02"),
        workers={
            "sms": {
                "preset": "php-resque",
                "command": site.php(),
                "instances": 2,
                "recycle": {"age": "1s", "jitter": "0%"},
            }
        },
    )
    site.deploy()
    assert site.unitq("pause", "sms@1").code == 0
    before = site.pids("sms")
    time.sleep(1.0)
    assert site.unitq("recycle").code == 0
    after = site.pids("sms")
    assert after["sms@1"] == before["sms@1"]
    assert after["sms@2"] != before["sms@2"]
