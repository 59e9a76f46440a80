"""Each framework's keys, written as it writes them, read as unitq reads them."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.queues.conftest import PRESETS, layout, sample, source
from unitq.queues import model
from unitq.queues.model import Lengths
from unitq.queues.reader import Notes
from unitq.queues.snapshot import READERS, read_registry

if TYPE_CHECKING:
    from tests.harness.redis_server import RedisServer

ENQUEUED = 1_795_440_000.25  # 2026-11-23 13:20:00 UTC
EVERY = sorted({path.stem for path in PRESETS.glob("*.toml")} - {"none"})
ISO = "2026-11-23T13:20:00Z"


def numbers(found: model.Sample, name: str) -> dict[str, float | None]:
    """What is known of a queue, as it is shown."""
    (row,) = [row for row in model.rows(found) if row.name == name]
    known = {key: value for key, value in row.lengths._asdict().items() if value is not None}
    return known if row.workers is None else known | {"workers": row.workers}


# lib/Resque/Worker.php of chrisboulton/php-resque 968b7e6, lib/resque/data_store.rb of Resque 3.


def _resque(server: RedisServer, prefix: str = "resque:", **payload: object) -> None:
    client: Any = server.client
    client.sadd(f"{prefix}queues", "sms", "mail")
    for number in range(3):
        job = {"class": "SendSms", "args": [{"to": number}], "id": f"job{number}", **payload}
        client.rpush(f"{prefix}queue:sms", json.dumps(job))
    client.sadd(f"{prefix}workers", "web1:4711:sms,mail", "web2:12:*")
    record = {
        "queue": "sms",
        "run_at": "Mon Nov 23 13:20:00 UTC 2026",
        "payload": {"class": "SendSms", "args": [{"to": 9}], "id": "8f3a"},
    }
    client.set(f"{prefix}worker:web1:4711:sms,mail", json.dumps(record))
    client.set(f"{prefix}worker:web1:4711:sms,mail:started", "Mon Nov 23 13:00:00 UTC 2026")
    client.rpush(f"{prefix}failed", "{}")
    client.zadd(f"{prefix}delayed_queue_schedule", {"1795449999": 1795449999})
    client.set(f"{prefix}stat:processed", "1234")


@pytest.mark.parametrize("prefix", ["resque:", "shop:resque:"])
def test_php_resque(server: RedisServer, prefix: str) -> None:
    _resque(server, prefix, queue_time=ENQUEUED)
    found = sample(server, "php-resque", prefix=prefix)
    assert numbers(found, "sms") == {"waiting": 3, "in_hand": 1, "oldest": ENQUEUED, "workers": 2}
    assert numbers(found, "mail") == {"waiting": 0, "in_hand": 0, "workers": 2}
    whole = model.whole(found).lengths
    assert (whole.waiting, whole.delayed, whole.in_hand, whole.failed, whole.done) == (
        3, 1, 1, 1, 1234,
    )  # fmt: skip
    first, second = found.registry.workers or ()
    assert (first.id, first.host, first.pid, first.queues) == (
        "web1:4711:sms,mail", "web1", 4711, ("sms", "mail"),
    )  # fmt: skip
    assert (first.since, first.heartbeat, first.stale) == (1_795_438_800.0, None, "")
    (job,) = first.jobs
    assert (job.queue, job.name, job.id, job.since) == ("sms", "SendSms", "8f3a", 1_795_440_000.0)
    assert len(job.hash) == 12
    assert (second.host, second.jobs) == ("web2", ())
    assert found.notes == ()


def test_ids_of_rq_may_have_colons_and_a_worker_may_have_died(server: RedisServer) -> None:
    """`job_id="shop:42"`; rq/worker/base.py, register_death()."""
    client: Any = server.client
    client.sadd("rq:workers", "rq:worker:a:b", "rq:worker:dead")
    client.zadd("rq:wip:sms", {"shop:42:e1": 1})
    record = {"hostname": "web1", "pid": "4711", "queues": "sms", "state": "busy"}
    client.hset("rq:worker:a:b", mapping=record)
    client.sadd("rq:worker:a:b:executions", "shop:42:e1")
    client.hset("rq:worker:dead", mapping=record | {"death": "2026-11-23T13:20:00.000000Z"})
    job = {"description": "app.send()", "origin": "sms", "data": "…"}
    client.hset("rq:job:shop:42", mapping=job)
    alive, dead = sample(server, "rq", "sms").registry.workers or ()
    assert (alive.id, alive.stale) == ("a:b", "")
    assert [(one.id, one.name) for one in alive.jobs] == [("shop:42", "app.send")]
    assert (dead.id, dead.stale) == ("dead", "it has registered its death")


@pytest.mark.parametrize("queues", ["mail:high,sms", "*", "a:b:c"])
def test_queues_of_resque_may_have_colons(server: RedisServer, queues: str) -> None:
    name = f"web1:4711:{queues}"
    server.client.sadd("resque:workers", name)
    record = {"queue": "sms", "run_at": ISO, "payload": {"class": "SendSms", "id": "8f3a"}}
    server.client.set(f"resque:worker:{name}", json.dumps(record))
    (worker,) = sample(server, "resque", "sms").registry.workers or ()
    assert (worker.host, worker.pid) == ("web1", 4711)
    assert worker.queues == tuple(queues.split(","))
    assert [job.id for job in worker.jobs] == ["8f3a"]


@pytest.mark.parametrize(
    ("preset", "seconds", "dead"),
    [
        # Resque writes every 60 s and prunes after 300; node-resque's scheduler takes an hour.
        ("resque", 31, False),
        ("resque", 65, False),
        ("resque", 290, False),
        ("resque", 310, True),
        ("node-resque", 310, False),
        ("node-resque", 3590, False),
        ("node-resque", 3610, True),
    ],
)
def test_a_worker_is_dead_when_its_framework_says_so(
    server: RedisServer, preset: str, seconds: int, dead: bool
) -> None:
    at = time.time() - seconds
    server.client.sadd("resque:workers", "web1:4711:sms")
    beat = datetime.fromtimestamp(at, UTC).isoformat()
    server.client.hset("resque:workers:heartbeat", "web1:4711:sms", beat)
    ping = {"time": round(at), "name": "web1:4711", "queues": "sms"}
    server.client.set("resque:worker:ping:web1:4711", json.dumps(ping))
    (worker,) = sample(server, preset, "sms").registry.workers or ()
    assert bool(worker.stale) is dead, worker


def test_resque(server: RedisServer) -> None:
    _resque(server)
    now = time.time()
    beat, late = (datetime.fromtimestamp(at, UTC).isoformat() for at in (now - 5, now - 400))
    server.client.hset(
        "resque:workers:heartbeat", mapping={"web1:4711:sms,mail": beat, "web2:12:*": late}
    )
    server.client.set("resque:worker:web1:4711:sms,mail:started", "2026-11-23 14:00:00 +0100")
    server.client.set("resque:pause-all-workers", "true")
    found = sample(server, "resque")
    first, second = found.registry.workers or ()
    assert (first.since, first.stale) == (1_795_438_800.0, "")
    assert first.heartbeat == pytest.approx(now - 5, abs=0.01)
    assert second.stale.startswith("no heartbeat for 40")
    assert found.registry.paused == "pause-all-workers is set"
    assert numbers(found, "sms") == {"waiting": 3, "in_hand": 1, "workers": 2}


def test_resque_behind_rails(server: RedisServer) -> None:
    """ActiveJob wraps the job: its own class and id are what people know."""
    server.client.sadd("resque:workers", "web1:4711:sms")
    wrapped = {"job_class": "InvoiceJob", "job_id": "77b1", "queue_name": "sms"}
    payload = {
        "class": "ActiveJob::QueueAdapters::ResqueAdapter::JobWrapper", "args": [wrapped],
    }  # fmt: skip
    record = {"queue": "sms", "run_at": ISO, "payload": payload}
    server.client.set("resque:worker:web1:4711:sms", json.dumps(record))
    (job,) = sample(server, "resque", "sms").jobs
    assert (job.name, job.id) == ("InvoiceJob", "77b1")


def test_node_resque(server: RedisServer) -> None:
    """src/core/worker.ts of node-resque 9: pings instead of heartbeats."""
    _resque(server)
    now = time.time()
    for host_and_pid, at in (("web1:4711", now - 5), ("web2:12", now - 4000)):
        ping = {"time": round(at), "name": host_and_pid, "queues": "sms"}
        server.client.set(f"resque:worker:ping:{host_and_pid}", json.dumps(ping))
    first, second = sample(server, "node-resque").registry.workers or ()
    assert first.heartbeat == pytest.approx(now - 5, abs=1)
    assert (first.stale, second.stale[:15]) == ("", "no heartbeat fo")


@pytest.mark.parametrize(("millis", "key"), [(True, "work"), (False, "work"), (False, "workers")])
def test_sidekiq(server: RedisServer, millis: bool, key: str) -> None:
    """lib/sidekiq/launcher.rb of 7.3 (seconds with a fraction), 8 (milliseconds) and 6.4."""
    client: Any = server.client
    me = "web1:4711:0123456789ab"
    at = ENQUEUED * 1000 if millis else ENQUEUED
    client.sadd("queues", "sms")
    job = {"class": "SendSms", "jid": "8f3a", "enqueued_at": int(at) if millis else at}
    client.lpush("queue:sms", json.dumps(job))
    client.lpush("queue:sms", json.dumps(job | {"enqueued_at": at + 5}))
    client.sadd("processes", me, "web1:12:cafecafecafe")
    info = {
        "hostname": "web1", "pid": 4711, "started_at": ENQUEUED, "queues": ["sms"],
        "concurrency": 5, "identity": me,
    }  # fmt: skip
    now = time.time()
    client.hset(
        me, mapping={"info": json.dumps(info), "beat": now, "busy": 1, "quiet": "false", "rss": 1}
    )
    payload = json.dumps(job | {"wrapped": "InvoiceJob"})
    work = {"queue": "sms", "payload": payload, "run_at": int(ENQUEUED)}
    client.hset(f"{me}:{key}", "gnq1", json.dumps(work))
    client.zadd("retry", {"{}": 1})
    client.zadd("dead", {"{}": 1, "{ }": 1})
    client.zadd("schedule", {"{}": 1})
    client.set("stat:processed", 77)
    found = sample(server, "sidekiq")
    expected = int(at) / 1000 if millis else at
    assert numbers(found, "sms") == {
        "waiting": 2, "in_hand": 1, "oldest": expected, "workers": 1,
    }  # fmt: skip
    whole = found.whole
    assert (whole.delayed, whole.retry, whole.dead, whole.done) == (1, 1, 2, 77)
    dead, alive = found.registry.workers or ()
    assert (alive.host, alive.pid, alive.queues, alive.stale) == ("web1", 4711, ("sms",), "")
    assert (dead.host, dead.pid, dead.stale) == (
        "web1", 12, "its record is gone: no heartbeat for 60 s",
    )  # fmt: skip
    (held,) = found.jobs
    assert (held.name, held.id, held.since) == ("InvoiceJob", "8f3a", 1_795_440_000.0)


def test_sidekiq_says_which_process_is_quiet(server: RedisServer) -> None:
    """lib/sidekiq/launcher.rb: `quiet` is "true" after TSTP, by whomever, and while it stops."""
    client: Any = server.client
    names = ("web1:1:aaaaaaaaaaaa", "web1:2:bbbbbbbbbbbb")
    # And one that is gone, which takes none either: that is no pause.
    client.sadd("processes", *names, "web1:3:cccccccccccc")
    for name, quiet in zip(names, ("true", "false"), strict=True):
        record = {"info": '{"pid": 1}', "beat": time.time(), "quiet": quiet}
        client.hset(name, mapping=record)
    found = sample(server, "sidekiq")
    assert found.registry.paused == ""
    assert model.pauses(found) == [
        "sidekiq: web1:1:aaaaaaaaaaaa takes no new jobs: quiet (TSTP, or stopping)"
    ]
    client.hset(names[1], "quiet", "true")
    assert model.pauses(sample(server, "sidekiq")) == [
        "sidekiq: paused: every process is quiet (TSTP, or stopping)"
    ]
    client.delete(*names)
    assert model.pauses(sample(server, "sidekiq")) == []


def test_rq_says_that_it_is_suspended(server: RedisServer) -> None:
    """rq/suspension.py: `rq suspend` sets one key for all workers, with or without an end."""
    assert model.pauses(sample(server, "rq")) == []
    server.client.set("rq:suspended", 1, ex=60)
    assert model.pauses(sample(server, "rq")) == ["rq: paused: rq suspend"]


@pytest.mark.parametrize("version", [2, 3])
def test_rq(server: RedisServer, version: int) -> None:
    """rq/worker/base.py: 3.0 has executions, 2.x the field current_job."""
    client: Any = server.client
    client.sadd("rq:queues", "rq:queue:sms")
    client.rpush("rq:queue:sms", "next", "after")
    client.hset("rq:job:next", mapping={"enqueued_at": "2026-11-23T13:20:00.250000Z"})
    client.zadd("rq:wip:sms", {"held": 1})
    client.zadd("rq:failed:sms", {"x": 1, "y": 1})
    client.zadd("rq:scheduled:sms", {"z": 1})
    client.sadd("rq:workers", "rq:worker:abc", "rq:worker:gone")
    record = {
        "hostname": "web1", "pid": "4711", "queues": "sms,default", "state": "busy",
        "birth": "2026-11-23T13:00:00.000000Z", "last_heartbeat": "2026-11-23T13:20:00.000000Z",
    }  # fmt: skip
    if version == 2:
        record["current_job"] = "held"
    else:
        client.sadd("rq:worker:abc:executions", "held:e1")
    client.hset("rq:worker:abc", mapping=record)
    job = {
        "description": "app.send_sms('+49 170 1234567')", "origin": "sms", "data": "…",
        "started_at": "2026-11-23T13:20:00.000000Z",
    }  # fmt: skip
    client.hset("rq:job:held", mapping=job)
    found = sample(server, "rq")
    assert numbers(found, "sms") == {
        "waiting": 2, "delayed": 1, "in_hand": 1, "failed": 2, "oldest": ENQUEUED, "workers": 1,
    }  # fmt: skip
    alive, gone = found.registry.workers or ()
    assert (alive.host, alive.pid, alive.queues) == ("web1", 4711, ("sms", "default"))
    assert (alive.since, alive.heartbeat) == (1_795_438_800.0, 1_795_440_000.0)
    (held,) = alive.jobs
    # The arguments are the customer's number, and stay where they are.
    assert (held.name, held.id, held.queue) == ("app.send_sms", "held", "sms")
    assert gone.stale.startswith("its record has expired")


def test_rq_names_what_was_taken_and_is_begun_by_nobody(server: RedisServer) -> None:
    """rq/queue.py, lmove: a list for each queue, from which prepare_job_execution takes it."""
    client: Any = server.client
    client.rpush("rq:queue:sms:intermediate", "left", "begun", "run")
    client.hset("rq:job:left", mapping={"description": "app.send('x')", "origin": "sms"})
    client.zadd("rq:wip:sms", {"begun:e1": 1})
    client.sadd("rq:workers", "rq:worker:abc")
    client.hset("rq:worker:abc", mapping={"hostname": "web1", "pid": "4", "current_job": "run"})
    (left,) = sample(server, "rq", "sms", named=True).registry.unbegun
    assert (left.id, left.name, left.queue, left.worker) == ("left", "app.send", "sms", None)
    assert sample(server, "rq", "sms").registry.unbegun == ()
    assert sample(server, "rq", "mail", named=True).registry.unbegun == ()


def test_celery(server: RedisServer) -> None:
    """kombu/transport/redis.py: a list for each step of priority."""
    client: Any = server.client
    client.rpush("sms", "{}", "{}")
    client.rpush("sms\x06\x163", "{}")
    client.rpush("sms\x06\x169", "{}")
    client.hset("unacked", mapping={"tag1": "[]", "tag2": "[]"})
    client.sadd("_kombu.binding.celery.pidbox", "\x06\x16\x06\x16celery@web1.celery.pidbox")
    found = sample(server, "celery", "sms")
    assert numbers(found, "sms") == {"waiting": 4}
    assert model.whole(found).lengths.in_hand == 2
    (node,) = found.registry.workers or ()
    assert (node.id, node.host, node.pid) == ("celery@web1", "web1", None)
    assert found.registry.fetched is None
    # What is fetched and not acknowledged, as kombu writes it: [message, exchange, routing key].
    for identity in ("8f3a", "c07d"):
        message = {"body": "", "headers": {"id": identity, "task": "shop.send"}}
        client.hset("unacked", f"tag-{identity}", json.dumps([message, "", "sms"]))
    for other in ("5", "[]", "not JSON", '[{"headers": null}]'):
        client.hset("unacked", f"tag-{other}", other)
    named = sample(server, "celery", "sms", named=True)
    assert named.registry.fetched == frozenset({"8f3a", "c07d", ""})
    # Where thousands wait for their ETA nobody looks at each.
    client.hset("unacked", mapping={str(number): "" for number in range(10_001)})
    assert sample(server, "celery", "sms", named=True).registry.fetched is None


def test_dramatiq(server: RedisServer) -> None:
    """dramatiq/brokers/redis/dispatch.lua of 2.2.1."""
    client: Any = server.client
    now = time.time()
    client.rpush("dramatiq:sms", "m1", "m2")
    client.hset("dramatiq:sms.DQ.msgs", mapping={"m3": "…"})
    client.zadd("dramatiq:sms.XQ", {"m4": 1})
    beats = {"alive": (now - 2) * 1000, "lost": (now - 90) * 1000, "left": (now - 90) * 1000}
    client.zadd("dramatiq:__heartbeats__", beats)
    client.sadd("dramatiq:__acks__.alive.sms", "m5", "m6")
    client.sadd("dramatiq:__acks__.lost.sms", "m7")
    found = sample(server, "dramatiq", "sms")
    assert numbers(found, "sms") == {"waiting": 2, "delayed": 1, "dead": 1, "in_hand": 3}
    stale = {worker.id: worker.stale for worker in found.registry.workers or ()}
    assert stale["alive"] == ""
    assert stale["lost"].startswith("no heartbeat for 90 s, 1 fetched")
    # What has gone with nothing in hand, a producer say, is nobody's concern.
    assert "left" not in stale
    assert found.registry.jobs is None
    message = {"actor_name": "send", "message_id": "11-22", "queue_name": "sms"}
    client.hset("dramatiq:sms.msgs", mapping={"m5": json.dumps(message)})
    named = sample(server, "dramatiq", "sms", named=True)
    assert numbers(named, "sms") == numbers(found, "sms")
    jobs = {(job.queue, job.name, job.id) for job in named.jobs}
    assert jobs == {("sms", "send", "11-22"), ("sms", "", "m6"), ("sms", "", "m7")}


@pytest.mark.parametrize("priority", [False, True])
def test_huey(server: RedisServer, priority: bool) -> None:
    """huey/storage.py: RedisHuey has a list, PriorityRedisHuey a sorted set."""
    if priority:
        server.client.zadd("huey.redis.shop", {"a": 1, "b": 2})
    else:
        server.client.rpush("huey.redis.shop", "a", "b")
    server.client.zadd("huey.schedule.shop", {"c": 1})
    found = sample(server, "huey", "shop")
    assert numbers(found, "shop") == {"waiting": 2, "delayed": 1}
    assert (found.registry.workers, found.registry.jobs, found.notes) == (None, None, ())


def test_arq(server: RedisServer) -> None:
    """arq/worker.py of 0.28: what is in hand stays in the queue."""
    now = time.time() * 1000
    due = {"running": now - 5000, "due": now - 4000, "later": now + 60000}
    server.client.zadd("arq:queue", due)
    server.client.set("arq:in-progress:running", "1", px=60000)
    found = sample(server, "arq", "arq:queue")
    assert numbers(found, "arq:queue") == {"waiting": 2, "delayed": 1, "in_hand": 1}
    assert [job.id for job in found.jobs] == ["running"]


def test_saq(server: RedisServer) -> None:
    """saq/queue/redis.py and saq/job.py of 0.26.4."""
    client: Any = server.client
    now = time.time()
    client.rpush("saq:sms:queued", "saq:job:sms:a")
    client.zadd("saq:sms:incomplete", {"saq:job:sms:a": 0, "saq:job:sms:b": now + 60})
    client.rpush("saq:sms:active", "saq:job:sms:k1", "saq:job:sms:k2", "saq:job:sms:k3")
    client.zadd(
        "saq:sms:stats",
        {
            "saq:sms:worker_info:w1": (now + 30) * 1000,
            "saq:sms:worker_info:old": (now - 30) * 1000,
        },
    )
    record = {
        "function": "send_sms", "queue": "sms", "status": "active", "attempts": 1,
        "worker_id": "w1",
    }  # fmt: skip
    times = {"k1": now - 3, "k2": now - 30}
    for key, at in times.items():
        value = record | {"key": key, "started": int(at * 1000)}
        client.set(f"saq:job:sms:{key}", json.dumps(value))
    found = sample(server, "saq", "sms")
    assert numbers(found, "sms") == {"waiting": 1, "delayed": 1, "in_hand": 3, "workers": 1}
    assert [worker.id for worker in found.registry.workers or ()] == ["w1"]
    stale = {job.id: job.stale for job in found.jobs}
    assert stale == {
        "k1": "", "k2": "longer than its timeout of 10 s", "k3": "its record is gone",
    }  # fmt: skip
    assert {job.name for job in found.jobs} == {"send_sms", ""}


def _laravel(server: RedisServer, **payload: object) -> float:
    client: Any = server.client
    now = time.time()
    job = {"uuid": "8f3a", "displayName": "App\\Jobs\\SendSms", "job": "…", **payload}
    client.rpush("laravel_database_queues:sms", json.dumps(job), json.dumps(job))
    client.zadd("laravel_database_queues:sms:delayed", {"x": now + 60})
    client.zadd(
        "laravel_database_queues:sms:reserved",
        {json.dumps(job): now + 50, json.dumps(job | {"uuid": "77b1"}): now - 5},
    )
    return now


def test_laravel(server: RedisServer) -> None:
    """RedisQueue.php; createdAt is in the payload since Laravel 12."""
    _laravel(server, createdAt=int(ENQUEUED))
    found = sample(server, "laravel", "sms")
    assert numbers(found, "sms") == {
        "waiting": 2, "delayed": 1, "in_hand": 2, "oldest": 1_795_440_000.0,
    }  # fmt: skip
    assert {job.id: job.stale for job in found.jobs} == {
        "8f3a": "", "77b1": "reserved for longer than retry_after",
    }  # fmt: skip
    assert {job.name for job in found.jobs} == {"App\\Jobs\\SendSms"}


def test_horizon(server: RedisServer) -> None:
    """src/Repositories/RedisSupervisorRepository.php of Horizon 5 (source only, not run)."""
    now = _laravel(server, pushedAt=str(ENQUEUED))
    client: Any = server.client
    client.zadd("laravel_horizon:supervisors", {"web1-x1:sup-1": now, "web1-x1:old": now - 60})
    client.hset(
        "laravel_horizon:supervisor:web1-x1:sup-1",
        mapping={
            "name": "web1-x1:sup-1", "pid": "4711", "status": "paused",
            "processes": '{"redis:sms":3}', "options": '{"queue":"sms,mail"}',
        },
    )  # fmt: skip
    client.zadd("laravel_horizon:failed_jobs", {"a": 1})
    found = sample(server, "horizon", "sms")
    assert numbers(found, "sms") == {
        "waiting": 2, "delayed": 1, "in_hand": 2, "oldest": ENQUEUED, "workers": 1,
    }  # fmt: skip
    assert model.whole(found).lengths.failed == 1
    (supervisor,) = found.registry.workers or ()
    assert (supervisor.pid, supervisor.queues) == (4711, ("sms", "mail"))
    assert found.registry.paused == "every supervisor is paused"


def test_bullmq(server: RedisServer) -> None:
    """dist/cjs/scripts of BullMQ 6.7."""
    client: Any = server.client
    client.lpush("bull:sms:wait", "1", "2")
    client.hset("bull:sms:1", mapping={"name": "send", "timestamp": int(ENQUEUED * 1000)})
    client.zadd("bull:sms:prioritized", {"3": 1})
    client.zadd("bull:sms:delayed", {"4": 1})
    client.zadd("bull:sms:failed", {"5": 1, "6": 1})
    client.lpush("bull:sms:active", "7", "8")
    for job in ("7", "8"):
        fields = {"name": "send", "data": "{}", "processedOn": int(ENQUEUED * 1000), "pb": "w1"}
        client.hset(f"bull:sms:{job}", mapping=fields)
    client.set("bull:sms:7:lock", "token", px=30000)
    found = sample(server, "bullmq", "sms")
    assert numbers(found, "sms") == {
        "waiting": 3, "delayed": 1, "in_hand": 2, "failed": 2, "oldest": ENQUEUED,
    }  # fmt: skip
    assert {job.id: job.stale for job in found.jobs} == {
        "7": "", "8": "its lock is gone: stalled",
    }  # fmt: skip
    (held,) = {(job.name, job.worker, job.since) for job in found.jobs}
    assert held == ("send", "w1", ENQUEUED)
    client.hset("bull:sms:meta", "paused", "1")
    assert sample(server, "bullmq", "sms").registry.paused == "paused: sms"


def test_symfony(server: RedisServer) -> None:
    """Messenger/Bridge/Redis/Transport/Connection.php of 7.2: a string of PHP's with JSON in it."""
    client: Any = server.client
    message = {"body": "{}", "headers": {"type": "App\\Message\\SendSms"}}
    body = json.dumps(message, separators=(",", ":"))
    for _ in range(3):
        client.xadd("messages", {"message": f's:{len(body)}:"{body}";'})
    client.xgroup_create("messages", "symfony", id="0")
    client.xreadgroup("symfony", "shop-1", {"messages": ">"}, count=1)
    client.zadd("messages__queue", {"later": 1})
    found = sample(server, "symfony-messenger", "messages")
    assert numbers(found, "messages") == {
        "waiting": 2, "delayed": 1, "in_hand": 1, "added": 3, "done": 1, "workers": 1,
    }  # fmt: skip
    (job,) = found.jobs
    assert (job.name, job.worker, job.stale) == ("App\\Message\\SendSms", "shop-1", "")
    assert job.since == pytest.approx(time.time(), abs=5)


