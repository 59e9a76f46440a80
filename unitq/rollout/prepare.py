"""What a deploy would do: everything read once and checked, nothing changed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unitq.config import source
from unitq.config.lint import remove_allowed
from unitq.errors import NotPermittedError, PreflightError
from unitq.model.finding import Level
from unitq.revisions import code, state
from unitq.revisions.model import Origin, successor
from unitq.rollout.checks.check import findings_of
from unitq.rollout.rollback_target import restore_commands, rollback_target
from unitq.rollout.wanted_units import read_inputs, render_sealed
from unitq.text import unitq
from unitq.units import unit_files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from unitq.context import Scope
    from unitq.model.app import App
    from unitq.model.finding import Finding
    from unitq.model.settings import RolloutSettings, Share
    from unitq.revisions.code import AppCode
    from unitq.revisions.model import Revision
    from unitq.rollout.operation import Operation
    from unitq.rollout.plan import Plan
    from unitq.units.render import Rendered


@dataclass(frozen=True, slots=True)
class Request:
    """A deploy that somebody asks for: the configuration as it was read, and what goes with it."""

    app: App
    path: Path  # of unitq.toml
    label: str | None = None  # what the code is called; None: it is found out
    message: str = ""
    max_unavailable: Share | None = None  # of the command line
    settings: RolloutSettings | None = None  # of file and command line; None: the file's
    adopt: bool = False  # the app may have been installed from another file
    # What is installed, where that is to stay and more to come: see code.keep_installed.
    beside: Revision | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan and what it takes to carry it out."""

    app: App
    rendered: Rendered
    plan: Plan
    rollback_target: Revision | None
    settings: RolloutSettings
    restore: str = ""  # what brings the old code back, which is updated in place
    unknown: bool = False  # whether environments have changed


def prepare(operation: Operation, request: Request, *, warn: bool = True) -> Prepared:
    """Returns the plan, all checks passed. Raises PreflightError with all that is wrong.

    What may be a mistake is said as a warning, unless `warn` is False. Raises SystemdError before
    all else where there is no systemd, and NotPermittedError where secrets cannot be sealed.
    """
    _ = operation.systemd  # without it, nothing else matters
    scope, app, path = operation.scope, request.app, request.path
    before = state.current(scope.layout.app(app.name))
    moved = source.conflicting_file(path, before.config, app) if before else None
    if moved is not None and not request.adopt:
        raise _other_file_error(scope, app, path, moved)
    code_read = code.find_code(app, request.label, certain=True)
    _refuse_denied(code_read)
    code_versions = code_read.code
    if request.beside:
        code_versions = code.keep_installed(code_versions, request.beside)
    inputs = read_inputs(scope, app, path, code_versions)
    wanted, unknown = render_sealed(inputs, before)
    findings = [
        *(refusal.finding for refusal in code_read.refused),
        *remove_allowed(findings_of(inputs, wanted), app),
        *unknown,
    ]
    if errors := [finding for finding in findings if finding.level is Level.ERROR]:
        raise PreflightError(
            f"{app.name}: cannot be deployed; nothing was changed",
            problems=tuple(finding.text for finding in errors),
        )
    if warn:
        _warn(operation, request, findings)
    config = source.path_to_remember(path, app)
    origin = Origin(time.time(), state.whoami(), config, request.message)
    target = successor(before, wanted, app.rollout, origin)
    if before is not None and moved is not None and target is before:
        target = before.with_origin(origin)
    names = [unit.name for unit in wanted.units]
    unit_files.refuse_foreign(scope.layout.unit_dir, app.name, names)
    settings = (request.settings or target.rollout).with_max_unavailable(request.max_unavailable)
    units = {unit.name: unit.text for unit in wanted.units}
    plan = operation.plan(before, target, units, settings)
    back = rollback_target(scope, target)
    return Prepared(
        app,
        wanted,
        plan,
        back,
        settings,
        restore_commands(scope, back, target) if back else "",
        bool(unknown),
    )


def _refuse_denied(looked: AppCode) -> None:
    """Raises NotPermittedError where something is there, but not for us."""
    for finding, denied in looked.refused:
        if denied:
            message = f"{finding.place}: {finding.message}"
            raise NotPermittedError(message, hint=finding.hint)


def _other_file_error(scope: Scope, app: App, path: Path, other: str) -> PreflightError:
    return PreflightError(
        f"{app.name} was installed from another file, {other}; this is {path}",
        problems=(f"Its workers would be replaced by those of {path}. Nothing was changed.",),
        hint=f"give one of the two apps another name, or let {path} take it over: "
        f"unitq {'--user ' * scope.user}-c {path} deploy --adopt",
    )


def _warn(operation: Operation, request: Request, findings: Iterable[Finding]) -> None:
    """Says what may be a mistake."""
    scope, presenter = operation.scope, operation.presenter
    for finding in findings:
        if finding.level is Level.WARNING:
            presenter.note(*finding.lines)
    for name in source.others(scope.layout, request.path, request.app):
        presenter.warn(
            f"app {name} was deployed from this file too, under its former name, and still runs: "
            f"`{unitq(name, user=scope.user)} remove` ends it"
        )
