"""SAQ on Redis.

    saq:Q:stats            keys of the workers -> milliseconds until which their record holds
    saq:Q:worker_info:ID   {queue_key, stats, metadata}
    saq:Q:active           keys of the jobs in hand
    saq:job:Q:KEY          {function, key, started, timeout, worker_id …}

Read in saq/queue/redis.py and saq/job.py (0.26.4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.queues.commands import HOLE, commands_for
from unitq.queues.model import Job, Registration, Registry
from unitq.queues.reader import without_errors
from unitq.queues.values import digest, moment, table, text

if TYPE_CHECKING:
    from collections.abc import Generator

    from unitq.queues.commands import Answer, Commands
    from unitq.queues.reader import Notes, Source

    Reading = Generator[Commands, list[Answer], Registry]

_SHOWN = "999"  # jobs of a queue


def read(source: Source, notes: Notes) -> Reading:
    """The workers of each queue, and what they have in hand."""
    p, now_ms = source.prefix, f"{source.now * 1000:.0f}"
    alive = commands_for(source.queues, "ZRANGEBYSCORE", f"{p}{HOLE}:stats", now_ms, "+inf")
    held = commands_for(source.queues, "LRANGE", f"{p}{HOLE}:active", "0", _SHOWN)
    told = without_errors((yield [*alive, *held]), notes)
    stats, actives = told[: len(source.queues)], told[len(source.queues) :]
    workers = [
        Registration(
            id=text(key).rpartition(":")[2],
            host=None,
            pid=None,
            queues=(queue,),
            since=None,
            heartbeat=None,
        )
        for queue, keys in zip(source.queues, stats, strict=True)
        for key in keys or ()
    ]
    active = [
        (queue, key)
        for queue, keys in zip(source.queues, actives, strict=True)
        for key in keys or ()
    ]
    records = without_errors((yield commands_for([key for _, key in active], "GET", HOLE)), notes)
    jobs = [
        _job(queue, key, record, source.now)
        for (queue, key), record in zip(active, records, strict=True)
    ]
    return Registry(tuple(workers), tuple(jobs))


def _job(queue: str, key: bytes, record: bytes | None, now: float) -> Job:
    told = table(record)
    since = moment(told.get("started"))
    # Left out where it is the default.
    limit = told.get("timeout", 10)
    stale = note = ""
    if record is None:
        stale = "its record is gone"
    elif since is not None and isinstance(limit, int | float) and 0 < limit < now - since:
        stale, note = f"longer than its timeout of {limit:g} s", "SAQ's sweep ends or retries it"
    return Job(
        queue=queue,
        name=str(told.get("function") or ""),
        id=str(told.get("key") or text(key).rpartition(":")[2]),
        since=since,
        hash=digest(record or key),
        worker=str(told["worker_id"]) if told.get("worker_id") else None,
        stale=stale,
        note=note,
    )
