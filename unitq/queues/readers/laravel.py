"""Laravel's queue:work, and Horizon above it.

    p queues:Q:reserved    payloads of the jobs in hand -> when they go back into the queue
    r masters              Horizon: names -> seconds of their last heartbeat
    r supervisors          the same
    r supervisor:NAME      name, master, pid, status, processes (JSON), options (JSON)

Read in src/Illuminate/Queue/RedisQueue.php and Horizon's src/Repositories.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.queues.commands import HOLE, command, commands_for
from unitq.queues.model import Job, Registration, Registry
from unitq.queues.reader import without_errors
from unitq.queues.values import digest, moment, table, text
from unitq.queues.values import pid as process

if TYPE_CHECKING:
    from collections.abc import Generator

    from unitq.queues.commands import Answer, Commands
    from unitq.queues.reader import Notes, Source

    Reading = Generator[Commands, list[Answer], Registry]

_SHOWN = "999"  # jobs of a queue
_SUPERVISOR_LASTS = 29  # seconds, as Horizon's own repository asks


def read(source: Source, notes: Notes) -> Reading:
    """What is in hand; the workers are not in Redis."""
    answers = without_errors((yield _payloads(source)), notes)
    return Registry(jobs=_jobs(source, answers))


def read_horizon(source: Source, notes: Notes) -> Reading:
    """The same, with Horizon's supervisors as the workers."""
    r = source.registry_prefix
    since = f"{source.now - _SUPERVISOR_LASTS:.0f}"
    supervisors = command("ZRANGEBYSCORE", f"{r}supervisors", since, "+inf")
    names, *answers = without_errors((yield [supervisors, *_payloads(source)]), notes)
    fields = ("pid", "status", "processes", "options")
    asked = [command("HMGET", f"{r}supervisor:{text(name)}", *fields) for name in names or ()]
    records = without_errors((yield asked), notes) if asked else []
    workers = []
    for name, record in zip(names or (), records, strict=True):
        pid, status, _, options = record or (None,) * 4
        queues = str(table(options).get("queue") or "")
        workers.append(
            Registration(
                id=text(name),
                # A slug of the host's name, which is not always to be told from another one.
                host=None,
                pid=process(pid),
                queues=tuple(queue for queue in queues.split(",") if queue),
                since=None,
                heartbeat=None,
                quiet="the supervisor is paused" if status == b"paused" else "",
            )
        )
    why = "every supervisor is paused" if workers and all(one.quiet for one in workers) else ""
    return Registry(tuple(workers), _jobs(source, answers), paused=why)


def _payloads(source: Source) -> Commands:
    reserved = f"{source.prefix}queues:{HOLE}:reserved"
    return commands_for(source.queues, "ZRANGE", reserved, "0", _SHOWN, "WITHSCORES")


def _jobs(source: Source, answers: list[Answer]) -> tuple[Job, ...]:
    return tuple(
        _job(queue, payload, moment(expires), source.now)
        for queue, answer in zip(source.queues, answers, strict=True)
        for payload, expires in zip((answer or [])[::2], (answer or [])[1::2], strict=True)
    )


def _job(queue: str, payload: bytes, expires: float | None, now: float) -> Job:
    told = table(payload)
    late = expires is not None and expires <= now
    return Job(
        queue=queue,
        name=str(told.get("displayName") or told.get("job") or ""),
        id=str(told.get("uuid") or told.get("id") or ""),
        since=None,
        hash=digest(payload),
        worker=None,
        stale="reserved for longer than retry_after" if late else "",
        note="the next pop puts it back" if late else "",
    )
