"""How long the queues are: what the commands of a preset give, for thousands of queues at once."""

from __future__ import annotations

import re
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.core.keys import COUNTS, Oldest, filled
from unitq.core.queue import Lengths
from unitq.queues.commands import by_length, pack, packed, packed_rows
from unitq.queues.rows import Rows, field
from unitq.queues.source import good, refused, together
from unitq.queues.sparse import SEVERAL, present, some
from unitq.queues.values import moments, number, table
from unitq.queues.wire import Refused

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from unitq.core.keys import Count, Keys, Words
    from unitq.queues.commands import Commands, Several
    from unitq.queues.source import Notes, Source
    from unitq.queues.wire import Answer

    Reading = Generator[Commands, list[Answer], Any]

Column = list[int | None]

# What these answer of a key that is not there is 0.
_OF_NOTHING = frozenset({"HLEN", "LLEN", "SCARD", "STRLEN", "XLEN", "ZCARD"})

_PLAIN = rb'(?:\s*,\s*"[^"\\]*"\s*:\s*(?:"[^"\\]*"|[-+.0-9eE]+|true|false|null))*'


class Read(NamedTuple):
    """The lengths of all queues."""

    queues: dict[str, Lengths]
    whole: Lengths


def read(source: Source, notes: Notes, *, ages: bool = True) -> Reading:
    """Two trips: the names, then everything else. Or, where the names are known, what most queues
    have and then the rest. A third where a job's age is kept elsewhere, and is not to be had at
    once.
    """
    keys, places = source.keys, source.places()
    oldest = keys.oldest if ages else None
    names: list[bytes] = []
    if keys.names:
        commands = [pack(*filled(words, places)) for words in keys.names]
        at_once = _at_once(oldest, places) if oldest else ()
        if at_once:
            commands.append(_trial(at_once))
        answers = yield commands
        names = _names(source, answers[: len(keys.names)], notes)
        if oldest and at_once and isinstance(answers[-1], list):
            oldest = Oldest(at_once)
    raw = by_length([*names, *(queue.encode() for queue in source.queues)])
    # What most of them will not have takes a trip more, which is worth it for thousands.
    several = not keys.names and len(raw) >= SEVERAL
    readings: list[Reading] = [_counted(source, raw, notes, several=several)]
    if oldest:
        readings.append(_since(source, oldest, raw, notes, several=several))
    (columns, whole), *since = yield from together(readings)
    empty: Column = [None] * len(raw)
    parts = [columns.get(name, empty) for name in COUNTS]
    lengths = map(Lengths, *parts, since[0] if since else empty)
    queues = dict(zip([queue.decode(errors="replace") for queue in raw], lengths, strict=True))
    return Read(queues, Lengths(**{name: column[0] for name, column in whole.items()}))


def _counted(source: Source, raw: list[bytes], notes: Notes, *, several: bool) -> Reading:
    """The numbers by their names: those of each queue, and those of all together."""
    keys, places = source.keys, source.places()
    every = [(name, count) for name, counts in keys.counts().items() for count in counts]
    # Several numbers may stand in one answer: each command is asked once.
    of_each = dict.fromkeys(count.command for _, count in every if count.of_each)
    of_all = dict.fromkeys(count.command for _, count in every if not count.of_each)
    seldom = [words for words in of_each if several and _seldom(words, keys)]
    whole = {words: filled(words, places) for words in (*of_each, *of_all)}
    parts = {
        words: present(whole[words][1], "{q}", raw)
        if words in seldom
        else packed(whole[words], "{q}", raw)
        for words in of_each
    }
    at_first = yield [*parts.values(), *(pack(*whole[words]) for words in of_all)]
    answers = iter(at_first)
    told: dict[Words, list[Answer]] = {
        words: list(islice(answers, part.amount)) for words, part in parts.items()
    }
    told |= {words: [next(answers)] for words in of_all}
    there = {words: some(told[words], len(raw)) for words in seldom}
    if any(there.values()):
        at_last = yield [
            packed(whole[words], "{q}", [raw[index] for index in found])
            for words, found in there.items()
        ]
        answers = iter(at_last)
    for words, found in there.items():
        told[words] = [0] * len(raw)
        for index in found:
            told[words][index] = next(answers)
    return (
        _columns([one for one in every if one[1].of_each], told, notes),
        _columns([one for one in every if not one[1].of_each], told, notes),
    )


