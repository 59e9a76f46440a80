"""Dramatiq 1 and 2.

    p __heartbeats__     id of each process, producers too -> milliseconds of its last heartbeat
    p __acks__.ID.Q      messages of a queue that it has fetched: running and prefetched
    p Q.msgs             message ids -> messages: JSON

Which of the fetched ones runs is not written down, so they are named only for who asks for all that
may run.

Read in dramatiq/brokers/redis/dispatch.lua (2.2.1).
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from unitq.queues.commands import HOLE, command, commands_for
from unitq.queues.model import Job, Registration, Registry
from unitq.queues.reader import by_queue, two_by_two, without_errors
from unitq.queues.values import digest, moment, table, text

if TYPE_CHECKING:
    from unitq.queues.commands import Answer, Reading
    from unitq.queues.reader import Notes, Source

_LASTS = 60.0  # heartbeat_timeout, in seconds
_DELAYED = ".DQ"


def read(source: Source, notes: Notes) -> Reading[Registry]:
    """Returns its processes, and how much each of them has fetched."""
    p = source.prefix
    beats = command("ZRANGE", f"{p}__heartbeats__", "0", "-1", "WITHSCORES")
    (scores,) = without_errors((yield [beats]), notes)
    processes = two_by_two(scores)
    queues = [*source.queues, *(f"{queue}{_DELAYED}" for queue in source.queues)]
    kind = "SMEMBERS" if source.named else "SCARD"
    commands = [
        commands_for(queues, kind, f"{p}__acks__.{text(process)}.{HOLE}")
        for process, _ in processes
    ]
    counts = without_errors((yield list(chain.from_iterable(commands))), notes)
    jobs = None
    if source.named:
        jobs = yield from _fetched_jobs(p, queues * len(processes), counts, notes)
        counts = [len(answer or ()) for answer in counts]
    in_flight = dict.fromkeys(source.queues, 0)
    workers = []
    for index, (process, score) in enumerate(processes):
        own = [count or 0 for count in counts[index * len(queues) :][: len(queues)]]
        for queue, count in zip(queues, own, strict=True):
            in_flight[queue.removesuffix(_DELAYED)] += count
        heartbeat = moment(score)
        age = source.now - heartbeat if heartbeat is not None else 0.0
        stale = ""
        if age > _LASTS:
            if not any(own):
                continue  # gone, and nothing was lost: the next maintenance forgets it
            stale = f"no heartbeat for {age:.0f} s, {sum(own)} fetched; Dramatiq puts them back"
        workers.append(Registration(text(process), heartbeat=heartbeat, stale=stale))
    return Registry(tuple(workers), jobs, in_flight)


def _fetched_jobs(
    p: str, queues: list[str], answers: list[Answer], notes: Notes
) -> Reading[tuple[Job, ...]]:
    """Returns what all processes together have fetched."""
    ids = by_queue(queues, answers)
    commands = [command("HGET", f"{p}{queue}.msgs", text(identity)) for queue, identity in ids]
    messages = without_errors((yield commands), notes)
    jobs = []
    for (queue, identity), raw in zip(ids, messages, strict=True):
        message = table(raw)
        jobs.append(
            Job(
                queue.removesuffix(_DELAYED),
                str(message.get("actor_name") or ""),
                str(message.get("message_id") or text(identity)),
                hash=digest(raw or identity),
            )
        )
    return tuple(jobs)
