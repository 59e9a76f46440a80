"""Looks for mistakes in unitq.toml and on this machine, before anything is changed."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from unitq.config import envfile_lint, machine_lint, moving_paths, scripts, service_lint
from unitq.config.exposure_lint import exposure_notes, limits_of_user_scope
from unitq.config.lint import lint_app, remove_allowed
from unitq.errors import (
    ConfigError,
    Exit,
    NoMatchError,
    NotPermittedError,
    PreflightError,
    SystemdError,
    UnitqError,
)
from unitq.linux.account import name_of
from unitq.model import names
from unitq.model.finding import Certainty, Finding, Level
from unitq.model.hardening import Hardening
from unitq.revisions import code
from unitq.rollout.checks import preflight
from unitq.rollout.wanted_units import read_inputs, render_units
from unitq.units import dropins, exposure
from unitq.units.dropin_files import DropIns

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from unitq.context import Scope
    from unitq.model.app import App
    from unitq.queues.check import RedisCheck
    from unitq.rollout.wanted_units import Inputs
    from unitq.units.render import Code, Rendered

_MANAGER = "user@{}.service"
_NO_LIMIT = 2**64 - 1  # µs; what systemd says of "infinity"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a look at a configuration file found."""

    app: App = field(repr=False)  # its environment may hold secrets
    path: Path
    findings: tuple[Finding, ...]
    redis: RedisCheck | None = None  # None: it was not asked
    broken: UnitqError | None = None  # why there are no units
    denied: bool = False  # something can only be read as root

    @property
    def ready(self) -> bool:
        """Whether a deploy would find nothing wrong."""
        return all(finding.level is not Level.ERROR for finding in self.findings)

    @property
    def exit_code(self) -> Exit:
        """What `check` exits with."""
        if self.broken:
            return self.broken.exit
        if self.denied:
            return Exit.NOT_PERMITTED
        return Exit.OK if self.ready else Exit.NOT_AS_WANTED

    def to_json(self) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        rows = [
            {
                "level": str(finding.level),
                "certainty": str(finding.certainty),
                "name": finding.name,
                "place": finding.place,
                "message": finding.message,
                "why": finding.why,
                "hint": finding.hint,
            }
            for finding in self.findings
        ]
        redis = {"redis": self.redis.to_json()} if self.redis else {}
        return {"format": 1, "file": str(self.path), "findings": rows, **redis}


def check(scope: Scope, *, ask_redis: bool = False) -> CheckResult:
    """Looks at the configuration file and the machine; changes nothing. Raises ConfigError."""
    app, path = scope.load()
    code_versions, refused = code.find_code(app)
    inputs = read_inputs(scope, app, path, code_versions)
    units: Rendered | None = None
    broken: UnitqError | None = None
    try:
        units = render_units(scope, app, code_versions, after=inputs.order.after)
    except (ConfigError, PreflightError) as error:  # an operator's own template
        broken = error
    redis = _redis(scope, app, path) if ask_redis else None
    findings = [
        *(problem.finding for problem in refused),
        *([Finding(Level.ERROR, "units", broken.message, broken.hint)] if broken else ()),
        *findings_of(inputs, units),
        *inputs.order.findings,
        *machine_lint.of_shutdown(app, _patience(scope)),
        *(_exposure(scope, app, code_versions) if units else ()),
        *(redis.findings if redis else ()),
    ]
    denied = any(problem.denied for problem in refused) or bool(redis and redis.denied)
    findings = remove_allowed(findings, app)
    return CheckResult(app, path, tuple(findings), redis, broken, denied)


