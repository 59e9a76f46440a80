"""Commands for Redis, the kind of answer that each has (redis.io/commands), and what goes wrong.

A proxy, or another server that speaks the protocol, may answer anything. What is no answer to the
command must not be taken for an empty queue.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from itertools import chain, groupby, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from unitq.errors import UnitqError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

T = TypeVar("T")

# In no key of anybody's: where each value stands, and each of a second row of values.
HOLE = "\0"
SECOND_HOLE = "\1"
_HOLES = re.compile(f"([{HOLE}{SECOND_HOLE}])")

Command = tuple[bytes, ...]
Commands = list[Command]

# b"…", a number, nil, an error, or a list of those.
Answer = Any

# What a reader is: it yields commands, gets their answers, and returns what it has read.
Reading = Generator[Commands, list[Answer], T]


class QueuesError(UnitqError):
    """Redis cannot be asked, or does not answer in time."""


class ErrorReply(Exception):  # noqa: N818  (an answer like others: it is not raised)
    """An error that Redis answers to one command: `NOPERM this user has no …`."""

    @property
    def words(self) -> str:
        return str(self)

    @property
    def code(self) -> str:
        """Its first word."""
        return self.words.partition(" ")[0]


def command(*words: str | bytes) -> Command:
    """Returns one command."""
    return tuple(_raw(words))


def commands_for(
    values: Sequence[str | bytes], *words: str, second: Sequence[str | bytes] = ()
) -> Commands:
    """Returns one command for each queue, or job, which stands in place of HOLE in the words.

    `second` are as many values for SECOND_HOLE.
    """
    rows = {HOLE: _raw(values), SECOND_HOLE: _raw(second)}

    def column(word: str) -> Iterable[bytes]:
        first, *others = _HOLES.split(word)  # text, a hole, text, …
        cells: Iterable[bytes] = repeat(first.encode(), len(values))
        for hole, text in zip(others[::2], others[1::2], strict=True):
            after = text.encode()
            cells = [a + value + after for a, value in zip(cells, rows[hole], strict=True)]
        return cells

    return list(zip(*map(column, words), strict=True))


def _raw(words: Sequence[str | bytes]) -> list[bytes]:
    return [word.encode() if isinstance(word, str) else word for word in words]


class _Shape(NamedTuple):
    """The types that an answer may have, and if it is a list, what is in it."""

    answer: frozenset[type]
    items: frozenset[type] = frozenset()


def _kinds(*types: type | None) -> frozenset[type]:
    return frozenset(type(None) if each is None else each for each in types)


def _list_of(*types: type | None) -> _Shape:
    # Of a key that does not exist some servers answer nil, not an empty list.
    return _Shape(_kinds(list, None, ErrorReply), _kinds(*types))


_SHAPES = {
    name: shape
    for names, shape in (
        ("EXISTS HEXISTS HLEN LLEN PTTL SCARD SISMEMBER STRLEN TTL XLEN ZCARD ZCOUNT ZLEXCOUNT",
         _Shape(_kinds(int, ErrorReply))),
        ("GET GETRANGE HGET INFO LINDEX TYPE ZSCORE", _Shape(_kinds(bytes, None, ErrorReply))),
        ("HGETALL HKEYS HVALS LRANGE SMEMBERS ZRANGE ZRANGEBYSCORE ZREVRANGE ZREVRANGEBYSCORE",
         _list_of(bytes)),
        ("HMGET MGET SORT_RO ZMSCORE", _list_of(bytes, None)),
        ("SMISMEMBER", _list_of(int)),
        ("XINFO XPENDING", _list_of(list, bytes, int, None)),
        ("XRANGE XREVRANGE", _list_of(list)),
    )
    for name in names.split()
}  # fmt: skip

# The rows of those that readers take apart; of an entry that was deleted, XRANGE has nil.
_ROWS = {
    "XPENDING": ([bytes, bytes, int, int],),
    "XRANGE": ([bytes, list], [bytes, type(None)]),
}


def misfit(commands: Commands, answers: Sequence[Answer]) -> str:
    """Returns the name of the first command whose answer has another shape; empty: all fit.

    An answer to a script (EVAL) may have any.
    """
    at = 0
    # Commands of one name and as many words are looked at in one go.
    heads = zip(map(itemgetter(0), commands), map(len, commands), strict=True)
    for (raw, size), alike in groupby(heads):
        own = answers[at : (at := at + sum(1 for _ in alike))]
        name: str = raw.decode(errors="replace").upper()
        if name in _SHAPES and not _fit(name, size, own):
            return name
    return ""


def _fit(name: str, size: int, answers: Sequence[Answer]) -> bool:
    """Whether these fit; `size` is the number of the command's words."""
    shape = _SHAPES[name]
    types = {ErrorReply if issubclass(each, ErrorReply) else each for each in map(type, answers)}
    if not types <= shape.answer:
        return False
    lists = [answer for answer in answers if type(answer) is list]
    items = list(chain.from_iterable(lists))
    if not set(map(type, items)) <= shape.items:
        return False
    if name == "HMGET":
        return all(len(each) == size - 2 for each in lists)
    if name == "HGETALL":
        return not any(len(each) % 2 for each in lists)
    if name not in _ROWS or size < 4:  # XPENDING without a range sums up
        return True
    rows = [row for row in items if type(row) is list]
    return len(rows) == len(items) and all(_is_row(row, name) for row in rows)


def _is_row(row: list[Answer], name: str) -> bool:
    if list(map(type, row)) not in _ROWS[name]:
        return False
    fields = (row[1] or ()) if name == "XRANGE" else ()
    return len(fields) % 2 == 0 and set(map(type, fields)) <= {bytes}
