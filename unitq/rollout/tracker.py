"""Tracks the state of the instances of a rollout, from signals and from reads of the state."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from unitq.instances import observe
from unitq.instances.state import Observed
from unitq.linux import proc
from unitq.model import names
from unitq.systemd.manager import Changed, Event, Systemd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from unitq.model.names import InstanceName


class StateTracker:
    """What was last observed of each instance, the open unit jobs, and how many instances serve."""

    def __init__(
        self,
        systemd: Systemd,
        where: observe.Machine,
        app: str,
        instances: Iterable[InstanceName],
    ) -> None:
        self._systemd = systemd
        self._where = where
        self._app = app
        self.units = {names.unit(app, name): name for name in instances}
        self.seen: dict[InstanceName, Observed] = {}
        self._changed: dict[InstanceName, Observed] = {}
        self._jobs: dict[InstanceName, str] = {}
        # Per worker: how many serve, and the least that there were.
        self._serving = {name.worker: 0 for name in self.units.values()}
        self.least = dict(self._serving)

    def of(self, name: InstanceName) -> Observed:
        """Returns what was last seen of an instance."""
        return self.seen.get(name, Observed())

    def take_changes(self) -> dict[InstanceName, Observed]:
        """Returns what was seen since the last call."""
        changed, self._changed = self._changed, {}
        return changed

    def count_from_now(self) -> None:
        """Starts the count of the fewest serving instances at what serves now."""
        self.least = dict(self._serving)

    def record(self, name: InstanceName, **fields: object) -> None:
        """Replaces some of what is seen of an instance."""
        self._set(name, replace(self.of(name), **fields))  # type: ignore[arg-type]

    def record_job(self, name: InstanceName, job: str) -> None:
        """Records the unit job that an order led to."""
        self._jobs[name] = job
        self.record(name, job=True)

    def record_code(self, name: InstanceName) -> None:
        """Records which code an instance runs now: a shell may have started it meanwhile."""
        self.record(name, revision=self._revision(name, self.of(name).pid))

    def record_all(
        self, seen: Mapping[InstanceName, Observed], without_job: Iterable[InstanceName]
    ) -> None:
        """Records a read of the state itself, and whose unit jobs are over."""
        for name, observed in seen.items():
            self._set(name, observed)
        for name in without_job:
            self._jobs.pop(name, None)

    def hear(self, name: InstanceName, event: Event) -> None:
        """Records what a signal says of an instance."""
        seen = self.of(name)
        if isinstance(event, Changed):
            self._set(name, _apply(seen, event.properties))
        elif self._jobs.get(name) == event.job:
            del self._jobs[name]
            self.record(name, job=False, revision=self._revision(name, seen.pid))

    def _set(self, name: InstanceName, observed: Observed) -> None:
        """Counts each change: an instance that is down for a moment counts as down."""
        before = self.of(name)
        self.seen[name] = self._changed[name] = observed
        self._serving[name.worker] += observed.serving - before.serving
        self.least[name.worker] = min(self.least[name.worker], self._serving[name.worker])

    def _revision(self, name: InstanceName, pid: int) -> str | None:
        """Returns what a main process runs, by its own mark or by its pin."""
        if not pid:
            return None
        revision = proc.evidence(pid).revision
        return revision or observe.revision_by_pin(self._where, self._app, name, pid)

    def observed_state(self, found: observe.Instance, *, everything: bool) -> Observed:
        """Returns what an instance is, as read; with `everything` also what only systemd knows."""
        before = self.seen.get(found.name)
        observed = replace(
            before or Observed(),
            active=found.active,
            sub=found.sub,
            job=found.job and found.name in self._jobs,
            pid=found.main_pid,
            invocation=found.invocation or (before.invocation if before else ""),
            revision=found.revision,
            elsewhere=found.elsewhere if found.serving else "",
        )
        if not everything or found.load == "not-loaded":
            return observed
        # After a lost connection: what the missed signals would have said.
        return _apply(
            observed,
            self._systemd.properties(
                found.unit,
                "InvocationID",
                "ActiveEnterTimestampMonotonic",
                "Result",
                "ExecMainCode",
                "ExecMainStatus",
            ),
        )


def _apply(seen: Observed, properties: Mapping[str, object]) -> Observed:
    """Returns what was seen, with what systemd says has changed."""
    fields = {
        "ActiveState": "active",
        "SubState": "sub",
        "InvocationID": "invocation",
        "ActiveEnterTimestampMonotonic": "since",
        "MainPID": "pid",
        "Result": "result",
        "ExecMainCode": "code",
        "ExecMainStatus": "status",
    }
    changes = {fields[name]: value for name, value in properties.items() if name in fields}
    return replace(seen, **changes)  # type: ignore[arg-type]
