"""One app as `unitq status` shows it."""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

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
    from collections.abc import Mapping, Sequence

    from unitq.cli.status.queues import Queued
    from unitq.context import Scope
    from unitq.instances.status import InstanceStatus
    from unitq.revisions.model import Revision
    from unitq.rollout.ledger import Story
    from unitq.systemd.manager import Systemd
    from unitq.units.dropins import Change


# How a rollout may have ended that did not get where it was to go.
_FAILED = frozenset({
    Exit.BROKEN, Exit.GAVE_UP_WAITING, Exit.DEGRADED, Exit.ROLLED_BACK, Exit.INTERRUPTED,
    Exit.DETACHED,
})  # fmt: skip


class Asked(NamedTuple):
    """What is to be shown beside systemd's part; it takes Redis."""

    queues: bool = False
    jobs: bool = False


class Status(NamedTuple):
    """One app as it is."""

    revision: Revision
    rows: tuple[InstanceStatus, ...]
    rollout: Story | None  # one that was cut off or is paused
    last: Story | None  # the last one, where it failed
    asked: Asked
    queued: Queued | None = None  # only where it was asked for
    user: bool = False  # in a user's own scope
    oom_kills: Mapping[str, int] = MappingProxyType({})  # by worker, where the kernel counts
    deleted: frozenset[str] = frozenset()  # workers whose release is not there any more
    heads: dict[str, str] = {}  # noqa: RUF012  (where HEAD is now, by worker, if it has moved)
    dropins: Mapping[str, Sequence[Change]] = MappingProxyType({})  # by worker

    @property
    def code(self) -> Exit:
        """15 before 3: old code is what nobody must overlook."""
        if any(row.fresh is False for row in self.rows):
            return Exit.STALE
        if any(row.instance.code_unknown for row in self.rows):
            return Exit.NOT_AS_WANTED
        if all(row.serving and row.wanted for row in self.rows):
            return Exit.OK
        return Exit.NOT_AS_WANTED


def look(
    scope: Scope, systemd: Systemd, revision: Revision, wanted: Sequence[str], also: Asked
) -> Status:
    """Looks at one app. Raises NoMatchError where `wanted` names what is not there."""
    where = observe.machine(systemd, scope.layout)
    place = scope.layout.app(revision.app)
    pinned = state.instances_with_pin(place)
    known = {*revision.instances, *pinned}
    workers = {worker.name for worker in revision.workers} | {name.worker for name in pinned}
    found = observe.instances(systemd, where, revision.app, workers, known, detailed=True)
    found = observe.compare_code(revision, found)
    shown = {n: i for n, i in found.items() if i.present or revision.goal(n)}
    rows = statuses(scope, systemd, revision, wanted, shown)
    story = last = ledger_store.latest(place)
    if story and not (story.blocks and ledger_store.blocking(place)):
        story = None
    if story and story.unfinished and state.busy(scope.layout, revision.app):
        story = None  # somebody is at work on it
    if last and (story or last.code not in _FAILED):
        last = None
    queued = None
    if also.queues or also.jobs:
        from unitq.cli.status.queues import looked

        queued = looked(scope, revision, shown.values(), numbers=also.queues, jobs=also.jobs)
    oom_kills = {
        worker: count
        for worker in workers
        if where.accounted and (count := _oom_kills(where, revision.app, worker)) is not None
    }
    return Status(
        revision, rows, story, last, also, queued, scope.user,
        oom_kills, _deleted(revision), observe.different_heads(revision), _dropins(scope, revision),
    )  # fmt: skip


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
