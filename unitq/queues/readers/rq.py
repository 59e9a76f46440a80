"""RQ 2 and 3.

    p workers                   full keys, p worker:NAME
    p worker:NAME               hostname, pid, queues, birth, state, last_heartbeat, current_job …
    p worker:NAME:executions    since 3.0: JOB:EXECUTION of what it has in hand
    p wip:QUEUE                 the same of a queue
    p queue:QUEUE:intermediate  what a worker of one queue has taken and not begun: for milliseconds
    p job:ID                    description, origin, started_at, enqueued_at …

Read in rq/worker/base.py, rq/executions.py and rq/job.py (3.0.0).
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from unitq.queues.commands import HOLE, command, commands_for
from unitq.queues.model import Job, Registration, Registry
from unitq.queues.reader import without_errors
from unitq.queues.values import digest, moment, pairs, pid, text

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from unitq.queues.commands import Answer, Commands
    from unitq.queues.reader import Notes, Source

    Reading = Generator[Commands, list[Answer], Registry]


_NAMED = 1000  # queues
_SHOWN = "99"  # and the last of the jobs of each that are asked for before a worker names them


def read(source: Source, notes: Notes) -> Reading:
    """Its workers and their jobs.

    What a worker has in hand, its own record says, so that the job would take a third trip. But
    nearly always it is of a queue that the configuration names, and in that queue's list of jobs in
    hand: those are asked for at once, and only what is not among them is asked for later.
    """
    p = source.prefix
    first = [command("SMEMBERS", f"{p}workers"), command("EXISTS", f"{p}suspended")]
    queues = source.queues[:_NAMED]
    lists = [commands_for(queues, "ZRANGE", f"{p}wip:{HOLE}", "0", _SHOWN)]
    if source.named:
        lists.append(commands_for(queues, "LRANGE", f"{p}queue:{HOLE}:intermediate", "0", _SHOWN))
    members, suspended, *found = without_errors(
        (yield [*first, *chain.from_iterable(lists)]), notes
    )
    held, taken = found[: len(queues)], found[len(queues) :]
    keys = sorted(text(member) for member in members or ())
    begun = dict.fromkeys(_job(entry) for entries in held for entry in entries or ())
    waiting = {text(entry): None for entries in taken for entry in entries or ()}
    likely = (begun if keys else {}) | waiting
    commands = _asked(p, likely)
    for key in keys:
        commands += [command("HGETALL", key), command("SMEMBERS", f"{key}:executions")]
    told = without_errors((yield commands), notes)
    known = dict(zip(likely, told, strict=False))
    told = told[len(likely) :]
    records = {
        key: (pairs(told[2 * index]), _running(told[2 * index], told[2 * index + 1]))
        for index, key in enumerate(keys)
    }
    running = dict.fromkeys(job for _, jobs in records.values() for job in jobs)
    others = [job for job in running if job not in known]
    known |= zip(others, without_errors((yield _asked(p, others)), notes), strict=True)
    workers = tuple(
        _worker(key.removeprefix(f"{p}worker:"), record, running, known)
        for key, (record, running) in records.items()
    )
    jobs = tuple(job for worker in workers for job in worker.jobs)
    unbegun = tuple(
        _job_of(job, known.get(job)) for job in waiting if job not in begun and job not in running
    )
    return Registry(workers, jobs, paused="rq suspend" if suspended else "", unbegun=unbegun)


def _asked(prefix: str, jobs: Iterable[str]) -> Commands:
    fields = ("description", "origin", "started_at", "data")
    return commands_for(list(jobs), "HMGET", f"{prefix}job:{HOLE}", *fields)


def _job(entry: bytes) -> str:
    """JOB:EXECUTION; before RQ 2 the job alone."""
    return text(entry).rpartition(":")[0] or text(entry)


def _running(record: object, executions: object) -> list[str]:
    found = [text(each).rpartition(":")[0] for each in executions or ()]  # type: ignore[attr-defined]
    current = text(pairs(record).get("current_job"))
    return [job for job in dict.fromkeys([*found, current]) if job]


def _job_of(job: str, record: Any, worker: str | None = None) -> Job:
    description, origin, started, content = record or (None,) * 4
    return Job(
        queue=text(origin),
        # What follows are the arguments, which are nobody's business.
        name=text(description).partition("(")[0],
        id=job,
        since=moment(started),
        hash=digest(content or b""),
        worker=worker,
    )


def _worker(
    name: str, record: dict[str, Any], running: list[str], known: dict[str, Any]
) -> Registration:
    stale = ""
    if not record:
        stale = "its record has expired: no heartbeat for its whole time-out"
    elif "death" in record:
        stale = "it has registered its death"
    jobs = [_job_of(job, known.get(job), name) for job in running]
    queues = text(record.get("queues"))
    heartbeat: bytes | None = record.get("last_heartbeat")
    return Registration(
        id=name,
        host=text(record["hostname"]) if "hostname" in record else None,
        pid=pid(record.get("pid")),
        queues=tuple(queue for queue in queues.split(",") if queue),
        since=moment(record.get("birth")),
        heartbeat=moment(heartbeat),
        stale=stale,
        jobs=tuple(jobs),
        evidence=(("heartbeat", heartbeat),),
    )
