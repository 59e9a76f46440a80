"""What `status --queues` and `status -v` add. Imported only then: plain `status` knows no Redis."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.cli import queue_text
from unitq.cli.queued import of_installed, preset_of
from unitq.core import queue
from unitq.core.errors import UnitqError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from unitq.cli.scope import Scope
    from unitq.core.queue import Job, Row
    from unitq.core.revision import Revision


class Queued(NamedTuple):
    """The queues of one app. Where Redis cannot be asked, that is a note and nothing else."""

    rows: Mapping[str, Sequence[tuple[str, Row]]] = {}  # of each worker, with the preset
    jobs: Mapping[int, Sequence[tuple[str, Job]]] = {}  # by PID of this host, with the preset
    quiet: Mapping[int, str] = {}  # by PID of this host why it takes no new jobs
    notes: tuple[str, ...] = ()

    def of(self, pids: Iterable[int]) -> list[tuple[str, Job]]:
        """What the worker with one of these processes has in hand."""
        return [job for pid in pids for job in self.jobs.get(pid, ())]

    def why_quiet(self, pids: Iterable[int]) -> str:
        """Why the worker with one of these processes takes no new jobs; empty: it does."""
        return next((self.quiet[pid] for pid in pids if pid in self.quiet), "")


def looked(scope: Scope, revision: Revision, *, numbers: bool) -> Queued:
    """Asks Redis, for a second at most. Raises nothing: `status` is about systemd."""
    from unitq.queues.look import look

    try:
        app, found = of_installed(scope, revision)
        samples = look(found.connection, found.sources, numbers=numbers)
    except UnitqError as error:
        return Queued(notes=(error.message,))
    host = os.uname().nodename
    jobs: dict[int, list[tuple[str, Job]]] = {}
    rows: dict[str, list[tuple[str, Row]]] = {}
    quiet: dict[int, str] = {}
    for sample in samples:
        for registered in sample.registry.workers or ():
            if registered.host == host and registered.pid is not None:
                jobs.setdefault(registered.pid, []).extend(
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
    return Queued(rows, jobs, quiet, tuple(notes))


def job_cell(found: Queued, pids: Iterable[int]) -> str:
    """The JOB column."""
    now = time.time()
    pids = tuple(pids)
    jobs = ", ".join(queue_text.job_text(job, now) for _, job in found.of(pids))
    why = found.why_quiet(pids)
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


def instance_json(found: Queued, pids: Iterable[int]) -> dict[str, Any]:
    """The `jobs` of an instance, and why it takes no others, if so."""
    pids = tuple(pids)
    jobs = [queue_text.job_json(preset, job) for preset, job in found.of(pids)]
    return {"jobs": jobs, "quiet": found.why_quiet(pids) or None}
