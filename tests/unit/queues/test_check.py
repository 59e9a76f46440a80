"""`check --redis`: what is said of a real Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.queues.conftest import source
from unitq.model.app import Redis
from unitq.model.finding import Level
from unitq.queues.check import RedisCheck, check_redis
from unitq.queues.client import Connection, Secrets

if TYPE_CHECKING:
    from tests.harness.redis_server import RedisServer


def _asked(url: str, secrets: Secrets | None = None) -> RedisCheck:
    connection = Connection(Redis(url=url), secrets)
    try:
        return check_redis(connection, [source("rq", "mail")])
    finally:
        connection.close()


def test_one_that_answers(server: RedisServer) -> None:
    server.client.rpush("rq:queue:mail", "a")
    server.client.sadd("rq:queues", "rq:queue:mail")
    found = _asked(server.url)
    assert found.reachable
    assert found.findings == ()
    assert found.queues == 1
    assert found.to_json()["reachable"] is True


def test_an_empty_one_is_only_noted(server: RedisServer) -> None:
    found = _asked(server.url)
    assert [(each.name, each.level) for each in found.findings] == [("redis-empty", Level.NOTE)]
    assert found.reachable


@pytest.mark.parametrize(
    ("policy", "level"),
    [("noeviction", None), ("allkeys-lru", Level.WARNING), ("volatile-ttl", Level.NOTE)],
)
def test_a_cache_is_no_place_for_jobs(
    server: RedisServer, policy: str, level: Level | None
) -> None:
    server.client.rpush("rq:queue:mail", "a")
    server.client.config_set("maxmemory-policy", policy)
    try:
        assert _asked(server.url).findings == ()  # without a limit nothing is thrown away
        server.client.config_set("maxmemory", "100mb")
        found = _asked(server.url).findings
        assert [each.level for each in found] == ([level] if level else [])
        assert all(each.name == "redis-eviction" for each in found)
    finally:
        server.client.config_set("maxmemory", "0")
        server.client.config_set("maxmemory-policy", "noeviction")


def test_one_that_wants_a_password(server: RedisServer) -> None:
    server.client.acl_setuser(
        "reader", enabled=True, passwords=["+s3cr3t"], categories=["+@read"], commands=["+select"],
        keys=["*"],
    )  # fmt: skip
    try:
        url = server.url.replace("redis://", "redis://reader@")
        found = _asked(url, Secrets("wrong"))
        (finding,) = found.findings
        assert finding.level is Level.ERROR
        assert not found.reachable
        assert "password" in finding.hint
        assert "wrong" not in finding.text
        # What it may not ask (INFO) says nothing.
        found = _asked(url, Secrets("s3cr3t"))
        assert found.reachable, found
    finally:
        server.client.acl_deluser("reader")


def test_none_at_all() -> None:
    found = _asked("redis://127.0.0.1:1/0")
    (finding,) = found.findings
    assert "Connection refused" in finding.message
    assert "cannot name the jobs" in finding.why
