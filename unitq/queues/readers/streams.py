"""Redis streams: Symfony Messenger, and taskiq's RedisStreamBroker.

A queue is a stream, a worker is a consumer of its group, and what it has in hand is pending.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unitq.queues.commands import HOLE, ErrorReply, command, commands_for
from unitq.queues.model import Job, Registration, Registry
from unitq.queues.reader import without_errors
from unitq.queues.values import digest, number, pairs, row_of, table, text

if TYPE_CHECKING:
    from collections.abc import Generator

    from unitq.queues.commands import Answer, Commands
    from unitq.queues.reader import Notes, Source

    Reading = Generator[Commands, list[Answer], Registry]

_SHOWN = "100"  # jobs of a stream

# Seconds after which what a consumer has in hand goes to another one.
_SYMFONY_LASTS = 3600.0  # redeliver_timeout
_TASKIQ_LASTS = 600.0  # idle_timeout

# {"body": …, "headers": {"type": "App\\Message\\SendSms"}}, in a serialized string of PHP.
_TYPE = re.compile(rb'"type":\s*"((?:[^"\\]|\\.)*)"')


def read_symfony(source: Source, notes: Notes) -> Reading:
    """Symfony Messenger."""
    return (yield from _read(source, notes, "symfony", _SYMFONY_LASTS))


def read_taskiq(source: Source, notes: Notes) -> Reading:
    """taskiq."""
    return (yield from _read(source, notes, "taskiq", _TASKIQ_LASTS))


def _read(source: Source, notes: Notes, group: str, lasts: float) -> Reading:
    streams = [f"{source.prefix}{queue}" for queue in source.queues]
    # As the presets ask for the numbers, so that it is sent once.
    groups = commands_for(streams, "XINFO", "GROUPS", HOLE)
    in_hand = commands_for(streams, "XPENDING", HOLE, group, "-", "+", _SHOWN)
    raw = yield [*groups, *in_hand]
    # taskiq's ListQueueBroker has a list instead, of which no more is to be known.
    told = without_errors(
        [None if type(answer) is ErrorReply and _other(answer) else answer for answer in raw], notes
    )
    used = [
        (queue, stream)
        for queue, stream, answer in zip(source.queues, streams, told, strict=False)
        if (found := row_of(answer, group.encode())) and number(found.get(b"consumers"))
    ]
    held = [
        (queue, stream, entry)
        for queue, stream, entries in zip(source.queues, streams, told[len(streams) :], strict=True)
        for entry in entries or ()
    ]
    consumers = commands_for([stream for _, stream in used], "XINFO", "CONSUMERS", HOLE, group)
    asked = [command("XRANGE", stream, entry[0], entry[0]) for _, stream, entry in held]
    told = without_errors((yield [*consumers, *asked]), notes)
    workers = []
    for (queue, _), rows in zip(used, told, strict=False):
        for row in map(pairs, rows or ()):
            idle = (number(row.get("idle")) or 0) / 1000
            pending = number(row.get("pending")) or 0
            if idle > lasts and not pending:
                continue  # nobody removes consumers, and this one has gone
            stale = f"idle for {idle:.0f} s with {pending} in hand" if idle > lasts else ""
            workers.append(
                Registration(
                    id=text(row.get("name")),
                    host=None,
                    pid=None,
                    queues=(queue,),
                    since=None,
                    heartbeat=source.now - idle,
                    stale=stale,
                )
            )
    jobs = []
    entries = told[len(used) :]
    for (queue, _, (identity, consumer, idle_ms, _)), entry in zip(held, entries, strict=True):
        fields = pairs(entry[0][1]) if entry else {}
        name, own = _named(fields)
        late = idle_ms / 1000 > lasts
        jobs.append(
            Job(
                queue=queue,
                name=name,
                id=own or text(identity),
                since=source.now - idle_ms / 1000,
                hash=digest(b"".join(fields.values())),
                worker=text(consumer),
                stale=f"in hand for more than {lasts:.0f} s" if late else "",
                note="another consumer takes it" if late else "",
            )
        )
    return Registry(tuple(workers), tuple(jobs))


def _other(answer: ErrorReply) -> bool:
    return answer.code == "WRONGTYPE"


def _named(fields: dict[str, bytes]) -> tuple[str, str]:
    """The class or function of a message, and its own id where it has one."""
    if "data" in fields:
        told = table(fields["data"])
        return str(told.get("task_name") or ""), str(told.get("task_id") or "")
    found = _TYPE.search(fields.get("message", b"").replace(b'\\"', b'"'))
    return (text(found[1]).replace("\\\\", "\\"), "") if found else ("", "")
