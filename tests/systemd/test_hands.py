"""What a worker has in hand while it drains, what becomes of it, and who counts as registered."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.load import Load
from tests.systemd.conftest import wait_until

if TYPE_CHECKING:
    from tests.harness.redis_server import RedisServer
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd


def config(site: Site, redis: RedisServer, url: str | None = None, **worker: Any) -> None:
    table = {"preset": "php-resque", "command": site.php(), "instances": 2, **worker}
    site.config(
        environment=site.resque_environment(redis, INTERVAL="0.02"),
        redis={"url": url or redis.url},
        workers={"sms": table},
    )


def busy(redis: RedisServer, jobs: int) -> None:
    wait_until(lambda: redis.client.llen("resque:begun") == jobs, 10, "they are at work")


def test_the_job_that_a_drain_waits_for_is_shown(system_site: Site, redis: RedisServer) -> None:
    site = system_site
    config(site, redis)
    site.deploy()
    jobs = Load(redis.client).enqueue(2, 4.0)
    busy(redis, 2)
    result = site.unitq("restart")
    assert result.code == 0, result
    first = next(line for line in result.stdout.splitlines() if "draining" in line)
    assert any(f": SendSms {job.id} for " in first for job in jobs), result
    tally = Load(redis.client).wait_drained(10)
    assert (tally.lost, tally.twice) == ((), ())


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_job_of_a_killed_worker_is_named(
    system_site: Site, redis: RedisServer, wrapped: bool
) -> None:
    site = system_site
    # Without the second command bash would replace itself by the worker.
    command = f'/bin/bash -c "{site.php()}; exit $$?"' if wrapped else site.php()
    config(site, redis, command=command, instances=1, stop_timeout="1s")
    site.deploy()
    (job,) = Load(redis.client).enqueue(1, 30.0)
    busy(redis, 1)
    result = site.unitq("restart", "--json")
    assert result.json["killed"] == ["sms@1"], result
    (row,) = result.json["instances"]
    (lost,) = row["jobs"]
    assert (lost["queue"], lost["name"], lost["id"]) == ("sms", "SendSms", job.id)
    assert lost["hash"]
    assert row["requeued"] is None
    assert redis.client.llen("resque:queue:sms") == 0
    # Its successor has deleted its record: nobody else could tell.
    assert not any(job.id in str(redis.client.get(key)) for key in redis.client.keys("*worker:*"))


def test_the_job_of_a_killed_worker_is_put_back_where_that_is_wanted(
    system_site: Site, redis: RedisServer
) -> None:
    site = system_site
    config(site, redis, instances=1, stop_timeout="1s", on_killed="requeue")
    site.deploy()
    load = Load(redis.client)
    (job,) = load.enqueue(1, 4.0)
    busy(redis, 1)
    behind = load.enqueue(2, 0.01)
    result = site.unitq("restart", "--json")
    (row,) = result.json["instances"]
    assert row["requeued"] == {"done": True, "why_not": ""}
    assert row["jobs"][0]["id"] == job.id
    # Its successor does it, in its turn.
    wait_until(lambda: redis.client.llen("resque:sent") == 3, 20, "all three are done")
    runs = [run.id for run in load.tally().runs if run.sent]
    assert sorted(runs) == sorted([job.id, *(each.id for each in behind)])
    (killed, again) = [run for run in load.tally().runs if run.id == job.id]
    assert (killed.sent, again.sent is None) == (None, False)


def test_and_in_words(system_site: Site, redis: RedisServer) -> None:
    site = system_site
    config(site, redis, instances=1, stop_timeout="1s")
    site.deploy()
    (job,) = Load(redis.client).enqueue(1, 30.0)
    busy(redis, 1)
    result = site.unitq("restart")
    assert f"SendSms {job.id}" in result.stderr, result
    assert "killed" in result.stderr


def test_a_redis_that_is_away_holds_nobody_up_and_is_said_once(
    system_site: Site, redis: RedisServer
) -> None:
    site = system_site
    # Nobody listens there.
    config(site, redis, url="redis://127.0.0.1:1/0", instances=3)
    site.deploy()
    result = site.unitq("restart")
    assert result.code == 0, result
    assert result.stderr.count("what is in hand is not known") == 1, result
    assert "127.0.0.1:1" in result.stderr


def test_a_new_worker_is_healthy_once_it_is_registered(
    system_site: Site, redis: RedisServer
) -> None:
    site = system_site
    config(site, redis, probe="registered")
    assert site.deploy().code == 0
    pids = site.pids("sms")
    registered = {str(name).split(":")[1] for name in redis.client.smembers("resque:workers")}
    assert registered == {str(pid) for pid in pids.values()}
    assert site.unitq("restart").code == 0


def test_one_that_never_registers_never_is(system_site: Site, redis: RedisServer) -> None:
    site = system_site
    site.config(
        redis={"url": redis.url},
        rollout={"healthy_deadline": "3s"},
        workers={
            "sms": {
                "preset": "php-resque",
                "command": site.odd("steady"),
                "instances": 1,
                "probe": "registered",
            }
        },
    )
    begun = time.monotonic()
    result = site.unitq("deploy")
    assert result.code == 7, result
    assert "still not healthy after 3s: it is not registered in Redis" in result.stderr
    assert time.monotonic() - begun < 30
