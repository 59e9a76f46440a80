"""BullMQ.

    p Q:active     ids of the in-flight jobs
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
from unitq.queues.reader import SHOWN, by_queue, without_errors
from unitq.queues.values import digest, moment, text

if TYPE_CHECKING:
    from unitq.queues.commands import Commands, Reading
    from unitq.queues.reader import Notes, Source

_GONE = -2  # PTTL: there is no such key


def read(source: Source, notes: Notes) -> Reading[Registry]:
    """Returns the in-flight jobs of each queue."""
    p, queues = source.prefix, source.queues
    active = commands_for(queues, "LRANGE", f"{p}{HOLE}:active", "0", SHOWN)
    pauses = commands_for(queues, "HGET", f"{p}{HOLE}:meta", "paused")
    answers = without_errors((yield [*active, *pauses]), notes)
    ids = by_queue(queues, answers[: len(queues)])
    marks = zip(queues, answers[len(queues) :], strict=True)
    paused = [queue for queue, mark in marks if mark is not None]
    commands: Commands = []
    for queue, job in ids:
        key = f"{p}{queue}:{text(job)}"
        commands.append(command("HMGET", key, "name", "data", "processedOn", "pb"))
        commands.append(command("PTTL", f"{key}:lock"))
    records = without_errors((yield commands), notes)
    jobs = []
    for (queue, job), record, lock in zip(ids, records[::2], records[1::2], strict=True):
        name, data, processed, worker = record or (None,) * 4
        stalled = lock == _GONE
        jobs.append(
            Job(
                queue,
                text(name),
                text(job),
                moment(processed),
                digest(data or b""),
                text(worker) or None,
                stale="its lock is gone: stalled" if stalled else "",
                note="BullMQ's check for stalled jobs puts it back" if stalled else "",
            )
        )
    why = f"paused: {', '.join(paused)}" if paused else ""
    return Registry(jobs=tuple(jobs), paused=why)
