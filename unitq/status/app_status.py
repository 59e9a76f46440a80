"""One app as `unitq status` shows it, and several."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unitq.errors import Exit
from unitq.instances import observe
from unitq.instances.status import statuses
from unitq.linux import proc
from unitq.model import names
from unitq.revisions import state
from unitq.rollout import ledger_store
from unitq.units.dropin_files import DropIns
from unitq.units.dropins import changes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.context import Scope
    from unitq.instances.status import InstanceStatus
    from unitq.revisions.model import Revision, WorkerRevision
    from unitq.rollout.ledger import Story
    from unitq.status.queued import Queued
    from unitq.systemd.manager import Systemd
    from unitq.units.dropins import Change


# How a rollout may have ended that did not get where it was to go.
_FAILED = frozenset({
    Exit.BROKEN, Exit.GAVE_UP_WAITING, Exit.DEGRADED, Exit.ROLLED_BACK, Exit.INTERRUPTED,
    Exit.DETACHED,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker: what is installed of it, and its instances."""

    name: str
    installed: WorkerRevision | None  # None: the app has no such worker any more
    instances: tuple[InstanceStatus, ...]
    oom_kills: int | None = None  # None: the kernel does not count them here
    deleted: bool = False  # its release is not there any more
    head: str | None = None  # the commit of HEAD, where that has moved since the deploy
    dropins: tuple[Change, ...] = ()

    @property
    def wanted(self) -> int:
        """How many instances there should be."""
        return self.installed.instances if self.installed else 0

    @property
    def serving(self) -> int:
        """How many take jobs."""
        return sum(instance.serving for instance in self.instances)

    @property
    def stale(self) -> int:
        """How many run old code."""
        return sum(instance.fresh is False for instance in self.instances)


@dataclass(frozen=True, slots=True)
class Status:
    """One app as it is."""

    revision: Revision  # the installed one
    workers: tuple[WorkerStatus, ...]
    instances: tuple[InstanceStatus, ...]  # in the order of unitq.toml
    rollout: Story | None  # one that was cut off or is paused
    last: Story | None  # the last one, where it failed
    queued: Queued | None = None  # None: it was not asked for
    user: bool = False  # in a user's own scope

    @property
    def app(self) -> str:
        """Its name."""
        return self.revision.app

    @property
    def last_result(self) -> str:
        """How the last rollout ended, in words; empty: well."""
        from unitq.rollout.reports.observed_report import result

        return result(self.last.code) if self.last else ""

    @property
    def exit_code(self) -> Exit:
        """15 before 3: old code is what nobody must overlook."""
        if any(instance.fresh is False for instance in self.instances):
            return Exit.STALE
        if any(instance.instance.code_unknown for instance in self.instances):
            return Exit.NOT_AS_WANTED
        if all(instance.serving and instance.wanted for instance in self.instances):
            return Exit.OK
        return Exit.NOT_AS_WANTED

    def to_json(self) -> dict[str, Any]:
        """Returns one of the `apps` that docs/json.md describes."""
        revision, rollout, last = self.revision, self.rollout, self.last
        return {
            "app": revision.app,
            "exit_code": int(self.exit_code),
            "revision": revision.id,
            "deployed_at": round(revision.created, 3),
            "deployed_by": revision.by,
            "config": revision.config,
            "rollout": rollout
            and {"rollout": rollout.number, "state": rollout.state, "revision": rollout.revision},
            "failed_rollout": last
            and {"rollout": last.number, "revision": last.revision, "exit_code": last.code},
            "workers": [self._worker(worker) for worker in self.workers],
            **({} if self.queued is None else {"queue_notes": list(self.queued.notes)}),
        }

    def _worker(self, worker: WorkerStatus) -> dict[str, Any]:
        installed, queued = worker.installed, self.queued
        return {
            "worker": worker.name,
            "revision": installed and installed.revision,
            "same_as": installed and self._same_as(installed.revision),
            "release": installed and installed.release,
            "code_version": installed and installed.code_version,
            "release_deleted": worker.deleted,
            "head": worker.head,
            "wanted": worker.wanted,
            "serving": worker.serving,
            "stale": worker.stale,
            "oom_kills": worker.oom_kills,
            "drop_ins": [
                {"file": change.path, "sets": list(change.sets), "unitq_wrote": list(change.wrote)}
                for change in worker.dropins
            ],
            "instances": [self._instance(instance, installed) for instance in worker.instances],
            **(queued.worker_json(worker.name) if queued else {}),
        }

    def _same_as(self, revision: str | None) -> str | None:
        """The current revision, where it has gone back to this one."""
        return self.revision.id if self.revision.repeats(revision) else None

    def _instance(self, row: InstanceStatus, worker: WorkerRevision | None) -> dict[str, Any]:
        instance, loop = row.instance, row.loop
        return {
            "instance": str(instance.name),
            "unit": instance.unit,
            "load": instance.load,
            "active": instance.active,
            "sub": instance.sub,
            "job": instance.job,
            "serving": row.serving,
            "paused": row.paused,
            "starting": row.state == "starting",
            "crash_loop": loop and loop._asdict() | {"seconds": round(loop.seconds, 3)},
            "elsewhere": instance.elsewhere or None,
            "wanted": row.wanted is not None,
            "since": None if instance.since is None else round(instance.since, 3),
            "main_pid": instance.main_pid or None,
            "pids": list(instance.pids),
            "invocation": instance.invocation or None,
            "revision": instance.revision,
            "wanted_revision": row.wanted,
            "same_as": self._same_as(instance.revision) if row.fresh else None,
            "fresh": row.fresh,
            "code": row.code_state(worker) or None,
            "commit": instance.moved or None,
            "restarts": instance.restarts,
            "memory_bytes": instance.memory,
            **(self.queued.instance_json(instance) if self.queued else {}),
        }


