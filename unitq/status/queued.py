"""What `status --queues` and `status -v` add. Imported only then: plain `status` knows no Redis."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from unitq.errors import UnitqError
from unitq.queues import model
from unitq.queues.job_text import in_flight_text, job_text
from unitq.queues.log_lines import InFlight
from unitq.queues.queue_list import NO_QUEUES, QueueRow
from unitq.queues.sources import NoRedisError, access_for_revision, preset_of
from unitq.rollout.in_flight_setup import consumption, printed_jobs, snapshot_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from unitq.context import Scope
    from unitq.instances.observe import Instance
    from unitq.model.names import InstanceName
    from unitq.queues.journal_jobs import JournalJobs
    from unitq.revisions.model import Revision
    from unitq.rollout.in_flight import Consumes, Snapshot


@dataclass(frozen=True, slots=True)
class Queued:
    """The queues of one app. Where Redis cannot be asked, that is a note and nothing else."""

    numbers: bool  # it was asked for how much waits
    jobs: bool  # and for the in-flight job of each instance
    rows: Mapping[str, Sequence[QueueRow]] = field(default_factory=dict)  # of each worker
    held: Mapping[InstanceName, InFlight] = field(default_factory=dict)  # the in-flight job of each
    presets: Mapping[str, str] = field(default_factory=dict)  # of each worker's queues
    quiet: Mapping[int, str] = field(default_factory=dict)  # by PID why it takes no new jobs
    notes: tuple[str, ...] = ()
    at: float = field(default_factory=time.time)  # seconds since 1970

    def why_quiet(self, pids: Iterable[int]) -> str:
        """Why the worker with one of these processes takes no new jobs; empty: it does."""
        return next((self.quiet[pid] for pid in pids if pid in self.quiet), "")

    def job_text(self, instance: Instance) -> str:
        """The in-flight job of an instance: `-` for none, `?` where that is not known."""
        held = self.held.get(instance.name, InFlight((), ()))
        jobs = ", ".join(job_text(job, self.at) for job in held.jobs or ())
        jobs = jobs or in_flight_text(None, held.possible, self.at)
        why = self.why_quiet(instance.pids)
        if not why:
            return jobs or ("?" if held.jobs is None else "-")
        return f"{jobs}; takes no other: {why}" if jobs else f"takes none: {why}"

    def worker_json(self, worker: str) -> dict[str, Any]:
        """Returns the `queues` of a worker, where they were asked for."""
        rows = self.rows.get(worker, ())
        return {"queues": [row.to_json(self.at) for row in rows]} if self.numbers else {}

    def instance_json(self, instance: Instance) -> dict[str, Any]:
        """Returns the `jobs` of an instance and why it takes no others, where asked for."""
        if not self.jobs:
            return {}
        held = self.held.get(instance.name, InFlight((), ()))
        preset = self.presets.get(instance.name.worker, "")
        jobs = None if held.jobs is None else [job.to_json(preset) for job in held.jobs]
        possible = [job.to_json(preset) for job in held.possible]
        quiet = self.why_quiet(instance.pids) or None
        return {"jobs": jobs, "possible_jobs": possible, "quiet": quiet}


def ask(
    scope: Scope, revision: Revision, instances: Iterable[Instance], *, numbers: bool, jobs: bool
) -> Queued:
    """Asks Redis, for a second at most. Raises nothing: `status` is about systemd.

    `jobs`: also what these instances have in hand, for which the journal may be read too.
    """
    from unitq.queues.snapshot import take_snapshot

    busy = [each for each in instances if each.serving] if jobs else []
    presets = {worker.name: worker.preset or "" for worker in revision.workers}
    printed = None
    try:
        if jobs:
            printed = printed_jobs(scope, revision)
        app, found = access_for_revision(scope, revision)
        samples = take_snapshot(found.connection, found.sources, numbers=numbers, named=jobs)
    except UnitqError as error:
        there, unread = _printed(printed, busy, {})
        # Where all that is asked for is in the journal, no Redis is needed.
        needless = there and not numbers and isinstance(error, NoRedisError)
        notes = (*([] if needless else [error.in_short]), *unread)
        held = {each.name: _held(each, there, None, {}) for each in busy}
        return Queued(numbers, jobs, held=held, presets=presets, notes=notes)
    seen, host = snapshot_of(found, samples), os.uname().nodename
    rows: dict[str, list[QueueRow]] = {}
    quiet: dict[int, str] = {}
    for sample in samples:
        for registered in sample.registry.workers or ():
            why = sample.registry.paused or registered.quiet
            if why and registered.host == host and registered.pid is not None:
                quiet[registered.pid] = why
        every = {row.name: row for row in model.rows(sample)} if numbers else {}
        for worker in app.workers:
            if preset_of(app, worker) == sample.preset:
                presets[worker.name] = sample.preset
                every_name = "*" in worker.queues
                names = every if every_name else [q for q in worker.queues if q in every]
                rows[worker.name] = [QueueRow(sample.preset, every[name]) for name in names]
    every_note = [note for sample in samples for note in sample.notes]
    every_note += [words for sample in samples for words in model.pauses(sample)]
    if numbers and not any(rows.values()):
        every_note.append(NO_QUEUES)
    there, unread = _printed(printed, busy, seen.fetched)
    taking = consumption(app, revision)
    held = {each.name: _held(each, there, seen, taking) for each in busy}
    return Queued(numbers, jobs, rows, held, presets, quiet, (*every_note, *unread))


def _printed(
    printed: JournalJobs | None, busy: Iterable[Instance], fetched: Mapping[str, frozenset[str]]
) -> tuple[Mapping[InstanceName, InFlight], tuple[str, ...]]:
    """By what they print; and why that is not known."""
    if printed is None:
        return {}, ()
    try:
        return printed.look({each.name: each.invocation for each in busy}, fetched), ()
    except UnitqError as error:
        return {}, (error.message,)


def _held(
    instance: Instance,
    printed: Mapping[InstanceName, InFlight],
    seen: Snapshot | None,
    taking: Mapping[str, Consumes],
) -> InFlight:
    """What it has in hand, by itself, by its framework, or by what its queues have."""
    nobody_knows = InFlight(None, ())
    own = printed.get(instance.name, nobody_knows)
    if own != nobody_knows or seen is None:
        return own
    if mine := [each for each in seen.workers if each.pid in instance.pids]:
        return InFlight(tuple(job for each in mine for job in each.jobs), ())
    take = taking.get(instance.name.worker)
    possible = take.jobs(seen) if take else None
    if possible is None:
        return nobody_knows
    return InFlight(None, possible) if possible else InFlight((), ())
