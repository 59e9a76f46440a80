"""Queues, against real workers and a real Redis: what they have in hand, and what is left of dead
ones."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.load import Load
from tests.harness.redis_server import RedisServer
from tests.systemd.cli.test_commands import Terminal
from tests.systemd.conftest import wait_until
from unitq.errors import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.systemd.conftest import Result, Running, Site

pytestmark = pytest.mark.systemd

HOST = socket.gethostname()
# A look may take a second; the rest is Python, on a machine that has other things to do.
PATIENCE = 1.0


def deployed(site: Site, redis: RedisServer, **worker: Any) -> None:
    """Two php-resque workers of queue sms."""
    table = {"command": site.php(), "preset": "php-resque", "queues": ["sms"], **worker}
    site.config(
        environment={"REDIS_BACKEND": redis.address, "INTERVAL": "0.05"},
        redis={"url": redis.url},
        workers={"sms": table},
    )
    site.deploy()
    registered = "resque:workers"
    wait_until(lambda: redis.client.scard(registered) == table.get("instances", 2), what="register")


def busy(redis: RedisServer, seconds: float = 60.0) -> dict[str, str]:
    """Gives one worker a job; `worker` and `job`."""
    (job,) = Load(redis.client).enqueue(1, seconds)
    held: list[str] = []

    def taken() -> bool:
        for worker in map(str, redis.client.smembers("resque:workers")):
            if redis.client.exists(f"resque:worker:{worker}"):
                held[:] = [worker]
        return bool(held)

    wait_until(taken, what="a worker takes the job")
    return {"worker": held[0], "job": job.id}


def test_a_busy_worker_shows_its_job(site: Site, redis: RedisServer) -> None:
    deployed(site, redis)
    told = busy(redis)
    # What one worker is busy with leaves the other one idle: these stay for as long as it sleeps.
    redis.client.rpush("resque:queue:mail", "{}")
    redis.client.sadd("resque:queues", "mail")

    shown = site.unitq("queues", "--json", "--interval", "200ms")
    assert shown.code == 0, shown
    document = shown.json
    rows = {row["queue"]: row for row in document["queues"]}
    assert (rows["sms"]["waiting"], rows["sms"]["in_hand"], rows["sms"]["workers"]) == (0, 1, 2)
    assert (rows["mail"]["waiting"], rows["mail"]["workers"]) == (1, 0)
    (job,) = document["jobs"]
    assert (job["name"], job["id"], job["worker"]) == ("SendSms", told["job"], told["worker"])
    assert abs(job["since"] - time.time()) < 60

    # From anywhere, too: the installed revision knows the file that it was made from.
    away = site.unitq("-a", site.app, "queues", "--interval", "0", cwd=Path("/"))
    assert (away.code, told["job"][:8] in away.stdout) == (0, True), away

    pid = int(told["worker"].split(":")[1])
    status = site.unitq("status", "--json", "-v", "--queues")
    assert status.code == 0, status
    (worker,) = status.json["apps"][0]["workers"]
    jobs = {one["main_pid"]: [each["id"] for each in one["jobs"]] for one in worker["instances"]}
    assert jobs[pid] == [told["job"]]
    assert sorted(len(found) for found in jobs.values()) == [0, 1]
    assert [row["queue"] for row in worker["queues"]] == ["sms"]

    text = site.unitq("status", "-v", "--queues")
    assert f"SendSms {told['job'][:8]}" in text.stdout, text
    lines = text.stdout.splitlines()
    (index,) = (at for at, line in enumerate(lines) if line.startswith("WORKER  QUEUE"))
    header, line = lines[index : index + 2]
    assert line.split()[:2] == ["sms", "sms"], text
    counted = {name: line[header.index(name) :].split()[0] for name in ("WAITING", "IN HAND")}
    assert counted == {"WAITING": "0", "IN HAND": "1"}, text
    clean = site.unitq("queues", "doctor")
    assert (clean.code, "2 workers registered: 2 serving" in clean.stdout) == (0, True), clean


def test_who_pauses_by_the_framework_is_seen(system_site: Site, redis: RedisServer) -> None:
    """`rq suspend`, and TSTP that somebody has sent to Sidekiq: in Redis, and nowhere else."""
    site = system_site
    exec_only = {"Type": "exec", "WatchdogSec": 0}
    site.config(
        redis={"url": redis.url},
        workers={
            "a": {"preset": "rq", "command": site.odd("steady"), "instances": 1},
            "b": {
                "preset": "sidekiq", "command": site.odd("steady"), "instances": 1,
                "service": exec_only,
            },
        },
    )  # fmt: skip
    site.deploy()
    a, b = site.pids("a")["a@1"], site.pids("b")["b@1"]
    client: Any = redis.client
    client.sadd("rq:workers", "rq:worker:w1")
    client.hset("rq:worker:w1", mapping={"hostname": HOST, "pid": a, "queues": "x"})
    sidekiq = f"{HOST}:{b}:0123456789ab"
    client.sadd("processes", sidekiq)
    record = {"info": json.dumps({"hostname": HOST, "pid": b}), "beat": time.time()}
    client.hset(sidekiq, mapping=record | {"quiet": "false"})

    def told() -> tuple[dict[str, str | None], list[str]]:
        (app,) = site.unitq("status", "--json", "-v").json["apps"]
        every = [one for worker in app["workers"] for one in worker["instances"]]
        return {one["instance"]: one["quiet"] for one in every}, app["queue_notes"]

    assert told() == ({"a@1": None, "b@1": None}, [])
    client.set("rq:suspended", 1)
    client.hset(sidekiq, "quiet", "true")
    quiet = "every process is quiet (TSTP, or stopping)"
    notes = ["rq: paused: rq suspend", f"sidekiq: paused: {quiet}"]
    assert told() == ({"a@1": "rq suspend", "b@1": quiet}, notes)
    for command in (["status", "-v"], ["status", "--queues"], ["queues", "--interval", "0"]):
        shown = site.unitq(*command)
        # It says what Redis says, and judges by systemd.
        assert shown.code == 0, shown
        for note in notes:
            assert shown.stderr.count(note) == 1, shown
    assert "takes none: rq suspend" in site.unitq("status", "-v").stdout
    assert site.unitq("queues", "--interval", "0", "--json").json["notes"][:2] == notes


def test_plain_status_knows_no_redis(system_site: Site, redis: RedisServer) -> None:
    deployed(system_site, redis)
    before = redis.client.info("stats")["total_connections_received"]
    shown = system_site.unitq("status", "--json")
    assert "jobs" not in shown.json["apps"][0]["workers"][0]["instances"][0]
    assert redis.client.info("stats")["total_connections_received"] == before


def test_a_killed_worker_is_found_and_pruned(site: Site, redis: RedisServer) -> None:
    # It must not be started again, or it would prune its predecessor and forget the job.
    deployed(site, redis, restart_delay="5min")
    told = busy(redis)
    elsewhere = "web9:4711:sms"
    redis.client.sadd("resque:workers", elsewhere)
    redis.client.set(f"resque:worker:{elsewhere}:started", "Mon Nov 23 09:00:00 UTC 2026")
    pid = int(told["worker"].split(":")[1])
    (name,) = [name for name, main in site.pids().items() if main == pid]
    worker, _, number = name.partition("@")
    site.systemctl("kill", "--signal=KILL", "--kill-whom=all", site.unit(worker, int(number)))
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), what="it is gone")

    found = site.unitq("queues", "doctor", "--json")
    assert found.code == 3, found
    states = {each["id"]: each for each in found.json["workers"]}
    dead = states[told["worker"]]
    assert (dead["state"], dead["pid"], dead["stale"]) == ("dead", pid, True)
    assert [job["id"] for job in dead["jobs"]] == [told["job"]]
    assert states[elsewhere]["state"] == "elsewhere"
    assert sum(each["state"] == "serving" for each in states.values()) == 1
    assert redis.client.llen("resque:failed") == 0, "doctor only looks"

    # Without an answer nothing is removed; its standard input is empty here.
    asked = site.unitq("queues", "doctor", "--prune")
    assert asked.code == 10, asked
    assert redis.client.sismember("resque:workers", told["worker"])

    pruned = site.unitq("queues", "doctor", "--prune", "--yes", "--json")
    assert pruned.code == 0, pruned
    outcome = {each["id"]: each["pruned"] for each in pruned.json["workers"]}
    assert outcome[told["worker"]] is True
    (failed,) = [json.loads(text) for text in redis.client.lrange("resque:failed", 0, -1)]
    assert failed["payload"]["id"] == told["job"]
    assert (failed["worker"], failed["queue"]) == (told["worker"], "sms")
    left = redis.client.smembers("resque:workers")
    assert told["worker"] not in left
    assert elsewhere in left
    assert len(left) == 2
    assert not redis.client.exists(f"resque:worker:{told['worker']}")
    assert not redis.client.exists(f"resque:worker:{told['worker']}:started")
    assert redis.client.exists(f"resque:worker:{elsewhere}:started")
    assert site.unitq("queues", "doctor").code == 0


SECRET = "s3cret-4711"
NAME = "unitq-test.redis"


@pytest.fixture
def secured(redis: RedisServer) -> Iterator[RedisServer]:
    """A Redis that wants a password; and stores of credentials without this one, afterwards."""
    client: Any = redis.client
    client.execute_command("ACL", "SETUSER", "reader", "on", f">{SECRET}", "~*", "+@read")
    yield redis
    client.execute_command("ACL", "DELUSER", "reader")
    for store in ("/etc/credstore", "/etc/credstore.encrypted"):
        (Path(store) / NAME).unlink(missing_ok=True)


def _store(folder: str) -> Path:
    Path(folder).mkdir(mode=0o700, exist_ok=True)
    return Path(folder) / NAME


@pytest.mark.variants
@pytest.mark.parametrize("store", ["plain", "encrypted", "of its unit"])
def test_a_password_comes_from_a_credential(
    system_site: Site, secured: RedisServer, store: str
) -> None:
    site = system_site
    access = {"url": secured.url, "username": "reader", "password_credential": NAME}
    table = {"preset": "php-resque", "command": "/bin/true", "queues": ["sms"]}
    site.config(redis=access, workers={"sms": table})
    missing = site.unitq("queues", "--interval", "0")
    assert missing.code == 2, missing
    assert f"there is no credential {NAME}" in missing.stderr
    secured.client.rpush("resque:queue:sms", "{}", "{}")
    if store == "plain":
        _store("/etc/credstore").write_text(f"{SECRET}\n")
    elif store == "encrypted":
        target = _store("/etc/credstore.encrypted")
        (site.out / "plain").write_text(SECRET)
        done = site.scope.run(
            "systemd-creds", "encrypt", f"--name={NAME}", str(site.out / "plain"), str(target)
        )
        assert done.code == 0, done
        assert SECRET not in target.read_text()
    else:
        (site.out / "credential").write_text(SECRET)

    def queues() -> Result:
        if store != "of its unit":
            return site.unitq("queues", "--interval", "0", "--json")
        # As a timer of the operator's would have it: only its own unit can read it.
        return site.scope.run(
            *("systemd-run", "--quiet", "--wait", "--pipe", f"--working-directory={site.home}"),
            f"--property=LoadCredential={NAME}:{site.out / 'credential'}",
            *(sys.executable, "-m", "unitq", "queues", "--interval", "0", "--json"),
        )

    shown = queues()
    assert shown.code == 0, shown
    assert shown.json["queues"][0]["waiting"] == 2
    assert SECRET not in shown.output
    # With another password it is refused, and told without either.
    client: Any = secured.client
    client.execute_command("ACL", "SETUSER", "reader", "resetpass", ">another")
    refused = queues()
    assert refused.code == 1, refused
    assert "the user or the password" in refused.output
    assert SECRET not in refused.output


def test_a_credential_that_only_root_can_read_is_told(user_site: Site) -> None:
    path = _store("/etc/credstore")
    path.write_text(SECRET)
    try:
        access = {"url": "redis://127.0.0.1:1", "password_credential": NAME}
        table = {"preset": "php-resque", "command": "/bin/true", "queues": ["sms"]}
        user_site.config(redis=access, workers={"sms": table})
        shown = user_site.unitq("queues")
        assert (shown.code, "Permission denied" in shown.stderr) == (Exit.NOT_PERMITTED, True), (
            shown
        )
        assert "Traceback" not in shown.output
    finally:
        path.unlink()


@pytest.fixture
def orphan(system_site: Site, redis: RedisServer) -> Iterator[Running]:
    """A worker that somebody has started by hand: no unit of the app's has it."""
    deployed(system_site, redis)
    running = system_site.scope.start(
        *system_site.php().split(),
        cwd=system_site.current,
        environment=system_site.resque_environment(redis),
    )
    try:
        wait_until(lambda: redis.client.scard("resque:workers") == 3, what="it registers")
        yield running
    finally:
        running.end()


