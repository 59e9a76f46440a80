"""`check --redis` asks the Redis that is configured, and says what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.harness.redis_server import RedisServer
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd


def test_check_asks_the_redis_that_is_configured(system_site: Site, redis: RedisServer) -> None:
    site = system_site
    workers = {"w": {"command": site.odd("steady"), "preset": "php-resque", "queues": ["mail"]}}
    site.config(workers=workers, redis={"url": redis.url})
    redis.client.sadd("resque:queues", "mail")
    redis.client.rpush("resque:queue:mail", "{}")
    result = site.unitq("check", "--redis")
    assert result.code == 0, result
    assert f"Redis at {redis.address}" in result.stdout
    assert ": 1 queue, 0 registered workers\n" in result.stdout
    asked = site.unitq("check", "--redis", "--json").json["redis"]
    assert (asked["reachable"], asked["queues"], asked["workers"]) == (True, 1, 0)
    site.config(workers=workers, redis={"url": "redis://127.0.0.1:1/0"})
    assert site.unitq("check").code == 0
    result = site.unitq("check", "--redis")
    assert result.code == 3, result
    assert "error: redis: Redis at 127.0.0.1:1/0: Connection refused\n" in result.stdout
    assert site.unitq("check", "--redis", "--json").json["redis"]["reachable"] is False
    site.config(workers=workers)
    result = site.unitq("check", "--redis")
    assert result.code == 3, result
    assert "it does not say where the queues are" in result.stdout
