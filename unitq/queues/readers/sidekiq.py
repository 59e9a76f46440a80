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
    from unitq.queues.commands import Answer, Commands, Reading
    from unitq.queues.reader import Notes, Source

_LASTS = 60.0  # seconds without a heartbeat
_QUIET = "quiet (TSTP, or stopping)"


def read(source: Source, notes: Notes) -> Reading[Registry]:
    """Returns its processes and the jobs of their threads."""
    p = source.prefix
    (members,) = without_errors((yield [command("SMEMBERS", f"{p}processes")]), notes)
    ids = sorted(map(text, members or ()))
    commands: Commands = []
    for name in ids:
        commands.append(command("HMGET", f"{p}{name}", "info", "beat", "quiet"))
        commands += [command("HGETALL", f"{p}{name}:{key}") for key in ("work", "workers")]
    answers = without_errors((yield commands), notes)
    rows = zip(answers[::3], answers[1::3], answers[2::3], strict=True)
    workers = tuple(
        _worker(name, record, [*pairs(work).values(), *pairs(older).values()], source.now)
        for name, (record, work, older) in zip(ids, rows, strict=True)
    )
    jobs = tuple(job for worker in workers for job in worker.jobs)
    alive = [worker for worker in workers if not worker.stale]
    all_quiet = alive and all(worker.quiet for worker in alive)
    return Registry(workers, jobs, paused=f"every process is {_QUIET}" if all_quiet else "")


def _worker(name: str, record: Answer, work: list[bytes], now: float) -> Registration:
    raw, beat, quiet = record or (None,) * 3
    info = table(raw)
    host, _, rest = name.partition(":")
    heartbeat = moment(beat)
    stale = ""
    if raw is None:
        stale = f"its record is gone: no heartbeat for {_LASTS:.0f} s"
    elif heartbeat is not None and now - heartbeat > _LASTS:
        stale = f"no heartbeat for {now - heartbeat:.0f} s"
    queues = info.get("queues")
    return Registration(
        name,
        str(info.get("hostname") or host),
        pid(info.get("pid")) or pid(rest.partition(":")[0]),
        tuple(map(str, queues)) if isinstance(queues, list) else None if raw else (),
        moment(info.get("started_at")),
        heartbeat,
        stale,
        _QUIET if quiet == b"true" else "",
        tuple(_job(name, entry) for entry in work),
        (("beat", beat),),
    )


def _job(process: str, entry: bytes) -> Job:
    record = table(entry)
    raw = record.get("payload")
    # A string of JSON since 6.5; an object before.
    payload = raw if isinstance(raw, dict) else table(raw)
    return Job(
        str(record.get("queue") or payload.get("queue") or ""),
        str(payload.get("wrapped") or payload.get("class") or ""),
        str(payload.get("jid") or ""),
        moment(record.get("run_at")),
        digest(raw if isinstance(raw, str) else entry),
        process,
    )
