"""What kind of answer each command has (redis.io/commands), and whether an answer is of it.

A proxy, another server that speaks the protocol, or a module may answer anything. What is no answer
to the command must not be taken for an empty queue, or end in an error of Python's.
"""

from __future__ import annotations

from functools import cache
from itertools import chain, groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from unitq.queues.commands import ErrorReply

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unitq.queues.commands import Answer, Command, Commands

    Fits = Callable[[Sequence[Answer]], bool]

_NIL = type(None)
# Of what is not there some servers have nil and not an empty list.
_LISTS = {list, _NIL, ErrorReply}


def _all(*kinds: type) -> Fits:
    allowed = {*kinds, ErrorReply}
    return lambda answers: set(map(type, answers)) <= allowed


def _lists(*kinds: type) -> Fits:
    """Lists of nothing but these."""
    allowed = set(kinds)

    def fit(answers: Sequence[Answer]) -> bool:
        lists = [each for each in answers if type(each) is list]
        return (
            set(map(type, answers)) <= _LISTS
            and set(map(type, chain.from_iterable(lists))) <= allowed
        )

    return fit


def _pairs(answers: Sequence[Answer]) -> bool:
    """HGETALL: names and values. Or with WITHSCORES: members and scores."""
    return _lists(bytes)(answers) and not any(len(each) % 2 for each in answers if _is_list(each))


def _rows(answers: Sequence[Answer]) -> bool:
    """XINFO: lists of names and values."""
    return _lists(list)(answers) and all(
        _row(row) for each in answers if _is_list(each) for row in each
    )


def _row(row: list[Answer]) -> bool:
    return len(row) % 2 == 0 and set(map(type, row[::2])) <= {bytes}


def _pending(answers: Sequence[Answer]) -> bool:
    """XPENDING with a range: id, consumer, milliseconds, deliveries."""
    return _each_of(answers, [bytes, bytes, int, int])


def _entries(answers: Sequence[Answer]) -> bool:
    """XRANGE: id, and names with values. One that was deleted has nil."""
    found = [entry for each in answers if _is_list(each) for entry in each]
    return (
        _each_of(answers, [bytes, list], [bytes, _NIL])
        and _pairs([entry[1] for entry in found])
    )  # fmt: skip


def _each_of(answers: Sequence[Answer], *shapes: list[type]) -> bool:
    return _lists(list)(answers) and all(
        list(map(type, row)) in shapes for each in answers if _is_list(each) for row in each
    )


def _is_list(answer: Answer) -> bool:
    return type(answer) is list


_NUMBER, _TEXT, _TEXTS = _all(int), _all(bytes, _NIL), _lists(bytes)
_COMMANDS: tuple[tuple[str, Fits], ...] = (
    ("EXISTS HEXISTS HLEN LLEN PTTL SCARD SISMEMBER STRLEN TTL XLEN", _NUMBER),
    ("ZCARD ZCOUNT ZLEXCOUNT", _NUMBER),
    ("GET GETRANGE HGET INFO LINDEX TYPE ZSCORE", _TEXT),
    ("HKEYS HVALS LRANGE SMEMBERS ZRANGE ZRANGEBYSCORE ZREVRANGE ZREVRANGEBYSCORE", _TEXTS),
    ("HMGET MGET SORT_RO ZMSCORE", _lists(bytes, _NIL)),
    ("SMISMEMBER", _lists(int)),
    ("HGETALL", _pairs),
    ("XINFO", _rows),
    ("XPENDING", _pending),
    ("XRANGE XREVRANGE", _entries),
)  # fmt: skip
_FITS = {name: fits for names, fits in _COMMANDS for name in names.split()}
# Those whose other words say more.
_OF_WORDS = {name for name in _FITS if name.startswith(("X", "ZR", "HMGET"))}


def misfit(commands: Commands, answers: Sequence[Answer]) -> str:
    """The name of the first command whose answer is of no kind that it has; empty: all fit."""
    at = 0
    words: bytes
    for words, alike in groupby(map(itemgetter(0), commands)):
        end = at + sum(1 for _ in alike)
        name = words.decode(errors="replace").upper()
        if not _fit(name, commands[at:end], answers[at:end]):
            return name
        at = end
    return ""


def _fit(name: str, commands: Commands, answers: Sequence[Answer]) -> bool:
    if name not in _OF_WORDS:
        fit: Fits = _FITS.get(name, _anything)
        return fit(answers)
    by_kind: dict[Fits, list[Answer]] = {}
    for words, answer in zip(commands, answers, strict=True):
        by_kind.setdefault(_fits(name, words), []).append(answer)
    return all(fits(part) for fits, part in by_kind.items())


def _fits(name: str, words: Command) -> Fits:
    if name == "HMGET":
        return _values(len(words) - 2)
    if name == "XPENDING" and len(words) < 6:
        return _summary
    if name == "XINFO" and words[1].upper() == b"STREAM":
        return _stream
    return _pairs if b"WITHSCORES" in words else _FITS[name]


@cache
def _values(amount: int) -> Fits:
    """HMGET: a value, or nil, for each field."""
    lists = _FITS["HMGET"]
    return lambda answers: (
        lists(answers) and all(len(each) == amount for each in answers if _is_list(each))
    )


def _summary(answers: Sequence[Answer]) -> bool:
    """XPENDING without a range."""
    return _lists(int, bytes, list, _NIL)(answers)


def _stream(answers: Sequence[Answer]) -> bool:
    return all(_row(each) for each in answers if _is_list(each))


def _anything(_: Any) -> bool:
    return True  # a script's own (EVAL): who has written it knows
