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
    """Says only what goes wrong; what is done is said once it is, in Supervisor's words."""

    def report(self, report: Report) -> None:
        """Says what went wrong, in unitq's own words."""
        well = report.exit_code == Exit.OK
        with suppress(OSError):
            for text, wrong in report_text.ending(report):
                if wrong or not well:
                    echo(text, err=True)


class Configured(NamedTuple):
    """One configuration file."""

    scope: Scope
    app: App
    path: Path
    current: Revision | None  # what is installed

    @property
    def request(self) -> Request:
        """A deploy of it that leaves what is installed."""
        return Request(self.app, self.path, beside=self.current)

    def operation(self, verb: str) -> Operation:
        """A command about it."""
        return Operation(verb, self.scope, _Update())


class Pending(NamedTuple):
    """What a deploy of it would do."""

    of: Configured
    groups: Mapping[str, GroupChange]  # by group
    pending: bool  # there is something to do, be it to none of the groups
    started: tuple[str, ...]  # processes that do not run, and would


def reread(call: Call) -> Code:
    """What `update` would change."""
    if call.words:
        return call.wrong("Error: reread accepts no arguments")
    try:
        found = _pending(call.scope)
    except (ConfigError, PreflightError) as error:
        return _cannot_read(error)
    for line in reread_lines(
        (name, change) for one in found for name, change in one.groups.items()
    ):
        echo(line)
    started = [name for one in found for name in one.started]
    if started:
        say(f"update also starts what does not run: {', '.join(started)}")
    return Code.OK


def update(call: Call) -> Code:
    """Installs what the configuration says, and rolls it out."""
    try:
        found = _pending(call.scope)
    except (ConfigError, PreflightError) as error:
        return _cannot_read(error)
    code = Code.OK
    asked = set(call.words) if "all" not in call.words else set()
    if asked:
        known = {group for one in found for group in (*_groups(found, one.of), *one.groups)}
        for name in sorted(asked - known):
            echo(f"ERROR: no such group: {name}")
            code = Code.GENERIC
    for one in found:
        if not one.pending or (asked and not asked & one.groups.keys()):
            continue
        others = sorted(one.groups.keys() - asked) if asked else []
        if others:
            for name in sorted(asked & one.groups.keys()):
                echo(f"ERROR: {name}: not updated")
            say(
                f"an update of {one.of.app.name} is one deploy, and would change "
                f"{', '.join(others)} too: `unitq ctl update` does"
            )
            code = Code.GENERIC
            continue
        code = _deploy(one) or code
    return code


def _deploy(one: Pending) -> Code:
    if deploy(one.of.operation("deploy"), one.of.request).exit_code != Exit.OK:
        return Code.GENERIC
    # Supervisor takes away first, then changes, then adds.
    for kind in (GroupChange.REMOVED, GroupChange.CHANGED, GroupChange.ADDED):
        for name, change in one.groups.items():
            if change is not kind:
                continue
            if kind is GroupChange.REMOVED:
                echo(f"{name}: stopped")
            echo(f"{name}: {DONE[kind]}")
    return Code.OK


def avail(call: Call) -> Code:
    """Every process that is configured, and whether its group is installed."""
    if call.words:
        return call.wrong("Error: avail accepts no arguments")
    found = list(_configured(call.scope))
    names = _names(found)
    rows = []
    for one in found:
        for worker in one.app.workers:
            used = one.current is not None and one.current.worker(worker.name) is not None
            rows += [
                (names.of(Process(one.app.name, instance)), used)
                for instance in instances(worker.name, worker.instances)
            ]
    for name, used in sorted(rows):
        echo(available(name, used=used))
    return Code.OK


def _pending(scope: Scope) -> list[Pending]:
    """What a deploy of each configuration would do."""
    every = list(_configured(scope))
    names = _names(every)
    found = []
    for one in every:
        # As Supervisor: it compares what is configured. Code in place that nothing tells apart
        # from what was deployed is no change; `unitq deploy` is for code.
        plan = prepare(one.operation("plan"), one.request).plan
        app = one.app.name
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
        found.append(Pending(one, groups, plan.pending, started))
    return found


def _names(found: list[Configured]) -> Names:
    """Of what is installed and what is configured."""
    wanted: dict[str, dict[str, Wanted]] = {}
    for one in found:
        workers = wanted.setdefault(one.app.name, {})
        if one.current:
            for old in one.current.workers:
                workers[old.name] = Wanted(old.instances, old.supervisor_name)
        for worker in one.app.workers:
            workers[worker.name] = Wanted(worker.instances, worker.supervisor_name)
    every = [
        Process(app, instance)
        for app, workers in wanted.items()
        for name, (count, _) in workers.items()
        for instance in instances(name, count)
    ]
    return Names(wanted, every)


def _groups(found: list[Pending], one: Configured) -> set[str]:
    names = _names([each.of for each in found])
    installed = one.current.workers if one.current else ()
    workers = {worker.name for worker in one.app.workers} | {worker.name for worker in installed}
    return {names.group(one.app.name, worker) for worker in workers}


def _configured(scope: Scope) -> Iterator[Configured]:
    """Every configuration that is meant: by -c, ./unitq.toml, or of all that is there."""
    for each in _scopes(scope):
        app, path = each.load()
        yield Configured(each, app, path, state.current(each.layout.app(app.name)))


def _scopes(scope: Scope) -> list[Scope]:
    here = Path("unitq.toml")
    named = scope.config or os.environ.get("UNITQ_CONFIG")
    if named or (os.path.exists(here) and scope.app in (None, app_of(here))):
        return [scope]
    found: dict[str, Path] = {}
    for app in state.apps(scope.layout):
        path = Path(state.require_current(scope.layout, app).config)
        if app_of(path) == app:
            found[app] = path
        elif scope.app in (None, app):
            say(f"{app}: {path}, which it was deployed from, is not there or about something else")
    for path in sorted(Path(scope.layout.config_dir).glob("*.toml")):
        name = app_of(path)
        if name is None:
            raise ConfigError(f"{path}: names no app, or cannot be read")
        found.setdefault(name, path)
    chosen = {app: path for app, path in found.items() if scope.app in (None, app)}
    if not chosen:
        scope.config_path()  # says where it has looked
    return [scope.replace(app=app, config=str(path)) for app, path in sorted(chosen.items())]


def _cannot_read(error: UnitqError) -> Code:
    echo(f"ERROR: CANT_REREAD: {error.message}")
    echo_lines(details(error), err=True)
    return Code.GENERIC
