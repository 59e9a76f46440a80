"""Since when the next job of each queue waits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unitq.presets.redis_keys import Oldest, filled
from unitq.queues.commands import pack, packed, packed_rows
from unitq.queues.reader import good, refused
from unitq.queues.values import moments, table
from unitq.queues.wire import Refused

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from unitq.presets.redis_keys import Words
    from unitq.queues.commands import Commands, Several
    from unitq.queues.reader import Notes, Source
    from unitq.queues.wire import Answer

    Reading = Generator[Commands, list[Answer], list[float | None]]

_PLAIN = rb'(?:\s*,\s*"[^"\\]*"\s*:\s*(?:"[^"\\]*"|[-+.0-9eE]+|true|false|null))*'


def since(
    source: Source, oldest: Oldest, raw: list[bytes], notes: Notes, *, several: bool
) -> Reading:
    """Since when the next job of each queue waits."""
    places = source.places()
    found: list[float | None] = [None] * len(raw)
    who = list(range(len(raw)))
    length = ("LLEN", oldest.command[1])
    direct = at_once(oldest, places)
    if several and oldest.command[0] == "LINDEX" and (direct or not oldest.then):
        # Only where something waits.
        asked: list[bytes | Several] = [packed(filled(length, places), "{q}", raw)]
        answers = yield [*asked, trial(direct)] if direct else asked
        who = [index for index in who if answers[index] != 0]
        if direct and isinstance(answers[-1], list):
            oldest = Oldest(direct)
    heads = yield [packed(filled(oldest.command, places), "{q}", [raw[index] for index in who])]
    for answer in heads if Refused in set(map(type, heads)) else ():
        # Of a queue that is a sorted set there is no LINDEX: then its length is known all the same.
        if isinstance(answer, Refused) and answer.code != "WRONGTYPE":
            refused(answer, notes)
    if oldest.then:
        words = filled(oldest.then, places)
        there = [(i, head) for i, head in zip(who, heads, strict=True) if isinstance(head, bytes)]
        there.sort(key=lambda each: len(each[1]))  # those of one length are packed in one piece
        who = [index for index, _ in there]
        rows = [(raw[index], head) for index, head in there]
        heads = yield [packed_rows(words, ("{q}", "{j}"), rows)]
        times = moments(good(heads, notes))
    elif oldest.field:
        times = _written(oldest.field, heads)
    else:
        firsts = good(heads, notes)
        times = moments([one[0] if isinstance(one, list) and one else None for one in firsts])
    for index, at in zip(who, times, strict=True):
        found[index] = at
    return found


def at_once(oldest: Oldest, places: Mapping[str, str]) -> Words:
    """The time of a list's first job in one command, where it is a field of the job's hash.

    SORT_RO, which does not sort here and looks at this one job only, since Redis 7.0. It is in
    @read, but also in @dangerous, and takes a user who may read all keys.
    """
    if oldest.command[0] != "LINDEX" or oldest.command[2:] != ("0",):
        return ()
    if len(oldest.then) != 3 or oldest.then[0] != "HGET":
        return ()
    queue, job, name = filled((oldest.command[1], *oldest.then[1:]), places)
    before, place, after = job.partition("{j}")
    if not place or any(mark in before + after + name for mark in ("*", "->", "{q}", "{j}")):
        return ()
    limit = ("BY", "nosort", "LIMIT", "0", "1")
    return ("SORT_RO", queue, *limit, "GET", f"{before}*{after}->{name}")


def trial(command: Words) -> bytes:
    """Whether this Redis has the command and this user may, a queue without a name tells."""
    return pack(*filled(command, {"q": ""}))


def _written(field: str, heads: list[Answer]) -> list[float | None]:
    """The times in that field of jobs as JSON."""
    # A member of the whole object is known as that without a look at what stands before it, where
    # nothing but plain members follows until the end. Within a string its quotes would be escaped.
    last = re.compile(rb'"%b":\s*"?([0-9.]+)"?%b\s*\}\s*\Z' % (re.escape(field.encode()), _PLAIN))

    def one(head: Answer) -> object:
        if not isinstance(head, bytes):
            return None
        found = last.search(head)
        return found[1] if found else table(head).get(field)

    return moments([one(head) for head in heads])
