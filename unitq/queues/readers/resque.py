"""Resque and its kin: chrisboulton's and resque's php-resque, Ruby's Resque, node-resque.

    p workers                the ids, HOST:PID:QUEUES
    p worker:ID              the job in hand {queue, run_at, payload: {class, args, id}}
    p worker:ID:started      since when
    p workers:heartbeat      Ruby only: id -> time, written every 60 s
    p worker:ping:HOST:PID   node only: {time}, written every 5 s

Read in lib/Resque/Worker.php, lib/resque/data_store.rb and src/core/worker.ts.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from unitq.queues.commands import command
from unitq.queues.model import Job, Registration, Registry
from unitq.queues.reader import without_errors
from unitq.queues.values import digest, moment, pairs, table, text
from unitq.queues.values import pid as process

if TYPE_CHECKING:
    from collections.abc import Generator

    from unitq.queues.commands import Answer, Commands
    from unitq.queues.reader import Notes, Source

    Reading = Generator[Commands, list[Answer], Registry]

# Resque's prune_interval, and the time-out for stuck workers of node-resque's scheduler: seconds.
_RUBY_PRUNES = 300.0
_NODE_PRUNES = 3600.0


def read(source: Source, notes: Notes) -> Reading:
    """PHP and Ruby."""
    return (yield from _read(source, notes, node=False))


def read_node(source: Source, notes: Notes) -> Reading:
    """node-resque."""
    return (yield from _read(source, notes, node=True))


def _read(source: Source, notes: Notes, *, node: bool) -> Reading:
    p = source.prefix
    first = [command("SMEMBERS", f"{p}workers"), command("GET", f"{p}pause-all-workers")]
    if not node:
        first.append(command("HGETALL", f"{p}workers:heartbeat"))
    members, paused, *beats = without_errors((yield first), notes)
    heartbeats = pairs(beats[0]) if beats else {}
    ids = sorted(text(member) for member in members or ())
    commands = []
    for name in ids:
        commands += [
            command("GET", f"{p}worker:{name}"),
            command("GET", f"{p}worker:{name}:started"),
        ]
        if node:
            commands.append(command("GET", f"{p}worker:ping:{_host_and_pid(name)}"))
    told = without_errors((yield commands), notes) if commands else []
    width = 3 if node else 2
    workers = []
    for index, name in enumerate(ids):
        working, started, *ping = told[index * width : (index + 1) * width]
        beat: bytes | None = heartbeats.get(name)
        beaten = moment(table(ping[0]).get("time")) if node else moment(beat)
        workers.append(
            _worker(
                name,
                working,
                started,
                beat,
                heartbeat=beaten,
                now=source.now,
                longest=_NODE_PRUNES if node else _RUBY_PRUNES,
            )
        )
    jobs = tuple(job for worker in workers for job in worker.jobs)
    why = "pause-all-workers is set" if paused == b"true" else ""
    return Registry(tuple(workers), jobs, paused=why)


def _host_and_pid(name: str) -> str:
    return ":".join(name.split(":")[:2])


def _worker(
    name: str,
    working: bytes | None,
    started: bytes | None,
    beat: bytes | None,
    *,
    heartbeat: float | None,
    now: float,
    longest: float,
) -> Registration:
    host, _, rest = name.partition(":")
    pid, _, queues = rest.partition(":")
    job = _job(name, working)
    stale = ""
    if heartbeat is not None and now - heartbeat > longest:
        stale = f"no heartbeat for {now - heartbeat:.0f} s"
    # node-resque's multi-worker: 4711+1, 4711+2 in one process.
    digits = pid.partition("+")[0]
    return Registration(
        id=name,
        host=host,
        pid=process(digits),
        queues=tuple(queue.strip() for queue in queues.split(",") if queue.strip()),
        since=moment(started),
        heartbeat=heartbeat,
        stale=stale,
        jobs=(job,) if job else (),
        evidence=(("working", working), ("started", started), ("heartbeat", beat)),
    )


def _job(worker: str, working: bytes | None) -> Job | None:
    if not working:
        return None
    record = table(working)
    found = record.get("payload")
    payload: dict[str, Any] = found if isinstance(found, dict) else {}
    name, identity = str(payload.get("class") or ""), str(payload.get("id") or "")
    arguments = payload.get("args")
    first = arguments[0] if isinstance(arguments, list) and arguments else None
    if isinstance(first, dict) and "job_class" in first:
        # Rails' ActiveJob in its wrapper.
        name, identity = str(first["job_class"]), str(first.get("job_id") or "")
    canonical = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    return Job(
        queue=str(record.get("queue") or ""),
        name=name,
        id=identity,
        since=moment(record.get("run_at")),
        hash=digest(canonical),
        worker=worker,
    )