def test_a_stream_may_have_other_groups_and_none(server: RedisServer) -> None:
    """Most streams look alike; those that do not are told of as well."""
    client: Any = server.client
    for name in ("plain", "also", "mixed", "foreign", "bare"):
        client.xadd(name, {"message": "{}"})
    for name, group in (
        ("plain", "symfony"), ("also", "symfony"), ("mixed", "audit"), ("mixed", "symfony"),
        ("foreign", "billing"),
    ):  # fmt: skip
        client.xgroup_create(name, group, id="0")
    client.xreadgroup("symfony", "shop-1", {"mixed": ">"}, count=1)
    client.xreadgroup("billing", "bill-1", {"foreign": ">"}, count=1)
    client.rpush("list", "x")
    names = ("foreign", "plain", "also", "mixed", "bare", "gone", "list")
    found = sample(server, "symfony-messenger", *names)
    told = {name: lengths[:3] for name, lengths in found.queues.items()}
    assert told == {
        "plain": (1, 0, 0), "also": (1, 0, 0), "mixed": (0, 0, 1), "gone": (0, 0, 0),
        "foreign": (None, 0, None), "bare": (None, 0, None), "list": (None, 0, None),
    }  # fmt: skip
    (worker,) = found.registry.workers or ()
    assert (worker.id, worker.queues) == ("shop-1", ("mixed",))
    assert [(job.queue, job.worker) for job in found.jobs] == [("mixed", "shop-1")]
    assert sorted(found.notes) == [
        "a key holds something else than the preset says: is the prefix right?",
        "there is no group symfony in a stream: a preset of your own can name another",
    ]


