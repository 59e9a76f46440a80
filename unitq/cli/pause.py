"""pause and resume: workers that take no new jobs, by the framework's own signals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import click

from unitq.cli.grant.member import by_grant
from unitq.cli.output import echo, echo_json
from unitq.cli.scope import current, scope_options
from unitq.cli.targets import targets
from unitq.context import chosen
from unitq.errors import ConfigError, Exit
from unitq.instances import observe, paused
from unitq.instances.signals import recipients_of, send
from unitq.linux import proc
from unitq.model import names, signals
from unitq.rollout.current_state import running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from unitq.context import Scope
    from unitq.model.names import InstanceName
    from unitq.revisions.model import Revision, WorkerRevision


class Told(NamedTuple):
    """What became of one instance."""

    name: InstanceName
    state: str
    pids: tuple[int, ...] = ()  # that got the signal
    good: bool = True  # as asked


class _App(NamedTuple):
    """The app, and those of its instances that were named."""

    scope: Scope
    revision: Revision
    where: observe.Machine
    asked: tuple[observe.Instance, ...]

    def members(self, name: InstanceName) -> tuple[int, ...]:
        """Every process of the instance, now."""
        path = names.cgroup_path(self.revision.app, name)
        return proc.pids(f"{self.where.cgroup}/{path}")


def _named(wanted: tuple[str, ...]) -> _App:
    scope = current()
    revision = scope.installed()
    systemd = scope.systemd()
    where = observe.machine(systemd, scope.layout)
    found = running(systemd, scope, where, revision)
    asked = chosen(revision, wanted, found)
    return _App(scope, revision, where, tuple(found[name] for name in sorted(asked)))


@click.command(
    epilog="""\b
Examples:
  unitq pause sms          while the gateway is down
  unitq pause 'sms@[12]'   two of them

\b
Exit codes: 0 paused, or was already; 2 the framework has no such signal, and nothing was done;
3 an instance does not run, or would die of the signal.
"""
)
@scope_options
@click.option("--json", "as_json", is_flag=True, help="A JSON object; see docs/json.md.")
@targets
@by_grant("pause")
def pause(targets: tuple[str, ...], as_json: bool) -> int:
    """Let workers finish the job in hand and take no other, until `unitq resume`.

    They keep running. It holds for the processes that run now: a restart, a deploy or a crash puts
    one in their place that takes jobs, and `unitq deploy` says so. The signal is the preset's, and
    goes to no process that has no handler for it.
    """
    app = _named(targets)
    _refuse(app, "quiet", "no signal that pauses it", "`unitq stop` lets jobs finish, too")
    notes = paused.notes(app.scope.layout, app.revision.app)

    def tell(instance: observe.Instance, worker: WorkerRevision) -> Told:
        if notes.get(instance.name) == instance.invocation:
            return Told(instance.name, "was paused already")
        number = signals.number(worker.quiet)
        to = recipients_of(instance.pids, number)
        if not to:
            why = f"refused: none of its processes has a handler for {worker.quiet}"
            return Told(instance.name, f"{why}, and they would die of it", good=False)
        paused.note(app.scope.layout, app.revision.app, instance.name, instance.invocation)
        told = _sent(app, instance.name, to, number)
        if not told:
            paused.forget(app.scope.layout, app.revision.app, [instance.name])
            return Told(instance.name, "its process has just ended", good=False)
        return Told(instance.name, "paused", told)

    return _all(app, "pause", tell, as_json=as_json)


@click.command(
    epilog="""\b
Examples:
  unitq resume sms
  unitq resume             every worker of the app

\b
Exit codes: 0 they take jobs; 2 the framework has no such signal; 3 an instance does not run.
"""
)
@scope_options
@click.option("--json", "as_json", is_flag=True, help="A JSON object; see docs/json.md.")
@targets
@by_grant("resume")
def resume(targets: tuple[str, ...], as_json: bool) -> int:
    """Let paused workers take jobs again. What was not paused goes on as it does."""
    app = _named(targets)
    _refuse(app, "resume", "no signal that ends a pause", "`unitq restart` does")

    def tell(instance: observe.Instance, worker: WorkerRevision) -> Told:
        number = signals.number(worker.resume)
        # SIGCONT kills nobody; where there is no handler it means nothing either.
        to = recipients_of(instance.pids, number) or (instance.main_pid,)
        told = _sent(app, instance.name, to, number)
        paused.forget(app.scope.layout, app.revision.app, [instance.name])
        return Told(instance.name, "takes jobs", told)

    return _all(app, "resume", tell, as_json=as_json)


def _refuse(app: _App, key: str, lacks: str, otherwise: str) -> None:
    """Raises ConfigError where a worker has no signal for it, before anything is done."""
    workers = {one.name.worker for one in app.asked}
    without = [
        worker
        for worker in app.revision.workers
        if worker.name in workers and not getattr(worker, key)
    ]
    if without:
        names_of = ", ".join(worker.name for worker in without)
        preset = without[0].preset
        raise ConfigError(
            f"{names_of}: {f'{preset} has' if preset else 'without a preset there is'} {lacks}",
            hint=_instead(app.scope, preset) or otherwise,
        )


def _instead(scope: Scope, preset: str | None) -> str:
    """What the framework's own way is, where it has one."""
    found = scope.presets().get(preset or "")
    return found.quiet.instead if found else ""


def _sent(app: _App, name: InstanceName, to: Iterable[int], number: int) -> tuple[int, ...]:
    return tuple(pid for pid in to if send(pid, number, lambda: app.members(name)))


def _all(
    app: _App,
    verb: str,
    tell: Callable[[observe.Instance, WorkerRevision], Told],
    *,
    as_json: bool,
) -> Exit:
    rows: list[Told] = []
    for instance in app.asked:
        worker = app.revision.worker(instance.name.worker)
        if worker is None or not instance.pids or not instance.invocation:
            rows.append(Told(instance.name, "not running", good=False))
        else:
            rows.append(tell(instance, worker))
    code = Exit.OK if all(row.good for row in rows) else Exit.NOT_AS_WANTED
    if as_json:
        echo_json(_document(app, verb, rows, code))
    else:
        for row in rows:
            pids = f" (PID {', '.join(map(str, row.pids))})" if row.pids else ""
            echo(f"{row.name}: {row.state}{pids}", err=not row.good)
    return code


def _document(app: _App, verb: str, rows: Iterable[Told], code: Exit) -> dict[str, Any]:
    return {
        "format": 1,
        "command": verb,
        "app": app.revision.app,
        "exit_code": int(code),
        "instances": [
            {
                "instance": str(row.name),
                "state": row.state,
                "pids": list(row.pids),
                "as_asked": row.good,
            }
            for row in rows
        ],
    }
