"""What became of the jobs and of the processes, counted from what was written down. Pure."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.watching import Sample
    from tests.harness.load import Job


class Restart(NamedTuple):
    """A change of the template to `text N`, and the restart after it. Unix times."""

    number: int
    began: float
    ended: float
    status: int
    """The command's, or the worst of several."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row of the table."""

    setup: str
    workers: int
    orphans: int
    """Processes left at the end that the manager does not have."""
    judged: int
    """Jobs begun after a restart had ended: those that could show old code."""
    stale: int
    """Those of them that ran with the template from before that restart."""
    jobs: int
    lost: int
    """Enqueued, and not done by the time that the queue was empty and nobody worked any more."""
    failed: int
    """Those of the lost that are at least in Resque's failed list."""
    twice: int
    """Begun more than once."""
    least: int
    """The least number of workers serving in any look."""
    seconds: tuple[float, ...]
    """Of each restart."""
    statuses: tuple[int, ...]
    """Exit status of each restart."""
    orphans_after: tuple[int, ...]
    """Orphans when each restart had ended."""
    in_hand: tuple[tuple[float, ...], ...]
    """The lengths of the jobs in hand when each restart began."""
    looks: int
    longest_gap: float
    """Between two looks, in seconds."""

    @property
    def median(self) -> float:
        """Seconds of a restart."""
        return statistics.median(self.seconds)


def count(
    setup: str,
    workers: int,
    jobs: Sequence[Job],
    failed: Iterable[str],
    trace: Sequence[Mapping[str, Any]],
    restarts: Sequence[Restart],
    samples: Sequence[Sample],
) -> Outcome:
    """Count. `trace` is what the workers wrote (TRACE in tests/workers/resque.php), in that order;
    `failed` are the ids in Resque's failed list. The last sample is the end of it all.
    """
    runs = [each for each in trace if each["event"] == "begun"]
    done = {each["id"]: each["at"] for each in trace if each["event"] == "done"}
    begins = Counter(run["id"] for run in runs)
    lost = {job.id for job in jobs} - done.keys()
    judged, stale = judge(runs, restarts)
    window = [each for each in samples if restarts[0].began <= each.at]
    gaps = [later.at - each.at for each, later in pairwise(samples)]
    return Outcome(
        setup=setup,
        workers=workers,
        orphans=len(samples[-1].orphans),
        judged=judged,
        stale=stale,
        jobs=len(jobs),
        lost=len(lost),
        failed=len(lost & set(failed)),
        twice=sum(number > 1 for number in begins.values()),
        least=least_serving(window, trace),
        seconds=tuple(round(restart.seconds, 3) for restart in restarts),
        statuses=tuple(restart.status for restart in restarts),
        orphans_after=tuple(_orphans_at(restart.ended, samples) for restart in restarts),
        in_hand=tuple(_in_hand(restart.began, jobs, runs, done) for restart in restarts),
        looks=len(window),
        longest_gap=round(max(gaps, default=0.0), 3),
    )


def judge(runs: Iterable[Mapping[str, Any]], restarts: Sequence[Restart]) -> tuple[int, int]:
    """How many jobs were begun after a restart had ended, and how many of them with an older text
    than that restart's. While the next one is under way its text is right, and the one before too.
    """
    ends = [restart.ended for restart in restarts]
    judged = stale = 0
    for run in runs:
        ended = bisect_right(ends, run["at"])
        if ended:
            judged += 1
            stale += int(run["text"].split()[1]) < restarts[ended - 1].number
    return judged, stale


def least_serving(samples: Iterable[Sample], trace: Iterable[Mapping[str, Any]]) -> int:
    """The least number of workers serving in any of the samples.

    A worker serves if it is a managed process, has written that it is up, and has not written
    that it was told to stop. A PID may come back as another process's: what it wrote last counts.
    """
    marks: dict[int, list[tuple[float, bool]]] = {}
    for each in trace:
        if each["event"] in ("up", "told"):
            marks.setdefault(each["pid"], []).append((each["at"], each["event"] == "up"))

    def serves(pid: int, at: float) -> bool:
        before = [up for when, up in marks.get(pid, ()) if when <= at]
        return bool(before) and before[-1]

    return min(sum(serves(pid, each.at) for pid in each.managed) for each in samples)


def _orphans_at(moment: float, samples: Sequence[Sample]) -> int:
    """In the first look after that moment."""
    return next((len(each.orphans) for each in samples if each.at >= moment), 0)


def _in_hand(
    moment: float,
    jobs: Iterable[Job],
    runs: Iterable[Mapping[str, Any]],
    done: Mapping[str, float],
) -> tuple[float, ...]:
    # A job that was cut off is in hand for ever by this: for no longer than it should have taken.
    lengths = {job.id: job.seconds for job in jobs}
    found = (
        lengths[run["id"]]
        for run in runs
        if run["at"]
        <= moment
        < min(done.get(run["id"], float("inf")), run["at"] + lengths[run["id"]] + 1)
    )
    return tuple(sorted(found))


# --- the table ------------------------------------------------------------------------------------

COLUMNS = (
    "setup",
    "orphans left",
    "jobs with old code after a restart",
    "jobs lost",
    "jobs twice",
    "least serving",
    "seconds per restart",
)


def table(rows: Sequence[tuple[str, Outcome]]) -> list[str]:
    """In Markdown: each setup's title, and what came of it."""
    lines = [_line(COLUMNS), _line(["---", *["---:"] * (len(COLUMNS) - 1)])]
    lines += [_line([title, *cells(outcome)]) for title, outcome in rows]
    return lines


def cells(outcome: Outcome) -> tuple[str, ...]:
    """The cells behind the title."""
    taken = f"{outcome.median:.1f}"
    if len(outcome.seconds) > 1:
        taken += f" ({min(outcome.seconds):.1f} to {max(outcome.seconds):.1f})"
    return (
        str(outcome.orphans),
        f"{outcome.stale} of {outcome.judged}",
        f"{outcome.lost} of {outcome.jobs}",
        str(outcome.twice),
        f"{outcome.least} of {outcome.workers}",
        taken,
    )


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
