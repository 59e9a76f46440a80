"""arq.

    Q                     ids -> milliseconds when they are due; in-flight jobs stay in it
    arq:in-progress:J     exists while a worker has it
    Q:health-check        of all workers of the queue: one line of text

What a job is called is in a pickle, which is not opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.queues.commands import HOLE, commands_for
from unitq.queues.model import Job, Registry
from unitq.queues.reader import by_queue, without_errors
from unitq.queues.values import digest, text

if TYPE_CHECKING:
    from unitq.queues.commands import Reading
    from unitq.queues.reader import Notes, Source

_SHOWN = "1000"  # jobs of a queue, the longest due


def read(source: Source, notes: Notes) -> Reading[Registry]:
    """Returns the in-flight jobs."""
    now_ms = f"{source.now * 1000:.0f}"
    due = commands_for(source.queues, "ZRANGEBYSCORE", HOLE, "-inf", now_ms, "LIMIT", "0", _SHOWN)
    ids = by_queue(source.queues, without_errors((yield due), notes))
    marks = commands_for([job for _, job in ids], "EXISTS", f"{source.prefix}in-progress:{HOLE}")
    begun = without_errors((yield marks), notes)
    return Registry(
        jobs=tuple(
            Job(queue, id=text(job), hash=digest(job))
            for (queue, job), mark in zip(ids, begun, strict=True)
            if mark
        )
    )
