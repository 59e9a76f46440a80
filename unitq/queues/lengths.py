"""How long the queues are: what the commands of a preset give, for thousands of queues at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unitq.core.keys import COUNTS, filled
from unitq.core.queue import Lengths
from unitq.queues.source import refused
from unitq.queues.values import moment, number, pairs, table, text
from unitq.queues.wire import Refused, pack, packer

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from unitq.core.keys import Count, Oldest
    from unitq.queues.source import Notes, Source
    from unitq.queues.wire import Answer

    Reading = Generator[Sequence[bytes], list[Answer], "Read"]

Column = list[int | None]


class Read(NamedTuple):
    """The lengths of all queues."""

    queues: dict[str, Lengths]
    whole: Lengths


def read(source: Source, notes: Notes, *, ages: bool = True) -> Reading:
    """Two trips: the names, then everything else. A third where a job's age is kept elsewhere."""
    keys, places = source.keys, source.places()
    commands = [pack(*filled(words, places)) for words in keys.names]
    names = _names(source, (yield commands), notes) if commands else []
    raw = list(dict.fromkeys([*names, *(queue.encode() for queue in source.queues)]))

    each: list[tuple[str, Count]] = []
    once: list[tuple[str, Count]] = []
    for name, counts in keys.counts().items():
        for count in counts:
            (each if count.of_each else once).append((name, count))
    packed: list[bytes] = []
    for _, count in each:
        pack_one = packer(filled(count.command, places), "{q}")
        packed += [pack_one(queue) for queue in raw]
    packed += [pack(*filled(count.command, places)) for _, count in once]
    oldest = keys.oldest if ages else None
    if oldest:
        pack_one = packer(filled(oldest.command, places), "{q}")
        packed += [pack_one(queue) for queue in raw]
    answers = yield packed

    columns = _columns(each, answers, len(raw), notes)
    at = len(each) * len(raw)
    whole = _columns(once, answers[at:], 1, notes)
    since: list[float | None] = [None] * len(raw)
    if oldest:
        heads = answers[at + len(once) :]
        if oldest.then:
            since = yield from _looked_up(source, oldest, raw, heads, notes)
        else:
            since = [_since(oldest, head) for head in heads]
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
    counts: list[tuple[str, Count]], answers: list[Answer], height: int, notes: Notes
) -> dict[str, Column]:
    """The answers of each name, added up queue by queue."""
    found: dict[str, Column] = {}
    shared = {name for name, _ in counts if sum(name == other for other, _ in counts) > 1}
    for index, (name, count) in enumerate(counts):
        part = answers[index * height : (index + 1) * height]
        # One pass in C where all are numbers, as nearly always.
        if set(map(type, part)) <= {int}:
            column: Column = part
        else:
            column = [_value(count, answer, notes, shared=name in shared) for answer in part]
        if name in found:
            pairwise = zip(found[name], column, strict=True)
            column = [a if b is None else b if a is None else a + b for a, b in pairwise]
        found[name] = column
    return found


def _value(count: Count, answer: Answer, notes: Notes, *, shared: bool) -> int | None:
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
        return number(pairs(answer).get(count.field))
    rows = [pairs(row) for row in answer] if isinstance(answer, list) else []
    mine = [row for row in rows if text(row.get("name")) == count.row]
    if not mine:
        notes(f"there is no group {count.row} in a stream: a preset of your own can name another")
        return None
    return number(mine[0].get(count.field))


def _since(oldest: Oldest, head: Answer) -> float | None:
    return moment(table(head).get(oldest.field)) if isinstance(head, bytes) else None


def _looked_up(
    source: Source, oldest: Oldest, raw: list[bytes], heads: list[Answer], notes: Notes
) -> Generator[Sequence[bytes], list[Answer], list[float | None]]:
    """The jobs' times, which are in keys of their own: one more trip."""
    words = filled(oldest.then, source.places())
    there = [(index, head) for index, head in enumerate(heads) if isinstance(head, bytes)]
    commands = []
    if any("{q}" in word for word in words):
        for index, head in there:
            values = {"q": raw[index].decode(errors="replace"), "j": text(head)}
            commands.append(pack(*filled(words, values)))
    else:
        pack_one = packer(words, "{j}")
        commands = [pack_one(head) for _, head in there]
    found: list[float | None] = [None] * len(raw)
    if commands:
        for (index, _), answer in zip(there, (yield commands), strict=True):
            if isinstance(answer, Refused):
                refused(answer, notes)
            else:
                found[index] = moment(answer)
    return found
