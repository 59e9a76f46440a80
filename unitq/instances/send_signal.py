"""Sends a signal to workers, unless it is known to cost jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unitq.context import chosen
from unitq.errors import ConfigError, Exit, PreflightError
from unitq.instances import observe
from unitq.instances.signal_harm import Framework, Recipient, problems
from unitq.linux import proc
from unitq.model import names, signals
from unitq.units import unit_files
from unitq.units.text import read_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.context import Scope
    from unitq.revisions.model import Revision


@dataclass(frozen=True, slots=True)
class SignalResult:
    """Which processes got a signal."""

    app: str
    signal: str
    pids: tuple[tuple[str, tuple[int, ...]], ...]  # by instance; none: it does not run

    @property
    def exit_code(self) -> Exit:
        """NOT_AS_WANTED where none of the instances runs."""
        return Exit.OK if any(pids for _, pids in self.pids) else Exit.NOT_AS_WANTED

    def to_json(self) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        return {
            "format": 1,
            "command": "signal",
            "app": self.app,
            "exit_code": int(self.exit_code),
            "signal": self.signal,
            "instances": [{"instance": name, "pids": list(pids)} for name, pids in self.pids],
        }


def send_signal(
    scope: Scope,
    signal: str,
    targets: Sequence[str],
    *,
    all_processes: bool = False,
    force: bool = False,
) -> SignalResult:
    """Sends it to the main process of each instance that runs, or to all of its processes.

    Raises PreflightError, and sends none, where the signal would end workers or lose jobs; not
    with `force`.
    """
    try:
        number = signals.number(signal)
    except ValueError as error:
        raise ConfigError(
            str(error), hint="such as QUIT, USR2, CONT; `kill -l` lists them"
        ) from None
    revision, systemd = scope.installed(), scope.systemd()
    where = observe.machine(systemd, scope.layout)
    running = observe.running(systemd, scope.layout, where, revision)
    instances = [running[name] for name in sorted(chosen(revision, targets, running))]
    if not force:
        _require_harmless(scope, revision, number, instances, all_processes=all_processes)
    rows = []
    for instance in instances:
        pids = _recipients(instance, all_processes=all_processes)
        if pids:
            systemd.kill(instance.unit, "all" if all_processes else "main", number)
        rows.append((str(instance.name), pids))
    return SignalResult(revision.app, signals.name(number), tuple(rows))


def _recipients(instance: observe.Instance, *, all_processes: bool) -> tuple[int, ...]:
    if not instance.pids:
        return ()
    return instance.pids if all_processes else (instance.main_pid,)


def _require_harmless(
    scope: Scope,
    revision: Revision,
    number: int,
    instances: Sequence[observe.Instance],
    *,
    all_processes: bool,
) -> None:
    """Raises PreflightError where the signal would end workers or lose jobs."""
    instances = [instance for instance in instances if instance.pids]
    draining = {instance.name for instance in instances if instance.draining}
    recipients = {
        instance.name: [
            Recipient(proc.name_of(pid), proc.handles(pid, number))
            for pid in _recipients(instance, all_processes=all_processes)
        ]
        for instance in instances
    }
    frameworks = {
        worker: framework
        for worker in sorted({name.worker for name in recipients})
        if (framework := _framework(scope, revision, worker))
    }
    if wrong := problems(number, recipients, frameworks, draining):
        raise PreflightError(
            f"{revision.app}: {signals.name(number)} can cost jobs; nothing was sent",
            problems=wrong,
            hint="`unitq stop` and `unitq restart` let jobs finish; --force sends it all the same",
        )


def _framework(scope: Scope, revision: Revision, worker: str) -> Framework | None:
    """What is known of the program that an installed worker runs; None: it has no preset."""
    wanted = revision.worker(worker)
    preset = scope.presets().get(wanted.preset or "") if wanted else None
    if preset is None:
        return None
    text = unit_files.text(scope.layout.unit_dir, names.template(revision.app, worker))
    unit = read_unit(text, str(scope.layout.app(revision.app).pins(worker)))
    if unit is None:
        return Framework(preset, preset.stop.signal)
    return Framework(preset.for_command(unit.command), unit.stop_signal)
