"""The job of a killed worker, put back into its queue; or left, where somebody else has it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.queues.conftest import source
from tests.unit.queues.test_prune import ID, PAYLOAD, WORKING, connection, dead, resque
from unitq.model.app import Redis
from unitq.queues.client import Connection, Secrets
from unitq.queues.commands import QueuesError
from unitq.queues.requeue import requeue

if TYPE_CHECKING:
    from tests.harness.redis_server import RedisServer

__all__ = ["connection"]  # a fixture

PRESETS = ["php-resque", "resque", "node-resque"]


@pytest.mark.parametrize("preset", PRESETS)
def test_it_goes_to_the_head_of_its_queue_and_its_worker_is_forgotten(
    server: RedisServer, connection: Connection, preset: str
) -> None:
    client: Any = server.client
    resque(server)
    client.rpush("resque:queue:sms", '{"class":"Later"}')
    assert requeue(connection, source(preset), dead(connection, preset)) == ""
    back, later = client.lrange("resque:queue:sms", 0, -1)
    assert json.loads(back) == PAYLOAD
    assert later == '{"class":"Later"}'
    assert client.smembers("resque:queues") == {"sms"}
    assert client.smembers("resque:workers") == {"web1:1:other"}
    assert client.keys(f"resque:*{ID}*") == []


def test_only_once(server: RedisServer, connection: Connection) -> None:
    client: Any = server.client
    resque(server)
    found = dead(connection, "resque")
    assert requeue(connection, source("resque"), found) == ""
    assert "marked it as failed" in requeue(connection, source("resque"), found)
    assert client.llen("resque:queue:sms") == 1


def test_what_php_resque_has_deleted_is_put_back_all_the_same(
    server: RedisServer, connection: Connection
) -> None:
    client: Any = server.client
    resque(server)
    found = dead(connection)
    # pruneDeadWorkers of the worker in its place: not a word of the job.
    client.srem("resque:workers", ID)
    client.delete(f"resque:worker:{ID}", f"resque:worker:{ID}:started")
    assert requeue(connection, source("php-resque"), found) == ""
    assert json.loads(client.lindex("resque:queue:sms", 0)) == PAYLOAD


@pytest.mark.parametrize("preset", PRESETS)
def test_another_job_in_hand_is_not_touched(
    server: RedisServer, connection: Connection, preset: str
) -> None:
    client: Any = server.client
    resque(server)
    found = dead(connection, preset)
    other = json.dumps(WORKING | {"payload": {"class": "Other", "args": []}})
    client.set(f"resque:worker:{ID}", other)
    assert requeue(connection, source(preset), found) == "its record has changed since"
    assert client.get(f"resque:worker:{ID}") == other
    assert client.llen("resque:queue:sms") == 0


@pytest.mark.parametrize("working", ["{", "{}", '{"queue":"sms"}', '{"queue":"sms","payload":[]}'])
def test_half_a_job_is_none(server: RedisServer, connection: Connection, working: str) -> None:
    client: Any = server.client
    resque(server)
    client.set(f"resque:worker:{ID}", working)
    said = requeue(connection, source("php-resque"), dead(connection))
    assert said == "its record does not hold the whole job"
    assert client.keys("resque:queue:*") == []


def test_a_user_who_may_only_read_is_told(server: RedisServer, connection: Connection) -> None:
    client: Any = server.client
    resque(server)
    found = dead(connection)
    client.acl_setuser(
        "reader", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@read"], reset=True
    )
    reading = Connection(Redis(url=server.url, username="reader"), Secrets("pw"))
    try:
        with pytest.raises(QueuesError, match="cannot put a job back"):
            requeue(reading, source("php-resque"), found)
    finally:
        reading.close()
        client.acl_deluser("reader")
    assert client.exists(f"resque:worker:{ID}") == 1
