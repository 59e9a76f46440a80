"""Instances as `unitq status` shows them: the state of each, and whether it is as wanted."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from unitq.context import chosen
from unitq.instances import observe, paused
from unitq.linux import proc
from unitq.revisions.in_place import nothing_to_compare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unitq.context import Scope
    from unitq.instances.crash_loop import CrashLoop
    from unitq.model.names import InstanceName
    from unitq.revisions.model import Revision, WorkerRevision
    from unitq.systemd.manager import Systemd


class InstanceStatus(NamedTuple):
    """One instance, with what should be."""

    instance: observe.Instance
    wanted: str | None  # the revision that it should run; None: it should not run
    code: str | None  # the revision that its worker should run
    paused: bool = False  # told to take no jobs, and that holds for this life of it
    unproven: bool = False  # it has not lived for min_healthy
    crashed: bool = False  # it ended, and not with 0, and is being started again
    loop: CrashLoop | None = None
    unexplained: bool = False  # it has ended again and again, and the journal does not tell how
    age: float | None = None  # seconds in its state, by no clock that anybody sets

    @property
    def fresh(self) -> bool | None:
        """Whether it runs the code that its worker should run; None: unknown."""
        return self.instance.fresh(self.code)

    @property
    def serving(self) -> bool:
        """Whether it takes jobs."""
        bad = self.paused or self.loop or self.unexplained or self.instance.elsewhere
        return self.instance.serving and not bad

    def code_state(self, worker: WorkerRevision | None) -> str:
        """Which code it runs: current, in place, moved, old, unknown; empty: it has no process."""
        if not self.instance.pids:
            return ""
        if self.instance.moved:
            return "moved"
        if self.fresh is not True:
            return "old" if self.fresh is False else "unknown"
        nothing = self.instance.uncompared or (worker and nothing_to_compare(worker))
        return "in place" if nothing else "current"

    @property
    def state(self) -> str:
        """Its state, in words."""
        if self.instance.active == "deactivating":
            return "draining"
        if self.loop:
            return "crash loop"
        if self.instance.sub.startswith("auto-restart"):
            return "crashed, restarting" if self.crashed else "restarting"
        if self.instance.elsewhere:
            return "left its unit"
        if self.paused:
            return "paused"
        if self.unexplained:
            return "starting, again and again"
        if self.instance.serving and self.unproven:
            return "starting"
        return f"{self.instance.active} ({self.instance.sub})"


def statuses(
    scope: Scope,
    systemd: Systemd,
    revision: Revision,
    wanted: Sequence[str],
    shown: Mapping[InstanceName, observe.Instance],
) -> tuple[InstanceStatus, ...]:
    """Returns the instances that `wanted` names (none: all), in the order of unitq.toml.

    `shown` are those of the app, compared with the revision. Raises NoMatchError for a name that
    is none's.
    """
    asked: set[InstanceName] = chosen(revision, wanted, shown)
    notes = paused.notes(scope.layout, revision.app)
    least = revision.rollout.min_healthy.seconds
    # As in unitq.toml; removed workers come last.
    order = {worker.name: index for index, worker in enumerate(revision.workers)}
    rows = []
    for name, instance in sorted(
        shown.items(), key=lambda item: (order.get(item[0].worker, len(order)), item[0])
    ):
        if name not in asked:
            continue
        lived = _uptime(instance)
        rows.append(
            InstanceStatus(
                instance,
                revision.goal(name),
                revision.code(name),
                name in notes and notes[name] == instance.invocation,
                unproven=_unproven(instance, lived, least),
                crashed=_crashed(systemd, instance),
                age=_age(systemd, instance, lived),
            )
        )
    return _with_loops(tuple(rows), least, user=scope.user)


def _uptime(instance: observe.Instance) -> float | None:
    """The age of the main process of one that serves; None: it does not, or has ended since."""
    return proc.age(instance.main_pid) if instance.serving and instance.main_pid else None


def _unproven(instance: observe.Instance, lived: float | None, least: float) -> bool:
    """Whether it runs, and has not lived for so many seconds; by no clock that anybody sets.

    Also where its process has ended since systemd was asked: what follows is younger still.
    """
    return instance.serving and (lived is None or lived < least)


def _age(systemd: Systemd, instance: observe.Instance, lived: float | None) -> float | None:
    """How long it has been what it is; the wall clock may be set meanwhile (clock_gettime(2))."""
    if instance.since is None:
        return None
    if lived is not None:
        return lived
    changed = systemd.properties(instance.unit, "StateChangeTimestampMonotonic")
    return max(0.0, time.monotonic() - changed["StateChangeTimestampMonotonic"] / 1e6)


def _crashed(systemd: Systemd, instance: observe.Instance) -> bool:
    """Whether it is being started again after an end that is not that of so many jobs: exit 0.

    False also where it has been started again meanwhile: systemd then tells a code of 0, and no
    longer how the process before ended.
    """
    if not instance.sub.startswith("auto-restart"):
        return False
    end = systemd.properties(instance.unit, "ExecMainCode", "ExecMainStatus")
    return (end["ExecMainCode"], end["ExecMainStatus"]) not in ((0, 0), (os.CLD_EXITED, 0))


def _with_loops(
    rows: tuple[InstanceStatus, ...], least: float, *, user: bool
) -> tuple[InstanceStatus, ...]:
    """Returns the rows, with crash loops. Only of those that may be in one the journal is asked."""
    ends = {row.instance.unit: _ends(row) for row in rows}
    suspects = [unit for unit, count in ends.items() if count >= 3]
    if not suspects:
        return rows
    from unitq.instances.crash_loop import count_lives, crash_loop
    from unitq.systemd import journal

    lives, now = journal.lives(suspects, user=user), time.monotonic()
    result = []
    for row in rows:
        unit = row.instance.unit
        if unit in lives:
            loop = crash_loop(lives[unit], now, least, ends[unit])
            known = count_lives(lives[unit]) >= 3
            row = row._replace(loop=loop, unexplained=loop is None and not known)  # noqa: PLW2901
        result.append(row)
    return tuple(result)


def _ends(row: InstanceStatus) -> int:
    """How often it has ended since the last deliberate start, where it is not healthy now."""
    instance = row.instance
    between = instance.sub.startswith("auto-restart")
    starting = instance.active == "activating" or row.unproven
    return (instance.restarts or 0) + between if row.wanted and starting else 0