def test_an_orphan_is_found_and_left_alone(
    system_site: Site, redis: RedisServer, orphan: Running
) -> None:
    found = system_site.unitq("queues", "doctor", "--json", "--prune", "--yes")
    assert found.code == 3, found
    states = {each["pid"]: each for each in found.json["workers"]}
    assert states[orphan.pid]["state"] == "orphan", states
    assert "outside every unit" in states[orphan.pid]["why"]
    assert redis.client.scard("resque:workers") == 3
    text = system_site.unitq("queues", "doctor")
    assert "3 workers registered: 2 serving, 1 orphan" in text.stdout, text


def test_a_pid_that_is_another_process_now_is_a_dead_worker(
    system_site: Site, redis: RedisServer
) -> None:
    deployed(system_site, redis)
    running = system_site.scope.start("sleep", "60")
    gone = f"{HOST}:{running.pid}:sms"
    redis.client.sadd("resque:workers", gone)
    redis.client.set(f"resque:worker:{gone}:started", "Mon Nov 23 09:00:00 UTC 2020")
    try:
        found = system_site.unitq("queues", "doctor", "--json", "--prune", "--yes")
        assert found.code == 0, found
        states = {each["id"]: each for each in found.json["workers"]}
        assert states[gone]["state"] == "dead"
        assert "another process now" in states[gone]["why"]
        assert redis.client.scard("resque:workers") == 2
        assert running.running, "the process is none of our business"
    finally:
        running.end()


