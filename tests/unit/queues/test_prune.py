"""The registrations of dead workers, removed as their frameworks do it; or left, in doubt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.queues.conftest import source
from unitq.model.app import Redis
from unitq.queues.client import Connection, Secrets
from unitq.queues.commands import QueuesError
from unitq.queues.prune import Pruned, prune
from unitq.queues.snapshot import take_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.harness.redis_server import RedisServer
    from unitq.queues.model import Registration

ID = "web1:4711:sms"
STARTED = "Mon Nov 23 13:00:00 UTC 2026"
PAYLOAD = {"class": "SendSms", "args": [{"to": "1/2", "f": 1.5, "n": {}}], "id": "8f3a"}
WORKING = {"queue": "sms", "run_at": STARTED, "payload": PAYLOAD}


@pytest.fixture
def connection(server: RedisServer) -> Iterator[Connection]:
    found = Connection(Redis(url=server.url))
    yield found
    found.close()


def resque(server: RedisServer, *, busy: bool = True) -> None:
    client: Any = server.client
    client.sadd("resque:workers", ID, "web1:1:other")
    client.set(f"resque:worker:{ID}:started", STARTED)
    client.set(f"resque:stat:processed:{ID}", 7)
    client.set(f"resque:stat:failed:{ID}", 1)
    if busy:
        client.set(f"resque:worker:{ID}", json.dumps(WORKING))


def dead(connection: Connection, preset: str = "php-resque", identity: str = ID) -> Registration:
    (sample,) = take_snapshot(connection, [source(preset)], numbers=False)
    (found,) = [each for each in sample.registry.workers or () if each.id == identity]
    return found


def pruned(connection: Connection, found: Registration, preset: str = "php-resque") -> Pruned:
    return prune(connection, source(preset), found, "its process 4711 is gone")


@pytest.mark.parametrize(
    ("preset", "exception", "counted"),
    [
        ("php-resque", "Resque_Job_DirtyExitException", "1"),
        ("resque", "Resque::DirtyExit", None),
        ("node-resque", "Worker Timeout (killed manually)", "1"),
    ],
)
def test_the_job_of_a_dead_worker_is_marked_as_failed_first(
    server: RedisServer, connection: Connection, preset: str, exception: str, counted: str | None
) -> None:
    client: Any = server.client
    resque(server)
    if preset != "node-resque":  # which has pings instead
        client.hset("resque:workers:heartbeat", ID, "2026-11-23T13:00:00Z")
    client.set("resque:worker:ping:web1:4711", "{}")
    client.set("resque:job:8f3a:status", '{"status":2}')
    client.set("resque:job:8f3a:pid", "4712")
    outcome = pruned(connection, dead(connection, preset), preset)
    assert outcome == Pruned(True, "unregistered; marked as failed: SendSms 8f3a")
    (text,) = client.lrange("resque:failed", 0, -1)
    failed = json.loads(text)
    assert set(failed) == {
        "failed_at", "payload", "exception", "error", "backtrace", "worker", "queue",
    }  # fmt: skip
    assert (failed["payload"], failed["worker"], failed["queue"]) == (PAYLOAD, ID, "sms")
    assert (failed["exception"], failed["backtrace"]) == (exception, [])
    assert "4711 is gone" in failed["error"]
    assert client.get("resque:stat:failed") == counted
    assert json.loads(client.get("resque:job:8f3a:status"))["status"] == 3
    assert 86000 < client.ttl("resque:job:8f3a:status") <= 86400
    assert client.smembers("resque:workers") == {"web1:1:other"}
    for gone in (
        f"worker:{ID}", f"worker:{ID}:started", f"stat:processed:{ID}", f"stat:failed:{ID}",
        "job:8f3a:pid", "worker:ping:web1:4711",
    ):  # fmt: skip
        assert not client.exists(f"resque:{gone}"), gone
    assert not client.hexists("resque:workers:heartbeat", ID)


def test_an_idle_one_leaves_no_failure(server: RedisServer, connection: Connection) -> None:
    client: Any = server.client
    resque(server, busy=False)
    assert pruned(connection, dead(connection)) == Pruned(True, "unregistered")
    assert not client.exists("resque:failed", "resque:stat:failed", "resque:job::status")
    assert client.smembers("resque:workers") == {"web1:1:other"}


@pytest.mark.parametrize(
    "come_back",
    [
        lambda client: client.set(f"resque:worker:{ID}:started", "Mon Nov 23 14:00:00 UTC 2026"),
        lambda client: client.set(f"resque:worker:{ID}", json.dumps(WORKING | {"queue": "x"})),
        lambda client: client.delete(f"resque:worker:{ID}"),
        lambda client: client.hset("resque:workers:heartbeat", ID, "2026-11-23T13:09:00Z"),
    ],
)
def test_one_that_has_come_back_meanwhile_is_left_alone(
    server: RedisServer, connection: Connection, come_back: Callable[[Any], object]
) -> None:
    resque(server)
    found = dead(connection)
    come_back(server.client)
    before = _everything(server)
    assert pruned(connection, found) == Pruned(False, "changed in the meantime, left alone")
    assert _everything(server) == before


def test_two_that_prune_mark_the_job_once(server: RedisServer, connection: Connection) -> None:
    resque(server)
    found = dead(connection)
    assert pruned(connection, found).done
    assert pruned(connection, found) == Pruned(False, "somebody else has removed it")
    assert server.client.llen("resque:failed") == 1


def test_sidekiq(server: RedisServer, connection: Connection) -> None:
    client: Any = server.client
    me = "web1:4711:0123456789ab"
    client.sadd("processes", me)
    client.hset(me, mapping={"info": '{"hostname":"web1","pid":4711}', "beat": "1795440000.5"})
    work = {"queue": "sms", "payload": '{"class":"SendSms","jid":"8f3a"}', "run_at": 1795440000}
    client.hset(f"{me}:work", "t1", json.dumps(work))
    client.hset(f"{me}:workers", "t2", "{}")  # before 6.5
    found = dead(connection, "sidekiq", me)
    client.hset(me, "beat", "1795440010.5")
    assert not pruned(connection, found, "sidekiq").done
    outcome = pruned(connection, dead(connection, "sidekiq", me), "sidekiq")
    assert outcome.done
    assert "lost, as Sidekiq keeps nothing to repeat it from: SendSms 8f3a, job" in outcome.words
    assert client.keys("*") == []


def test_rq(server: RedisServer, connection: Connection) -> None:
    client: Any = server.client
    client.sadd("rq:workers", "rq:worker:abc", "rq:worker:other")
    client.sadd("rq:workers:sms", "rq:worker:abc", "rq:worker:other")
    record = {"hostname": "web1", "pid": "4711", "queues": "sms", "last_heartbeat": "x"}
    client.hset("rq:worker:abc", mapping=record)
    client.sadd("rq:worker:abc:executions", "j1:e1")
    client.hset("rq:job:j1", mapping={"description": "app.send(1)", "origin": "sms"})
    found = dead(connection, "rq", "abc")
    outcome = pruned(connection, found, "rq")
    assert outcome.done
    assert "RQ itself marks as failed, once its time is over: app.send j1" in outcome.words
    assert client.smembers("rq:workers") == {"rq:worker:other"}
    assert client.smembers("rq:workers:sms") == {"rq:worker:other"}
    assert client.hexists("rq:worker:abc", "death")
    assert 0 < client.ttl("rq:worker:abc") <= 60
    assert not client.exists("rq:worker:abc:executions")
    assert client.exists("rq:job:j1")


def test_a_user_who_may_not_write_is_told(server: RedisServer, connection: Connection) -> None:
    resque(server)
    found = dead(connection)
    client: Any = server.client
    client.execute_command("ACL", "SETUSER", "reader", "on", "nopass", "~*", "+@read")
    reader = Connection(Redis(url=server.url, username="reader"), Secrets("any"))
    try:
        with pytest.raises(QueuesError, match="cannot prune") as caught:
            pruned(reader, found)
    finally:
        reader.close()
        client.execute_command("ACL", "DELUSER", "reader")
    assert "eval" in caught.value.hint
    assert client.sismember("resque:workers", ID)


def test_who_clears_up_by_itself_is_not_pruned(server: RedisServer, connection: Connection) -> None:
    resque(server)
    found = dead(connection)
    with pytest.raises(QueuesError, match="clears its own workers away"):
        prune(connection, source("dramatiq"), found, "…")


def _everything(server: RedisServer) -> dict[str, object]:
    client: Any = server.client
    return {key: _value(client, key) for key in client.keys("*")}


def _value(client: Any, key: str) -> object:
    match client.type(key):
        case "string":
            return client.get(key)
        case "set":
            return sorted(client.smembers(key))
        case "hash":
            return client.hgetall(key)
        case _:
            return client.lrange(key, 0, -1)
