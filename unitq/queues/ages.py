"""Since when the next job of each queue waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.presets.redis_keys import Oldest, fill_in
from unitq.queues.commands import HOLE, SECOND_HOLE, ErrorReply, command, commands_for
from unitq.queues.reader import note_error, without_errors
from unitq.queues.values import moments, table

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from unitq.presets.redis_keys import Words
    from unitq.queues.commands import Answer, Command, Commands
    from unitq.queues.reader import Notes, Source

    Reading = Generator[Commands, list[Answer], list[float | None]]


def since(source: Source, oldest: Oldest, raw: list[bytes], notes: Notes) -> Reading:
    """Since when the next job of each queue waits."""
    places = source.places() | {"q": HOLE, "j": SECOND_HOLE}
    heads = yield commands_for(raw, *fill_in(oldest.command, places))
    for answer in heads:
        # Of a queue that is a sorted set there is no LINDEX: then its length is known all the same.
        if isinstance(answer, ErrorReply) and answer.code != "WRONGTYPE":
            note_error(answer, notes)
    if oldest.field:
        return moments([table(head).get(oldest.field) for head in heads])
    if not oldest.then:
        firsts = without_errors(heads, notes)
        return moments([one[0] if isinstance(one, list) and one else None for one in firsts])
    there = [(i, head) for i, head in enumerate(heads) if isinstance(head, bytes)]
    queues, jobs = [raw[index] for index, _ in there], [head for _, head in there]
    times = yield commands_for(queues, *fill_in(oldest.then, places), second=jobs)
    found: list[float | None] = [None] * len(raw)
    for (index, _), at in zip(there, moments(without_errors(times, notes)), strict=True):
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
    queue, job, name = fill_in((oldest.command[1], *oldest.then[1:]), places)
    before, place, after = job.partition("{j}")
    if not place or any(mark in before + after + name for mark in ("*", "->", "{q}", "{j}")):
        return ()
    limit = ("BY", "nosort", "LIMIT", "0", "1")
    return ("SORT_RO", queue, *limit, "GET", f"{before}*{after}->{name}")


def trial(words: Words) -> Command:
    """Whether this Redis has the command and this user may, a queue without a name tells."""
    return command(*fill_in(words, {"q": ""}))
