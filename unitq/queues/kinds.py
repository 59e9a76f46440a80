"""What kind of answer each command has (redis.io/commands), and whether an answer is of it.

A proxy, another server that speaks the protocol, or a module may answer anything. What is no answer
to the command must not be taken for an empty queue, or end in an error of Python's.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from unitq.queues.commands import Several
from unitq.queues.wire import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unitq.queues.commands import Commands
    from unitq.queues.wire import Answer

    Fits = Callable[[Sequence[Answer]], bool]

_NIL = type(None)
_LISTS = {list, _NIL, Refused}  # of what is not there some servers have nil and not an empty list


def _all(*kinds: type) -> Fits:
    allowed = {*kinds, Refused}
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


def misfit(commands: Commands, answers: Sequence[Answer]) -> str:
    """The name of the first command whose answer is of no kind that it has; empty: all fit."""
    rest = iter(answers)
    for command in commands:
        words, amount = _words(command)
        part = list(islice(rest, amount))
        name = words[0].upper()
        if not _fits(name, words)(part) or (name == "HMGET" and not _full(part, words)):
            return name
    return ""


def _fits(name: str, words: Sequence[str]) -> Fits:
    if name == "XPENDING" and len(words) < 6:
        return _lists(int, bytes, list, _NIL)  # without a range: a summary
    if name == "XINFO" and words[1].upper() == "STREAM":
        return lambda answers: all(_row(each) for each in answers if _is_list(each))
    if "WITHSCORES" in words:
        return _pairs
    return _FITS.get(name, _anything)


def _anything(_: Any) -> bool:
    return True  # a script's own (EVAL): who has written it knows


def _full(answers: Sequence[Answer], words: Sequence[str]) -> bool:
    """HMGET: a value, or nil, for each field."""
    return all(len(each) == len(words) - 2 for each in answers if _is_list(each))


def _words(command: bytes | Several) -> tuple[Sequence[str], int]:
    """The words of a command, and how many answers it has."""
    if isinstance(command, Several):
        return command.words, command.amount
    head, _, rest = command.partition(b"\r\n")  # *3 $5 HMGET …, as `commands.pack` makes it
    amount = int(head[1:])
    words = [word.decode(errors="replace") for word in rest.split(b"\r\n")[1::2]]
    return (words + [""] * amount)[:amount], 1  # a value may have a line's end in it
