"""`unitq ctl` reread, update, avail: what unitq.toml says, and what runs."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from unitq.cli.ctl.call import say
from unitq.cli.output import details, echo, echo_lines
from unitq.cli.presenter import Notes
from unitq.context import app_of
from unitq.errors import ConfigError, Exit, PreflightError, UnitqError
from unitq.model.names import instances
from unitq.revisions import state
from unitq.rollout.deploy import deploy
from unitq.rollout.operation import Operation
from unitq.rollout.plan import Change
from unitq.rollout.prepare import Request, prepare
from unitq.rollout.reports import report_text
from unitq.supervisor.ctl.format import (
    DONE,
    Code,
    GroupChange,
    available,
    by_group,
    changes,
    reread_lines,
)
from unitq.supervisor.ctl.names import Names, Process, Wanted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from unitq.cli.ctl.call import Call
    from unitq.context import Scope
    from unitq.model.app import App
    from unitq.revisions.model import Revision
    from unitq.rollout.reports.report import Report


class _Update(Notes):
    """Prints only errors; `_deploy` prints the changes in Supervisor's words."""

    def report(self, report: Report) -> None:
        """Prints what went wrong, in unitq's own words."""
        well = report.exit_code == Exit.OK
        with suppress(OSError):
            for text, wrong in report_text.ending(report):
                if wrong or not well:
                    echo(text, err=True)


class Configuration(NamedTuple):
    """A unitq.toml and the revision installed from it."""

    scope: Scope
    app: App
    path: Path
    current: Revision | None  # what is installed

    @property
    def request(self) -> Request:
        """A deploy of it beside what is installed."""
        return Request(self.app, self.path, beside=self.current)

    def operation(self, verb: str) -> Operation:
        """Returns the operation of a command about it."""
        return Operation(verb, self.scope, _Update())


class PendingDeploy(NamedTuple):
    """The changes that a deploy of a configuration would make."""

    configuration: Configuration
    groups: Mapping[str, GroupChange]  # by group
    pending: bool  # true also for a change that is in no group
    started: tuple[str, ...]  # processes that do not run, and would


def reread(call: Call) -> Code:
    """Prints what `update` would change."""
    if call.words:
        return call.wrong("Error: reread accepts no arguments")
    try:
        pending = _pending(call.scope)
    except (ConfigError, PreflightError) as error:
        return _cannot_read(error)
    for line in reread_lines(item for change in pending for item in change.groups.items()):
        echo(line)
    started = [name for change in pending for name in change.started]
    if started:
        say(f"update also starts what does not run: {', '.join(started)}")
    return Code.OK


def update(call: Call) -> Code:
    """Deploys each configuration that has changes."""
    try:
        pending = _pending(call.scope)
    except (ConfigError, PreflightError) as error:
        return _cannot_read(error)
    code = Code.OK
    asked = set(call.words) if "all" not in call.words else set()
    if asked:
        known = {
            group
            for change in pending
            for group in (*_groups(pending, change.configuration), *change.groups)
        }
        for name in sorted(asked - known):
            echo(f"ERROR: no such group: {name}")
            code = Code.GENERIC
    for change in pending:
        if not change.pending or (asked and not asked & change.groups.keys()):
            continue
        others = sorted(change.groups.keys() - asked) if asked else []
        if others:
            for name in sorted(asked & change.groups.keys()):
                echo(f"ERROR: {name}: not updated")
            say(
                f"an update of {change.configuration.app.name} is one deploy, and would change "
                f"{', '.join(others)} too: `unitq ctl update` does"
            )
            code = Code.GENERIC
            continue
        code = _deploy(change) or code
    return code


def _deploy(pending: PendingDeploy) -> Code:
    configuration = pending.configuration
    report = deploy(configuration.operation("deploy"), configuration.request)
    if report.exit_code != Exit.OK:
        return Code.GENERIC
    # Supervisor takes away first, then changes, then adds.
    for kind in (GroupChange.REMOVED, GroupChange.CHANGED, GroupChange.ADDED):
        for name, change in pending.groups.items():
            if change is not kind:
                continue
            if kind is GroupChange.REMOVED:
                echo(f"{name}: stopped")
            echo(f"{name}: {DONE[kind]}")
    return Code.OK


