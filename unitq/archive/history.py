"""What `unitq history`, `show` and `diff` answer. Reads only."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unitq.errors import Exit
from unitq.revisions import history as core
from unitq.revisions import store
from unitq.revisions.in_place import commit_of, overwritten_workers, updated_in_place
from unitq.rollout.app_archive import observe_instances, open_archive
from unitq.rollout.reports.report import Report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unitq.context import Scope
    from unitq.instances.observe import Instance
    from unitq.revisions.model import Revision, WorkerRevision
    from unitq.rollout.app_archive import AppArchive
    from unitq.units.text import FileChange


@dataclass(frozen=True, slots=True)
class History:
    """The revisions of an app that are kept, newest first."""

    archive: AppArchive
    entries: tuple[core.Entry, ...]
    last_stable: str | None  # where a rollback goes; None: there is nothing to go back to
    overwritten: frozenset[str]  # revisions whose code was replaced in place

    def in_place(self, entry: core.Entry) -> bool:
        """Whether an update replaces the files that a worker of it runs."""
        return any(map(updated_in_place, entry.revision.workers))

    def to_json(self) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        return self.archive.document(
            current=self.archive.current.id,
            last_stable=self.last_stable,
            revisions=[
                _head(entry)
                | {
                    "in_use": entry.in_use,
                    "workers": [_worker(worker) for worker in entry.revision.workers],
                    "reports": list(entry.reports),
                }
                for entry in self.entries
            ],
        )


@dataclass(frozen=True, slots=True)
class RevisionView:
    """One revision: what it runs, with which settings, and the reports about it."""

    archive: AppArchive
    entry: core.Entry
    environments: core.Environments  # by worker; None: it cannot be read
    releases: Mapping[str, bool | None]  # whether each is there; None: it may not be looked at
    documents: tuple[Mapping[str, Any], ...]  # reports, as they are kept, oldest first

    @property
    def rollout(self) -> dict[str, str | int]:
        """The settings of [rollout], as unitq.toml writes them."""
        return core.rollout_settings(self.entry.revision.rollout)

    def names(self, worker: str) -> list[str] | None:
        """The names of variables in a worker's environment; None: it cannot be read."""
        environment = self.environments[worker]
        return None if environment is None else sorted(environment)

    def in_place(self, worker: WorkerRevision) -> bool:
        """Whether an update replaces the files that it runs."""
        return updated_in_place(worker)

    def reports(self) -> list[Report]:
        """The reports; one that is damaged is left out, with a note."""
        reports = []
        for document in self.documents:
            try:
                reports.append(Report.from_json(document))
            except (LookupError, TypeError, ValueError) as error:
                self.archive.note(
                    f"the report of rollout {document['rollout']} is damaged "
                    f"({type(error).__name__}: {error}): left out"
                )
        return reports

    def to_json(self) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        revision = self.entry.revision
        return self.archive.document(
            **_head(self.entry),
            workers=[
                _worker(worker)
                | {
                    "release_exists": self.releases[worker.release],
                    "stop_timeout": worker.stop_timeout,
                    "environment": self.names(worker.name),
                }
                for worker in revision.workers
            ],
            units=list(revision.units),
            rollout=self.rollout,
            reports=list(self.documents),
        )


@dataclass(frozen=True, slots=True)
class RevisionDiff:
    """How two revisions differ."""

    archive: AppArchive
    before: Revision
    after: Revision
    difference: core.Difference

    @property
    def exit_code(self) -> Exit:
        """PENDING where they differ."""
        return Exit.PENDING if self.difference else Exit.OK

    def to_json(self) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        changes = self.difference
        return self.archive.document(
            before=self.before.id,
            after=self.after.id,
            differs=bool(changes),
            units=[
                {"unit": file.name, "change": _change(file), "diff": file.diff}
                for file in changes.units
            ],
            workers=[
                {
                    "worker": worker.worker,
                    "change": worker.change,
                    "replaced": worker.replaced,
                    "settings": [setting._asdict() for setting in worker.settings],
                    "environment": worker.environment._asdict() if worker.environment else None,
                }
                for worker in changes.workers
            ],
            rollout=[setting._asdict() for setting in changes.rollout],
        )


def history(scope: Scope) -> History:
    """Returns what was deployed, and what became of it. Raises NoMatchError, SystemdError."""
    archive = open_archive(scope)
    in_use = _in_use(tuple(observe_instances(archive, scope.systemd()).values()))
    entries = core.entries(archive.revisions, archive.verdicts, in_use, archive.current.id)
    complete = store.complete(archive.place, archive.revisions)
    target = core.last_stable(entries, archive.current, complete)
    return History(
        archive,
        entries,
        target.revision.id if target else None,
        frozenset(
            entry.revision.id
            for entry in entries
            if overwritten_workers(entry.revision, archive.current)
        ),
    )


def revision_view(scope: Scope, wanted: str | None) -> RevisionView:
    """Returns one revision; the current one by default. Raises NoMatchError."""
    archive = open_archive(scope)
    revision = archive.find(wanted)
    (entry,) = core.entries((revision,), archive.verdicts, None, archive.current.id)
    about = [each for each in archive.reports if each.verdict.revision == revision.id]
    return RevisionView(
        archive,
        entry,
        {
            worker.name: store.environment(archive.place, worker, archive.note)
            for worker in revision.workers
        },
        {worker.release: _exists(worker.release) for worker in revision.workers},
        # Each once and whole.
        tuple({each.verdict.rollout: each.document for each in about}.values()),
    )


def revision_diff(scope: Scope, before: str, after: str | None) -> RevisionDiff:
    """Returns how two revisions differ; `after` is the current one by default."""
    archive = open_archive(scope)
    old, new = archive.find(before), archive.find(after)
    difference = core.difference(
        old,
        new,
        units=(store.unit_texts(archive.place, old), store.unit_texts(archive.place, new)),
        environments=(_environments(archive, old, new), _environments(archive, new, old)),
    )
    return RevisionDiff(archive, old, new, difference)


def _in_use(instances: Sequence[Instance]) -> Counter[str] | None:
    """How many instances have a process of each revision; None: some cannot be read."""
    if not all(instance.readable for instance in instances):
        return None
    return Counter(name for instance in instances for name in instance.revisions)


def _environments(archive: AppArchive, revision: Revision, other: Revision) -> core.Environments:
    """The environments of those workers that run something else in the other revision."""
    same = {(worker.name, worker.fingerprint) for worker in other.workers}
    return {
        worker.name: store.environment(archive.place, worker, archive.note)
        for worker in revision.workers
        if (worker.name, worker.fingerprint) not in same
    }


def _head(entry: core.Entry) -> dict[str, Any]:
    revision = entry.revision
    return {
        "revision": revision.id,
        "number": revision.number,
        "hash": revision.hash,
        "deployed_at": round(revision.created, 3),
        "deployed_by": revision.by,
        "why": revision.why,
        "config": revision.config,
        "state": str(entry.state),
        "current": entry.current,
        "restores": revision.restores,
        "seconds": entry.seconds,
    }


def _worker(worker: WorkerRevision) -> dict[str, Any]:
    return {
        "worker": worker.name,
        "revision": worker.revision,
        "instances": worker.instances,
        "release": worker.release,
        "code_version": worker.code_version,
        "commit": commit_of(worker) or None,
        "in_place": updated_in_place(worker),
    }


def _exists(path: str) -> bool | None:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None
    return True


def _change(file: FileChange) -> str:
    return "create" if file.before is None else "delete" if file.after is None else "replace"
