"""Names a job in words: its class, its id, and for how long a worker has had it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.text import duration
from unitq.toml.document import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.queues.model import Job


def short_text(text: str) -> str:
    """Returns text out of Redis, on one line and harmless."""
    return text if text.isprintable() and len(text) <= 60 else quote(text)


def job_text(job: Job, now: float) -> str:
    """Returns `SendSms 8f3a… for 3 s`."""
    name = short_text(job.name) if job.name else "a job"
    identity = job.id or job.hash
    short = identity if len(identity) <= 12 else f"{identity[:8]}…"
    since = "" if job.since is None else f" for {duration(max(0.0, now - job.since))}"
    return f"{name} {short_text(short)}{since}"


def in_flight_text(jobs: Sequence[Job] | None, possible: Sequence[Job], now: float) -> str:
    """Returns `SendSms 8f3a for 9 s and 2 more`; empty where no job is known.

    `possible` are those of which one may be in flight, where that is not known (None).
    """
    shown = possible if jobs is None else jobs
    if not shown:
        return ""
    count = len(shown)
    if jobs is None and count > 1:
        return f"perhaps one of {count} jobs"
    perhaps = "perhaps " if jobs is None else ""
    more = f" and {count - 1} more" if count > 1 else ""
    return f"{perhaps}{job_text(shown[0], now)}{more}"
