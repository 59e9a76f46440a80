"""Where workers expect their queues, and whose service that is."""

from __future__ import annotations

import pytest

from tests.harness.build import SYSTEM, app, rendered
from unitq.revisions import model
from unitq.units.ordering import Address, addresses, lines, unit_of, units_in
from unitq.units.render import Code, render
from unitq.units.same_stop import alike

LOCAL = "127.0.0.1"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"REDIS_URL": "redis://localhost:6380/2"}, [("redis", "localhost", 6380, "")]),
        ({"REDIS_URL": "rediss://user:p%40ss@[::1]/0"}, [("redis", "::1", 6379, "")]),
        ({"RQ_REDIS_URL": "unix:///run/redis.sock?db=1"}, [("redis", "", 0, "/run/redis.sock")]),
        ({"A": "unix:///run/php-fpm.sock"}, []),
        (
            {"CELERY_BROKER_URL": "amqp://guest@localhost//;amqps://10.0.0.2/"},
            [("rabbitmq", "localhost", 5672, ""), ("rabbitmq", "10.0.0.2", 5671, "")],
        ),
        (
            {"CELERY_BROKER_URL": "redis+socket:///run/r%20s.sock?virtual_host=0"},
            [("redis", "", 0, "/run/r s.sock")],
        ),
        ({"BROKER": "sentinel://a:26380/0"}, [("redis", "a", 26380, "")]),
        ({"BROKER": "sentinel://a/0"}, [("redis", "a", 26379, "")]),
        ({"REDIS_BACKEND": "localhost:6380"}, [("redis", "localhost", 6380, "")]),
        ({"REDIS_BACKEND": "unix:/run/redis.sock"}, [("redis", "", 0, "/run/redis.sock")]),
        ({"REDIS_HOST": "/run/redis/r.sock"}, [("redis", "", 0, "/run/redis/r.sock")]),
        ({"REDIS_HOST": "db", "REDIS_PORT": "7000"}, [("redis", "db", 7000, "")]),
        ({"SMS_REDIS_HOST": "db"}, [("redis", "db", 6379, "")]),
        ({"RABBITMQ_HOST": "mq"}, [("rabbitmq", "mq", 5672, "")]),
        ({"REDIS_PASSWORD": "localhost", "REDIS_CLIENT": "phpredis", "REDIS_PREFIX": "a:"}, []),
        ({"REDIS_HOST": "db", "REDIS_PORT": "99999999"}, [("redis", "db", 6379, "")]),
        ({"REDIS_HOST": "db", "REDIS_PORT": "70000"}, []),
        ({"REDIS_URL": "redis://[broken/0"}, []),
        ({"REDIS_URL": "redis://h:99999/0"}, []),
        ({"DATABASE_URL": "postgres://localhost/shop", "APP_URL": "https://redis.example"}, []),
    ],
)  # fmt: skip
def test_the_environment_says_where_queues_are(
    environment: dict[str, str], expected: list[tuple[str, str, int, str]]
) -> None:
    found = addresses(None, (), environment)
    assert [each[:4] for each in found] == expected
    assert all(each.source in environment for each in found)


def test_the_files_own_word_comes_first_and_each_place_once() -> None:
    found = addresses(
        "redis://127.0.0.1:6379/0",
        ("10.0.0.1:26379", "[::1]:26379"),
        {"REDIS_URL": "redis://127.0.0.1:6379/3"},
        default=True,
    )
    assert found == (
        Address("redis", LOCAL, 6379, source="[redis] url"),
        Address("redis", "10.0.0.1", 26379, source="[redis] sentinels"),
        Address("redis", "::1", 26379, source="[redis] sentinels"),
    )


def test_what_nobody_says_is_the_frameworks_default() -> None:
    assert addresses(None, (), {}) == ()
    default = Address("redis", LOCAL, 6379, certain=False)
    assert addresses(None, (), {}, default=True) == (default,)
    broker = {"CELERY_BROKER_URL": "amqp://mq//"}
    assert [each.host for each in addresses(None, (), broker, default=True)] == ["mq", LOCAL]
    assert len(addresses("redis://db:6379/0", (), {}, default=True)) == 1


