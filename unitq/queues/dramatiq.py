"""Dramatiq 1 and 2.

    p __heartbeats__     id of each process, producers too -> milliseconds of its last heartbeat
    p __acks__.ID.Q      messages of a queue that it has fetched: running and prefetched

Read in dramatiq/brokers/redis/dispatch.lua (2.2.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.core.queue import Registration, Registry
from unitq.queues.source import HOLE, each, good
from unitq.queues.values import moment, text
from unitq.queues.wire import pack

if TYPE_CHECKING:
    from collections.abc import Generator

    from unitq.queues.source import Notes, Source
    from unitq.queues.wire import Answer, Commands

    Reading = Generator[Commands, list[Answer], Registry]

_LASTS = 60.0  # heartbeat_timeout, in seconds


def read(source: Source, notes: Notes) -> Reading:
    """Its processes, and how much each of them holds."""
    p = source.prefix
    beats = pack("ZRANGE", f"{p}__heartbeats__", "0", "-1", "WITHSCORES")
    (scores,) = good((yield [beats]), notes)
    processes = list(zip((scores or [])[::2], (scores or [])[1::2], strict=True))
    queues = [*source.queues, *(f"{queue}.DQ" for queue in source.queues)]
    commands = [
        each(queues, "SCARD", f"{p}__acks__.{text(process)}.{HOLE}") for process, _ in processes
    ]
    counts = good((yield commands), notes)
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
    return Registry(tuple(workers), held=held)