def test_taskiq(server: RedisServer) -> None:
    """taskiq_redis/redis_broker.py of 1.2.4."""
    client: Any = server.client
    message = {
        "task_id": "8f3a",
        "task_name": "app:send_sms",
        "labels": {},
        "args": [],
        "kwargs": {},
    }
    client.xgroup_create("taskiq", "taskiq", id="$", mkstream=True)
    client.xadd("taskiq", {"data": json.dumps(message)})
    client.xadd("taskiq", {"data": json.dumps(message)})
    client.xreadgroup("taskiq", "w1", {"taskiq": ">"}, count=1)
    found = sample(server, "taskiq", "taskiq", "not-there-yet")
    assert numbers(found, "taskiq") == {
        "waiting": 1, "in_hand": 1, "added": 2, "done": 1, "workers": 1,
    }  # fmt: skip
    assert [(job.name, job.id) for job in found.jobs] == [("app:send_sms", "8f3a")]
    assert numbers(found, "not-there-yet")["waiting"] == 0
    assert found.notes == ()


def test_a_list_of_taskiq(server: RedisServer) -> None:
    server.client.rpush("taskiq", "…", "…")
    found = sample(server, "taskiq", "taskiq")
    assert numbers(found, "taskiq")["waiting"] == 2


# --- whatever the framework


