"""How long the queues are: what the commands of a preset give, for thousands of queues at once."""

from __future__ import annotations

from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.presets.redis_keys import COUNTS, Oldest, fill_in
from unitq.queues import ages
from unitq.queues.commands import HOLE, ErrorReply, command, commands_for
from unitq.queues.model import Lengths
from unitq.queues.reader import note_error, side_by_side
from unitq.queues.values import number, pairs, row_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from unitq.presets.redis_keys import Count, Words
    from unitq.queues.commands import Answer, Commands
    from unitq.queues.reader import Notes, Source

    Reading = Generator[Commands, list[Answer], Any]

Column = list[int | None]
Row = dict[bytes, Any] | None


class Read(NamedTuple):
    """The lengths of all queues."""

    queues: dict[str, Lengths]
    whole: Lengths


def read(source: Source, notes: Notes, *, aged: bool = True) -> Reading:
    """Two trips: the names, then everything else; or all at once, where the names are known. One
    more where a job's age is kept elsewhere, and is not to be had at once.
    """
    keys, places = source.keys, source.places()
    oldest = keys.oldest if aged else None
    names: list[bytes] = []
    if keys.names:
        commands = [command(*fill_in(words, places)) for words in keys.names]
        at_once = ages.at_once(oldest, places) if oldest else ()
        if at_once:
            commands.append(ages.trial(at_once))
        answers = yield commands
        names = _names(source, answers[: len(keys.names)], notes)
        if at_once and isinstance(answers[-1], list):
            oldest = Oldest.model_construct(command=at_once)
    raw = list(dict.fromkeys([*names, *(queue.encode() for queue in source.queues)]))
    readings: list[Reading] = [_counted(source, raw, notes)]
    if oldest:
        readings.append(ages.since(source, oldest, raw, notes))
    (columns, whole), *since = yield from side_by_side(readings)
    empty: Column = [None] * len(raw)
    parts = [columns.get(name, empty) for name in COUNTS]
    lengths = map(Lengths, *parts, since[0] if since else empty)
    queues = dict(zip([queue.decode(errors="replace") for queue in raw], lengths, strict=True))
    return Read(queues, Lengths(**{name: column[0] for name, column in whole.items()}))


def _counted(source: Source, raw: list[bytes], notes: Notes) -> Reading:
    """Counts by their names: of each queue, and of all together."""
    places = source.places() | {"q": HOLE}
    every = [(name, count) for name, counts in source.keys.counts().items() for count in counts]
    # Several numbers may stand in one answer: each command is asked once.
    asked = {
        count.command: commands_for(
            raw if count.of_each else [b""], *fill_in(count.command, places)
        )
        for _, count in every
    }
    answers = iter((yield list(chain.from_iterable(asked.values()))))
    told = {words: list(islice(answers, len(commands))) for words, commands in asked.items()}
    return (
        _columns([one for one in every if one[1].of_each], told, notes),
        _columns([one for one in every if not one[1].of_each], told, notes),
    )


def _names(source: Source, answers: list[Answer], notes: Notes) -> list[bytes]:
    found: list[bytes] = []
    for answer in answers:
        if isinstance(answer, ErrorReply):
            note_error(answer, notes)
        elif isinstance(answer, list):
            found += [name for name in answer if isinstance(name, bytes)]
    (strip,) = fill_in((source.keys.strip,), source.places())
    if strip:
        found = [name.removeprefix(strip.encode()) for name in found]
    return found


def _columns(
    counts: list[tuple[str, Count]], told: dict[Words, list[Answer]], notes: Notes
) -> dict[str, Column]:
    """The answers of each name, added up queue by queue."""
    found: dict[str, Column] = {}
    names = [name for name, _ in counts]
    rows: dict[tuple[Words, str], list[Row]] = {}  # several numbers may stand in one
    for name, count in counts:
        answers = told[count.command]
        value = partial(_value, count, notes, shared=names.count(name) > 1)
        if set(map(type, answers)) <= {int}:  # nearly always
            column: Column = answers
        elif count.row:
            key = count.command, count.row
            if key not in rows:
                rows[key] = [row_of(answer, count.row.encode()) for answer in answers]
            field = count.field.encode()
            both = zip(rows[key], answers, strict=True)
            column = [value(answer) if row is None else row.get(field) for row, answer in both]
            if not set(map(type, column)) <= {int, type(None)}:
                column = list(map(number, column))
        else:
            column = list(map(value, answers))
        if name in found:
            pairwise = zip(found[name], column, strict=True)
            column = [a if b is None else b if a is None else a + b for a, b in pairwise]
        found[name] = column
    return found


def _value(count: Count, notes: Notes, answer: Answer, *, shared: bool) -> int | None:
    """The number in one answer; of rows, only where the one is not among them."""
    if isinstance(answer, ErrorReply):
        missing = answer.code == "NOGROUP" or "no such key" in answer.words
        if not (shared and answer.code == "WRONGTYPE"):
            # Of several commands for one number only one may fit: a list, or a sorted set.
            note_error(answer, notes)
        return 0 if missing else None
    if answer is None:
        return 0  # a counter that nothing has been added to yet
    if not count.field:
        return len(answer) if isinstance(answer, list) else number(answer)
    if not count.row:
        return number(pairs(answer).get(count.field))
    notes(f"there is no group {count.row} in a stream: a preset of your own can name another")
    return None
