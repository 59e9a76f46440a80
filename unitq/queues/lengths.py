"""How long the queues are: what the commands of a preset give, for thousands of queues at once."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from unitq.core.keys import COUNTS, Oldest, filled
from unitq.core.queue import Lengths
from unitq.queues.rows import Rows, field
from unitq.queues.source import good, refused
from unitq.queues.values import moment, moments, number, table
from unitq.queues.wire import Refused, Several, by_length, pack, packed, packed_rows

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from unitq.core.keys import Count, Words
    from unitq.queues.source import Notes, Source
    from unitq.queues.wire import Answer, Commands

    Reading = Generator[Commands, list[Answer], "Read"]

Column = list[int | None]

_PLAIN = rb'(?:\s*,\s*"[^"\\]*"\s*:\s*(?:"[^"\\]*"|[-+.0-9eE]+|true|false|null))*'


class Read(NamedTuple):
    """The lengths of all queues."""

    queues: dict[str, Lengths]
    whole: Lengths


def read(source: Source, notes: Notes, *, ages: bool = True) -> Reading:
    """Two trips: the names, then everything else. A third where a job's age is kept elsewhere,
    and is not to be had at once.
    """
    keys, places = source.keys, source.places()
    oldest = keys.oldest if ages else None
    names: list[bytes] = []
    if keys.names:
        commands = [pack(*filled(words, places)) for words in keys.names]
        at_once = _at_once(oldest, places) if oldest else ()
        if at_once:
            # Whether this Redis has it and this user may, a queue without a name tells.
            commands.append(pack(*filled(at_once, {"q": ""})))
        answers = yield commands
        names = _names(source, answers[: len(keys.names)], notes)
        if oldest and at_once and isinstance(answers[-1], list):
            oldest = Oldest(at_once)
    raw = by_length([*names, *(queue.encode() for queue in source.queues)])

    every = [(name, count) for name, counts in keys.counts().items() for count in counts]
    # Several numbers may stand in one answer: each command is asked once.
    words_of_each = dict.fromkeys(count.command for _, count in every if count.of_each)
    if oldest:
        words_of_each[oldest.command] = None
    words_of_all = dict.fromkeys(count.command for _, count in every if not count.of_each)
    asked: list[bytes | Several] = [
        packed(filled(words, places), "{q}", raw) for words in words_of_each
    ]
    asked += [pack(*filled(words, places)) for words in words_of_all]
    answers = yield asked

    told: dict[Words, list[Answer]] = {}
    for index, words in enumerate(words_of_each):
        told[words] = answers[index * len(raw) : (index + 1) * len(raw)]
    for index, words in enumerate(words_of_all, len(words_of_each) * len(raw)):
        told[words] = [answers[index]]
    columns = _columns([one for one in every if one[1].of_each], told, notes)
    whole = _columns([one for one in every if not one[1].of_each], told, notes)
    since: list[float | None] = [None] * len(raw)
    if oldest:
        heads = told[oldest.command]
        if oldest.then:
            since = yield from _looked_up(source, oldest, raw, heads, notes)
        elif not oldest.field:
            firsts = good(heads, notes)
            since = moments([one[0] if isinstance(one, list) and one else None for one in firsts])
        else:
            since = _ages(oldest.field, heads)
    empty: Column = [None] * len(raw)
    parts = [columns.get(name, empty) for name in COUNTS]
    lengths = map(Lengths, *parts, since)
    queues = dict(zip([queue.decode(errors="replace") for queue in raw], lengths, strict=True))
    return Read(queues, Lengths(**{name: column[0] for name, column in whole.items()}))


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


def _ages(field: str, heads: list[Answer]) -> list[float | None]:
    """Since when these jobs wait, by that field of each."""
    # A member of the whole object is known as that without a look at what stands before it, where
    # nothing but plain members follows until the end. Within a string its quotes would be escaped.
    last = re.compile(rb'"%b":\s*"?([0-9.]+)"?%b\s*\}\s*\Z' % (re.escape(field.encode()), _PLAIN))
    found: list[float | None] = []
    for head in heads:
        if not isinstance(head, bytes):
            found.append(None)
        elif one := last.search(head):
            found.append(moment(one[1]))
        else:
            found.append(moment(table(head).get(field)))
    return found


def _looked_up(
    source: Source, oldest: Oldest, raw: list[bytes], heads: list[Answer], notes: Notes
) -> Generator[Commands, list[Answer], list[float | None]]:
    """The jobs' times, which are in keys of their own: one more trip."""
    words = filled(oldest.then, source.places())
    there = [(index, head) for index, head in enumerate(heads) if isinstance(head, bytes)]
    there.sort(key=lambda each: len(each[1]))  # those of one length are packed in one piece
    found: list[float | None] = [None] * len(raw)
    if there:
        if any("{q}" in word for word in words):
            rows = [(raw[index], head) for index, head in there]
            asked = packed_rows(words, ("{q}", "{j}"), rows)
        else:
            asked = packed(words, "{j}", [head for _, head in there])
        times = moments(good((yield [asked]), notes))
        for (index, _), at in zip(there, times, strict=True):
            found[index] = at
    return found