@dataclass(frozen=True, slots=True)
class StatusList:
    """The apps that `unitq status` shows."""

    apps: tuple[Status, ...]
    user: bool = False

    @property
    def exit_code(self) -> Exit:
        """The gravest of them."""
        return max((app.exit_code for app in self.apps), default=Exit.OK)

    def to_json(self) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        return {
            "format": 1,
            "scope": "user" if self.user else "system",
            "exit_code": int(self.exit_code),
            "apps": [app.to_json() for app in self.apps],
        }


def status(
    scope: Scope,
    systemd: Systemd,
    revision: Revision,
    targets: Sequence[str] = (),
    *,
    queues: bool = False,
    jobs: bool = False,
) -> Status:
    """Looks at one app. Raises NoMatchError where a target names nothing.

    `queues` and `jobs`: also what Redis says of its queues, and which job each instance has.
    """
    where = observe.machine(systemd, scope.layout)
    place = scope.layout.app(revision.app)
    pinned = state.instances_with_pin(place)
    known = {*revision.instances, *pinned}
    names_of = {worker.name for worker in revision.workers} | {name.worker for name in pinned}
    seen = observe.instances(systemd, where, revision.app, names_of, known, detailed=True)
    seen = observe.compare_code(revision, seen)
    shown = {name: it for name, it in seen.items() if it.present or revision.goal(name)}
    rows = statuses(scope, systemd, revision, targets, shown)
    story = last = ledger_store.latest(place)
    if story and not (story.blocks and ledger_store.blocking(place)):
        story = None
    if story and story.unfinished and state.busy(scope.layout, revision.app):
        story = None  # somebody is at work on it
    if last and (story or last.code not in _FAILED):
        last = None
    queued = None
    if queues or jobs:
        from unitq.status.queued import ask

        queued = ask(scope, revision, shown.values(), numbers=queues, jobs=jobs)
    deleted, heads, dropins = (
        _deleted(revision),
        observe.different_heads(revision),
        _dropins(scope, revision),
    )
    workers = [
        WorkerStatus(
            name,
            revision.worker(name),
            tuple(row for row in rows if row.instance.name.worker == name),
            _oom_kills(where, revision.app, name) if where.accounted else None,
            name in deleted,
            heads.get(name),
            tuple(dropins.get(name, ())),
        )
        for name in sorted(
            {worker.name for worker in revision.workers}
            | {row.instance.name.worker for row in rows}
        )
    ]
    return Status(revision, tuple(workers), rows, story, last, queued, scope.user)


def _dropins(scope: Scope, revision: Revision) -> dict[str, list[Change]]:
    """What drop-ins change of the installed units; the units' texts are read only if any do."""
    there = DropIns(str(scope.layout.unit_dir), user=scope.user)
    found = {}
    for worker in revision.workers:
        template = names.template(revision.app, worker.name)
        each = names.instances(worker.name, worker.instances)
        files = there.of([template, *(names.unit(revision.app, name) for name in each)])
        if files:
            from unitq.units import unit_files

            found[worker.name] = changes(unit_files.text(scope.layout.unit_dir, template), files)
    return found


def _oom_kills(where: observe.Machine, app: str, worker: str) -> int | None:
    """Of all that the worker's slice has held; it is there for as long as anything is in it."""
    path = f"{names.slice_path(app)}/{names.worker_slice(app, worker)}"
    return proc.cgroup_oom_kills(f"{where.cgroup}/{path}")


def _deleted(revision: Revision) -> frozenset[str]:
    """The workers whose release is not there any more; not those that we may not look at."""
    found = set()
    for worker in revision.workers:
        try:
            os.stat(worker.release)
        except (FileNotFoundError, NotADirectoryError):
            found.add(worker.name)
        except OSError:
            continue  # unknown
    return frozenset(found)
