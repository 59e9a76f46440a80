"""What the observer saw, read back from its file: the evidence that tests assert on."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# A gap between two samples that a test should know of.
GAP = 1.0

_MARKS = (("ActiveEnterTimestamp", True), ("ActiveExitTimestamp", False))


@dataclass(frozen=True, slots=True)
class UnitState:
    """A unit in one sample, spelled as systemd spells it; `job` is "" or a unit job's type."""

    active: str
    sub: str
    job: str

    @property
    def serving(self) -> bool:
        """Counts as active: neither starting nor draining."""
        return self.active in ("active", "reloading")


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at everything. `units` is None while the bus is away."""

    at: float
    clock: float
    units: Mapping[str, UnitState] | None
    cgroups: Mapping[str, tuple[int, ...]]
    """The processes by cgroup, each a path below the app's slice; only those that exist."""


@dataclass(frozen=True, slots=True)
class Change:
    """One PropertiesChanged of a unit, as far as it says anything about its life.

    `first` marks those that are no signal, but what a unit looked like when it was first seen.
    """

    at: float
    unit: str
    properties: Mapping[str, Any]
    first: bool = False


@dataclass(frozen=True, slots=True)
class Transition:
    """A unit came into a state; `source` is "signal" or "sample"."""

    at: float
    unit: str
    active: str
    sub: str
    source: str


@dataclass(frozen=True, slots=True)
class MainPid:
    """The main process of a unit, from then on; 0 is none."""

    at: float
    unit: str
    pid: int


@dataclass(frozen=True, slots=True)
class UnitJob:
    """A unit job of systemd's ended."""

    at: float
    unit: str
    result: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Nothing was sampled in between."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Summary:
    """What was seen between two moments (unix times)."""

    app: str
    start: float
    end: float
    samples: tuple[Sample, ...]
    """Those of the window, after the one before it: the state that it began with."""
    changes: tuple[Change, ...]
    """All from the beginning up to the end of the window."""
    jobs: tuple[UnitJob, ...]
    outages: tuple[Gap, ...]
    """The bus was away."""

    @property
    def units(self) -> tuple[str, ...]:
        """Every unit of the app seen by then."""
        names = {change.unit for change in self.changes}
        names.update(name for sample in self.samples for name in sample.units or ())
        return tuple(sorted(name for name in names if name.startswith(f"unitq-{self.app}-")))

    def prefix(self, worker: str) -> str:
        """What the names of the worker's units begin with."""
        return f"unitq-{self.app}-{worker}@"

    def between(self, start: float, end: float) -> Summary:
        """The same for a part of the time: what was the state at its begin, and what changed."""
        before = [sample for sample in self.samples if sample.at < start][-1:]
        within = [sample for sample in self.samples if start <= sample.at <= end]
        return replace(
            self,
            start=start,
            end=end,
            samples=(*before, *within),
            changes=tuple(change for change in self.changes if change.at <= end),
            jobs=tuple(job for job in self.jobs if start <= job.at <= end),
            outages=tuple(gap for gap in self.outages if gap.end >= start and gap.start <= end),
        )

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Where the observer was starved: two samples further apart than a second."""
        pairs = zip(self.samples, self.samples[1:], strict=False)
        return tuple(Gap(a.at, b.at) for a, b in pairs if b.clock - a.clock > GAP)

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """Every (unit, state), by signals and by samples; both have most of them, in two rows."""
        found = [*self._signalled(), *self._sampled()]
        return tuple(sorted(found, key=lambda each: each.at))

    @property
    def main_pids(self) -> tuple[MainPid, ...]:
        """The main processes one after the other."""
        found = []
        last: dict[str, int] = {}
        for change in self.changes:
            pid = change.properties.get("MainPID")
            if pid is None or last.get(change.unit) == pid:
                continue
            last[change.unit] = pid
            if change.at >= self.start:
                found.append(MainPid(change.at, change.unit, pid))
        return tuple(found)

    def states(self, unit: str) -> tuple[str, ...]:
        """The states of one unit by the signals, such as `deactivating/stop-sigterm`."""
        return tuple(f"{each.active}/{each.sub}" for each in self._signalled() if each.unit == unit)

    def results(self, unit: str) -> tuple[Mapping[str, Any], ...]:
        """What the signals told of one unit's main process: Result, ExecMainCode and so on."""
        return tuple(
            change.properties
            for change in self.changes
            if change.unit == unit and "Result" in change.properties and self.start <= change.at
        )

    def least_active(self, worker: str) -> int:
        """The least number of the worker's instances active at any moment, by either account."""
        return min(self.least_active_sampled(worker), self.least_active_signalled(worker))

    def least_active_sampled(self, worker: str) -> int:
        """By the samples alone."""
        counts = [
            sum(state.serving for unit, state in sample.units.items() if self._of(unit, worker))
            for sample in self.samples
            if sample.units is not None
        ]
        return min(counts, default=0)

    def least_active_signalled(self, worker: str) -> int:
        """By systemd's own timestamps alone: exact, also between samples."""
        steps = sorted(self._steps(worker))
        active: set[str] = set()
        least: int | None = None
        for at, enters, unit in steps:
            if at > self.end:
                break
            if at > self.start and least is None:
                # This is what the window begins with.
                least = len(active)
            if enters:
                active.add(unit)
            else:
                active.discard(unit)
            if least is not None:
                least = min(least, len(active))
        return len(active) if least is None else least

    def most_processes(self, worker: str) -> int:
        """The greatest number of processes in the worker's cgroups at once, children included."""
        counts = [
            sum(len(pids) for path, pids in sample.cgroups.items() if self._below(path, worker))
            for sample in self.samples
        ]
        return max(counts, default=0)

    def most_instances(self, worker: str) -> int:
        """The greatest number of the worker's units that had any process at once."""
        counts = [
            len({self._unit_of(path) for path in sample.cgroups if self._below(path, worker)})
            for sample in self.samples
        ]
        return max(counts, default=0)

    def _signalled(self) -> Iterator[Transition]:
        for change in self.changes:
            seen = change.properties
            if change.at >= self.start and "ActiveState" in seen and "SubState" in seen:
                yield Transition(
                    change.at, change.unit, seen["ActiveState"], seen["SubState"], "signal"
                )

    def _sampled(self) -> Iterator[Transition]:
        last: dict[str, tuple[str, str]] = {}
        for sample in self.samples:
            for unit, state in (sample.units or {}).items():
                now = (state.active, state.sub)
                if last.get(unit) != now and sample.at >= self.start:
                    yield Transition(sample.at, unit, *now, "sample")
                last[unit] = now

    def _steps(self, worker: str) -> Iterator[tuple[float, bool, str]]:
        # The last entry and the last exit are in every signal, so no state in between is missed
        # even where systemd puts two changes into one signal.
        for unit in self.units:
            if not self._of(unit, worker):
                continue
            marks: set[tuple[float, bool]] = set()
            for change in self.changes:
                if change.unit == unit:
                    for name, enters in _MARKS:
                        stamp = change.properties.get(name, 0)
                        if stamp:
                            marks.add((stamp / 1e6, enters))
            for at, enters in marks:
                yield at, enters, unit

    def _of(self, unit: str, worker: str) -> bool:
        return unit.startswith(self.prefix(worker))

    def _below(self, path: str, worker: str) -> bool:
        return self._of(self._unit_of(path), worker)

    @staticmethod
    def _unit_of(path: str) -> str:
        services = (part for part in path.split("/") if part.endswith(".service"))
        return next(services, "")


