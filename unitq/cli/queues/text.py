"""Queues as text: a table, and the in-flight jobs below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.queues.job_text import job_text, short_text
from unitq.queues.queue_list import LENGTHS
from unitq.text import duration, plural, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.queues.model import Flow
    from unitq.queues.queue_list import QueueList, QueueRow

ALL = "all together"
_JOBS_SHOWN = 20


def lines(queues: QueueList) -> list[str]:
    """Returns the table and the in-flight jobs, the longest-running first."""
    jobs = sorted(queues.jobs, key=lambda job: job.since or queues.time)
    text = [f"{queues.app} · {queues.redis}", *table(*cells(queues.rows, queues.time))]
    if jobs:
        text += ["", f"in hand: {plural(len(jobs), 'job')}"]
    for job in jobs[:_JOBS_SHOWN]:
        worker = f", {short_text(job.worker)}" if job.worker else ""
        stale = f" · {job.stale}" if job.stale else ""
        text.append(f"  {job_text(job, queues.time)} ({short_text(job.queue)}{worker}){stale}")
    if len(jobs) > _JOBS_SHOWN:
        text.append(f"  and {len(jobs) - _JOBS_SHOWN} more; --json has them all")
    return text


def cells(rows: Sequence[QueueRow], time: float) -> tuple[list[str], list[list[str]]]:
    """Returns header and rows of the table, without empty columns."""
    several = len({preset for preset, _ in rows}) > 1
    header = ["QUEUE", "WAITING", "DELAYED", "IN HAND", "FAILED", "RETRY", "DEAD", "WORKERS"]
    header += ["IN/S", "OUT/S", "DRAINED IN", "OLDEST"]
    filled = []
    for preset, row in rows:
        name = row.name or ALL
        lengths = row.lengths
        oldest = "" if lengths.oldest is None else duration(max(0.0, time - lengths.oldest))
        filled.append(
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
        index for index in range(len(header)) if index < 2 or any(line[index] for line in filled)
    ]
    return (
        [header[index] for index in used],
        [[line[index] or "-" for index in used] for line in filled],
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