@pytest.mark.parametrize("name", EVERY)
def test_an_empty_redis_holds_nothing(server: RedisServer, name: str) -> None:
    found = sample(server, name, "sms")
    assert found.notes == ()
    assert found.queues["sms"].waiting == 0
    assert not found.registry.workers
    assert not found.jobs


@pytest.mark.parametrize("name", EVERY)
def test_rubbish_in_every_key_is_noted_and_breaks_nothing(server: RedisServer, name: str) -> None:
    """Another framework with the same prefix, or a wrong preset: said, not crashed."""
    keys_read: list[str] = []
    client: Any = server.client
    with client.monitor() as monitor:
        sample(server, name, "sms")
        server.client.get("END")
        for seen in monitor.listen():
            words = seen["command"].split()
            if words[-1] == "END":
                break
            if words[0] == "XINFO":
                keys_read.append(words[2])
            elif len(words) > 1 and words[0] not in ("CLIENT", "SELECT", "HELLO", "COMMAND"):
                keys_read.append(words[1])
    for key in keys_read:
        server.client.delete(key)
        server.client.set(key, "\xff{[rubbish")
    found = sample(server, name, "sms")
    assert found.notes
    for each in keys_read:
        server.client.delete(each)
        server.client.rpush(each, b"\xff\x00", "{}", '{"payload": 7}', "[]")
    sample(server, name, "sms")


