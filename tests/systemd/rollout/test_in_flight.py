"""What a worker has in hand while it drains, what becomes of it, and who counts as registered."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.load import Load
from tests.harness.redis_server import RedisServer
from tests.systemd.conftest import wait_until

if TYPE_CHECKING:
    from pathlib import Path

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


@pytest.mark.variants
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
    assert result.stderr.count("jobs in flight are not known") == 1, result
    assert "127.0.0.1:1" in result.stderr


@pytest.mark.variants
@pytest.mark.parametrize("how", ["closes its connections", "is restarted", "hangs"])
def test_a_hiccup_of_redis_ends_no_rollout(system_site: Site, redis: RedisServer, how: str) -> None:
    """In the looks before a stop and before a kill. The workers have a Redis of their own."""
    site = system_site
    with RedisServer() as shaky:
        config(site, redis, url=shaky.url, instances=3, stop_timeout="1s")
        site.deploy()
        Load(redis.client).enqueue(3, 60.0)
        busy(redis, 3)
        running = site.start("restart", "--json")
        while running.running:
            if how == "closes its connections":
                kill: Any = shaky.client.execute_command
                kill("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            elif how == "is restarted":
                shaky.restart()
            else:
                os.kill(shaky.pid, signal.SIGSTOP)
                time.sleep(0.5)
                os.kill(shaky.pid, signal.SIGCONT)
            time.sleep(0.1)
        result = running.wait(60)
    assert result.code == 0, result
    assert "internal error" not in result.output
    # Each had a job, which took longer than its stop_timeout; each is named.
    assert result.json["killed"] == ["sms@1", "sms@2", "sms@3"]
    assert site.active() == 3


@pytest.mark.variants
@pytest.mark.parametrize(
    "fault",
    [
        "unitq.rollout.engine.schedule:next_actions",
        "unitq.rollout.engine.rollout:Rollout.advance",
        "unitq.rollout.engine.rollout:Rollout.confirm",
        "unitq.rollout.install:install",
        "unitq.instances.observe:instances",
    ],
)
@pytest.mark.parametrize("verb", ["deploy", "restart"])
def test_what_nobody_expected_leaves_no_rollout_without_its_end(
    system_site: Site, tmp_path: Path, fault: str, verb: str
) -> None:
    """A bug of our own, after so many calls; the rollback meets it no more."""
    site = system_site
    site.config(
        rollout={"on_failure": "rollback"},
        workers={"sms": {"command": site.odd("steady"), "instances": 3}},
    )
    site.deploy()
    before = site.revisions()
    site.switch(2)
    module, _, name = fault.partition(":")
    calls = {"install": 1, "Rollout.confirm": 1, "instances": 3}.get(name, 4)
    (tmp_path / "sitecustomize.py").write_text(BUG.format(module=module, name=name, calls=calls))
    path = f"{tmp_path}:{site.scope.environment['PYTHONPATH']}"
    result = site.unitq(verb, environment={"PYTHONPATH": path})
    if verb == "restart":
        assert result.code == (0 if name == "install" else 7), result
        assert "internal error" in result.output or name == "install"
        assert site.active() == 3
        return
    assert result.code == 9, result
    assert "internal error: RuntimeError: a bug" in result.stderr
    assert "This is a bug in unitq" not in result.stderr
    assert site.active() == 3
    assert {each.partition("-")[2] for each in site.revisions().values()} == {
        each.partition("-")[2] for each in before.values()
    }
    # It has its end, its report, and is in nobody's way.
    assert site.unitq("rollout", "status").code == 0
    if name != "install":  # then there is no revision 2
        assert "a bug" in site.unitq("show", "2").output
    assert site.deploy().code == 0


BUG = """\
import importlib

module = importlib.import_module("{module}")
real, left = module.{name}, [{calls}]


def broken(*arguments, **named):
    left[0] -= 1
    if left[0] == 0:
        raise RuntimeError("a bug")
    return real(*arguments, **named)


module.{name} = broken
"""


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
