"""Names a job in words: its class, its id, and for how long a worker has had it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.text import duration
from unitq.toml.document import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.queues.model import Job


def shown(text: str) -> str:
    """Text out of Redis, on one line and harmless."""
    return text if text.isprintable() and len(text) <= 60 else quote(text)


def job_text(job: Job, now: float) -> str:
    """`SendSms 8f3a… for 3 s`."""
    name = shown(job.name) if job.name else "a job"
    identity = job.id or job.hash
    short = identity if len(identity) <= 12 else f"{identity[:8]}…"
    since = "" if job.since is None else f" for {duration(max(0.0, now - job.since))}"
    return f"{name} {shown(short)}{since}"


def in_flight_text(jobs: Sequence[Job] | None, possible: Sequence[Job], now: float) -> str:
    """`SendSms 8f3a for 9 s and 2 more`: what a worker is busy with; empty: nobody knows.

    `possible` are those of which one may be in its hand, where the others are not known (None).
    """
    found = possible if jobs is None else jobs
    if not found:
        return ""
    count = len(found)
    if jobs is None and count > 1:
        return f"one of {count} jobs in hand, perhaps"
    perhaps = "perhaps " if jobs is None else ""
    more = f" and {count - 1} more" if count > 1 else ""
    return f"{perhaps}{job_text(found[0], now)}{more}"
