"""Dramatiq 1 and 2.

    p __heartbeats__     id of each process, producers too -> milliseconds of its last heartbeat
    p __acks__.ID.Q      messages of a queue that it has fetched: running and prefetched
    p Q.msgs             message ids -> messages: JSON

Which of the fetched ones runs is not written down, so they are named only for whoever asks for
all that may run.

Read in dramatiq/brokers/redis/dispatch.lua (2.2.1).
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from unitq.queues.commands import HOLE, command, commands_for
from unitq.queues.model import Job, Registration, Registry
from unitq.queues.reader import without_errors
from unitq.queues.values import digest, moment, table, text

if TYPE_CHECKING:
    from collections.abc import Generator

    from unitq.queues.commands import Answer, Commands
    from unitq.queues.reader import Notes, Source

    Reading = Generator[Commands, list[Answer], Registry]

_LASTS = 60.0  # heartbeat_timeout, in seconds


def read(source: Source, notes: Notes) -> Reading:
    """Its processes, and how much each of them holds."""
    p = source.prefix
    beats = command("ZRANGE", f"{p}__heartbeats__", "0", "-1", "WITHSCORES")
    (scores,) = without_errors((yield [beats]), notes)
    processes = list(zip((scores or [])[::2], (scores or [])[1::2], strict=True))
    queues = [*source.queues, *(f"{queue}.DQ" for queue in source.queues)]
    kind = "SMEMBERS" if source.named else "SCARD"
    asked = [
        commands_for(queues, kind, f"{p}__acks__.{text(process)}.{HOLE}")
        for process, _ in processes
    ]
    counts = without_errors((yield list(chain.from_iterable(asked))), notes)
    jobs = None
    if source.named:
        jobs = yield from _fetched(p, queues, counts, notes)
        counts = [len(answer or ()) for answer in counts]
    held = dict.fromkeys(source.queues, 0)
    workers = []
    for index, (process, score) in enumerate(processes):
        mine = counts[index * len(queues) : (index + 1) * len(queues)]
        for queue, count in zip(queues, mine, strict=True):
            held[queue.removesuffix(".DQ")] += count or 0
        heartbeat = moment(score)
        late = source.now - heartbeat if heartbeat is not None else 0.0
        fetched = sum(count or 0 for count in mine)
        if late > _LASTS and not fetched:
            continue  # gone, and nothing was lost: the next maintenance forgets it
        stale = ""
        if late > _LASTS:
            stale = f"no heartbeat for {late:.0f} s, {fetched} fetched; Dramatiq puts them back"
        workers.append(
            Registration(
                id=text(process),
                host=None,
                pid=None,
                queues=None,
                since=None,
                heartbeat=heartbeat,
                stale=stale,
            )
        )
    return Registry(tuple(workers), jobs, held)


def _fetched(
    p: str, queues: list[str], answers: list[Answer], notes: Notes
) -> Generator[Commands, list[Answer], tuple[Job, ...]]:
    """What all processes together have fetched."""
    found = [
        (queues[index % len(queues)].removesuffix(".DQ"), queues[index % len(queues)], identity)
        for index, ids in enumerate(answers)
        for identity in ids or ()
    ]
    asked = [command("HGET", f"{p}{holder}.msgs", text(identity)) for _, holder, identity in found]
    messages = without_errors((yield asked), notes) if asked else []
    jobs = []
    for (queue, _, identity), message in zip(found, messages, strict=True):
        told = table(message)
        jobs.append(
            Job(
                queue=queue,
                name=str(told.get("actor_name") or ""),
                id=str(told.get("message_id") or text(identity)),
                since=None,
                hash=digest(message or identity),
                worker=None,
            )
        )
    return tuple(jobs)
