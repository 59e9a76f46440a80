"""Pauses workers, so that they take no new jobs, and resumes them: by their framework's signals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.context import chosen
from unitq.errors import ConfigError, Exit
from unitq.instances import observe, paused
from unitq.instances.signals import recipients_of, send
from unitq.linux import proc
from unitq.model import names, signals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from unitq.context import Scope
    from unitq.model.names import InstanceName
    from unitq.revisions.model import Revision, WorkerRevision


class Paused(NamedTuple):
    """What became of one instance."""

    instance: str
    state: str  # in words
    pids: tuple[int, ...] = ()  # that got the signal
    as_asked: bool = True


@dataclass(frozen=True, slots=True)
class PauseResult:
    """What `pause` or `resume` did to each instance."""

    command: str
    app: str
    instances: tuple[Paused, ...]

    @property
    def exit_code(self) -> Exit:
        """NOT_AS_WANTED where an instance does not run, or would have died of the signal."""
        return Exit.OK if all(row.as_asked for row in self.instances) else Exit.NOT_AS_WANTED

    def to_json(self) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        return {
            "format": 1,
            "command": self.command,
            "app": self.app,
            "exit_code": int(self.exit_code),
            "instances": [row._asdict() | {"pids": list(row.pids)} for row in self.instances],
        }


def pause(scope: Scope, targets: Sequence[str]) -> PauseResult:
    """Tells workers to finish their job and take no other; the signal kills none of them.

    Raises ConfigError, before anything is done, where a framework has no such signal.
    """
    members = _Members(scope, targets)
    members.require_signal(
        "quiet", "no signal that pauses it", "`unitq stop` lets jobs finish, too"
    )
    app = members.revision.app
    notes = paused.notes(scope.layout, app)

    def pause_one(instance: observe.Instance, worker: WorkerRevision) -> Paused:
        name = instance.name
        if notes.get(name) == instance.invocation:
            return Paused(str(name), "was paused already")
        number = signals.number(worker.quiet)
        pids = recipients_of(instance.pids, number)
        if not pids:
            why = f"refused: none of its processes has a handler for {worker.quiet}"
            return Paused(str(name), f"{why}, and they would die of it", as_asked=False)
        paused.note(scope.layout, app, name, instance.invocation)
        sent = members.send(name, pids, number)
        if not sent:
            paused.forget(scope.layout, app, [name])
            return Paused(str(name), "its process has just ended", as_asked=False)
        return Paused(str(name), "paused", sent)

    return members.apply("pause", pause_one)


def resume(scope: Scope, targets: Sequence[str]) -> PauseResult:
    """Lets paused workers take jobs again.

    Raises ConfigError, before anything is done, where a framework has no such signal.
    """
    members = _Members(scope, targets)
    members.require_signal("resume", "no signal that ends a pause", "`unitq restart` does")

    def resume_one(instance: observe.Instance, worker: WorkerRevision) -> Paused:
        number = signals.number(worker.resume)
        # SIGCONT kills nobody; where there is no handler it means nothing either.
        pids = recipients_of(instance.pids, number) or (instance.main_pid,)
        sent = members.send(instance.name, pids, number)
        paused.forget(scope.layout, members.revision.app, [instance.name])
        return Paused(str(instance.name), "takes jobs", sent)

    return members.apply("resume", resume_one)


class _Members:
    """The instances that targets name, of one app."""

    def __init__(self, scope: Scope, targets: Sequence[str]) -> None:
        self.revision: Revision = scope.installed()
        self._scope = scope
        systemd = scope.systemd()
        self._where = observe.machine(systemd, scope.layout)
        running = observe.running(systemd, scope.layout, self._where, self.revision)
        named = chosen(self.revision, targets, running)
        self._instances = [running[name] for name in sorted(named)]

    def require_signal(self, key: str, lacks: str, otherwise: str) -> None:
        """Raises ConfigError where one of the workers has no signal for it."""
        named = {instance.name.worker for instance in self._instances}
        without = [
            worker
            for worker in self.revision.workers
            if worker.name in named and not getattr(worker, key)
        ]
        if without:
            workers, preset = ", ".join(worker.name for worker in without), without[0].preset
            facts = self._scope.presets().get(preset or "")
            raise ConfigError(
                f"{workers}: {f'{preset} has' if preset else 'without a preset there is'} {lacks}",
                hint=(facts.quiet.instead if facts else "") or otherwise,
            )

    def send(self, name: InstanceName, pids: Iterable[int], number: int) -> tuple[int, ...]:
        """Sends a signal to processes of an instance; returns those that got it."""
        path = f"{self._where.cgroup}/{names.cgroup_path(self.revision.app, name)}"
        return tuple(pid for pid in pids if send(pid, number, lambda: proc.pids(path)))

    def apply(
        self, command: str, action: Callable[[observe.Instance, WorkerRevision], Paused]
    ) -> PauseResult:
        """Applies the action to each instance that runs."""
        rows = []
        for instance in self._instances:
            worker = self.revision.worker(instance.name.worker)
            if worker is None or not instance.pids or not instance.invocation:
                rows.append(Paused(str(instance.name), "not running", as_asked=False))
            else:
                rows.append(action(instance, worker))
        return PauseResult(command, self.revision.app, tuple(rows))
