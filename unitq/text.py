"""Plain text: tables that line up, times and sizes that read well. Imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines: rows under a header, columns aligned by spaces, each cell on one line."""
    cells = [tuple(map(one_line, row)) for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def duration(seconds: float) -> str:
    """`4.2 s`, `31 s`, `12 min`, `5 h`, `3 d`."""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def size(count: int | None) -> str:
    """`41 M`."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "K", "M", "G"):
        if value < 1000 or unit == "G":
            return f"{value:.0f} {unit}" if value >= 9.95 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return "-"


def number(revision: str | None) -> str:
    """The number that people say of a revision id: `42` of `42-3fa9c1`."""
    return revision.partition("-")[0] if revision else "?"


def unitq(app: str, *, user: bool) -> str:
    """What to type before a verb, from whatever directory: `unitq --user -a shop`."""
    return f"unitq{' --user' * user} -a {app}"


def plural(count: int, word: str) -> str:
    """`1 process`, `2 processes`, `2 canaries`."""
    if count == 1:
        return f"1 {word}"
    if word.endswith("y") and word[-2] not in "aeiou":
        return f"{count} {word[:-1]}ies"
    return f"{count} {word}{'es' if word.endswith('s') else 's'}"
