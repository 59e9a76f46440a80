"""RQ 2 and 3.

    p workers                   full keys, p worker:NAME
    p worker:NAME               hostname, pid, queues, birth, state, last_heartbeat, current_job …
    p worker:NAME:executions    since 3.0: JOB:EXECUTION of what it has in hand
    p job:ID                    description, origin, started_at, enqueued_at …

Read in rq/worker/base.py, rq/executions.py and rq/job.py (3.0.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unitq.core.queue import Job, Registration, Registry
from unitq.queues.source import good
from unitq.queues.values import digest, moment, number, pairs, text
from unitq.queues.wire import pack

if TYPE_CHECKING:
    from collections.abc import Generator

    from unitq.queues.source import Notes, Source
    from unitq.queues.wire import Answer, Commands

    Reading = Generator[Commands, list[Answer], Registry]


def read(source: Source, notes: Notes) -> Reading:
    """Its workers; one more trip for what their jobs are called."""
    p = source.prefix
    first = yield [pack("SMEMBERS", f"{p}workers"), pack("EXISTS", f"{p}suspended")]
    members, suspended = good(first, notes)
    keys = sorted(text(member) for member in members or ())
    commands = []
    for key in keys:
        commands += [pack("HGETALL", key), pack("SMEMBERS", f"{key}:executions")]
    told = good((yield commands), notes) if commands else []
    records = {
        key: (pairs(told[2 * index]), _running(told[2 * index], told[2 * index + 1]))
        for index, key in enumerate(keys)
    }
    ids = list(dict.fromkeys(job for _, running in records.values() for job in running))
    fields = ("description", "origin", "started_at", "data")
    asked = [pack("HMGET", f"{p}job:{job}", *fields) for job in ids]
    known = dict(zip(ids, good((yield asked), notes), strict=True)) if asked else {}
    workers = tuple(
        _worker(key.removeprefix(f"{p}worker:"), record, running, known)
        for key, (record, running) in records.items()
    )
    jobs = tuple(job for worker in workers for job in worker.jobs)
    return Registry(workers, jobs, paused="rq suspend" if suspended else "")


def _running(record: object, executions: object) -> list[str]:
    found = [text(each).rpartition(":")[0] for each in executions or ()]  # type: ignore[attr-defined]
    current = text(pairs(record).get("current_job"))
    return [job for job in dict.fromkeys([*found, current]) if job]


def _worker(
    name: str, record: dict[str, Any], running: list[str], known: dict[str, Any]
) -> Registration:
    stale = ""
    if not record:
        stale = "its record has expired: no heartbeat for its whole time-out"
    elif "death" in record:
        stale = "it has registered its death"
    jobs = []
    for job in running:
        description, origin, started, content = known.get(job) or (None,) * 4
        jobs.append(
            Job(
                queue=text(origin),
                # What follows are the arguments, which are nobody's business.
                name=text(description).partition("(")[0],
                id=job,
                since=moment(started),
                hash=digest(content or b""),
                worker=name,
            )
        )
    queues = text(record.get("queues"))
    heartbeat: bytes | None = record.get("last_heartbeat")
    return Registration(
        id=name,
        host=text(record["hostname"]) if "hostname" in record else None,
        pid=number(record.get("pid")),
        queues=tuple(queue for queue in queues.split(",") if queue),
        since=moment(record.get("birth")),
        heartbeat=moment(heartbeat),
        stale=stale,
        jobs=tuple(jobs),
        evidence=(("heartbeat", heartbeat),),
    )
