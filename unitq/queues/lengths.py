"""How long the queues are: what the commands of a preset give, for thousands of queues at once."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from unitq.core.keys import COUNTS, filled
from unitq.core.queue import Lengths
from unitq.queues.rows import Rows, field
from unitq.queues.source import refused
from unitq.queues.values import moment, number, table
from unitq.queues.wire import Refused, Several, by_length, pack, packed, packed_rows

if TYPE_CHECKING:
    from collections.abc import Generator

    from unitq.core.keys import Count, Oldest, Words
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
    """Two trips: the names, then everything else. A third where a job's age is kept elsewhere."""
    keys, places = source.keys, source.places()
    commands = [pack(*filled(words, places)) for words in keys.names]
    names = _names(source, (yield commands), notes) if commands else []
    raw = by_length([*names, *(queue.encode() for queue in source.queues)])

    every = [(name, count) for name, counts in keys.counts().items() for count in counts]
    oldest = keys.oldest if ages else None
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
        else:
            since = _ages(oldest.field, heads)
    empty: Column = [None] * len(raw)
    parts = [columns.get(name, empty) for name in COUNTS]
    lengths = map(Lengths, *parts, since)
    queues = dict(zip([queue.decode(errors="replace") for queue in raw], lengths, strict=True))
    return Read(queues, Lengths(**{name: column[0] for name, column in whole.items()}))


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
        # One pass in C where all are numbers, as nearly always.
        if set(map(type, part)) <= {int}:
            column: Column = part
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
        for (index, _), answer in zip(there, (yield [asked]), strict=True):
            if isinstance(answer, Refused):
                refused(answer, notes)
            else:
                found[index] = moment(answer)
    return found
