"""What a rollout has seen of its instances: signals put together with what is there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from unitq.instances import observe
from unitq.instances.state import Seen
from unitq.linux import proc
from unitq.model import names
from unitq.systemd.manager import Changed, Event, Systemd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from unitq.instances.state import Keeper, Unreached
    from unitq.model.names import InstanceName


class Sights:
    """The last sight of each instance, the unit jobs that are under way, and how many serve."""

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
        self.seen: dict[InstanceName, Seen] = {}
        self._jobs: dict[InstanceName, str] = {}
        # Per worker: how many serve, and the least that there were.
        self._serving = {name.worker: 0 for name in self.units.values()}
        self.least = dict(self._serving)

    def of(self, name: InstanceName) -> Seen:
        """The last sight of an instance."""
        return self.seen.get(name, Seen())

    def see(self, name: InstanceName, sight: Seen) -> None:
        """Notes what an instance is now; what is up again in a moment was down all the same."""
        before = self.of(name)
        self.seen[name] = sight
        self._serving[name.worker] += sight.serving - before.serving
        self.least[name.worker] = min(self.least[name.worker], self._serving[name.worker])

    def count_from_now(self) -> None:
        """What serves now is what there is to lose: the least is counted from here."""
        self.least = dict(self._serving)

    def ordered(self, name: InstanceName, job: str) -> None:
        """Notes the unit job that an order led to."""
        self._jobs[name] = job
        self.seen[name] = replace(self.seen[name], job=True)

    def note(self, name: InstanceName, event: Event) -> None:
        """Notes what a signal says of an instance."""
        seen = self.of(name)
        if isinstance(event, Changed):
            self.see(name, _changed(seen, event.properties))
        elif self._jobs.get(name) == event.job:
            del self._jobs[name]
            self.seen[name] = replace(seen, job=False, revision=self._revision(name, seen.pid))

    def _revision(self, name: InstanceName, pid: int) -> str | None:
        """What a main process runs, by its own mark or by its pin."""
        if not pid:
            return None
        told = proc.evidence(pid).revision
        return told or observe.started_from(self._where, self._app, name, pid)

    def note_code(self, name: InstanceName) -> None:
        """Notes which code an instance runs now: what it was started as may be a shell's."""
        seen = self.of(name)
        self.seen[name] = replace(seen, revision=self._revision(name, seen.pid))

    def more(self, name: InstanceName, keeper: Keeper | None) -> None:
        """Notes what the main process of an instance is that is about to be told to stop."""
        self.seen[name] = replace(self.of(name), keeper=keeper)

    def elsewhere(self, name: InstanceName, where: str) -> None:
        """Notes where the worker of an instance runs that has left its unit; empty: in it."""
        self.seen[name] = replace(self.of(name), elsewhere=where)

    def unreached(self, name: InstanceName, why: Unreached | None) -> None:
        """Notes what keeps the stop signal of an instance from its worker; None: nothing."""
        self.seen[name] = replace(self.of(name), unreached=why)

    def note_all(
        self, sights: Mapping[InstanceName, Seen], without_job: Iterable[InstanceName]
    ) -> None:
        """Notes what a look at the state itself has found, and whose unit jobs are over."""
        for name, sight in sights.items():
            self.see(name, sight)
        for name in without_job:
            self._jobs.pop(name, None)

    def sight(self, found: observe.Instance, *, everything: bool) -> Seen:
        """What an instance is, by a look at it; with `everything` also what only systemd tells."""
        before = self.seen.get(found.name)
        sight = replace(
            before or Seen(),
            active=found.active,
            sub=found.sub,
            job=found.job and found.name in self._jobs,
            pid=found.main_pid,
            invocation=found.invocation or (before.invocation if before else ""),
            revision=found.revision,
            elsewhere=found.elsewhere if found.serving else "",
        )
        if not everything or found.load == "not-loaded":
            return sight
        # After a lost connection: what the missed signals would have said.
        return _changed(
            sight,
            self._systemd.properties(
                found.unit,
                "InvocationID",
                "ActiveEnterTimestampMonotonic",
                "Result",
                "ExecMainCode",
                "ExecMainStatus",
            ),
        )


def _changed(seen: Seen, properties: Mapping[str, object]) -> Seen:
    """What was seen, with what systemd says has changed."""
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
