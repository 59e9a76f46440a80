"""What jobs wrote down themselves: the evidence that each was done once, or was not.

Nothing in here asks unitq, systemd or the framework. A run is one "begun" and, if it came to its
end, the "done" of the same job in the same process.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import redis


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that a job wrote down; see apps/job.py."""

    word: str
    """"begun" or "done"."""
    job: int
    start: str
    """Which start of the worker it was: systemd's invocation."""
    instance: str
    pid: int
    revision: str
    at: float


@dataclass(frozen=True, slots=True)
class Run:
    """A job that was begun; `done` is None where it did not come to its end, so far."""

    job: int
    start: str
    instance: str
    pid: int
    revision: str
    begun: float
    done: float | None

    @property
    def seconds(self) -> float:
        """How long its work took; 0 if it did not end."""
        return 0.0 if self.done is None else self.done - self.begun

    def in_hand(self, moment: float) -> bool:
        """Whether it was under way then."""
        return self.begun < moment and (self.done is None or self.done > moment)


@dataclass(frozen=True, slots=True)
class Count:
    """So many of these jobs were …"""

    jobs: int
    never_done: tuple[int, ...]
    done_twice: tuple[int, ...]
    begun_twice: tuple[int, ...]
    """… begun more than once, whether the first run came to its end or not."""
    unknown: tuple[int, ...]
    """Jobs that nobody asked for."""

    @property
    def once(self) -> bool:
        """Each begun once and done once."""
        return self.done_once and not self.begun_twice

    @property
    def done_once(self) -> bool:
        """Each done once, however often it was begun."""
        return not (self.never_done or self.done_twice or self.unknown)

    def __str__(self) -> str:
        return (
            f"{self.jobs} jobs, never done: {list(self.never_done)}, done twice: "
            f"{list(self.done_twice)}, begun twice: {list(self.begun_twice)}, unknown: "
            f"{list(self.unknown)}"
        )


def of_file(path: Path) -> tuple[Line, ...]:
    """The lines of a file, which need not be there yet; the last may be half written."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return ()
    return tuple(_line(each) for each in text.splitlines(keepends=True) if each.endswith("\n"))


def _line(text: str) -> Line:
    word, job, start, instance, pid, revision, at = text.split()
    return Line(word, int(job), start, instance, int(pid), revision, float(at))


def of_resque(client: redis.Redis, queue: str) -> tuple[Line, ...]:
    """What the jobs of tests/workers/resque.php wrote into Redis: those whose ids begin so."""
    lines = []
    # The ends first: so there is none whose beginning was read too early.
    for word, key in (("done", "sent"), ("begun", "begun")):
        for text in client.lrange(f"resque:{key}", 0, -1):
            trace = json.loads(text)
            own, _, number = trace["id"].rpartition("-")
            if own != queue:
                continue
            start, at = trace["start"], trace["at"]
            where = (start, trace["instance"], int(trace["child"]), trace["revision"])
            lines.append(Line(word, int(number), *where, at))
    return tuple(lines)


def runs(lines: Sequence[Line]) -> tuple[Run, ...]:
    """The runs that the lines tell of, in the order of their begin."""
    ends: dict[tuple[int, str, int], list[float]] = {}
    for line in lines:
        if line.word == "done":
            ends.setdefault((line.job, line.start, line.pid), []).append(line.at)
    found = []
    for line in lines:
        if line.word == "begun":
            mine = ends.get((line.job, line.start, line.pid))
            done = mine.pop(0) if mine else None
            where = (line.start, line.instance, line.pid, line.revision)
            found.append(Run(line.job, *where, line.at, done))
    left = {key: times for key, times in ends.items() if times}
    assert not left, f"done without being begun: {left}"
    return tuple(sorted(found, key=lambda run: run.begun))


def count(jobs: Iterable[int], found: Sequence[Run]) -> Count:
    """How often each of the jobs was begun and done."""
    asked = set(jobs)
    begun = Counter(run.job for run in found)
    done = Counter(run.job for run in found if run.done is not None)
    return Count(
        jobs=len(asked),
        never_done=tuple(sorted(asked - done.keys())),
        done_twice=tuple(sorted(job for job, times in done.items() if times > 1)),
        begun_twice=tuple(sorted(job for job, times in begun.items() if times > 1)),
        unknown=tuple(sorted(begun.keys() - asked)),
    )
