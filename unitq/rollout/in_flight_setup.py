"""The way from an installed app to what its workers have in hand."""

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
    from unitq.rollout.outcome import Outcome


class Queues(NamedTuple):
    """Where an installed app's queues are: in its configuration file, read when first needed."""

    scope: Scope
    revision: Revision
    configured: tuple[App, Path] | None  # the file, where this command has read it already

    def queue_access(self, *, reading: bool = True) -> tuple[App, QueueAccess]:
        """The app and the way to its queues. Raises UnitqError. See Scope.load for `reading`."""
        from unitq.queues.sources import access_for_revision, queue_access

        if self.configured is None:
            return access_for_revision(self.scope, self.revision, reading=reading)
        app, path = self.configured
        return app, queue_access(app, self.scope.presets(), str(path))


def looks(
    queues: Queues, advisory: Advisory, *, ending: bool
) -> tuple[InFlightTracker | None, Presence | None]:
    """What tells the jobs of those that drain, if any do, and whether new workers are registered.

    None where nobody knows where the jobs are, and where no health depends on Redis. Raises
    UnitqError where it does, and the configuration does not say where Redis is.
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
        printed = advisory.ask(unknown, partial(printed_by, scope, revision), None)
    there = (
        queues.queue_access() if waiting else advisory.ask(unknown, partial(_where, queues), None)
    )
    if there is None:
        return InFlightTracker(None, advisory, printed=printed) if printed else None, None
    app, found = there
    ask = partial(_in_hand, found)
    hands = InFlightTracker(ask, advisory, taken(app, revision), printed) if named else None
    return hands, Presence(ask, waiting) if waiting else None


def _where(queues: Queues) -> tuple[App, QueueAccess] | None:
    """The way to the queues; None where the configuration names no Redis, as it need not."""
    from unitq.queues.sources import NoRedisError

    try:
        return queues.queue_access()
    except NoRedisError:  # `unitq queues` says how to name one
        return None


def taken(app: App, revision: Revision) -> dict[str, Consumes]:
    """What each worker takes its jobs from."""
    from unitq.rollout.in_flight import Consumes

    return {
        worker.name: Consumes(preset, frozenset(worker.queues))
        for worker in revision.workers
        if (preset := app.redis.preset if worker.preset in (None, NONE) else worker.preset)
    }


def printed_by(scope: Scope, revision: Revision) -> JournalJobs | None:
    """Who reads the jobs of these workers in the journal; None: none of them prints any.

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


def put_back(queues: Queues, outcome: Outcome, held: InFlightTracker) -> dict[InstanceName, str]:
    """Puts the jobs of killed workers back where that is wanted; why not, by instance.

    Empty words: it was.
    """
    from unitq.queues.requeue import requeue
    from unitq.queues.sources import preset_of

    wanted = {worker.name for worker in queues.revision.workers if worker.requeue}
    killed = [s.instance for s in outcome.killed if s.instance.worker in wanted]
    told: dict[InstanceName, str] = {}
    if not any(held.workers.get(name) for name in killed):
        return told
    app, found = queues.queue_access(reading=False)
    sources = {source.preset: source for source in found.sources}
    for name in killed:
        worker = app.worker(name.worker)
        source = sources.get(preset_of(app, worker) or "") if worker else None
        for each in held.workers.get(name, ()):
            try:
                told[name] = requeue(found.connection, source, each) if source else "no preset"
            except UnitqError as error:
                told[name] = error.message
    return told


def _in_hand(found: QueueAccess) -> Snapshot:
    """What Redis tells of this host's workers and of all jobs in hand. Raises QueuesError."""
    from unitq.queues.snapshot import take_snapshot

    samples = take_snapshot(found.connection, found.sources, numbers=False, ages=False, named=True)
    return told(found, samples)


def told(found: QueueAccess, samples: Sequence[Sample]) -> Snapshot:
    """The part of a look that is about the workers of this host and the jobs in hand."""
    from unitq.presets.redis_keys import WITH_PIDS
    from unitq.rollout.in_flight import Snapshot

    host = os.uname().nodename
    return Snapshot(
        time=samples[0].time,
        workers=tuple(
            each
            for sample in samples
            for each in sample.registry.workers or ()
            if each.host == host
        ),
        unsigned={
            source.preset: sample.registry.jobs
            for source, sample in zip(found.sources, samples, strict=True)
            if sample.registry.jobs is not None and source.keys.registry not in WITH_PIDS
        },
        fetched={
            source.preset: sample.registry.fetched
            for source, sample in zip(found.sources, samples, strict=True)
            if sample.registry.fetched is not None
        },
        unbegun=tuple(job for sample in samples for job in sample.registry.unbegun),
    )
