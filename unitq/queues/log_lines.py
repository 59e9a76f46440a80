"""The in-flight jobs of a worker by its log lines: those that it began and did not end.

For frameworks that keep nothing of that in Redis. Which lines say so, the preset knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unitq.queues.model import Job

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Set

    from unitq.presets.model import Prints
    from unitq.systemd.journal_event import Print


class JobLog(NamedTuple):
    """What one start of a worker has logged of its jobs so far."""

    open: Mapping[str, Job] = {}  # by id: begun and not ended
    spoke: bool = False  # whether it logged anything: one that does not log jobs never does
    whole: bool = True  # whether all its lines have been read; else it may have begun more
    gaps: bool = False  # the journal has left some of them out (RateLimitBurst=, journald.conf(5))


class InFlight(NamedTuple):
    """Its in-flight jobs by that. None: the lines do not say for certain."""

    jobs: tuple[Job, ...] | None
    possible: tuple[Job, ...]


def follow(log: JobLog, prints: Prints, lines: Iterable[Print], queue: str) -> JobLog:
    """Returns the same after these lines. Lines that have been read before change nothing.

    `queue` is that of its jobs where it is known; lines do not tell.
    """
    still = dict(log.open)
    spoke, gaps = log.spoke, log.gaps
    for line in lines:
        if line.gap:
            gaps = True
            continue
        for pattern in prints.ended:
            if match := pattern.search(line.text):
                spoke = True
                still.pop(match["id"], None)
        for pattern in prints.begun:
            if match := pattern.search(line.text):
                spoke = True
                name = match["name"] if "name" in pattern.groupindex else ""
                job = Job(queue, name or "", match["id"], line.time)
                if prints.ahead:
                    job = still.get(job.id, job._replace(since=None))
                still[job.id] = job
        # What was fetched begins later, at a time that no line tells; but the only one is at work.
        if len(still) == 1:
            ((identity, job),) = still.items()
            if job.since is None:
                still[identity] = job._replace(since=line.time)
    return log._replace(open=still, spoke=spoke, gaps=gaps)


def in_flight_jobs(log: JobLog, prints: Prints, fetched: Set[str] | None) -> InFlight:
    """Returns its in-flight jobs.

    `fetched` are the ids of the jobs that Redis keeps until their worker says that it has them, or
    has done them; None: not known. Where a beginning is printed of what is fetched, one that is
    not among those any more is at work.
    """
    if not log.spoke:
        return InFlight(None, ())
    jobs = tuple(log.open.values())
    if log.gaps:
        # Of what it began, the end may be among the lines that are missing, and another beginning.
        return InFlight(None, jobs)
    if not jobs and not log.whole:
        return InFlight(None, ())
    if not prints.ahead or not jobs:
        return InFlight(jobs, ())
    if fetched is not None and (busy := tuple(job for job in jobs if job.id not in fetched)):
        return InFlight(busy, ())
    return InFlight(None, jobs)
