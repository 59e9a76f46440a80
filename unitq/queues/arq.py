"""arq.

    Q                     ids -> milliseconds when they are due; jobs in hand stay in it
    arq:in-progress:J     there while it is in hand
    Q:health-check        of all workers of the queue: one line of text

What a job is called is in a pickle, which is not opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.core.queue import Job, Registry
from unitq.queues.source import good
from unitq.queues.values import digest, text
from unitq.queues.wire import pack

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from unitq.queues.source import Notes, Source
    from unitq.queues.wire import Answer

    Reading = Generator[Sequence[bytes], list[Answer], Registry]

_SHOWN = "1000"  # jobs of a queue, the longest due


def read(source: Source, notes: Notes) -> Reading:
    """What is in hand."""
    now_ms = f"{source.now * 1000:.0f}"
    due = [
        pack("ZRANGEBYSCORE", queue, "-inf", now_ms, "LIMIT", "0", _SHOWN)
        for queue in source.queues
    ]
    told = good((yield due), notes) if due else []
    ids = [
        (queue, job)
        for queue, answer in zip(source.queues, told, strict=True)
        for job in answer or ()
    ]
    marks = [pack("EXISTS", f"{source.prefix}in-progress:{text(job)}") for _, job in ids]
    found = good((yield marks), notes) if marks else []
    jobs = tuple(
        Job(queue=queue, name="", id=text(job), since=None, hash=digest(job), worker=None)
        for (queue, job), there in zip(ids, found, strict=True)
        if there
    )
    return Registry(jobs=jobs)
