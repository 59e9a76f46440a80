"""How long a look at 10,000 queues takes: `unitq queues` of every framework that has them in Redis.

A Redis of its own on loopback is filled as the framework fills it; then the numbers of all queues,
the age of the oldest job in each, the registered workers and the jobs in hand are read, as by
`unitq queues --interval 0`, the connection included. No systemd takes part.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import time
import tomllib
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.harness.redis_server import RedisServer
from unitq.model.app import Redis
from unitq.presets import redis_keys
from unitq.queues.client import Connection
from unitq.queues.reader import Source
from unitq.queues.snapshot import take_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PRESETS = Path(__file__).resolve().parent.parent / "presets"
GOAL = 0.25  # seconds
_AT = 1_795_440_000  # 2026-11-23 13:20:00 UTC
_WORKERS = 20
_HELD = 200  # jobs in hand, as of so many workers
_PATIENCE = 30.0  # seconds; unitq itself has one


class Fill(NamedTuple):
    """What a framework writes."""

    waiting: Callable[[str], Iterator[Sequence[str]]]  # the commands for a queue with one job
    held: Callable[[str], Iterator[Sequence[str]]] = lambda _: iter(())  # and with one in hand
    always: Callable[[Sequence[str]], Iterator[Sequence[str]]] = lambda _: iter(())


def _job(**more: object) -> str:
    payload = {"class": "SendSms", "args": [{"to": "+49 170 1234567", "text": "x" * 100}]}
    return json.dumps(payload | {"id": "8f3a1c07d2", "jid": "8f3a1c07d2"} | more)


def _resque(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(names), 1000):
        yield ("SADD", "resque:queues", *names[at : at + 1000])
    for pid in range(_WORKERS):
        worker = f"web1:{pid + 1000}:{names[0]},{names[1]}"
        yield ("SADD", "resque:workers", worker)
        record = {"queue": names[0], "run_at": "2026-11-23T13:20:00Z", "payload": {"class": "A"}}
        yield ("SET", f"resque:worker:{worker}", json.dumps(record))


def _sidekiq(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(names), 1000):
        yield ("SADD", "queues", *names[at : at + 1000])
    for pid in range(_WORKERS):
        name = f"web1:{pid + 1000}:0123456789ab"
        info = json.dumps({"hostname": "web1", "pid": pid + 1000, "queues": list(names[:5])})
        yield ("SADD", "processes", name)
        yield ("HSET", name, "info", info, "beat", str(_AT), "quiet", "false")


def _rq(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(names), 1000):
        yield ("SADD", "rq:queues", *(f"rq:queue:{name}" for name in names[at : at + 1000]))
    for pid in range(_WORKERS):
        key = f"rq:worker:{pid:032x}"
        yield ("SADD", "rq:workers", key)
        yield ("HSET", key, "hostname", "web1", "pid", str(pid + 1000), "queues", names[0])
        yield ("SADD", f"{key}:executions", f"held{pid}:e")
        yield ("ZADD", f"rq:wip:{names[0]}", str(2 * _AT), f"held{pid}:e")
        yield ("HSET", f"rq:job:held{pid}", "description", "app.send(1)", "origin", names[0])


def _rq_job(q: str) -> Iterator[Sequence[str]]:
    yield ("RPUSH", f"rq:queue:{q}", f"job-{q}")
    yield (
        "HSET",
        f"rq:job:job-{q}",
        "enqueued_at",
        "2026-11-23T13:20:00.250000Z",
        "data",
        "x" * 99,
    )


def _bullmq_job(q: str) -> Iterator[Sequence[str]]:
    yield ("LPUSH", f"bull:{q}:wait", "1")
    yield ("HSET", f"bull:{q}:1", "name", "send", "timestamp", str(_AT * 1000), "data", "x" * 99)


def _bullmq_held(q: str) -> Iterator[Sequence[str]]:
    yield ("LPUSH", f"bull:{q}:active", "2")
    yield ("HSET", f"bull:{q}:2", "name", "send", "processedOn", str(_AT * 1000), "data", "x" * 99)


def _saq_held(q: str) -> Iterator[Sequence[str]]:
    yield ("RPUSH", f"saq:{q}:active", f"saq:job:{q}:b")
    record = {"function": "send", "key": "b", "started": _AT * 1000, "kwargs": {"text": "x" * 99}}
    yield ("SET", f"saq:job:{q}:b", json.dumps(record))


def _laravel_job(q: str) -> Iterator[Sequence[str]]:
    p = f"laravel_database_queues:{q}"
    job = _job(uuid="8f3a", displayName="App\\Jobs\\SendSms", createdAt=_AT, pushedAt=str(_AT))
    yield ("RPUSH", p, job)


def _laravel_held(q: str) -> Iterator[Sequence[str]]:
    job = _job(uuid="8f3a", displayName="App\\Jobs\\SendSms")
    yield ("ZADD", f"laravel_database_queues:{q}:reserved", str(2 * _AT), job)


def _stream_job(q: str) -> Iterator[Sequence[str]]:
    yield ("XADD", q, "*", "message", _job(), "data", "{}")


def _stream_held(group: str) -> Callable[[str], Iterator[Sequence[str]]]:
    def one(q: str) -> Iterator[Sequence[str]]:
        yield ("XADD", q, "*", "message", _job(), "data", "{}")
        yield ("XREADGROUP", "GROUP", group, "w1", "COUNT", "1", "STREAMS", q, ">")

    return one


def _groups(group: str) -> Callable[[Sequence[str]], Iterator[Sequence[str]]]:
    def always(names: Sequence[str]) -> Iterator[Sequence[str]]:
        for name in names:
            yield ("XGROUP", "CREATE", name, group, "0", "MKSTREAM")

    return always


def _arq_job(q: str) -> Iterator[Sequence[str]]:
    yield ("ZADD", q, str(_AT), f"{q}-b")


def _arq_held(q: str) -> Iterator[Sequence[str]]:
    yield ("ZADD", q, str(_AT), f"{q}-a")
    yield ("SET", f"arq:in-progress:{q}-a", "1")


def _resque_job(q: str) -> Iterator[Sequence[str]]:
    yield ("RPUSH", f"resque:queue:{q}", _job(queue_time=_AT + 0.25))


FILLS: dict[str, Fill] = {
    "php-resque": Fill(_resque_job, always=_resque),
    "resque": Fill(_resque_job, always=_resque),
    "node-resque": Fill(_resque_job, always=_resque),
    "sidekiq": Fill(
        lambda q: iter([("LPUSH", f"queue:{q}", _job(enqueued_at=_AT + 0.25))]), always=_sidekiq
    ),
    "rq": Fill(_rq_job, always=_rq),
    "celery": Fill(lambda q: iter([("LPUSH", q, _job())])),
    "dramatiq": Fill(lambda q: iter([("RPUSH", f"dramatiq:{q}", "8f3a1c07-d2")])),
    "huey": Fill(lambda q: iter([("LPUSH", f"huey.redis.{q}", _job())])),
    "arq": Fill(_arq_job, _arq_held),
    "saq": Fill(lambda q: iter([("RPUSH", f"saq:{q}:queued", f"saq:job:{q}:a")]), _saq_held),
    "laravel": Fill(_laravel_job, _laravel_held),
    "horizon": Fill(_laravel_job, _laravel_held),
    "bullmq": Fill(_bullmq_job, _bullmq_held),
    "symfony-messenger": Fill(_stream_job, _stream_held("symfony"), _groups("symfony")),
    "taskiq": Fill(_stream_job, _stream_held("taskiq"), _groups("taskiq")),
}


# What has jobs in hand then, and how many.
HELD = {
    name: _HELD for name, what in FILLS.items() if what.held is not Fill._field_defaults["held"]
}
HELD |= dict.fromkeys(("php-resque", "resque", "node-resque", "rq"), _WORKERS)


def fill(server: RedisServer, preset: str, names: Sequence[str], every: int) -> None:
    """Empties the Redis and writes these queues, a job into one of so many."""
    client: Any = server.client
    client.flushall()
    what = FILLS[preset]
    with client.pipeline(transaction=False) as pipe:
        for command in what.always(names):
            pipe.execute_command(*command)
        for name in names[::every]:
            for command in what.waiting(name):
                pipe.execute_command(*command)
        for name in names[:: max(1, len(names) // _HELD)]:
            for command in what.held(name):
                pipe.execute_command(*command)
        pipe.execute()


class Measured(NamedTuple):
    """Of some looks, in seconds."""

    wall: list[float]
    ours: list[float]  # of a processor, in this process
    theirs: list[float]  # the same in Redis
    trips: int
    jobs: int


def source(preset: str, names: Sequence[str]) -> Source:
    """The queues; their names are read where the framework has a list of them.

    The one that all workers serve, unitq.toml names.
    """
    found = redis_keys.Keys.model_validate(
        tomllib.loads((PRESETS / f"{preset}.toml").read_text())["redis"]
    )
    own = tuple(names[:1] if found.names else names)
    return Source(preset, found, own, found.prefix, found.registry_prefix)


def measure(server: RedisServer, preset: str, names: Sequence[str], runs: int) -> Measured:
    """Looks so many times, each over a connection of its own, after one that does not count."""
    one = source(preset, names)
    result = Measured([], [], [], 0, 0)
    for run in range(runs + 1):
        before = _processor(server)
        ours, begun = time.process_time(), time.perf_counter()
        connection = Connection(Redis(url=server.url), patience=_PATIENCE)
        (found,) = take_snapshot(connection, [one])
        wall, mine = time.perf_counter() - begun, time.process_time() - ours
        connection.close()
        if len(found.queues) != len(names) or found.notes:
            raise SystemExit(f"{preset}: {len(found.queues)} queues, {found.notes}")
        if run:
            result.wall.append(wall)
            result.ours.append(mine)
            result.theirs.append(_processor(server) - before)
        result = result._replace(trips=connection.trips, jobs=len(found.jobs))
    return result


def _processor(server: RedisServer) -> float:
    told: Any = server.client.info("cpu")
    return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(prog="bench/run queues", description=__doc__)
    parser.add_argument("presets", nargs="*", metavar="PRESET", help="all, unless named")
    parser.add_argument("--queues", type=int, default=10_000)
    parser.add_argument("--every", type=int, nargs="*", default=[10, 1],
                        help="one queue of so many has jobs (10 and 1)")  # fmt: skip
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--output", type=Path, help="every run, as JSON")
    options = parser.parse_args()
    names = [f"queue-{number}" for number in range(options.queues)]
    print(
        f"{options.queues} queues, medians of {options.runs}, in brackets the range; "
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n"
    )
    print("| preset | queues with jobs | jobs in hand | trips | all | of that unitq | Redis |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    every: dict[str, Any] = {}
    gc.disable()  # as unitq's commands do
    with RedisServer() as server:
        for preset in options.presets or FILLS:
            for share in options.every:
                fill(server, preset, names, share)
                told = measure(server, preset, names, options.runs)
                every[f"{preset}, 1 of {share}"] = told._asdict()
                print(
                    f"| {preset} | {len(names[::share])} | {told.jobs} | {told.trips} "
                    f"| {_ms(told.wall)}{': missed' * (median(told.wall) > GOAL)} "
                    f"| {median(told.ours) * 1000:.0f} ms | {median(told.theirs) * 1000:.0f} ms |",
                    flush=True,
                )
    if options.output:
        document = {"machine": platform.platform(), "measured": every}
        options.output.write_text(json.dumps(document, indent=2) + "\n")


def _ms(every: Sequence[float]) -> str:
    low, middle, high = (f"{f(every) * 1000:.0f}" for f in (min, median, max))
    return f"{middle} ms ({low} to {high})"


if __name__ == "__main__":
    main()
