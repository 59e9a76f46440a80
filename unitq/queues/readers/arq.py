"""arq.

    Q                     ids -> milliseconds when they are due; jobs in hand stay in it
    arq:in-progress:J     there while it is in hand
    Q:health-check        of all workers of the queue: one line of text

What a job is called is in a pickle, which is not opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.queues.commands import HOLE, commands_for
from unitq.queues.model import Job, Registry
from unitq.queues.reader import without_errors
from unitq.queues.values import digest, text

if TYPE_CHECKING:
    from collections.abc import Generator

    from unitq.queues.commands import Answer, Commands
    from unitq.queues.reader import Notes, Source

    Reading = Generator[Commands, list[Answer], Registry]

_SHOWN = "1000"  # jobs of a queue, the longest due


def read(source: Source, notes: Notes) -> Reading:
    """What is in hand."""
    now_ms = f"{source.now * 1000:.0f}"
    due = commands_for(source.queues, "ZRANGEBYSCORE", HOLE, "-inf", now_ms, "LIMIT", "0", _SHOWN)
    told = without_errors((yield due), notes)
    ids = [
        (queue, job)
        for queue, answer in zip(source.queues, told, strict=True)
        for job in answer or ()
    ]
    marks = commands_for([job for _, job in ids], "EXISTS", f"{source.prefix}in-progress:{HOLE}")
    found = without_errors((yield marks), notes)
    jobs = tuple(
        Job(queue=queue, name="", id=text(job), since=None, hash=digest(job), worker=None)
        for (queue, job), there in zip(ids, found, strict=True)
        if there
    )
    return Registry(jobs=jobs)
