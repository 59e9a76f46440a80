"""SAQ on Redis.

    saq:Q:stats            keys of the workers -> milliseconds until which their record holds
    saq:Q:worker_info:ID   {queue_key, stats, metadata}
    saq:Q:active           keys of the in-flight jobs
    saq:job:Q:KEY          {function, key, started, timeout, worker_id …}

Read in saq/queue/redis.py and saq/job.py (0.26.4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.queues.commands import HOLE, commands_for
from unitq.queues.model import Job, Registration, Registry
from unitq.queues.reader import SHOWN, by_queue, without_errors
from unitq.queues.values import digest, moment, table, text

if TYPE_CHECKING:
    from unitq.queues.commands import Reading
    from unitq.queues.reader import Notes, Source


def read(source: Source, notes: Notes) -> Reading[Registry]:
    """Returns the workers of each queue, and the in-flight jobs."""
    p, queues, now_ms = source.prefix, source.queues, f"{source.now * 1000:.0f}"
    alive = commands_for(queues, "ZRANGEBYSCORE", f"{p}{HOLE}:stats", now_ms, "+inf")
    active = commands_for(queues, "LRANGE", f"{p}{HOLE}:active", "0", SHOWN)
    answers = without_errors((yield [*alive, *active]), notes)
    workers = tuple(
        Registration(text(key).rpartition(":")[2], queues=(queue,))
        for queue, key in by_queue(queues, answers[: len(queues)])
    )
    keys = by_queue(queues, answers[len(queues) :])
    records = without_errors((yield commands_for([key for _, key in keys], "GET", HOLE)), notes)
    jobs = tuple(
        _job(queue, key, raw, source.now) for (queue, key), raw in zip(keys, records, strict=True)
    )
    return Registry(workers, jobs)


def _job(queue: str, key: bytes, raw: bytes | None, now: float) -> Job:
    record = table(raw)
    since = moment(record.get("started"))
    # Left out where it is the default.
    limit = record.get("timeout", 10)
    stale = note = ""
    if raw is None:
        stale = "its record is gone"
    elif since is not None and isinstance(limit, int | float) and 0 < limit < now - since:
        stale, note = f"longer than its timeout of {limit:g} s", "SAQ's sweep ends or retries it"
    return Job(
        queue,
        str(record.get("function") or ""),
        str(record.get("key") or text(key).rpartition(":")[2]),
        since,
        digest(raw or key),
        str(record["worker_id"]) if record.get("worker_id") else None,
        stale,
        note,
    )
