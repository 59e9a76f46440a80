"""Laravel's queue:work, and Horizon above it.

    p queues:Q:reserved    payloads of the jobs in hand -> when they go back into the queue
    r masters              Horizon: names -> seconds of their last heartbeat
    r supervisors          the same
    r supervisor:NAME      name, master, pid, status, processes (JSON), options (JSON)

Read in src/Illuminate/Queue/RedisQueue.php and Horizon's src/Repositories.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.queues.commands import HOLE, pack
from unitq.queues.model import Job, Registration, Registry
from unitq.queues.reader import each, good
from unitq.queues.sparse import holders
from unitq.queues.values import digest, moment, table, text
from unitq.queues.values import pid as process

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from unitq.queues.commands import Commands, Several
    from unitq.queues.reader import Notes, Source
    from unitq.queues.wire import Answer

    Reading = Generator[Commands, list[Answer], Registry]

_SHOWN = "999"  # jobs of a queue
_SUPERVISOR_LASTS = 29  # seconds, as Horizon's own repository asks


def read(source: Source, notes: Notes) -> Reading:
    """What is in hand; the workers are not in Redis."""
    queues = yield from holders(source.queues, _reserved(source))
    answers = good((yield [_payloads(source, queues)]), notes)
    return Registry(jobs=_jobs(queues, answers, source.now))


def read_horizon(source: Source, notes: Notes) -> Reading:
    """The same, with Horizon's supervisors as the workers."""
    r = source.registry_prefix
    since = f"{source.now - _SUPERVISOR_LASTS:.0f}"
    supervisors = pack("ZRANGEBYSCORE", f"{r}supervisors", since, "+inf")
    names, *answers = good((yield [supervisors, _payloads(source, source.queues)]), notes)
    fields = ("pid", "status", "processes", "options")
    asked = [pack("HMGET", f"{r}supervisor:{text(name)}", *fields) for name in names or ()]
    records = good((yield asked), notes) if asked else []
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
    return Registry(tuple(workers), _jobs(source.queues, answers, source.now), paused=why)


def _reserved(source: Source) -> str:
    return f"{source.prefix}queues:{HOLE}:reserved"


def _payloads(source: Source, queues: Sequence[str]) -> Several:
    return each(queues, "ZRANGE", _reserved(source), "0", _SHOWN, "WITHSCORES")


def _jobs(queues: Sequence[str], answers: list[Answer], now: float) -> tuple[Job, ...]:
    return tuple(
        _job(queue, payload, moment(expires), now)
        for queue, answer in zip(queues, answers, strict=True)
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
