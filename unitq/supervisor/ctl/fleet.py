"""What `unitq ctl` looks at: every app that is meant, with Supervisor's names and states."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import NoMatchError
from unitq.instances import observe
from unitq.linux import proc
from unitq.revisions import state
from unitq.supervisor.ctl.format import Facts, State, description, state_of
from unitq.supervisor.ctl.names import Names, Process, Wanted
from unitq.systemd import journal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.context import Scope
    from unitq.revisions.model import Revision
    from unitq.systemd.manager import Systemd


class Fleet(NamedTuple):
    """Everything that is there."""

    scope: Scope
    systemd: Systemd
    revisions: Mapping[str, Revision]  # by app
    instances: Mapping[Process, observe.Instance]
    names: Names

    def states(self) -> dict[Process, tuple[State, str]]:
        """State and description of each process, in Supervisor's order of names."""
        now = time.time()
        down = {process for process, instance in self.instances.items() if _down(instance)}
        last = {
            process: self.systemd.properties(
                instance.unit,
                *("Result", "Restart", "ExecMainCode", "ExecMainStatus"),
                *("ExecMainExitTimestamp", "InvocationID"),
            )
            for process, instance in self.instances.items()
            if (process in down or _waits(instance)) and instance.load == "loaded"
        }
        ran = [
            values["InvocationID"]
            for process, values in last.items()
            if process in down and values["ExecMainExitTimestamp"] and values["InvocationID"]
        ]
        asked = journal.stop_orders(ran, user=self.scope.user)
        # Who may not read the journal learns nothing from finding nothing.
        unsure = not self.scope.user and os.getuid() != 0
        states = {}
        for process in self.names.in_order():
            facts = _facts(self.instances[process], now)
            if values := last.get(process):
                stamp = values["ExecMainExitTimestamp"]
                facts = facts._replace(
                    result=values["Result"],
                    restarts=values["Restart"] != "no",
                    code=values["ExecMainCode"],
                    status=values["ExecMainStatus"],
                    ended=stamp / 1e6 if stamp else None,
                    asked=values["InvocationID"] in asked or (None if unsure else False),
                )
            word = state_of(facts, self.revisions[process.app].rollout.min_healthy.seconds)
            states[process] = (word, description(facts, word))
        return states

    def pid(self, process: Process) -> int:
        """The PID of its main process; 0: there is none."""
        instance = self.instances[process]
        return instance.main_pid if instance.present else 0


def look(scope: Scope) -> Fleet:
    """Returns every app that is meant. Raises NoMatchError where none is installed."""
    apps = scope.apps()
    if not apps:
        raise NoMatchError(
            "no app is installed here",
            hint="`unitq ctl update` (`unitq deploy`) installs one; --user looks at your own units",
        )
    revisions = {app: state.require_current(scope.layout, app) for app in apps}
    systemd = scope.systemd()
    where = observe.machine(systemd, scope.layout)
    instances: dict[Process, observe.Instance] = {}
    for app, revision in revisions.items():
        pinned = state.instances_with_pin(scope.layout.app(app))
        workers = {worker.name for worker in revision.workers} | {name.worker for name in pinned}
        known = {*revision.instances, *pinned}
        instances |= {
            Process(app, name): instance
            for name, instance in observe.instances(systemd, where, app, workers, known).items()
            if instance.present or revision.goal(name)
        }
    wanted = {
        app: {
            worker.name: Wanted(worker.instances, worker.supervisor_name)
            for worker in revision.workers
        }
        for app, revision in revisions.items()
    }
    return Fleet(scope, systemd, revisions, instances, Names(wanted, instances))


def _down(instance: observe.Instance) -> bool:
    return instance.active in ("inactive", "failed")


def _waits(instance: observe.Instance) -> bool:
    return instance.active == "activating" and instance.sub.startswith("auto-restart")


def _facts(instance: observe.Instance, now: float) -> Facts:
    age = None
    if instance.active in ("active", "reloading"):
        # Not by the clock on the wall, which may be set.
        age = proc.age(instance.main_pid) if instance.main_pid else None
        if age is None and instance.begun is not None:
            age = max(0.0, now - instance.begun)
    return Facts(instance.load, instance.active, instance.sub, instance.main_pid, age)
