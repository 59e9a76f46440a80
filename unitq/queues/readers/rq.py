"""RQ 2 and 3.

    p workers                   full keys, p worker:NAME
    p worker:NAME               hostname, pid, queues, birth, state, last_heartbeat, current_job …
    p worker:NAME:executions    since 3.0: JOB:EXECUTION of its in-flight jobs
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
from unitq.queues.values import digest, moment, pairs, pid, split_commas, text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unitq.queues.commands import Commands, Reading
    from unitq.queues.reader import Notes, Source

_NAMED = 1000  # queues
_SHOWN = "99"  # and the last of the jobs of each that are asked for before a worker names them


def read(source: Source, notes: Notes) -> Reading[Registry]:
    """Returns its workers and their jobs.

    Which jobs a worker has, its own record says, so that the job would take a third trip. But
    nearly always it is of a queue that the configuration names, and in that queue's list of
    in-flight jobs: those are asked for at once, and only what is not among them is asked for later.
    """
    p = source.prefix
    queues = source.queues[:_NAMED]
    first = [command("SMEMBERS", f"{p}workers"), command("EXISTS", f"{p}suspended")]
    first += commands_for(queues, "ZRANGE", f"{p}wip:{HOLE}", "0", _SHOWN)
    if source.named:
        first += commands_for(queues, "LRANGE", f"{p}queue:{HOLE}:intermediate", "0", _SHOWN)
    members, suspended, *lists = without_errors((yield first), notes)
    entries, taken = (
        list(chain.from_iterable(each or () for each in part))
        for part in (lists[: len(queues)], lists[len(queues) :])
    )
    keys = sorted(map(text, members or ()))
    begun, waiting = dict.fromkeys(map(_job_id, entries)), dict.fromkeys(map(text, taken))
    likely = (begun if keys else {}) | waiting
    commands = _job_commands(p, likely)
    for key in keys:
        commands += [command("HGETALL", key), command("SMEMBERS", f"{key}:executions")]
    answers = without_errors((yield commands), notes)
    known = dict(zip(likely, answers, strict=False))
    answers = answers[len(likely) :]
    workers = [
        (key.removeprefix(f"{p}worker:"), pairs(record), _running(pairs(record), executions))
        for key, record, executions in zip(keys, answers[::2], answers[1::2], strict=True)
    ]
    running = dict.fromkeys(chain.from_iterable(jobs for _, _, jobs in workers))
    others = [job for job in running if job not in known]
    known |= zip(others, without_errors((yield _job_commands(p, others)), notes), strict=True)
    registrations = tuple(_worker(name, record, jobs, known) for name, record, jobs in workers)
    unbegun = tuple(
        _job(job, known.get(job)) for job in waiting if job not in begun and job not in running
    )
    return Registry(
        registrations,
        tuple(job for worker in registrations for job in worker.jobs),
        paused="rq suspend" if suspended else "",
        unbegun=unbegun,
    )


def _job_commands(prefix: str, jobs: Iterable[str]) -> Commands:
    fields = ("description", "origin", "started_at", "data")
    return commands_for(list(jobs), "HMGET", f"{prefix}job:{HOLE}", *fields)


def _job_id(entry: bytes) -> str:
    """Returns JOB of JOB:EXECUTION; before RQ 2 it stood alone."""
    return text(entry).rpartition(":")[0] or text(entry)


def _running(record: dict[str, Any], executions: list[bytes] | None) -> list[str]:
    jobs = [text(each).rpartition(":")[0] for each in executions or ()]
    return [job for job in dict.fromkeys([*jobs, text(record.get("current_job"))]) if job]


def _job(job: str, record: Any, worker: str | None = None) -> Job:
    description, origin, started, content = record or (None,) * 4
    # What follows the name are the arguments, which are nobody's business.
    name = text(description).partition("(")[0]
    return Job(text(origin), name, job, moment(started), digest(content or b""), worker)


def _worker(
    name: str, record: dict[str, Any], running: list[str], known: dict[str, Any]
) -> Registration:
    stale = ""
    if not record:
        stale = "its record has expired: no heartbeat for its whole time-out"
    elif "death" in record:
        stale = "it has registered its death"
    heartbeat: bytes | None = record.get("last_heartbeat")
    return Registration(
        name,
        text(record["hostname"]) if "hostname" in record else None,
        pid(record.get("pid")),
        split_commas(text(record.get("queues"))),
        moment(record.get("birth")),
        moment(heartbeat),
        stale,
        jobs=tuple(_job(job, known.get(job), name) for job in running),
        evidence=(("heartbeat", heartbeat),),
    )
