"""What `unitq queues` answers: each queue with its lengths and rates, and in-flight jobs."""

from __future__ import annotations

import select
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.errors import Exit, UnitqError
from unitq.queues import model
from unitq.queues.snapshot import take_snapshot
from unitq.queues.sources import load_app, queue_access

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from unitq.context import Scope
    from unitq.queues.model import Job, Lengths, Row, Sample
    from unitq.queues.sources import QueueAccess

LENGTHS = ("waiting", "delayed", "in_hand", "failed", "retry", "dead")
NO_QUEUES = 'no queue is known: name them in the workers\' `queues = ["…"]`'


class QueueRow(NamedTuple):
    """A queue, or all of a framework together (`queue` is empty), with whose keys they are."""

    preset: str
    row: Row

    @property
    def queue(self) -> str:
        """Its name."""
        return self.row.name

    @property
    def lengths(self) -> Lengths:
        """How much waits, is delayed, in flight, has failed; None: not known."""
        return self.row.lengths

    def to_json(self, time: float) -> dict[str, Any]:
        """Returns what docs/json.md describes; `queue` is null for all together."""
        lengths, flow = self.row.lengths, self.row.flow or model.Flow()
        oldest = lengths.oldest
        return {
            "preset": self.preset,
            "queue": self.row.name or None,
            **{name: getattr(lengths, name) for name in LENGTHS},
            "workers": self.row.workers,
            "arrivals_per_second": _rounded(flow.arrivals),
            "completions_per_second": _rounded(flow.completions),
            "rates_from": None
            if flow.arrivals is None
            else "totals"
            if flow.counted
            else "lengths",
            "drain_seconds": _rounded(flow.drain),
            "oldest_seconds": None if oldest is None else _rounded(max(0.0, time - oldest)),
        }


@dataclass(frozen=True, slots=True)
class QueueList:
    """The queues of an app at one moment; with rates where there was an earlier look."""

    app: str
    redis: str  # where it is
    samples: tuple[Sample, ...]  # one for each framework
    before: tuple[Sample, ...] = ()

    @property
    def time(self) -> float:
        """Seconds since 1970."""
        return self.samples[0].time

    @property
    def rows(self) -> list[QueueRow]:
        """Every queue and, behind those of a framework, the row for all of them."""
        rows: list[QueueRow] = []
        for index, sample in enumerate(self.samples):
            before = self.before[index] if self.before else None
            queues = model.rows(sample, before)
            rows += [QueueRow(sample.preset, row) for row in queues]
            whole = model.whole(sample, before)
            if len(queues) != 1 or _says_more(whole, queues[0]):
                rows.append(QueueRow(sample.preset, whole))
        return rows

    @property
    def queues(self) -> list[QueueRow]:
        """Every queue."""
        return [row for row in self.rows if row.queue]

    @property
    def jobs(self) -> list[Job]:
        """The in-flight jobs of workers, as far as the frameworks name them."""
        return [job for sample in self.samples for job in sample.jobs]

    @property
    def notes(self) -> list[str]:
        """What could not be read, and who takes no jobs."""
        notes = [note for sample in self.samples for note in sample.notes]
        notes += [words for sample in self.samples for words in model.pauses(sample)]
        if not any(sample.queues for sample in self.samples):
            notes.append(NO_QUEUES)
        return list(dict.fromkeys(notes))

    @property
    def exit_code(self) -> Exit:
        """BROKEN where Redis has refused a part: any number may be missing."""
        return Exit.BROKEN if any(sample.refused for sample in self.samples) else Exit.OK

    def to_json(self) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        rows = [row.to_json(self.time) for row in self.rows]
        interval = round(self.samples[0].at - self.before[0].at, 3) if self.before else None
        return {
            "format": 1,
            "app": self.app,
            "redis": self.redis,
            "at": round(self.time, 3),
            "interval_seconds": interval,
            "queues": [row for row in rows if row["queue"] is not None],
            "all": [row for row in rows if row["queue"] is None],
            "jobs": [job.to_json(sample.preset) for sample in self.samples for job in sample.jobs],
            "notes": self.notes,
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _says_more(whole: Row, only: Row) -> bool:
    """Whether all together says what the only queue does not."""
    pairs = zip(whole.lengths[:6], only.lengths[:6], strict=True)
    return any(of_all is not None and own is None for of_all, own in pairs)


class Look:
    """The queues of the app that is meant, asked for again and again."""

    def __init__(self, scope: Scope) -> None:
        """Reads where they are. Raises ConfigError where unitq.toml does not say it."""
        app, path = load_app(scope)
        self._app = app.name
        self._way: QueueAccess = queue_access(app, scope.presets(), str(path))

    @property
    def redis(self) -> str:
        """Where Redis is."""
        return self._way.connection.where

    def once(self, interval: float = 0.0) -> QueueList:
        """Looks now; with an interval twice, so many seconds apart. Raises QueuesError."""
        before: list[Sample] = []
        if interval:
            # Ages and workers are of interest only as they are now.
            before = take_snapshot(self._way.connection, self._way.sources, ages=False)
            select.select([], [], [], interval)
        return self._list(before, self._snapshot())

    def again(self, interval: float) -> Iterator[QueueList | UnitqError]:
        """Yields a look every so many seconds; what failed is tried again: Redis may come back."""
        before: list[Sample] = []
        while True:
            try:
                now = self._snapshot()
            except UnitqError as error:
                yield error
                before = []
            else:
                yield self._list(before, now)
                before = now
            select.select([], [], [], interval)

    def _snapshot(self) -> list[Sample]:
        return take_snapshot(self._way.connection, self._way.sources)

    def _list(self, before: Sequence[Sample], now: Sequence[Sample]) -> QueueList:
        return QueueList(self._app, self.redis, tuple(now), tuple(before))