def _seldom(words: Words, keys: Keys) -> bool:
    """Whether most queues will have none of these: jobs delayed, failed, in hand."""
    # What waits is in a key that many of them will have.
    usual = keys.waiting[0].command if keys.waiting else ()
    return len(words) == 2 and words[0] in _OF_NOTHING and words[1] not in usual


def _since(
    source: Source, oldest: Oldest, raw: list[bytes], notes: Notes, *, several: bool
) -> Reading:
    """Since when the next job of each queue waits."""
    places = source.places()
    found: list[float | None] = [None] * len(raw)
    who = list(range(len(raw)))
    length = ("LLEN", oldest.command[1])
    at_once = _at_once(oldest, places)
    if several and oldest.command[0] == "LINDEX" and (at_once or not oldest.then):
        # Only where something waits.
        asked: list[bytes | Several] = [packed(filled(length, places), "{q}", raw)]
        answers = yield [*asked, _trial(at_once)] if at_once else asked
        who = [index for index in who if answers[index] != 0]
        if at_once and isinstance(answers[-1], list):
            oldest = Oldest(at_once)
    heads = yield [packed(filled(oldest.command, places), "{q}", [raw[index] for index in who])]
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


def _at_once(oldest: Oldest, places: Mapping[str, str]) -> Words:
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


def _trial(at_once: Words) -> bytes:
    """Whether this Redis has the command and this user may, a queue without a name tells."""
    return pack(*filled(at_once, {"q": ""}))


def _names(source: Source, answers: list[Answer], notes: Notes) -> list[bytes]:
    found: list[bytes] = []
    for answer in answers:
        if isinstance(answer, Refused):
            refused(answer, notes)
        elif isinstance(answer, list):
            found += [name for name in answer if isinstance(name, bytes)]
    (strip,) = filled((source.keys.strip,), source.places())
    if strip:
        found = [name.removeprefix(strip.encode()) for name in found]
    return found


def _columns(
    counts: list[tuple[str, Count]], told: dict[Words, list[Answer]], notes: Notes
) -> dict[str, Column]:
    """The answers of each name, added up queue by queue."""
    found: dict[str, Column] = {}
    rows: dict[tuple[Words, str], Rows] = {}  # several numbers may stand in one
    shared = {name for name, _ in counts if sum(name == other for other, _ in counts) > 1}
    for name, count in counts:
        part = told[count.command]
        value = partial(_value, count, notes, shared=name in shared)
        kinds = set(map(type, part))
        # One pass in C where all are numbers, as nearly always.
        if kinds <= {int}:
            column: Column = part
        elif kinds == {Refused}:
            once = {each: value(each) for each in set(part)}
            column = [once[each] for each in part]
        elif count.row:
            key = count.command, count.row
            if key not in rows:
                rows[key] = Rows(part, count.row)
            column = rows[key].numbers(count.field, value)
        else:
            column = list(map(value, part))
        if name in found:
            pairwise = zip(found[name], column, strict=True)
            column = [a if b is None else b if a is None else a + b for a, b in pairwise]
        found[name] = column
    return found


def _value(count: Count, notes: Notes, answer: Answer, *, shared: bool) -> int | None:
    """The number in one answer; of rows, only where the one is not among them."""
    if isinstance(answer, Refused):
        missing = answer.code == "NOGROUP" or "no such key" in answer.words
        if not (shared and answer.code == "WRONGTYPE"):
            # Of several commands for one number only one may fit: a list, or a sorted set.
            refused(answer, notes)
        return 0 if missing else None
    if answer is None:
        return 0  # a counter that nothing has been added to yet
    if not count.field:
        return len(answer) if isinstance(answer, list) else number(answer)
    if not count.row:
        return number(field(answer, count.field.encode()))
    notes(f"there is no group {count.row} in a stream: a preset of your own can name another")
    return None


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
