"""Queues as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.queues.job_text import short_text
from unitq.queues.queue_list import LENGTHS
from unitq.text import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.queues.model import Flow
    from unitq.queues.queue_list import QueueRow

ALL = "all together"


def cells(rows: Sequence[QueueRow], time: float) -> tuple[list[str], list[list[str]]]:
    """A header and the rows of a table; columns that nobody fills are left out."""
    several = len({preset for preset, _ in rows}) > 1
    header = ["QUEUE", "WAITING", "DELAYED", "IN HAND", "FAILED", "RETRY", "DEAD", "WORKERS"]
    header += ["IN/S", "OUT/S", "DRAINED IN", "OLDEST"]
    lines = []
    for preset, row in rows:
        name = row.name or ALL
        lengths = row.lengths
        oldest = "" if lengths.oldest is None else duration(max(0.0, time - lengths.oldest))
        lines.append(
            [
                # Anybody who may write to Redis names queues: nothing in it orders a terminal.
                f"{preset}: {short_text(name)}" if several else short_text(name),
                *(_number(getattr(lengths, name)) for name in LENGTHS),
                _number(row.workers),
                *_flow(row.flow),
                oldest,
            ]
        )
    used = [
        index for index in range(len(header)) if index < 2 or any(line[index] for line in lines)
    ]
    return (
        [header[index] for index in used],
        [[line[index] or "-" for index in used] for line in lines],
    )


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _flow(flow: Flow | None) -> tuple[str, str, str]:
    if flow is None or flow.arrivals is None or flow.completions is None:
        return "", "", ""
    # From lengths alone it is a lower bound.
    sign = "" if flow.counted else "≥"
    drain = "never" if flow.drain is None else duration(flow.drain) if flow.drain else "0"
    return f"{sign}{flow.arrivals:.1f}", f"{sign}{flow.completions:.1f}", drain