ODD = [
    "9" * 5000, "²", "-1", "0", "٤٧١١", "4711\0", "\x1b[31m", "", str(2**70), "[" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_a_process_with_an_odd_number_is_none(server: RedisServer, odd: str) -> None:
    client: Any = server.client
    deep = '{"args":' + "[" * 500 + "]" * 500 + "}"
    client.sadd("resque:workers", f"web1:{odd}:sms")
    client.set(f"resque:worker:web1:{odd}:sms", deep)
    client.set(f"resque:worker:web1:{odd}:sms:started", odd)
    client.sadd("processes", f"web1:{odd}:cafe")
    client.hset(f"web1:{odd}:cafe", mapping={"info": json.dumps({"pid": odd}), "beat": odd})
    client.hset(f"web1:{odd}:cafe:work", "a", json.dumps({"payload": deep, "run_at": odd}))
    client.sadd("rq:workers", "rq:worker:abc")
    client.hset("rq:worker:abc", mapping={"hostname": "web1", "pid": odd, "birth": odd})
    client.zadd("laravel_horizon:supervisors", {"web1-x1:sup-1": time.time()})
    client.hset("laravel_horizon:supervisor:web1-x1:sup-1", mapping={"pid": odd, "options": deep})
    for preset in ("resque", "php-resque", "sidekiq", "rq", "horizon"):
        workers = sample(server, preset, "sms").registry.workers or ()
        assert [each.pid for each in workers] == [None] * len(workers), preset
    assert len(sample(server, "sidekiq").registry.workers or ()) == 1


def test_every_registry_that_presets_may_name_has_a_reader() -> None:
    from unitq.presets.redis_keys import REGISTRIES

    assert set(REGISTRIES) == set(READERS)
    for name in REGISTRIES:
        named = source("php-resque", "sms")
        keys = named.keys.model_copy(update={"registry": name})
        assert next(read_registry(named._replace(keys=keys), Notes()))


def test_a_preset_without_a_registry_is_read_all_the_same(server: RedisServer) -> None:
    """A third party's: commands and nothing else."""
    server.client.rpush("mine:sms", "a", "b")
    plain = layout("huey").model_copy(
        update={"prefix": "mine:", "waiting": layout("dramatiq").waiting, "delayed": ()}
    )
    from unitq.model.app import Redis
    from unitq.queues.client import Connection
    from unitq.queues.reader import Source
    from unitq.queues.snapshot import take_snapshot

    connection = Connection(Redis(url=server.url))
    (found,) = take_snapshot(connection, [Source("mine", plain, ("sms",), "mine:", "")])
    connection.close()
    assert found.queues == {"sms": Lengths(waiting=2)}
