"""arq.

    Q                     ids -> milliseconds when they are due; jobs in hand stay in it
    arq:in-progress:J     there while it is in hand
    Q:health-check        of all workers of the queue: one line of text

What a job is called is in a pickle, which is not opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.queues.commands import HOLE
from unitq.queues.model import Job, Registry
from unitq.queues.reader import each, good
from unitq.queues.values import digest, text

if TYPE_CHECKING:
    from collections.abc import Generator

    from unitq.queues.commands import Commands
    from unitq.queues.reader import Notes, Source
    from unitq.queues.wire import Answer

    Reading = Generator[Commands, list[Answer], Registry]

_SHOWN = "1000"  # jobs of a queue, the longest due


def read(source: Source, notes: Notes) -> Reading:
    """What is in hand."""
    now_ms = f"{source.now * 1000:.0f}"
    due = each(source.queues, "ZRANGEBYSCORE", HOLE, "-inf", now_ms, "LIMIT", "0", _SHOWN)
    told = good((yield [due]), notes)
    ids = [
        (queue, job)
        for queue, answer in zip(source.queues, told, strict=True)
        for job in answer or ()
    ]
    marks = each([job for _, job in ids], "EXISTS", f"{source.prefix}in-progress:{HOLE}")
    found = good((yield [marks]), notes)
    jobs = tuple(
        Job(queue=queue, name="", id=text(job), since=None, hash=digest(job), worker=None)
        for (queue, job), there in zip(ids, found, strict=True)
        if there
    )
    return Registry(jobs=jobs)
