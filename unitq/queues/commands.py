"""Commands as Redis reads them (RESP2), thousands at once.

redis-py's own pipeline packs each by itself. Here the same command for thousands of queues is
mostly one `join`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

HOLE = "\0"  # in no key of anybody's


def pack(*words: str | bytes, hole: tuple[bytes, int] = (b"", 0)) -> bytes:
    """One command as Redis reads it.

    A hole is a text in the words in whose place something of another length will be put.
    """
    parts = [b"*%d\r\n" % len(words)]
    place, length = hole
    for word in words:
        raw = word.encode() if isinstance(word, str) else word
        size = len(raw)
        if place:
            size += raw.count(place) * (length - len(place))
        parts.append(b"$%d\r\n%b\r\n" % (size, raw))
    return b"".join(parts)


class Several:
    """Commands in one piece, which is packed when it is sent: Redis begins with those before it.

    Two are the same if they ask the same of the same.
    """

    __slots__ = ("_make", "_values", "_what", "amount")

    def __init__(
        self, make: Callable[..., Iterable[bytes]], values: Sequence[Any], amount: int, *what: Any
    ) -> None:
        self._make, self._values, self._what = make, values, what
        self.amount = amount

    @property
    def words(self) -> Sequence[str]:
        """The words of each of them, with holes where the values stand."""
        if self._make is _packed:
            return self._what
        return self._what[0] if self._make is _packed_rows else ("EXISTS",)

    @property
    def content(self) -> bytes:
        """As they are sent."""
        return b"".join(self._make(self._values, *self._what))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Several):
            return NotImplemented
        mine, its = (self._make, self._what), (other._make, other._what)
        return mine == its and self._values == other._values

    def __hash__(self) -> int:
        return hash((self._make, self._what, self.amount))


# What is asked at once: commands as `pack` makes them, and many in one piece.
Commands = Sequence[bytes | Several]


def packed(words: Sequence[str], place: str, values: Sequence[bytes]) -> Several:
    """One command again and again, with each of the values at `place`, in their order.

    Where the values of one length stand beside each other, as `by_length` puts them, all of these
    are one `join`.
    """
    # One place for all, so that the same commands are known as such.
    return Several(_packed, values, len(values), *(word.replace(place, HOLE) for word in words))


def _packed(values: Sequence[bytes], *words: str) -> Iterator[bytes]:
    hole = HOLE.encode()
    for length, alike in groupby(values, key=len):
        around = pack(*words, hole=(hole, length)).split(hole)
        if len(around) == 2:
            before, after = around
            yield from (before, (after + before).join(alike), after)
        else:
            yield from (value.join(around) for value in alike)


def by_length(values: Iterable[bytes]) -> list[bytes]:
    """Sorted so that `packed` has few lengths to do with, and each once."""
    return sorted(dict.fromkeys(values), key=len)


def packed_rows(
    words: Sequence[str], places: Sequence[str], rows: Sequence[tuple[bytes, ...]]
) -> Several:
    """One command again and again, with the values of each row at the places.

    Rows whose values have the same lengths share the work, as in `packed`, if beside each other.
    """
    return Several(_packed_rows, rows, len(rows), tuple(words), tuple(places))


def _packed_rows(
    rows: Sequence[tuple[bytes, ...]], words: Sequence[str], places: Sequence[str]
) -> Iterator[bytes]:
    holes = re.compile("|".join(map(re.escape, places)))
    order = [places.index(place) for word in words for place in holes.findall(word)]
    if order != list(range(len(places))):
        rows = [tuple([row[index] for index in order]) for row in rows]
    at = 0
    for lengths, alike in groupby(
        zip(*[map(len, column) for column in zip(*rows, strict=True)], strict=True)
    ):
        left = iter(lengths)
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            stays = [part.encode() for part in holes.split(word)]
            size = sum(map(len, stays)) + sum(islice(left, len(stays) - 1))
            filled = b"%b".join([part.replace(b"%", b"%%") for part in stays])
            parts.append(b"$%d\r\n%b\r\n" % (size, filled))
        one = b"".join(parts)
        end = at + sum(1 for _ in alike)
        yield from (one % row for row in rows[at:end])
        at = end


def pieces(commands: Commands) -> Iterator[bytes]:
    """All of them as they are sent, one piece after the other."""
    for kind, alike in groupby(commands, key=type):
        if kind is Several:
            yield from (each.content for each in alike)  # type: ignore[union-attr]
        else:
            yield b"".join(alike)  # type: ignore[arg-type]


def count(commands: Commands) -> int:
    """How many answers there will be."""
    return sum(each.amount if isinstance(each, Several) else 1 for each in commands)
