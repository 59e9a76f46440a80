"""BullMQ.

    p Q:active     ids of the jobs in hand
    p Q:J          name, data, processedOn (ms), pb (the worker's name, if it has one)
    p Q:J:lock     renewed for 30 s at a time by the worker that has it
    p Q:meta       paused

Its workers are known by the names of their connections only. CLIENT LIST, which shows them, is no
command that a user for reading has, and shows every client of the server: it is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.queues.commands import HOLE, command, commands_for
from unitq.queues.model import Job, Registry
from unitq.queues.reader import without_errors
from unitq.queues.values import digest, moment, text

if TYPE_CHECKING:
    from collections.abc import Generator

    from unitq.queues.commands import Answer, Commands
    from unitq.queues.reader import Notes, Source

    Reading = Generator[Commands, list[Answer], Registry]

_SHOWN = "999"  # jobs of a queue
_GONE = -2  # PTTL: there is no such key


def read(source: Source, notes: Notes) -> Reading:
    """What is in hand in each queue."""
    p = source.prefix
    held = commands_for(source.queues, "LRANGE", f"{p}{HOLE}:active", "0", _SHOWN)
    pauses = commands_for(source.queues, "HGET", f"{p}{HOLE}:meta", "paused")
    told = without_errors((yield [*held, *pauses]), notes)
    actives, marks = told[: len(source.queues)], told[len(source.queues) :]
    active = [
        (queue, text(job))
        for queue, jobs in zip(source.queues, actives, strict=True)
        for job in jobs or ()
    ]
    paused = [q for q, mark in zip(source.queues, marks, strict=True) if mark is not None]
    asked = []
    for queue, job in active:
        asked.append(command("HMGET", f"{p}{queue}:{job}", "name", "data", "processedOn", "pb"))
        asked.append(command("PTTL", f"{p}{queue}:{job}:lock"))
    records = without_errors((yield asked), notes)
    jobs = []
    for index, (queue, job) in enumerate(active):
        record, lock = records[2 * index : 2 * index + 2]
        name, data, processed, worker = record or (None,) * 4
        stalled = lock == _GONE
        jobs.append(
            Job(
                queue=queue,
                name=text(name),
                id=job,
                since=moment(processed),
                hash=digest(data or b""),
                worker=text(worker) or None,
                stale="its lock is gone: stalled" if stalled else "",
                note="BullMQ's check for stalled jobs puts it back" if stalled else "",
            )
        )
    why = f"paused: {', '.join(paused)}" if paused else ""
    return Registry(jobs=tuple(jobs), paused=why)