def avail(call: Call) -> Code:
    """Prints the configured processes, and whether the group of each is installed."""
    if call.words:
        return call.wrong("Error: avail accepts no arguments")
    configurations = list(_configurations(call.scope))
    names = _names(configurations)
    rows = []
    for configuration in configurations:
        app, current = configuration.app, configuration.current
        for worker in app.workers:
            used = current is not None and current.worker(worker.name) is not None
            rows += [
                (names.of(Process(app.name, instance)), used)
                for instance in instances(worker.name, worker.instances)
            ]
    for name, used in sorted(rows):
        echo(available(name, used=used))
    return Code.OK


def _pending(scope: Scope) -> list[PendingDeploy]:
    """Returns the changes that a deploy of each configuration would make."""
    configurations = list(_configurations(scope))
    names = _names(configurations)
    pending = []
    for configuration in configurations:
        # Supervisor compares configurations. Code in place with no version to compare is no
        # change; `unitq deploy` is for code.
        plan = prepare(configuration.operation("plan"), configuration.request).plan
        app = configuration.app.name
        workers = {worker.name: names.group(app, worker.name) for worker in plan.target.workers}
        if plan.current:
            for worker in plan.current.workers:
                workers.setdefault(worker.name, names.group(app, worker.name))
        groups = by_group(changes(plan), workers)
        started = tuple(
            names.of(Process(app, step.instance))
            for step in plan.changes
            if step.change is Change.START and names.group(app, step.instance.worker) not in groups
        )
        pending.append(PendingDeploy(configuration, groups, plan.pending, started))
    return pending


def _names(configurations: list[Configuration]) -> Names:
    """Returns the names of installed and of configured processes."""
    wanted: dict[str, dict[str, Wanted]] = {}
    for configuration in configurations:
        workers = wanted.setdefault(configuration.app.name, {})
        if configuration.current:
            for old in configuration.current.workers:
                workers[old.name] = Wanted(old.instances, old.supervisor_name)
        for worker in configuration.app.workers:
            workers[worker.name] = Wanted(worker.instances, worker.supervisor_name)
    processes = [
        Process(app, instance)
        for app, workers in wanted.items()
        for name, (count, _) in workers.items()
        for instance in instances(name, count)
    ]
    return Names(wanted, processes)


def _groups(pending: list[PendingDeploy], configuration: Configuration) -> set[str]:
    app, current = configuration.app, configuration.current
    names = _names([change.configuration for change in pending])
    installed = current.workers if current else ()
    workers = {worker.name for worker in app.workers} | {worker.name for worker in installed}
    return {names.group(app.name, worker) for worker in workers}


def _configurations(scope: Scope) -> Iterator[Configuration]:
    """Yields the file of -c, or ./unitq.toml, or the files of all apps."""
    for file_scope in _scopes(scope):
        app, path = file_scope.load()
        current = state.current(file_scope.layout.app(app.name))
        yield Configuration(file_scope, app, path, current)


def _scopes(scope: Scope) -> list[Scope]:
    here = Path("unitq.toml")
    named = scope.config or os.environ.get("UNITQ_CONFIG")
    if named or (os.path.exists(here) and scope.app in (None, app_of(here))):
        return [scope]
    paths: dict[str, Path] = {}
    for app in state.apps(scope.layout):
        path = Path(state.require_current(scope.layout, app).config)
        if app_of(path) == app:
            paths[app] = path
        elif scope.app in (None, app):
            say(f"{app}: {path}, which it was deployed from, is not there or about something else")
    for path in sorted(Path(scope.layout.config_dir).glob("*.toml")):
        name = app_of(path)
        if name is None:
            raise ConfigError(f"{path}: names no app, or cannot be read")
        paths.setdefault(name, path)
    chosen = {app: path for app, path in paths.items() if scope.app in (None, app)}
    if not chosen:
        scope.config_path()  # raises ConfigError with the places
    return [scope.replace(app=app, config=str(path)) for app, path in sorted(chosen.items())]


def _cannot_read(error: UnitqError) -> Code:
    echo(f"ERROR: CANT_REREAD: {error.message}")
    echo_lines(details(error), err=True)
    return Code.GENERIC
