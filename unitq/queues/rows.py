"""Numbers out of rows such as those of XINFO: names and values in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from unitq.queues.values import number, text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unitq.queues.wire import Answer

T = TypeVar("T")


def field(row: Answer, name: bytes) -> Any:
    """The value of that name in an answer such as HGETALL's; nil where there is none."""
    names = row[::2] if isinstance(row, list) else []
    return row[2 * names.index(name) + 1] if name in names[: len(row) // 2] else None


def named(answer: Answer, row: str) -> Answer:
    """The row of that name; nil where there is none."""
    rows = answer if isinstance(answer, list) else []
    return next((each for each in rows if text(field(each, b"name")) == row), None)


class Rows:
    """That row of many answers: a group of consumers in each of thousands of streams.

    Usually each of them has this one row and the same names in it. Then a number is at the same
    place in all of them; to look for it in each takes ten times as long.
    """

    def __init__(self, answers: Sequence[Answer], row: str) -> None:
        self._answers = answers
        self._row = row
        first: Answer = next(
            (each for each in answers if type(each) is list and len(each) == 1), [[]]
        )
        self._names: list[Answer] = first[0][::2] if type(first[0]) is list else []
        place = self._names.index(b"name") * 2 + 1 if b"name" in self._names else 0
        raw, size = row.encode(), 2 * len(self._names)
        # The values of those that are as usual.
        self._usual: list[list[Answer] | None] = [
            each[0][1::2]
            if place
            and type(each) is list
            and len(each) == 1
            and type(values := each[0]) is list
            and len(values) == size
            and values[::2] == self._names
            and values[place] == raw
            else None
            for each in answers
        ]

    def numbers(self, name: str, missing: Callable[[Answer], T]) -> list[int | T | None]:
        """The number of that name in each row, nil where it is none; `missing` where no row is."""
        key = name.encode()
        at = self._names.index(key) if key in self._names else None
        found: list[int | T | None] = []
        for answer, values in zip(self._answers, self._usual, strict=True):
            if values is not None and at is not None:
                value = values[at]
                found.append(value if value is None or type(value) is int else number(value))
            elif (row := named(answer, self._row)) is not None:
                found.append(number(field(row, key)))
            else:
                found.append(missing(answer))
        return found