class Record:
    """The observer's file, read back; it may still be written to.

    Of an observer of all apps, `app` is the one in question, and `offset` is where in the file it
    began: nothing of it was there before.
    """

    def __init__(self, path: Path, app: str = "", offset: int = 0) -> None:
        self.app = app
        self.ended = False
        self._samples: list[Sample] = []
        self._changes: list[Change] = []
        self._jobs: list[UnitJob] = []
        self._outages: list[Gap] = []
        self._away_since: float | None = None
        self._units: dict[str, UnitState] | None = None
        self._cgroups: dict[str, tuple[int, ...]] = {}
        with path.open() as lines:
            lines.seek(offset)
            for line in lines:
                # The last line may be half written.
                if line.endswith("\n"):
                    self._read(json.loads(line))

    def summary(self, start: float | None = None, end: float | None = None) -> Summary:
        """What was seen between two unix times; by default all of it."""
        if not self._samples:
            raise ValueError("the observer took no sample")
        since = self._samples[0].at if start is None else start
        until = self._samples[-1].at if end is None else end
        samples, changes = tuple(self._samples), tuple(self._changes)
        everything = Summary(
            self.app, since, until, samples, changes, tuple(self._jobs), tuple(self._outages)
        )
        return everything.between(since, until)

    def _read(self, line: dict[str, Any]) -> None:
        kind, at = line["kind"], line["at"]
        if kind == "sample":
            # What is not named is as it was in the sample before.
            if "units" in line:
                units = line["units"]
                self._units = (
                    None if units is None else {name: UnitState(*units[name]) for name in units}
                )
            if "cgroups" in line:
                self._cgroups = {path: tuple(pids) for path, pids in line["cgroups"].items()}
            self._samples.append(Sample(at, line["clock"], self._units, self._cgroups))
        elif kind in ("seen", "signal", "job") and not line["unit"].startswith(
            f"unitq-{self.app}-"
        ):
            return  # another app's
        elif kind in ("seen", "signal"):
            self._changes.append(Change(at, line["unit"], line["properties"], kind == "seen"))
        elif kind == "job":
            self._jobs.append(UnitJob(at, line["unit"], line["result"]))
        elif kind == "bus":
            if not line["up"]:
                self._away_since = at if self._away_since is None else self._away_since
            elif self._away_since is not None:
                self._outages.append(Gap(self._away_since, at))
                self._away_since = None
        elif kind == "start":
            self.app = self.app or line["app"]
        elif kind == "end":
            self.ended = True
