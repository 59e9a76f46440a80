"""Resque and its kin: chrisboulton's and resque's php-resque, Ruby's Resque, node-resque.

    p workers                the ids, HOST:PID:QUEUES
    p worker:ID              the in-flight job {queue, run_at, payload: {class, args, id}}
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
from unitq.queues.values import digest, moment, pairs, pid, split_commas, table, text

if TYPE_CHECKING:
    from unitq.queues.commands import Commands, Reading
    from unitq.queues.reader import Notes, Source

# Resque's prune_interval, and the time-out for stuck workers of node-resque's scheduler: seconds.
_RUBY_PRUNES = 300.0
_NODE_PRUNES = 3600.0


def read(source: Source, notes: Notes) -> Reading[Registry]:
    """Returns its workers and their jobs."""
    p = source.prefix
    node = source.keys.registry == "node-resque"
    first = [command("SMEMBERS", f"{p}workers"), command("GET", f"{p}pause-all-workers")]
    if not node:
        first.append(command("HGETALL", f"{p}workers:heartbeat"))
    members, paused, *beats = without_errors((yield first), notes)
    heartbeats = pairs(beats[0]) if beats else {}
    ids = sorted(map(text, members or ()))
    commands: Commands = []
    for name in ids:
        commands += [command("GET", f"{p}worker:{name}{end}") for end in ("", ":started")]
        if node:
            host_and_pid = ":".join(name.split(":")[:2])
            commands.append(command("GET", f"{p}worker:ping:{host_and_pid}"))
    answers = iter(without_errors((yield commands), notes))
    workers = []
    for name in ids:
        record, started = next(answers), next(answers)
        beat = table(next(answers)).get("time") if node else heartbeats.get(name)
        heartbeat = moment(beat)
        age = source.now - heartbeat if heartbeat is not None else 0.0
        host, _, rest = name.partition(":")
        process, _, queues = rest.partition(":")
        job = _job(name, record)
        stale = ""
        if age > (_NODE_PRUNES if node else _RUBY_PRUNES):
            stale = f"no heartbeat for {age:.0f} s"
        evidence = (
            ("working", record), ("started", started), ("heartbeat", heartbeats.get(name)),
        )  # fmt: skip
        workers.append(
            Registration(
                name,
                host,
                pid(process.partition("+")[0]),  # node's multi-worker: 4711+1, 4711+2 in one
                split_commas(queues),
                moment(started),
                heartbeat,
                stale,
                jobs=(job,) if job else (),
                evidence=evidence,
            )
        )
    jobs = tuple(job for worker in workers for job in worker.jobs)
    why = "pause-all-workers is set" if paused == b"true" else ""
    return Registry(tuple(workers), jobs, paused=why)


def _job(worker: str, raw: bytes | None) -> Job | None:
    if not raw:
        return None
    record = table(raw)
    value = record.get("payload")
    payload: dict[str, Any] = value if isinstance(value, dict) else {}
    name, identity = str(payload.get("class") or ""), str(payload.get("id") or "")
    arguments = payload.get("args")
    first = arguments[0] if isinstance(arguments, list) and arguments else None
    if isinstance(first, dict) and "job_class" in first:
        # Rails' ActiveJob in its wrapper.
        name, identity = str(first["job_class"]), str(first.get("job_id") or "")
    canonical = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    queue, since = str(record.get("queue") or ""), moment(record.get("run_at"))
    return Job(queue, name, identity, since, digest(canonical), worker)
