"""Which columns of `unitq status` a terminal has room for. Nothing that matters is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER = (
    "INSTANCE", "STATE", "SINCE", "PID", "REVISION", "FRESH", "PROCESSES", "MEMORY", "RESTARTS",
)  # fmt: skip
# What goes where there is no room, in this order. The summary below the table says which code runs.
_GO_FIRST = ("MEMORY", "PROCESSES", "RESTARTS", "REVISION", "FRESH")
# What is as long as it likes, and goes over several lines.
WRAPPED = ("STATE", "JOB")
_WRAPPED_WIDTH = 20  # "crashed, restarting" in one line
_GAP = 2


def fitted(
    header: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows without the columns that there is no room for in so many characters."""
    columns = dict(
        zip(header, zip(*rows, strict=True) if rows else [()] * len(header), strict=True)
    )
    needs = {name: max(map(len, (name, *cells))) for name, cells in columns.items()}
    for name in set(WRAPPED) & needs.keys():
        needs[name] = min(needs[name], _WRAPPED_WIDTH)
    for name in _GO_FIRST:
        if sum(needs.values()) + _GAP * (len(needs) - 1) <= width:
            break
        needs.pop(name, None)
    kept = [index for index, name in enumerate(header) if name in needs]
    return (
        tuple(header[index] for index in kept),
        [tuple(row[index] for index in kept) for row in rows],
    )
