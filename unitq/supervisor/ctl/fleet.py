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
        down = {process: one for process, one in self.instances.items() if _down(one)}
        last = {
            process: self.systemd.properties(
                one.unit,
                *("Result", "Restart", "ExecMainCode", "ExecMainStatus"),
                *("ExecMainExitTimestamp", "InvocationID"),
            )
            for process, one in self.instances.items()
            if (process in down or _waits(one)) and one.load == "loaded"
        }
        ran = [
            found["InvocationID"]
            for process, found in last.items()
            if process in down and found["ExecMainExitTimestamp"] and found["InvocationID"]
        ]
        told = journal.stop_orders(ran, user=self.scope.user)
        # Who may not read the journal learns nothing from finding nothing.
        unsure = not self.scope.user and os.getuid() != 0
        states = {}
        for process in self.names.in_order():
            one = self.instances[process]
            facts = _facts(one, now)
            if found := last.get(process):
                stamp = found["ExecMainExitTimestamp"]
                facts = facts._replace(
                    result=found["Result"],
                    restarts=found["Restart"] != "no",
                    code=found["ExecMainCode"],
                    status=found["ExecMainStatus"],
                    ended=stamp / 1e6 if stamp else None,
                    told=found["InvocationID"] in told or (None if unsure else False),
                )
            word = state_of(facts, self.revisions[process.app].rollout.min_healthy.seconds)
            states[process] = (word, description(facts, word))
        return states

    def pid(self, process: Process) -> int:
        """The PID of its main process; 0: there is none."""
        one = self.instances[process]
        return one.main_pid if one.present else 0


def look(scope: Scope) -> Fleet:
    """Every app that is meant. Raises NoMatchError where none is installed."""
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
        found = observe.instances(systemd, where, app, workers, known)
        instances |= {
            Process(app, name): one
            for name, one in found.items()
            if one.present or revision.goal(name)
        }
    wanted = {
        app: {
            worker.name: Wanted(worker.instances, worker.supervisor_name)
            for worker in revision.workers
        }
        for app, revision in revisions.items()
    }
    return Fleet(scope, systemd, revisions, instances, Names(wanted, instances))


def _down(one: observe.Instance) -> bool:
    return one.active in ("inactive", "failed")


def _waits(one: observe.Instance) -> bool:
    return one.active == "activating" and one.sub.startswith("auto-restart")


def _facts(one: observe.Instance, now: float) -> Facts:
    age = None
    if one.active in ("active", "reloading"):
        # Not by the clock on the wall, which may be set.
        age = proc.age(one.main_pid) if one.main_pid else None
        if age is None and one.begun is not None:
            age = max(0.0, now - one.begun)
    return Facts(one.load, one.active, one.sub, one.main_pid, age)
