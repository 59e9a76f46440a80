"""What was promised, what was seen, and whether that is the same. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.harness.load import Run


@dataclass(frozen=True, slots=True)
class Restart:
    """One change of the text and the restart that was to bring it to all workers. Unix times."""

    text: str
    changed: float
    """The new text was in place: from now on a worker may start with it."""
    began: float
    ended: float
    """The restart said that it was done: from now on no job may be begun with an older text."""

    @property
    def seconds(self) -> float:
        return self.ended - self.began


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the jobs and of the processes."""

    enqueued: int
    finished: int
    lost: int
    twice: int
    judged: int
    """Jobs begun after a restart had ended: those that could show an old text."""
    stale: int
    """Those of them that did."""
    processes: int
    """Processes of workers looked at, right after each restart."""
    old: int
    """Those of them that had been started from an earlier release."""
    seconds: tuple[float, ...]
    """Of each restart of all workers."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What only an app under unitq can show."""

    outside: int
    """Processes of workers outside the cgroups of the app."""
    least_serving: int
    """The least number of workers serving, at any moment since they first all did."""
    exit_codes: tuple[int, ...]
    """Of every unitq command."""


@dataclass(frozen=True, slots=True)
class Promises:
    """What the configuration allows."""

    instances: int
    max_unavailable: int
    seconds: float
    """For one restart."""


@dataclass(frozen=True, slots=True)
class Row:
    """One promise. `incident` is what the same count was in the incident, "-" if it has none."""

    what: str
    incident: str
    seen: str
    promised: str
    kept: bool


HEADER = ("", "incident", "unitq", "promised", "")


def stale(runs: Iterable[Run], restarts: Sequence[Restart]) -> tuple[list[Run], list[Run]]:
    """The runs begun after a restart had ended, and those of them with a text from before it.

    While the next restart is under way both texts are right, the old and the new one.
    """
    judged, old = [], []
    for run in runs:
        done = [each for each in restarts if each.ended < run.begun]
        if not done:
            continue
        current = max(done, key=lambda each: each.ended)
        since = {each.text for each in restarts if current.ended < each.changed <= run.begun}
        judged.append(run)
        if run.text not in {current.text, *since}:
            old.append(run)
    return judged, old


def verdict(
    seen: Counts, watched: Watched, promises: Promises, incident: Counts | None = None
) -> tuple[Row, ...]:
    """One row for each promise. A count of nothing keeps no promise: it proves nothing."""
    least = promises.instances - promises.max_unavailable
    failed = sum(code != 0 for code in watched.exit_codes)

    def before(text: str) -> str:
        return "-" if incident is None else text.format(i=incident)

    return (
        Row(
            "jobs enqueued",
            before("{i.enqueued}"),
            str(seen.enqueued),
            "more than 0",
            seen.enqueued > 0,
        ),
        Row(
            "jobs finished",
            before("{i.finished}"),
            str(seen.finished),
            f"all {seen.enqueued}",
            seen.finished == seen.enqueued,
        ),
        Row("jobs lost", before("{i.lost}"), str(seen.lost), "0", seen.lost == 0),
        Row("jobs run twice", before("{i.twice}"), str(seen.twice), "0", seen.twice == 0),
        Row(
            "jobs run with old text after the restart ended",
            before("{i.stale} of {i.judged}"),
            f"{seen.stale} of {seen.judged}",
            "0",
            seen.stale == 0 and seen.judged > 0,
        ),
        Row(
            "processes left behind: of an old release",
            before("{i.old} of {i.processes}"),
            f"{seen.old} of {seen.processes}",
            "0",
            # Each worker is at least one process, and each restart was looked at.
            seen.old == 0 and seen.processes >= promises.instances * max(1, len(seen.seconds)),
        ),
        Row(
            "processes left behind: outside the cgroups",
            "-",
            f"{watched.outside} of {seen.processes}",
            "0",
            watched.outside == 0,
        ),
        Row(
            f"least number of the {promises.instances} workers serving",
            "-",
            str(watched.least_serving),
            f"{least} or more",
            watched.least_serving >= least,
        ),
        Row(
            "seconds for a restart of all workers",
            "-" if incident is None else _seconds(incident.seconds),
            _seconds(seen.seconds),
            f"under {promises.seconds:.0f}",
            bool(seen.seconds) and max(seen.seconds) < promises.seconds,
        ),
        Row(
            "unitq commands that failed",
            "-",
            f"{failed} of {len(watched.exit_codes)}",
            "0",
            failed == 0 and bool(watched.exit_codes),
        ),
    )


def exit_status(rows: Iterable[Row]) -> int:
    """What the demo exits with."""
    return 0 if all(row.kept for row in rows) else 1


def table(rows: Sequence[Row]) -> list[str]:
    """The rows under a header, aligned; the last column says ok or BROKEN."""
    cells = [HEADER, *((r.what, r.incident, r.seen, r.promised, _word(r)) for r in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADER))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def _word(row: Row) -> str:
    return "ok" if row.kept else "BROKEN"


def _seconds(times: Iterable[float]) -> str:
    return ", ".join(f"{time:.1f}" for time in times) or "-"
