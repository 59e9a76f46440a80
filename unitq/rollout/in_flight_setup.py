"""Finds what tracks the in-flight jobs of an installed app: its Redis, or its journal."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import UnitqError
from unitq.presets import NONE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from unitq.context import Scope
    from unitq.model.app import App
    from unitq.model.names import InstanceName
    from unitq.queues.journal_jobs import JournalJobs
    from unitq.queues.model import Sample
    from unitq.queues.sources import QueueAccess
    from unitq.revisions.model import Revision
    from unitq.rollout.advisory import Advisory
    from unitq.rollout.in_flight import Consumes, InFlightTracker, Presence, Snapshot
    from unitq.rollout.reports.outcome import Outcome


class Queues(NamedTuple):
    """Where an installed app's queues are: in its configuration file, read when first needed."""

    scope: Scope
    revision: Revision
    configured: tuple[App, Path] | None  # the file, where this command has read it already

    def queue_access(self, *, reading: bool = True) -> tuple[App, QueueAccess]:
        """Returns the app and how to read its queues. Raises UnitqError. See Scope.load."""
        from unitq.queues.sources import access_for_revision, queue_access

        if self.configured is None:
            return access_for_revision(self.scope, self.revision, reading=reading)
        app, path = self.configured
        return app, queue_access(app, self.scope.presets(), str(path))


def trackers(
    queues: Queues, advisory: Advisory, *, ending: bool
) -> tuple[InFlightTracker | None, Presence | None]:
    """Returns what tracks the jobs of draining workers, and what says which have registered.

    None where the jobs are nowhere to be read, and where no health depends on Redis. Raises
    UnitqError where it does, and nothing says where Redis is.
    """
    from unitq.rollout.in_flight import InFlightTracker, Presence

    scope, revision = queues.scope, queues.revision
    waiting = frozenset(worker.name for worker in revision.workers if worker.registered)
    named = ending and any(worker.preset not in (None, NONE) for worker in revision.workers)
    if not waiting and not named:
        return None, None
    unknown = "which jobs are in flight is not known"
    printed = None
    if named:
        printed = advisory.ask(unknown, partial(printed_jobs, scope, revision), None)
    known = (
        queues.queue_access() if waiting else advisory.ask(unknown, partial(_access, queues), None)
    )
    if known is None:
        return InFlightTracker(None, advisory, printed=printed) if printed else None, None
    app, access = known
    ask = partial(_snapshot, access)
    jobs = InFlightTracker(ask, advisory, consumption(app, revision), printed) if named else None
    return jobs, Presence(ask, waiting) if waiting else None


def _access(queues: Queues) -> tuple[App, QueueAccess] | None:
    """Returns how to read the queues; None where no Redis is named, which is allowed."""
    from unitq.queues.sources import NoRedisError

    try:
        return queues.queue_access()
    except NoRedisError:  # `unitq queues` says how to name one
        return None


def consumption(app: App, revision: Revision) -> dict[str, Consumes]:
    """Returns what each worker takes its jobs from."""
    from unitq.rollout.in_flight import Consumes

    return {
        worker.name: Consumes(preset, frozenset(worker.queues))
        for worker in revision.workers
        if (preset := app.redis.preset if worker.preset in (None, NONE) else worker.preset)
    }


def printed_jobs(scope: Scope, revision: Revision) -> JournalJobs | None:
    """Returns what reads the jobs of these workers in the journal; None: none prints any.

    Raises ConfigError where a preset of the operator's own is wrong.
    """
    from unitq.queues.journal_jobs import JournalJobs, Printing
    from unitq.systemd import journal

    presets = scope.presets()
    printing = {
        worker.name: Printing(
            preset.name, preset.prints, worker.queues[0] if len(worker.queues) == 1 else ""
        )
        for worker in revision.workers
        if (preset := presets.get(worker.preset or "")) and preset.prints.begun
    }
    if not printing:
        return None
    return JournalJobs(printing, partial(journal.output_by_invocation, user=scope.layout.user))


def requeue_jobs(
    queues: Queues, outcome: Outcome, tracker: InFlightTracker
) -> dict[InstanceName, str]:
    """Puts jobs of killed workers back where that is wanted.

    Returns why it was not done, by instance; empty words: it was.
    """
    from unitq.queues.requeue import requeue
    from unitq.queues.sources import preset_of

    wanted = {worker.name for worker in queues.revision.workers if worker.requeue}
    killed = [s.instance for s in outcome.killed if s.instance.worker in wanted]
    reasons: dict[InstanceName, str] = {}
    if not any(tracker.workers.get(name) for name in killed):
        return reasons
    app, access = queues.queue_access(reading=False)
    sources = {source.preset: source for source in access.sources}
    for name in killed:
        worker = app.worker(name.worker)
        source = sources.get(preset_of(app, worker) or "") if worker else None
        for registration in tracker.workers.get(name, ()):
            try:
                reasons[name] = (
                    requeue(access.connection, source, registration) if source else "no preset"
                )
            except UnitqError as error:
                reasons[name] = error.message
    return reasons


def _snapshot(access: QueueAccess) -> Snapshot:
    """Returns this host's workers and all in-flight jobs, from Redis. Raises QueuesError."""
    from unitq.queues.snapshot import take_snapshot

    samples = take_snapshot(
        access.connection, access.sources, numbers=False, ages=False, named=True
    )
    return snapshot_of(access, samples)


def snapshot_of(access: QueueAccess, samples: Sequence[Sample]) -> Snapshot:
    """Returns the workers of this host and the in-flight jobs out of samples of the queues."""
    from unitq.presets.redis_keys import WITH_PIDS
    from unitq.rollout.in_flight import Snapshot

    host = os.uname().nodename
    return Snapshot(
        time=samples[0].time,
        workers=tuple(
            worker
            for sample in samples
            for worker in sample.registry.workers or ()
            if worker.host == host
        ),
        unsigned={
            source.preset: sample.registry.jobs
            for source, sample in zip(access.sources, samples, strict=True)
            if sample.registry.jobs is not None and source.keys.registry not in WITH_PIDS
        },
        fetched={
            source.preset: sample.registry.fetched
            for source, sample in zip(access.sources, samples, strict=True)
            if sample.registry.fetched is not None
        },
        unbegun=tuple(job for sample in samples for job in sample.registry.unbegun),
    )
