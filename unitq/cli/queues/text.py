"""Queues as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unitq.queues import model
from unitq.queues.job_text import short_text
from unitq.text import duration, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.queues.model import Flow, Job, Row, Sample

_NUMBERS = ("waiting", "delayed", "in_hand", "failed", "retry", "dead")
ALL = "all together"


def rows(now: Sequence[Sample], before: Sequence[Sample] | None) -> list[tuple[str, Row]]:
    """Every queue and, behind those of a framework, the row for all of them; with the preset."""
    found: list[tuple[str, Row]] = []
    for index, sample in enumerate(now):
        earlier = before[index] if before else None
        each = model.rows(sample, earlier)
        found += [(sample.preset, row) for row in each]
        whole = model.whole(sample, earlier)
        if len(each) != 1 or _more(whole, each[0]):
            found.append((sample.preset, whole))
    return found


def _more(whole: Row, only: Row) -> bool:
    """Whether all together says what the only queue does not."""
    pairs = zip(whole.lengths[:6], only.lengths[:6], strict=True)
    return any(of_all is not None and own is None for of_all, own in pairs)


def cells(found: Sequence[tuple[str, Row]], time: float) -> tuple[list[str], list[list[str]]]:
    """A header and the rows of a table; columns that nobody fills are left out."""
    several = len({preset for preset, _ in found}) > 1
    header = ["QUEUE", "WAITING", "DELAYED", "IN HAND", "FAILED", "RETRY", "DEAD", "WORKERS"]
    header += ["IN/S", "OUT/S", "DRAINED IN", "OLDEST"]
    lines = []
    for preset, row in found:
        name = row.name or ALL
        lengths = row.lengths
        oldest = "" if lengths.oldest is None else duration(max(0.0, time - lengths.oldest))
        lines.append(
            [
                # Anybody who may write to Redis names queues: nothing in it orders a terminal.
                f"{preset}: {short_text(name)}" if several else short_text(name),
                *(_number(getattr(lengths, name)) for name in _NUMBERS),
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


NO_QUEUES = 'no queue is known: name them in the workers\' `queues = ["…"]`'


def text(found: Sequence[tuple[str, Row]], time: float) -> list[str]:
    """The table's lines."""
    return table(*cells(found, time))


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _flow(flow: Flow | None) -> tuple[str, str, str]:
    if flow is None or flow.arrivals is None or flow.completions is None:
        return "", "", ""
    # From lengths alone it is a lower bound.
    sign = "" if flow.counted else "≥"
    drain = "never" if flow.drain is None else duration(flow.drain) if flow.drain else "0"
    return f"{sign}{flow.arrivals:.1f}", f"{sign}{flow.completions:.1f}", drain


def row_json(preset: str, row: Row, time: float) -> dict[str, Any]:
    """One queue; `queue` is null for all of them together."""
    lengths, flow = row.lengths, row.flow or model.Flow()
    oldest = lengths.oldest
    return {
        "preset": preset,
        "queue": row.name or None,
        **{name: getattr(lengths, name) for name in _NUMBERS},
        "workers": row.workers,
        "arrivals_per_second": _rounded(flow.arrivals),
        "completions_per_second": _rounded(flow.completions),
        "rates_from": None if flow.arrivals is None else "totals" if flow.counted else "lengths",
        "drain_seconds": _rounded(flow.drain),
        "oldest_seconds": None if oldest is None else _rounded(max(0.0, time - oldest)),
    }


def job_json(preset: str, job: Job) -> dict[str, Any]:
    """A job in hand."""
    return {
        "preset": preset,
        "queue": job.queue or None,
        "name": job.name or None,
        "id": job.id or None,
        "since": _rounded(job.since),
        "hash": job.hash or None,
        "worker": job.worker,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
