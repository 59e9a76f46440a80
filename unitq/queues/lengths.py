"""How long the queues are: what the commands of a preset give, for thousands of queues at once."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.presets.redis_keys import COUNTS, Oldest, filled
from unitq.queues import ages
from unitq.queues.commands import by_length, pack, packed
from unitq.queues.model import Lengths
from unitq.queues.reader import refused, together
from unitq.queues.rows import Rows, field
from unitq.queues.sparse import SEVERAL, present, some
from unitq.queues.values import number
from unitq.queues.wire import Refused

if TYPE_CHECKING:
    from collections.abc import Generator

    from unitq.presets.redis_keys import Count, Keys, Words
    from unitq.queues.commands import Commands
    from unitq.queues.reader import Notes, Source
    from unitq.queues.wire import Answer

    Reading = Generator[Commands, list[Answer], Any]

Column = list[int | None]

# What these answer of a key that is not there is 0.
_OF_NOTHING = frozenset({"HLEN", "LLEN", "SCARD", "STRLEN", "XLEN", "ZCARD"})


class Read(NamedTuple):
    """The lengths of all queues."""

    queues: dict[str, Lengths]
    whole: Lengths


def read(source: Source, notes: Notes, *, aged: bool = True) -> Reading:
    """Two trips: the names, then everything else. Or, where the names are known, what most queues
    have and then the rest. A third where a job's age is kept elsewhere, and is not to be had at
    once.
    """
    keys, places = source.keys, source.places()
    oldest = keys.oldest if aged else None
    names: list[bytes] = []
    if keys.names:
        commands = [pack(*filled(words, places)) for words in keys.names]
        at_once = ages.at_once(oldest, places) if oldest else ()
        if at_once:
            commands.append(ages.trial(at_once))
        answers = yield commands
        names = _names(source, answers[: len(keys.names)], notes)
        if oldest and at_once and isinstance(answers[-1], list):
            oldest = Oldest(at_once)
    raw = by_length([*names, *(queue.encode() for queue in source.queues)])
    # What most of them will not have takes a trip more, which is worth it for thousands.
    several = not keys.names and len(raw) >= SEVERAL
    readings: list[Reading] = [_counted(source, raw, notes, several=several)]
    if oldest:
        readings.append(ages.since(source, oldest, raw, notes, several=several))
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
    full = {words: filled(words, places) for words in (*of_each, *of_all)}
    parts = {
        words: present(full[words][1], "{q}", raw)
        if words in seldom
        else packed(full[words], "{q}", raw)
        for words in of_each
    }
    at_first = yield [*parts.values(), *(pack(*full[words]) for words in of_all)]
    answers = iter(at_first)
    told: dict[Words, list[Answer]] = {
        words: list(islice(answers, part.amount)) for words, part in parts.items()
    }
    told |= {words: [next(answers)] for words in of_all}
    there = {words: some(told[words], len(raw)) for words in seldom}
    if any(there.values()):
        at_last = yield [
            packed(full[words], "{q}", [raw[index] for index in found])
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
    if len(words) != 2 or words[0] not in _OF_NOTHING:
        return False
    return words[1].count("{q}") == 1 and words[1] not in usual


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
