"""What `status --queues` and `status -v` add. Imported only then: plain `status` knows no Redis."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.cli import queue_text
from unitq.cli.in_hand import printed_by
from unitq.cli.queued import NoRedisError, of_installed, preset_of
from unitq.core import queue
from unitq.core.errors import UnitqError
from unitq.core.printed import Held

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from unitq.cli.scope import Scope
    from unitq.core.names import InstanceName
    from unitq.core.queue import Job, Row, Sample
    from unitq.core.revision import Revision
    from unitq.observe import Instance
    from unitq.printed import Printed


class Queued(NamedTuple):
    """The queues of one app. Where Redis cannot be asked, that is a note and nothing else."""

    rows: Mapping[str, Sequence[tuple[str, Row]]] = {}  # of each worker, with the preset
    jobs: Mapping[int, Sequence[tuple[str, Job]]] = {}  # by PID of this host, with the preset
    quiet: Mapping[int, str] = {}  # by PID of this host why it takes no new jobs
    printed: Mapping[InstanceName, tuple[str, Held]] = {}  # by what they print, with the preset
    notes: tuple[str, ...] = ()

    def of(self, instance: Instance) -> list[tuple[str, Job]]:
        """What the worker has in hand."""
        if instance.name in self.printed:
            preset, held = self.printed[instance.name]
            return [(preset, job) for job in held.jobs or ()]
        return [job for pid in instance.pids for job in self.jobs.get(pid, ())]

    def perhaps(self, instance: Instance) -> list[tuple[str, Job]]:
        """Those of which one may be in its hand, where it does not say which."""
        preset, held = self.printed.get(instance.name, ("", Held(None, ())))
        return [(preset, job) for job in held.possible]

    def why_quiet(self, pids: Iterable[int]) -> str:
        """Why the worker with one of these processes takes no new jobs; empty: it does."""
        return next((self.quiet[pid] for pid in pids if pid in self.quiet), "")


def looked(
    scope: Scope, revision: Revision, instances: Iterable[Instance], *, numbers: bool, jobs: bool
) -> Queued:
    """Asks Redis, for a second at most. Raises nothing: `status` is about systemd.

    `jobs`: also what these instances have in hand by what they print.
    """
    from unitq.queues.look import look

    printed = None
    starts = {each.name: each.invocation for each in instances if each.serving}
    try:
        if jobs:
            printed = printed_by(scope, revision)
        app, found = of_installed(scope, revision)
        samples = look(found.connection, found.sources, numbers=numbers, named=printed is not None)
    except UnitqError as error:
        there, unread = _printed(revision, printed, starts, ())
        # Where all that is asked for is in the journal, no Redis is needed.
        needless = there and not numbers and isinstance(error, NoRedisError)
        return Queued(printed=there, notes=(*([] if needless else [error.message]), *unread))
    host = os.uname().nodename
    held: dict[int, list[tuple[str, Job]]] = {}
    rows: dict[str, list[tuple[str, Row]]] = {}
    quiet: dict[int, str] = {}
    for sample in samples:
        for registered in sample.registry.workers or ():
            if registered.host == host and registered.pid is not None:
                held.setdefault(registered.pid, []).extend(
                    (sample.preset, job) for job in registered.jobs
                )
                if why := sample.registry.paused or registered.quiet:
                    quiet[registered.pid] = why
        every = {row.name: row for row in queue.rows(sample)} if numbers else {}
        for worker in app.workers:
            if preset_of(app, worker) == sample.preset:
                every_name = "*" in worker.queues
                names = every if every_name else [q for q in worker.queues if q in every]
                rows[worker.name] = [(sample.preset, every[name]) for name in names]
    notes = [note for sample in samples for note in sample.notes]
    notes += [queue_text.said(words) for sample in samples for words in queue.pauses(sample)]
    there, unread = _printed(revision, printed, starts, samples)
    return Queued(rows, held, quiet, there, (*notes, *unread))


def _printed(
    revision: Revision,
    printed: Printed | None,
    starts: Mapping[InstanceName, str],
    samples: Iterable[Sample],
) -> tuple[dict[InstanceName, tuple[str, Held]], tuple[str, ...]]:
    """By what they print; and why that is not known."""
    if printed is None:
        return {}, ()
    fetched = {
        each.preset: each.registry.fetched for each in samples if each.registry.fetched is not None
    }
    presets = {worker.name: worker.preset or "" for worker in revision.workers}
    try:
        found = printed.look(starts, fetched)
    except UnitqError as error:
        return {}, (error.message,)
    return {name: (presets[name.worker], held) for name, held in found.items()}, ()


def job_cell(found: Queued, instance: Instance) -> str:
    """The JOB column."""
    now = time.time()
    jobs = ", ".join(queue_text.job_text(job, now) for _, job in found.of(instance))
    jobs = jobs or queue_text.held_text(None, [job for _, job in found.perhaps(instance)], now)
    why = found.why_quiet(instance.pids)
    if not why:
        return jobs or "-"
    return f"{jobs}; takes no other: {why}" if jobs else f"takes none: {why}"


def table(found: Queued, workers: Iterable[str]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: the queues of each of these workers, in the columns of `unitq queues`."""
    rows = [(worker, row) for worker in workers for row in found.rows.get(worker, ())]
    header, cells = queue_text.cells([row for _, row in rows], time.time())
    named = [[worker, *line] for (worker, _), line in zip(rows, cells, strict=True)]
    return ["WORKER", *header], named


def worker_json(found: Queued, worker: str) -> list[dict[str, Any]]:
    """The `queues` of a worker."""
    now = time.time()
    return [queue_text.row_json(preset, row, now) for preset, row in found.rows.get(worker, ())]


def instance_json(found: Queued, instance: Instance) -> dict[str, Any]:
    """The `jobs` of an instance, and why it takes no others, if so."""
    every = (found.of(instance), found.perhaps(instance))
    jobs, possible = ([queue_text.job_json(*each) for each in part] for part in every)
    quiet = found.why_quiet(instance.pids) or None
    return {"jobs": jobs, "possible_jobs": possible, "quiet": quiet}
