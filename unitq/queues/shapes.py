"""Answers that look like the one before them: thousands of streams, each told of in 24 values.

One regular expression made from an answer takes the next ones of its shape apart, some six times
as fast as a loop over their values. Every size in it is a number that must be the same, so that
nothing else can match: what has another shape is left to the parser.
"""

from __future__ import annotations

import re
from itertools import repeat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# What is longer is a list of things, and the next one has more of them or fewer.
_MOST = 64
_DEPTH = 4


class Shape:
    """A list of numbers, texts of these very lengths, nils, and lists of such, in this order."""

    def __init__(self, answer: list[Any], pattern: re.Pattern[bytes]) -> None:
        self._answer = answer
        self._pattern = pattern

    def read(self, buffer: bytes, at: int) -> tuple[list[Any], int]:
        """All answers of this shape that stand here one after the other, and where they end."""
        match = self._pattern.match
        rows = []
        while found := match(buffer, at):
            rows.append(found.groups())
            at = found.end()
        return (list(_filled(self._answer, zip(*rows, strict=True))) if rows else []), at


def learned(answer: list[Any]) -> Shape | None:
    """The shape of an answer; None where it is not worth one."""
    pattern = _pattern(answer, _DEPTH)
    if pattern is None or not 0 < pattern.count(b"(") <= _MOST:
        return None
    return Shape(answer, re.compile(pattern, re.DOTALL))


def _pattern(value: Any, depth: int) -> bytes | None:
    if isinstance(value, bytes):
        return rb"\$%d\r\n(.{%d})\r\n" % (len(value), len(value))
    if isinstance(value, int):
        return rb":(-?[0-9]+)\r\n"
    if value is None:
        return rb"\$-1\r\n"
    if not isinstance(value, list) or len(value) > _MOST or not depth:
        return None
    parts = [_pattern(each, depth - 1) for each in value]
    return rb"\*%d\r\n" % len(value) + b"".join(parts) if None not in parts else None  # type: ignore[arg-type]


def _filled(value: Any, columns: Iterator[Iterable[bytes]]) -> Iterable[Any]:
    """For each row the value with what stands in it, from one column for each text or number."""
    if isinstance(value, bytes):
        return next(columns)
    if isinstance(value, int):
        return map(int, next(columns))
    if not value:  # nil, or an empty list
        return repeat(value)
    return map(list, zip(*[_filled(each, columns) for each in value], strict=False))
