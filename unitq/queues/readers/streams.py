"""Redis streams: Symfony Messenger, and taskiq's RedisStreamBroker.

A queue is a stream, a worker is a consumer of its group, and its in-flight jobs are pending.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unitq.queues.commands import HOLE, ErrorReply, command, commands_for
from unitq.queues.model import Job, Registration, Registry
from unitq.queues.reader import by_queue, without_errors
from unitq.queues.values import digest, number, pairs, row_of, table, text

if TYPE_CHECKING:
    from unitq.queues.commands import Reading
    from unitq.queues.reader import Notes, Source

_SHOWN = "100"  # jobs of a stream

# Seconds after which a consumer's jobs go to another one: redeliver_timeout, idle_timeout.
_LASTS = {"symfony": 3600.0, "taskiq": 600.0}

# {"body": …, "headers": {"type": "App\\Message\\SendSms"}}, in a serialized string of PHP.
_TYPE = re.compile(rb'"type":\s*"((?:[^"\\]|\\.)*)"')


def read(source: Source, notes: Notes) -> Reading[Registry]:
    """Returns the consumers of each stream, and what is pending."""
    group, lasts = source.keys.registry, _LASTS[source.keys.registry]
    streams = {f"{source.prefix}{queue}": queue for queue in source.queues}
    # As the presets ask for the numbers, so that it is sent once.
    groups = commands_for(list(streams), "XINFO", "GROUPS", HOLE)
    pending = commands_for(list(streams), "XPENDING", HOLE, group, "-", "+", _SHOWN)
    raw = yield [*groups, *pending]
    # taskiq's ListQueueBroker has a list instead, of which no more is to be known.
    lists = [isinstance(each, ErrorReply) and each.code == "WRONGTYPE" for each in raw]
    known = [None if is_list else each for each, is_list in zip(raw, lists, strict=True)]
    answers = without_errors(known, notes)
    used = [
        stream
        for stream, answer in zip(streams, answers, strict=False)
        if (row := row_of(answer, group.encode())) and number(row.get(b"consumers"))
    ]
    entries = by_queue(streams, answers[len(streams) :])
    consumers = commands_for(used, "XINFO", "CONSUMERS", HOLE, group)
    asked = [command("XRANGE", stream, entry[0], entry[0]) for stream, entry in entries]
    answers = without_errors((yield [*consumers, *asked]), notes)
    workers = []
    for stream, row in by_queue(used, answers[: len(used)]):
        consumer = pairs(row)
        idle = (number(consumer.get("idle")) or 0) / 1000
        count = number(consumer.get("pending")) or 0
        if idle > lasts and not count:
            continue  # nobody removes consumers, and this one has gone
        stale = f"idle for {idle:.0f} s with {count} in flight" if idle > lasts else ""
        name, heartbeat = text(consumer.get("name")), source.now - idle
        workers.append(
            Registration(name, queues=(streams[stream],), heartbeat=heartbeat, stale=stale)
        )
    jobs = []
    for (stream, entry), messages in zip(entries, answers[len(used) :], strict=True):
        identity, consumer_name, idle_ms, _ = entry
        age = (number(idle_ms) or 0) / 1000
        fields = pairs(messages[0][1]) if messages else {}
        name, own = _name_and_id(fields)
        late = age > lasts
        jobs.append(
            Job(
                streams[stream],
                name,
                own or text(identity),
                source.now - age,
                digest(b"".join(fields.values())),
                text(consumer_name),
                f"in flight for more than {lasts:.0f} s" if late else "",
                "another consumer takes it" if late else "",
            )
        )
    return Registry(tuple(workers), tuple(jobs))


def _name_and_id(fields: dict[str, bytes]) -> tuple[str, str]:
    """Returns the class or function of a message, and its own id where it has one."""
    if "data" in fields:
        record = table(fields["data"])
        return str(record.get("task_name") or ""), str(record.get("task_id") or "")
    match = _TYPE.search(fields.get("message", b"").replace(b'\\"', b'"'))
    return (text(match[1]).replace("\\\\", "\\"), "") if match else ("", "")