def test_what_a_worker_reads_itself_counts_behind_what_it_is_started_with() -> None:
    own = {"REDIS_HOST": "db", "REDIS_PORT": "7000", "CACHE_URL": "redis://c", "APP_URL": "x://y"}
    found = addresses(None, (), {}, dotenv=own, default=True)
    assert found == (
        Address("redis", "db", 7000, source="REDIS_HOST in .env", certain=False),
        Address("redis", "c", 6379, source="CACHE_URL in .env", certain=False),
    )
    # A value that it is started with stays, and the port beside it may stand in the other file.
    (first, *_) = addresses(None, (), {"REDIS_HOST": LOCAL}, dotenv=own)
    assert first == Address("redis", LOCAL, 7000, source="REDIS_HOST")
    assert addresses(None, (), {"REDIS_HOST": "", "CACHE_URL": ""}, dotenv=own) == ()


def test_a_password_is_in_no_address() -> None:
    found = addresses("redis://u:secret@db:1/0", (), {"B": "amqp://u:secret@mq/"})
    assert "secret" not in f"{found} {[str(each) for each in found]}"


USER = "/user.slice/user-1000.slice/user@1000.service"


@pytest.mark.parametrize(
    ("cgroup", "own", "unit"),
    [
        ("/system.slice/redis-server.service", "", "redis-server.service"),
        ("/system.slice/system-redis.slice/redis@a.service/x", "", "redis@a.service"),
        (f"{USER}/app.slice/redis.service", "", "user@1000.service"),
        (f"{USER}/app.slice/redis.service", USER, "redis.service"),
        (f"{USER}/app.slice/run-1.scope", USER, ""),
        ("/system.slice/redis-server.service", USER, ""),
        (f"{USER}2/redis.service", USER, ""),
        ("/user.slice/user-0.slice/session-4.scope", "", ""),
        (f"/system.slice/docker-{'0' * 64}.scope", "", "docker.service"),
        (f"/machine.slice/libpod-{'0' * 64}.scope", "", ""),
        (f"/docker/{'0' * 64}", "", ""),
        ("/init.scope", "", ""),
        ("/", "", ""),
        ("", "", ""),
    ],
)
def test_the_unit_is_the_one_that_this_manager_stops(cgroup: str, own: str, unit: str) -> None:
    assert unit_of(cgroup, own) == unit


def test_the_lines_can_be_read_back() -> None:
    assert lines(()) == ()
    written = lines(("a.service", "b.service", "a.service"))
    assert written[-1] == "After=a.service b.service"
    text = "\n".join(("[Unit]", "After=network.target", *written, "After=own.service"))
    assert units_in(text) == ("a.service", "b.service")
    assert units_in("[Unit]\nAfter=network.target\n") == ()


WORKER = '[workers.sms]\ncommand = "/bin/sms"\n'


def _with(*units: str) -> tuple[str, str, model.Revision]:
    from tests.harness.build import TEXTS

    found = render(app(WORKER), SYSTEM, {"sms": Code("/r", "1")}, TEXTS, after={"sms": units})
    made = model.successor(
        None, found, app(WORKER).rollout, model.Origin(0.0, "root", "/etc/unitq/shop.toml")
    )
    return found.workers[0].unit.text, found.workers[0].fingerprint, made


def test_an_order_makes_a_new_revision_and_restarts_nothing() -> None:
    before, plain, first = _with()
    after, ordered, second = _with("redis-server.service")
    assert "After=redis-server.service\n" in after
    assert "Requires" not in after
    assert plain == ordered
    assert first.hash != second.hash
    # Nor is anything held to its old text: it is stopped in the same way.
    assert alike(before, after)
    assert after != before
    assert _with()[2].hash == first.hash


def test_without_an_order_text_and_revision_are_what_they_were() -> None:
    text, fingerprint, _ = _with()
    plain = rendered(app(WORKER), code={"sms": Code("/r", "1")}).workers[0]
    assert (plain.unit.text, plain.fingerprint) == (text, fingerprint)