def findings_of(inputs: Inputs, wanted: Rendered | None) -> list[Finding]:
    """Returns what a deploy looks for as well. `wanted` is None where units cannot be made."""
    scope, app, code_versions = inputs.scope, inputs.app, inputs.code
    return [
        *inputs.order.refused,
        *inputs.secrets.findings,
        *preflight.of_app(
            app,
            code_versions,
            user_scope=scope.user,
            folder=inputs.path.parent,
            path=_search_path(scope),
        ),
        *moving_paths.of_app(app, code_versions, scope.layout),
        *preflight.of_owner(app, inputs.path),
        *(preflight.verify(wanted.units, user_scope=scope.user) if wanted else ()),
        *lint_app(app, scope.presets(), scripts.of_app(app, code_versions, scope.presets())),
        *envfile_lint.of_app(app, code_versions),
        *service_lint.of_app(app),
        *(_dropins(scope, app, wanted) if wanted else ()),
        *_linger(scope),
        *machine_lint.of_memory(app),
        *(
            Finding(
                Level.WARNING,
                f"presets.{name}",
                f"left out: {error.in_short}",
                f"`unitq presets {name}` says all that is wrong with it",
                "its framework is not recognised",
                "broken-preset",
                Certainty.CERTAIN,
            )
            for name, error in scope.presets().broken.items()
        ),
    ]


def _patience(scope: Scope) -> machine_lint.Patience:
    """Returns how long systemd waits at a shutdown, as far as it can be asked."""
    from unitq.systemd.manager import Systemd

    machine = manager = _NO_LIMIT
    # Also of a user's scope: it is the machine's systemd that goes down.
    with suppress(SystemdError, NoMatchError, NotPermittedError):
        machine = Systemd().properties("reboot.target", "JobTimeoutUSec")["JobTimeoutUSec"]
    if scope.user:
        unit = _MANAGER.format(os.getuid())
        with suppress(SystemdError, NoMatchError, NotPermittedError):
            manager = Systemd().properties(unit, "TimeoutStopUSec")["TimeoutStopUSec"]
    limits = (None if micros >= _NO_LIMIT else micros / 1e6 for micros in (machine, manager))
    return machine_lint.Patience(*limits)


def _search_path(scope: Scope) -> str | None:
    """Returns the PATH that services get; None where systemd cannot be asked."""
    with suppress(SystemdError, NotPermittedError):
        return scope.systemd().search_path()
    return None


def _linger(scope: Scope) -> list[Finding]:
    """Returns whether the user's manager outlives the session that it was started by."""
    if not scope.user:
        return []
    who = name_of(os.getuid())
    # loginctl(1), enable-linger; systemd-logind keeps it here.
    return machine_lint.of_linger(who, lingers=os.path.exists(f"/var/lib/systemd/linger/{who}"))


def _dropins(scope: Scope, app: App, wanted: Rendered) -> list[Finding]:
    """Returns what drop-ins change of the units that are to be."""
    installed = DropIns(str(scope.layout.unit_dir), user=scope.user)
    findings = []
    for worker in wanted.workers:
        units = [
            names.unit(app.name, instance)
            for instance in names.instances(worker.name, worker.instances)
        ]
        changed = dropins.changes(worker.unit.text, installed.of([worker.unit.name, *units]))
        findings += service_lint.of_dropins(worker.name, worker.unit.name, changed, user=scope.user)
    return findings


def _exposure(scope: Scope, app: App, code_versions: Mapping[str, Code]) -> list[Finding]:
    """Returns how much of the machine each worker can reach, now and with another word."""
    if scope.user:
        return limits_of_user_scope(app)  # systemd rates the services of the system only
    words = {
        word: {
            worker.name: worker.unit
            for worker in render_units(
                scope,
                replace(app, workers=tuple(replace(w, hardening=word) for w in app.workers)),
                code_versions,
            ).workers
        }
        for word in (Hardening.STANDARD, Hardening.STRICT)
    }
    own = {worker.name: worker.unit for worker in render_units(scope, app, code_versions).workers}
    return exposure_notes(
        app,
        exposure.scores(own),
        {word: exposure.scores(units) for word, units in words.items()},
    )


def _redis(scope: Scope, app: App, path: Path) -> RedisCheck:
    """Returns what the configured Redis answers, in two seconds at the most."""
    from unitq.queues.check import check_redis, unreachable
    from unitq.queues.sources import queue_access

    try:
        there = queue_access(app, scope.presets(), str(path))
        return check_redis(there.connection, there.sources)
    except (ConfigError, NotPermittedError) as error:  # its password is nowhere, or not for us
        return unreachable(error)