def test_a_redis_that_refuses_gives_no_clean_bill_of_health(
    system_site: Site, redis: RedisServer
) -> None:
    deployed(system_site, redis)
    client: Any = redis.client
    client.execute_command("ACL", "SETUSER", "few", "on", ">s3cret", "~other:*", "+@read")
    try:
        text = system_site.toml.read_text()
        system_site.write(text.replace(redis.url, redis.url.replace("://", "://few:s3cret@")))
        doctor = system_site.unitq("queues", "doctor")
        assert doctor.code == 1, doctor
        assert "which workers are registered is not known" in doctor.stdout
        assert "NOPERM" in doctor.stderr
        for arguments in ([], ["--json"]):
            queues = system_site.unitq("queues", "--interval", "0", *arguments)
            assert queues.code == 1, queues
            assert "NOPERM" in queues.output
        orphans = system_site.unitq("orphans")
        assert "some orphans may be missing" in orphans.stderr, orphans
    finally:
        client.execute_command("ACL", "DELUSER", "few")


def test_a_redis_that_is_down_is_said_once(system_site: Site, redis: RedisServer) -> None:
    deployed(system_site, redis)
    text = system_site.toml.read_text()
    closed = "redis://:s3cret@127.0.0.1:1/0"
    system_site.write(text.replace(redis.url, closed))
    queues = system_site.unitq("queues")
    assert queues.code == 1, queues
    assert queues.stderr.count("Redis at 127.0.0.1:1/0: ") == 1, queues
    assert "s3cret" not in queues.output
    assert system_site.unitq("queues", "doctor").code == 1
    status = system_site.unitq("status", "-v", "--queues")
    assert status.code == 0, status
    assert status.stderr.count("Redis at") == 1, status
    assert system_site.unitq("deploy").code == 0
    shown = system_site.unitq("status", "-v", "--json").json["apps"][0]
    assert len(shown["queue_notes"]) == 1


