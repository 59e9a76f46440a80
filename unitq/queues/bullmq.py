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

from unitq.core.queue import Job, Registry
from unitq.queues.source import good
from unitq.queues.values import digest, moment, text
from unitq.queues.wire import pack

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from unitq.queues.source import Notes, Source
    from unitq.queues.wire import Answer

    Reading = Generator[Sequence[bytes], list[Answer], Registry]

_SHOWN = "999"  # jobs of a queue
_GONE = -2  # PTTL: there is no such key


def read(source: Source, notes: Notes) -> Reading:
    """What is in hand in each queue."""
    p = source.prefix
    commands = []
    for queue in source.queues:
        commands.append(pack("LRANGE", f"{p}{queue}:active", "0", _SHOWN))
        commands.append(pack("HGET", f"{p}{queue}:meta", "paused"))
    told = good((yield commands), notes) if commands else []
    active = [
        (queue, text(job))
        for index, queue in enumerate(source.queues)
        for job in told[2 * index] or ()
    ]
    paused = [q for index, q in enumerate(source.queues) if told[2 * index + 1] is not None]
    asked = []
    for queue, job in active:
        asked.append(pack("HMGET", f"{p}{queue}:{job}", "name", "data", "processedOn", "pb"))
        asked.append(pack("PTTL", f"{p}{queue}:{job}:lock"))
    records = good((yield asked), notes) if asked else []
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
