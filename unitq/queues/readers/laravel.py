"""Laravel's queue:work, and Horizon above it.

    p queues:Q:reserved    payloads of the in-flight jobs -> when they go back into the queue
    r masters              Horizon: names -> seconds of their last heartbeat
    r supervisors          the same
    r supervisor:NAME      name, master, pid, status, processes (JSON), options (JSON)

Read in src/Illuminate/Queue/RedisQueue.php and Horizon's src/Repositories.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.queues.commands import HOLE, command, commands_for
from unitq.queues.model import Job, Registration, Registry
from unitq.queues.reader import SHOWN, by_queue, two_by_two, without_errors
from unitq.queues.values import digest, moment, pid, split_commas, table, text

if TYPE_CHECKING:
    from unitq.queues.commands import Answer, Commands, Reading
    from unitq.queues.reader import Notes, Source

_SUPERVISOR_LASTS = 29  # seconds, as Horizon's own repository asks


def read(source: Source, notes: Notes) -> Reading[Registry]:
    """Returns the in-flight jobs; the workers are not in Redis."""
    answers = without_errors((yield _payloads(source)), notes)
    return Registry(jobs=_jobs(source, answers))


def read_horizon(source: Source, notes: Notes) -> Reading[Registry]:
    """The same, with Horizon's supervisors as the workers."""
    r = source.registry_prefix
    since = f"{source.now - _SUPERVISOR_LASTS:.0f}"
    supervisors = command("ZRANGEBYSCORE", f"{r}supervisors", since, "+inf")
    names, *answers = without_errors((yield [supervisors, *_payloads(source)]), notes)
    fields = ("pid", "status", "options")
    asked = [command("HMGET", f"{r}supervisor:{text(name)}", *fields) for name in names or ()]
    records = without_errors((yield asked), notes)
    workers = []
    for name, record in zip(names or (), records, strict=True):
        process, status, options = record or (None,) * 3
        workers.append(
            Registration(
                text(name),
                # No host: a slug of its name is not always to be told from another one.
                pid=pid(process),
                queues=split_commas(str(table(options).get("queue") or "")),
                quiet="the supervisor is paused" if status == b"paused" else "",
            )
        )
    all_quiet = workers and all(worker.quiet for worker in workers)
    why = "every supervisor is paused" if all_quiet else ""
    return Registry(tuple(workers), _jobs(source, answers), paused=why)


def _payloads(source: Source) -> Commands:
    reserved = f"{source.prefix}queues:{HOLE}:reserved"
    return commands_for(source.queues, "ZRANGE", reserved, "0", SHOWN, "WITHSCORES")


def _jobs(source: Source, answers: list[Answer]) -> tuple[Job, ...]:
    jobs = []
    for queue, (payload, expires) in by_queue(source.queues, map(two_by_two, answers)):
        record = table(payload)
        at = moment(expires)
        late = at is not None and at <= source.now
        jobs.append(
            Job(
                queue,
                str(record.get("displayName") or record.get("job") or ""),
                str(record.get("uuid") or record.get("id") or ""),
                hash=digest(payload),
                stale="reserved for longer than retry_after" if late else "",
                note="the next pop puts it back" if late else "",
            )
        )
    return tuple(jobs)