def test_watch_draws_until_ctrl_c(system_site: Site, redis: RedisServer) -> None:
    site = system_site
    table = {"preset": "php-resque", "command": "/bin/true", "queues": ["sms"]}
    site.config(redis={"url": redis.url}, workers={"sms": table})
    redis.client.rpush("resque:queue:sms", *["{}"] * 4711)
    terminal = Terminal(site, "queues", "--watch", "--interval", "100ms")
    try:
        terminal.wait_for("4711")
        terminal.wait_for("IN/S")
        redis.client.rpush("resque:queue:sms", "{}")
        terminal.wait_for("4712")
        # A Redis that goes away and comes back is no reason to end.
        redis.restart()
        terminal.shown = ""
        redis.client.rpush("resque:queue:sms", *["{}"] * 815)
        terminal.wait_for("815")
        terminal.signal(signal.SIGINT)
    finally:
        code = terminal.end()
    assert code == 0
    assert "Traceback" not in terminal.shown


def test_watch_into_a_pipe_prints_look_below_look(system_site: Site, redis: RedisServer) -> None:
    site = system_site
    table = {"preset": "php-resque", "command": "/bin/true", "queues": ["sms"]}
    site.config(redis={"url": redis.url}, workers={"sms": table})
    redis.client.rpush("resque:queue:sms", "{}")
    for options in (["--json"], []):
        watch = site.start("queues", "--watch", "--interval", "100ms", *options)
        time.sleep(2)
        redis.client.rpush("resque:queue:sms", "{}")
        time.sleep(1)
        watch.signal(signal.SIGINT)
        result = watch.wait(10)
        assert (result.code, result.stderr) == (0, ""), result
        if options:
            first, *_, last = map(json.loads, result.stdout.splitlines())
            assert first["interval_seconds"] is None
            assert 0.1 <= last["interval_seconds"] < 1
            assert (first["queues"][0]["waiting"], last["queues"][0]["waiting"]) == (1, 2)
        else:
            assert result.stdout.count("QUEUE") > 5
    refused = site.unitq("queues", "--watch", "--interval", "0")
    assert refused.code == 2
    assert "--interval 0 is one" in refused.stderr


