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
        # The values of those that are as usual.
        self._usual = self._all(row.encode(), place) or self._each(row.encode(), place)
        self._alike = None not in self._usual

    def _all(self, row: bytes, place: int) -> list[list[Answer] | None]:
        """Where nothing is unusual, without a look at each by itself."""
        answers, names = self._answers, self._names
        if not place or set(map(type, answers)) != {list} or set(map(len, answers)) != {1}:
            return []
        rows = [each[0] for each in answers]
        if set(map(type, rows)) != {list} or set(map(len, rows)) != {2 * len(names)}:
            return []
        alike = [each[::2] for each in rows].count(names) == len(rows)
        if not alike or [each[place] for each in rows].count(row) != len(rows):
            return []
        return [each[1::2] for each in rows]

    def _each(self, row: bytes, place: int) -> list[list[Answer] | None]:
        names, size = self._names, 2 * len(self._names)
        return [
            each[0][1::2]
            if place
            and type(each) is list
            and len(each) == 1
            and type(values := each[0]) is list
            and len(values) == size
            and values[::2] == names
            and values[place] == row
            else None
            for each in self._answers
        ]

    def numbers(self, name: str, missing: Callable[[Answer], T]) -> list[int | T | None]:
        """The number of that name in each row, nil where it is none; `missing` where no row is."""
        key = name.encode()
        at = self._names.index(key) if key in self._names else None
        found: list[int | T | None]
        if at is not None and self._alike:
            found = [values[at] for values in self._usual]  # type: ignore[index]
            if set(map(type, found)) <= {int, type(None)}:
                return found
        found = []
        for answer, values in zip(self._answers, self._usual, strict=True):
            if values is not None and at is not None:
                value = values[at]
                found.append(value if value is None or type(value) is int else number(value))
            elif (row := named(answer, self._row)) is not None:
                found.append(number(field(row, key)))
            else:
                found.append(missing(answer))
        return found
