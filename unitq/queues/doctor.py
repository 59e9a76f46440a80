"""What `unitq queues doctor` answers: registrations held against processes, dead ones removed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.errors import Exit
from unitq.linux import proc
from unitq.queues.prune import FAMILIES, Pruned, prune
from unitq.queues.registrations import Finding, Living, Status, classify
from unitq.queues.snapshot import take_snapshot
from unitq.queues.sources import load_app, queue_access

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.context import Scope
    from unitq.queues.model import Job, Sample
    from unitq.queues.reader import Source
    from unitq.queues.sources import QueueAccess


class Registered(NamedTuple):
    """A registration, where it is, and what has become of it."""

    source: Source
    finding: Finding
    pruned: Pruned | None = None

    @property
    def bad(self) -> bool:
        """Whether somebody has to do something about it."""
        return self.finding.status.bad and not (self.pruned and self.pruned.done)

    @property
    def prunable(self) -> bool:
        """Whether it is dead, and can be removed as its framework would."""
        known = self.source.keys.registry in FAMILIES
        return known and self.finding.status is Status.DEAD and self.pruned is None

    def to_json(self) -> dict[str, Any]:
        """Returns one of the `workers` that docs/json.md describes."""
        source, finding, pruned = self
        registration = finding.registration
        return {
            "preset": source.preset,
            "id": registration.id,
            "host": registration.host,
            "pid": registration.pid,
            "queues": None if registration.queues is None else list(registration.queues),
            "since": _rounded(registration.since),
            "heartbeat": _rounded(registration.heartbeat),
            "state": finding.status.value,
            "stale": finding.status.bad,
            "why": finding.why,
            "instance": finding.instance or None,
            "unit": finding.unit or None,
            "jobs": [job.to_json(source.preset) for job in finding.jobs],
            "pruned": None if pruned is None else pruned.done,
            "outcome": None if pruned is None else pruned.words,
        }


@dataclass(frozen=True, slots=True)
class RegistrationList:
    """The registered workers of an app, and jobs that nobody works on."""

    app: str
    host: str
    redis: str  # where it is
    workers: tuple[Registered, ...]
    samples: tuple[Sample, ...]  # one for each framework

    @property
    def stale_jobs(self) -> list[tuple[str, Job]]:
        """Jobs that the framework takes for lost, with whose they are."""
        return [(sample.preset, job) for sample in self.samples for job in sample.jobs if job.stale]

    @property
    def states(self) -> list[Status]:
        """Every state that a worker may be in, in order."""
        return list(Status)

    @property
    def notes(self) -> list[str]:
        """What could not be read."""
        return [note for sample in self.samples for note in sample.notes]

    @property
    def prunable(self) -> int:
        """How many dead workers can be removed."""
        return sum(worker.prunable for worker in self.workers)

    @property
    def exit_code(self) -> Exit:
        """NOT_AS_WANTED where something is stale; BROKEN where Redis refused to say it."""
        if any(worker.bad for worker in self.workers) or self.stale_jobs:
            return Exit.NOT_AS_WANTED
        return Exit.BROKEN if any(sample.refused for sample in self.samples) else Exit.OK

    def to_json(self) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        return {
            "format": 1,
            "app": self.app,
            "host": self.host,
            "redis": self.redis,
            "exit_code": int(self.exit_code),
            "workers": [worker.to_json() for worker in self.workers],
            "stale_jobs": [
                job.to_json(preset) | {"why": job.stale, "what_follows": job.note}
                for preset, job in self.stale_jobs
            ],
            "notes": self.notes,
        }


class Doctor:
    """Looks at the registrations of the app that is meant, and removes dead ones."""

    def __init__(self, scope: Scope, *, prune: bool) -> None:
        """`prune`: it is going to. Raises ConfigError where unitq.toml does not say enough."""
        app, path = load_app(scope, reading=not prune)
        self._app, self._host = app.name, os.uname().nodename
        self._way: QueueAccess = queue_access(app, scope.presets(), str(path))

    def examine(self) -> RegistrationList:
        """Reads what is registered and looks for the processes. Raises QueuesError."""
        samples = take_snapshot(self._way.connection, self._way.sources, numbers=False)
        workers, where = self._workers(samples), self._way.connection.where
        return RegistrationList(self._app, self._host, where, tuple(workers), tuple(samples))

    def prune(self, seen: RegistrationList) -> RegistrationList:
        """Removes those that are dead still; a person may have thought about it for a while."""
        now = self._workers(seen.samples)
        workers = [
            self._prune(worker, after.finding)
            for worker, after in zip(seen.workers, now, strict=True)
        ]
        return replace(seen, workers=tuple(workers))

    def _workers(self, samples: Sequence[Sample]) -> list[Registered]:
        return [
            Registered(source, finding)
            for source, sample in zip(self._way.sources, samples, strict=True)
            for finding in classify(
                sample.registry.workers or (),
                app=self._app, host=self._host, living=_living, now=time.time(),
            )
        ]  # fmt: skip

    def _prune(self, worker: Registered, now: Finding) -> Registered:
        if not worker.prunable:
            return worker
        if now.status is not Status.DEAD:
            return worker._replace(finding=now, pruned=Pruned(done=False, words="it lives again"))
        pruned = prune(self._way.connection, worker.source, now.registration, now.why)
        return worker._replace(pruned=pruned)


def _living(pid: int) -> Living | None:
    process = proc.living(pid)
    return Living(*process) if process else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