def test_what_nobody_knows_of_an_instance_is_not_said_to_be_nothing(
    system_site: Site, redis: RedisServer
) -> None:
    site = system_site
    workers = {"plain": {"command": site.odd("steady"), "preset": "none", "instances": 1}}
    site.config(workers=workers)
    site.deploy()
    assert site.unitq("status", "-v").stdout.splitlines()[1].split()[-1] == "?"
    (app,) = site.unitq("status", "-v", "--json").json["apps"]
    (instance,) = app["workers"][0]["instances"]
    assert (instance["jobs"], instance["possible_jobs"]) == (None, [])
    deployed(site, redis, instances=1)
    wait_until(lambda: redis.client.scard("resque:workers") == 1, 10, "it is registered")
    (app,) = site.unitq("status", "-v", "--json").json["apps"]
    (instance,) = next(each["instances"] for each in app["workers"] if each["worker"] == "sms")
    assert instance["jobs"] == []


def test_a_redis_that_does_not_answer_fails_nothing(system_site: Site, redis: RedisServer) -> None:
    """stop, start, restart and a deploy of another release: as without it, and said once each.

    The workers have another Redis than unitq's: theirs would keep them from an end of their own.
    """
    site = system_site
    deployed(site, redis, instances=3)
    with RedisServer() as frozen:
        site.write(site.toml.read_text().replace(redis.url, frozen.url))
        os.kill(frozen.pid, signal.SIGSTOP)
        try:
            stop, start, restart = (site.unitq(verb) for verb in ("stop", "start", "restart"))
            site.switch(2)
            deploy = site.unitq("deploy")
        finally:
            os.kill(frozen.pid, signal.SIGCONT)
    assert [each.code for each in (stop, start, restart, deploy)] == [0, 0, 0, 0]
    assert "Redis at" not in start.output, "nothing is in hand of what does not run"
    for each in (stop, restart, deploy):
        assert each.output.count("Redis at") == 1, each
        assert "jobs in flight are not known" in each.stderr, each
    assert site.active("sms") == 3


def test_a_redis_that_does_not_answer_costs_a_second(system_site: Site, redis: RedisServer) -> None:
    deployed(system_site, redis)
    plain = min(system_site.unitq("status").seconds for _ in range(3))
    os.kill(redis.pid, signal.SIGSTOP)
    try:
        queues = system_site.unitq("queues")
        status = system_site.unitq("status", "-v", "--queues")
        doctor = system_site.unitq("queues", "doctor")
        deploy = system_site.unitq("deploy")
    finally:
        os.kill(redis.pid, signal.SIGCONT)
    assert (queues.code, status.code, doctor.code, deploy.code) == (1, 0, 1, 0)
    assert "no answer within 1 s" in queues.stderr or "no answer in time" in queues.stderr, queues
    assert status.stderr.count("Redis at") == 1, status
    # Reading unitq.toml and the presets takes a moment as well.
    for each in (queues, status, doctor):
        assert each.seconds < PATIENCE + plain + 1.5, each
