"""How long the queues are, and since when the next job of each waits: thousands at once."""

from __future__ import annotations

from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.presets.redis_keys import COUNTS, Oldest, fill_in
from unitq.queues.commands import HOLE, SECOND_HOLE, ErrorReply, command, commands_for
from unitq.queues.model import Lengths
from unitq.queues.reader import is_missing, note_error, side_by_side, without_errors
from unitq.queues.values import moments, number, pairs, row_of, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.presets.redis_keys import Count, Words
    from unitq.queues.commands import Answer, Reading
    from unitq.queues.reader import Notes, Source

Column = list[int | None]


class AllLengths(NamedTuple):
    """The lengths of each queue, and what the framework counts for all together."""

    queues: dict[str, Lengths]
    whole: Lengths


def read(source: Source, notes: Notes, *, ages: bool = True) -> Reading[AllLengths]:
    """Two trips: the names, then everything else; or one, where the names are known.

    One more where a job's age is kept elsewhere, and Redis does not answer SORT_RO.
    """
    keys, places = source.keys, source.places()
    oldest = keys.oldest if ages else None
    names: list[bytes] = []
    if keys.names:
        commands = [command(*fill_in(words, places)) for words in keys.names]
        direct = _direct(oldest, places) if oldest else ()
        if direct:  # a queue without a name tells whether this Redis and this user have it
            commands.append(command(*fill_in(direct, {"q": ""})))
        answers = yield commands
        names = _names(source, answers[: len(keys.names)], notes)
        if direct and isinstance(answers[-1], list):
            oldest = Oldest.model_construct(command=direct)
    raw = list(dict.fromkeys([*names, *(queue.encode() for queue in source.queues)]))
    readings: list[Reading[Any]] = [_counts(source, raw, notes)]
    if oldest:
        readings.append(_ages(source, oldest, raw, notes))
    (columns, whole), *since = yield from side_by_side(readings)
    empty: Column = [None] * len(raw)
    parts = [columns.get(name, empty) for name in COUNTS]
    lengths = map(Lengths, *parts, since[0] if since else empty)
    queues = dict(zip([queue.decode(errors="replace") for queue in raw], lengths, strict=True))
    return AllLengths(queues, Lengths(**{name: column[0] for name, column in whole.items()}))


def _names(source: Source, answers: list[Answer], notes: Notes) -> list[bytes]:
    (strip,) = fill_in((source.keys.strip,), source.places())
    lists = [each for each in without_errors(answers, notes) if isinstance(each, list)]
    names = (name for name in chain.from_iterable(lists) if isinstance(name, bytes))
    return [name.removeprefix(strip.encode()) for name in names]


def _counts(
    source: Source, raw: list[bytes], notes: Notes
) -> Reading[tuple[dict[str, Column], dict[str, Column]]]:
    """Returns counts by their names: of each queue, and of all together."""
    places = source.places() | {"q": HOLE}
    named = [(name, count) for name, counts in source.keys.counts().items() for count in counts]
    # Several numbers may stand in one answer: each command is asked once.
    asked = {
        count.command: commands_for(
            raw if count.of_each else [b""], *fill_in(count.command, places)
        )
        for _, count in named
    }
    answers = iter((yield list(chain.from_iterable(asked.values()))))
    known = {words: list(islice(answers, len(commands))) for words, commands in asked.items()}
    return (
        _columns([pair for pair in named if pair[1].of_each], known, notes),
        _columns([pair for pair in named if not pair[1].of_each], known, notes),
    )


def _columns(
    counts: list[tuple[str, Count]], answers_to: dict[Words, list[Answer]], notes: Notes
) -> dict[str, Column]:
    """Returns the answers of each name, added up queue by queue."""
    columns: dict[str, Column] = {}
    names = [name for name, _ in counts]
    rows: dict[tuple[Words, str], list[dict[bytes, Any] | None]] = {}  # shared by several numbers
    for name, count in counts:
        answers = answers_to[count.command]
        value = partial(_value, count, notes, shared=names.count(name) > 1)
        if set(map(type, answers)) <= {int}:  # nearly always
            column: Column = answers
        elif count.row:
            key = count.command, count.row
            if key not in rows:
                rows[key] = [row_of(answer, count.row.encode()) for answer in answers]
            field = count.field.encode()
            both = zip(rows[key], answers, strict=True)
            column = [value(a) if row is None else number(row.get(field)) for row, a in both]
        else:
            column = list(map(value, answers))
        if name in columns:
            both_columns = zip(columns[name], column, strict=True)
            column = [a if b is None else b if a is None else a + b for a, b in both_columns]
        columns[name] = column
    return columns


def _value(count: Count, notes: Notes, answer: Answer, *, shared: bool) -> int | None:
    """Returns the number in one answer; of rows, only where the one is not among them."""
    if isinstance(answer, ErrorReply):
        if not (shared and answer.code == "WRONGTYPE"):
            # Of several commands for one number only one may fit: a list, or a sorted set.
            note_error(answer, notes)
        return 0 if is_missing(answer) else None
    if answer is None:
        return 0  # a counter that nothing has been added to yet
    if not count.field:
        return len(answer) if isinstance(answer, list) else number(answer)
    if not count.row:
        return number(pairs(answer).get(count.field))
    notes(f"there is no group {count.row} in a stream: a preset of your own can name another")
    return None


def _ages(
    source: Source, oldest: Oldest, raw: list[bytes], notes: Notes
) -> Reading[list[float | None]]:
    """Returns since when the next job of each queue waits."""
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
        return moments([each[0] if isinstance(each, list) and each else None for each in firsts])
    jobs = {index: head for index, head in enumerate(heads) if isinstance(head, bytes)}
    queues = [raw[index] for index in jobs]
    times = yield commands_for(queues, *fill_in(oldest.then, places), second=list(jobs.values()))
    since = dict(zip(jobs, moments(without_errors(times, notes)), strict=True))
    return [since.get(index) for index in range(len(raw))]


def _direct(oldest: Oldest, places: Mapping[str, str]) -> Words:
    """Returns one command for the time of a list's first job, kept in the job's hash; or none.

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
