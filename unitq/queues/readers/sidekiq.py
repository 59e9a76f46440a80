"""Sidekiq 7 and 8 (6 with a prefix).

    processes     the ids, HOST:PID:NONCE
    ID            info (JSON), busy, beat, quiet …; gone 60 s after the last heartbeat
    ID:work       thread -> {queue, payload, run_at}; written every 10 s
    ID:workers    the same before 6.5

Read in lib/sidekiq/launcher.rb and lib/sidekiq/api.rb.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.queues.commands import command
from unitq.queues.model import Job, Registration, Registry
from unitq.queues.reader import without_errors
from unitq.queues.values import digest, moment, pairs, pid, table, text

if TYPE_CHECKING:
    from collections.abc import Generator

    from unitq.queues.commands import Answer, Commands
    from unitq.queues.reader import Notes, Source

    Reading = Generator[Commands, list[Answer], Registry]

_LASTS = 60.0  # seconds without a heartbeat
_QUIET = "quiet (TSTP, or stopping)"


def read(source: Source, notes: Notes) -> Reading:
    """Its processes and what their threads have in hand."""
    p = source.prefix
    (members,) = without_errors((yield [command("SMEMBERS", f"{p}processes")]), notes)
    ids = sorted(text(member) for member in members or ())
    commands = []
    for name in ids:
        commands.append(command("HMGET", f"{p}{name}", "info", "beat", "quiet"))
        commands += [command("HGETALL", f"{p}{name}:{key}") for key in ("work", "workers")]
    told = without_errors((yield commands), notes) if commands else []
    workers = []
    for index, name in enumerate(ids):
        record, *work = told[3 * index : 3 * index + 3]
        info, beat, silent = record or (None, None, None)
        process = _process(
            name, info, beat, [entry for one in work for entry in pairs(one).values()], source.now
        )
        workers.append(process._replace(quiet=_QUIET if silent == b"true" else ""))
    jobs = tuple(job for worker in workers for job in worker.jobs)
    alive = [worker for worker in workers if not worker.stale]
    why = f"every process is {_QUIET}" if alive and all(one.quiet for one in alive) else ""
    return Registry(tuple(workers), jobs, paused=why)


def _process(
    name: str, info: bytes | None, beat: bytes | None, work: list[bytes], now: float
) -> Registration:
    told = table(info)
    host, _, rest = name.partition(":")
    heartbeat = moment(beat)
    stale = ""
    if info is None:
        stale = f"its record is gone: no heartbeat for {_LASTS:.0f} s"
    elif heartbeat is not None and now - heartbeat > _LASTS:
        stale = f"no heartbeat for {now - heartbeat:.0f} s"
    queues = told.get("queues")
    return Registration(
        id=name,
        host=str(told.get("hostname") or host),
        pid=pid(told.get("pid")) or pid(rest.partition(":")[0]),
        queues=tuple(map(str, queues)) if isinstance(queues, list) else None if info else (),
        since=moment(told.get("started_at")),
        heartbeat=heartbeat,
        stale=stale,
        jobs=tuple(_job(name, entry) for entry in work),
        evidence=(("beat", beat),),
    )


def _job(process: str, entry: bytes) -> Job:
    record = table(entry)
    raw = record.get("payload")
    # A string of JSON since 6.5; an object before.
    payload = raw if isinstance(raw, dict) else table(raw)
    return Job(
        queue=str(record.get("queue") or payload.get("queue") or ""),
        name=str(payload.get("wrapped") or payload.get("class") or ""),
        id=str(payload.get("jid") or ""),
        since=moment(record.get("run_at")),
        hash=digest(raw if isinstance(raw, str) else entry),
        worker=process,
    )
