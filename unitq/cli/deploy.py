"""check, render, plan, deploy: from unitq.toml to running workers."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unitq.cli import completions, plan_text
from unitq.cli.grant.member import by_grant
from unitq.cli.output import echo, echo_json, echo_lines, echo_text
from unitq.cli.rollout_options import paced, rollout_options, unavailable
from unitq.cli.scope import current, scope_options
from unitq.cli.targets import WholeApp
from unitq.config import (
    dropin_lint,
    envfile_lint,
    machine_lint,
    moving_paths,
    scripts,
    service_lint,
    source,
)
from unitq.config.allowed import without_allowed
from unitq.config.exposure_lint import limits_of_user_scope, rated
from unitq.config.lint import advice
from unitq.errors import (
    ConfigError,
    Exit,
    NoMatchError,
    NotPermittedError,
    PreflightError,
    SystemdError,
    UnitqError,
)
from unitq.linux import files, folder, programs
from unitq.linux.account import name_of
from unitq.linux.trust import absolute
from unitq.model import names
from unitq.model.finding import Finding, Level
from unitq.model.hardening import Hardening
from unitq.revisions import code, state
from unitq.revisions.model import Origin, adopted, successor
from unitq.rollout import credentials, execute, hooks, preflight, report
from unitq.rollout.advisory import Advisory
from unitq.rollout.deployment import (
    Roll,
    begun,
    carried_out,
    nothing_in_the_way,
    plan_to,
    restore,
    way_back,
)
from unitq.rollout.execute import Waiting, message_option, waiting_options, with_max_unavailable
from unitq.rollout.shutdown_order import shutdown_order
from unitq.text import unitq
from unitq.units import dropins, exposure, ordering, templates, unit_files
from unitq.units.dropin_files import DropIns
from unitq.units.local_services import Surroundings
from unitq.units.render import Code, Rendered
from unitq.units.render import render as render_units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unitq.cli.scope import Scope
    from unitq.model.app import App
    from unitq.model.settings import RolloutSettings, Share
    from unitq.queues.check import Answered
    from unitq.revisions.model import Revision
    from unitq.rollout.credentials import Secrets
    from unitq.rollout.plan import Plan
    from unitq.rollout.shutdown_order import ShutdownOrder
    from unitq.systemd.manager import Systemd


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan and what it takes to carry it out."""

    app: App
    rendered: Rendered
    plan: Plan
    way_back: Revision | None
    settings: RolloutSettings
    restore: str = ""  # what brings the old code back, which is updated in place
    unknown: bool = False  # whether environments have changed


def _rendered(
    scope: Scope,
    app: App,
    found: Mapping[str, Code],
    *,
    after: Mapping[str, Sequence[str]] | None = None,
) -> Rendered:
    """The units, to be shown: nothing in them says which environment it is."""
    texts, app = templates.texts(scope.layout.config_dir), scripts.fitted(app, found)
    return render_units(app, scope.layout, found, texts, programs.itself(), after)


def _sealed(
    scope: Scope,
    app: App,
    found: Mapping[str, Code],
    secrets: Secrets,
    after: Mapping[str, Sequence[str]],
    before: Revision | None,
) -> tuple[Rendered, list[Finding]]:
    """The units to be installed, and what could not be found out about environments.

    Who may not read the app's key takes environments for those of `before`, and says so.
    """
    texts, app = templates.texts(scope.layout.config_dir), scripts.fitted(app, found)
    key, unknown = b"", []
    try:
        key = credentials.key(scope.layout.app(app.name).key)
        seal = credentials.sealing(key)
    except NotPermittedError as error:
        if secrets.content:
            raise
        seal = credentials.as_before(before)
        message = f"whether it has changed since the last deploy is unknown: {error.message}"
        unknown.append(Finding(Level.WARNING, "environment", message, error.hint))
    found = {
        worker.name: replace(
            found[worker.name], secrets=credentials.seals(worker, secrets.content, key)
        )
        for worker in app.workers
    }
    units = render_units(app, scope.layout, found, texts, programs.itself(), after, seal)
    return replace(units, key=key), unknown


def _shutdown_order(scope: Scope, app: App, found: Mapping[str, Code]) -> ShutdownOrder:
    """What the workers stop before; what is asked of systemd is left out where there is none."""
    layout, manager, own = scope.layout, None, ""
    with suppress(SystemdError, NotPermittedError):
        manager = scope.systemd()
        own = manager.control_group() if scope.user else ""
    texts = [
        unit_files.text(layout.unit_dir, names.template(app.name, w.name)) for w in app.workers
    ]
    kept = dict.fromkeys(unit for text in texts for unit in ordering.units_in(text))
    around = Surroundings(
        manager, names.target(app.name), own, [unit for unit in kept if unit not in app.after]
    )
    return shutdown_order(scripts.fitted(app, found), found, scope.presets(), around)


def _patience(scope: Scope) -> machine_lint.Patience:
    """How long systemd waits at a shutdown, as far as it can be asked."""
    from unitq.systemd.manager import Systemd

    found = {}
    # Also of a user's scope: it is the machine's systemd that goes down.
    for unit, name in (("reboot.target", "JobTimeoutUSec"), (_MANAGER, "TimeoutStopUSec")):
        if unit == _MANAGER and not scope.user:
            continue
        with suppress(SystemdError, NoMatchError, NotPermittedError):
            micros = Systemd().properties(unit.format(os.getuid()), name)[name]
            if micros < _NO_LIMIT:
                found[name] = micros / 1e6
    return machine_lint.Patience(found.get("JobTimeoutUSec"), found.get("TimeoutStopUSec"))


_MANAGER = "user@{}.service"
_NO_LIMIT = 2**64 - 1  # µs; what systemd says of "infinity"


def _findings(
    scope: Scope,
    app: App,
    path: Path,
    found: Mapping[str, Code],
    rendered: Rendered,
    secrets: Secrets,
    order: ShutdownOrder,
) -> list[Finding]:
    return [
        *order.refused,
        *secrets.findings,
        *preflight.of_app(app, found, user_scope=scope.user),
        *moving_paths.of_app(app, found, scope.layout),
        *preflight.of_hooks(app.hooks, path.parent, user_scope=scope.user),
        *preflight.of_owner(app, path),
        *preflight.verify(rendered.units, user_scope=scope.user),
        *advice(app, scope.presets(), scripts.of_app(app, found, scope.presets())),
        *envfile_lint.of_app(app, found),
        *service_lint.of_app(app),
        *_dropins(scope, app, rendered),
        *_linger(scope),
        *machine_lint.of_memory(app),
        *(
            Finding(
                Level.WARNING,
                f"presets.{name}",
                f"left out, and its framework not recognised: {error.in_short}",
                f"`unitq presets {name}` says all that is wrong with it",
            )
            for name, error in scope.presets().broken.items()
        ),
    ]


def _linger(scope: Scope) -> list[Finding]:
    """Whether the user's manager outlives the session that it was started by."""
    if not scope.user:
        return []
    who = name_of(os.getuid())
    # loginctl(1), enable-linger; systemd-logind keeps it here.
    return machine_lint.of_linger(who, lingers=os.path.exists(f"/var/lib/systemd/linger/{who}"))


def _dropins(scope: Scope, app: App, rendered: Rendered) -> list[Finding]:
    """What drop-ins change of the units that are to be."""
    there = DropIns(str(scope.layout.unit_dir), user=scope.user)
    found = []
    for worker in rendered.workers:
        units = [
            names.unit(app.name, each) for each in names.instances(worker.name, worker.instances)
        ]
        changed = dropins.changes(worker.unit.text, there.of([worker.unit.name, *units]))
        found += dropin_lint.findings(worker.name, worker.unit.name, changed, user=scope.user)
    return found


def _exposure(scope: Scope, app: App, found: Mapping[str, Code]) -> list[Finding]:
    """How much of the machine each worker can reach, now and with another word."""
    if scope.user:
        return limits_of_user_scope(app)  # systemd rates the services of the system only
    words = {
        word: {
            worker.name: worker.unit
            for worker in _rendered(
                scope,
                replace(app, workers=tuple(replace(w, hardening=word) for w in app.workers)),
                found,
            ).workers
        }
        for word in (Hardening.STANDARD, Hardening.STRICT)
    }
    own = {worker.name: worker.unit for worker in _rendered(scope, app, found).workers}
    return rated(
        app,
        exposure.scores(own),
        {word: exposure.scores(units) for word, units in words.items()},
    )


def prepare(
    scope: Scope,
    systemd: Systemd,
    app: App,
    path: Path,
    label: str | None,
    pace: Share | None = None,
    message: str = "",
    *,
    settings: RolloutSettings | None = None,
    beside: Revision | None = None,
    warn: bool = True,
    adopt: bool = False,
) -> Prepared:
    """The plan, all checks passed. Raises PreflightError with all that is wrong.

    `beside` is what is installed, where that is to stay and more to come: see code.as_installed.
    With `adopt` the app may have been installed from another file.
    """
    layout = scope.layout
    place = layout.app(app.name)
    before = state.current(place)
    other = source.moved_from(path, before.config, app) if before else None
    if other is not None and not adopt:
        raise PreflightError(
            f"{app.name} was installed from another file, {other}; this is {path}",
            problems=(f"Its workers would be replaced by those of {path}. Nothing was changed.",),
            hint=f"give one of the two apps another name, or let {path} take it over: "
            f"unitq {'--user ' * scope.user}-c {path} deploy --adopt",
        )
    found = code.of_app(app, label, certain=True)
    if beside:
        found = code.as_installed(found, beside)
    secrets = credentials.read(app, user_scope=scope.user)
    order = _shutdown_order(scope, app, found)
    rendered, unknown = _sealed(scope, app, found, secrets, order.after, before)
    findings = without_allowed(_findings(scope, app, path, found, rendered, secrets, order), app)
    findings = [*findings, *unknown]
    errors = [finding for finding in findings if finding.level is Level.ERROR]
    if errors:
        raise PreflightError(
            f"{app.name}: cannot be deployed; nothing was changed",
            problems=tuple(finding.text for finding in errors),
        )
    for finding in findings:
        if finding.level is Level.WARNING and warn:
            with suppress(OSError):
                echo_lines(finding.lines, err=True)
    for name in source.others(layout, path, app) if warn else ():
        typed = unitq(name, user=scope.user)
        with suppress(OSError):
            echo(
                f"warning: app {name} was deployed from this file too, under its former name, and "
                f"still runs: `{typed} remove` ends it",
                err=True,
            )
    origin = Origin(time.time(), state.whoami(), source.remembered(path, app), message)
    target = successor(before, rendered, app.rollout, origin)
    if other is not None and target is before:
        target = adopted(before, origin)
    unit_files.refuse_foreign(layout.unit_dir, app.name, [unit.name for unit in rendered.units])
    settings = with_max_unavailable(settings or target.rollout, pace)
    units = {unit.name: unit.text for unit in rendered.units}
    plan = plan_to(scope, systemd, before, target, units, settings)
    back = way_back(scope, target)
    return Prepared(
        app,
        rendered,
        plan,
        back,
        settings,
        restore(scope, back, target) if back else "",
        bool(unknown),
    )


@click.command(
    cls=WholeApp,
    epilog="""\b
Examples:
  unitq check                   look at ./unitq.toml
  unitq -c shop.toml check --json
  unitq check --redis           ask the Redis that [redis] names, too
""",
)
@scope_options
@click.option("--redis", "ask_redis", is_flag=True, help="Ask the Redis that [redis] names, too.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object; see docs/json.md.")
def check(ask_redis: bool, as_json: bool) -> int:
    """Look for mistakes in unitq.toml and on this machine.

    Validates the file, has systemd verify the units it leads to, and looks for missing programs,
    scripts, directories and users, for what only a shell would understand, shells between systemd
    and a worker, and settings that lose jobs. Notes how much of the machine each worker can reach.
    A name in brackets, such as [pipe, certain], is what `allow = ["pipe"]` silences the finding by.
    Changes nothing. Exits with 0, with 2 if the file is invalid, with 3 if something is missing.
    """
    scope = current()
    app, path = scope.load()
    found: dict[str, Code] = {}
    findings: list[Finding] = []
    try:
        found = code.of_app(app)
    except PreflightError as error:
        place, _, message = error.message.partition(": ")
        findings.append(Finding(Level.ERROR, place, message, error.hint))
    if found:
        secrets = credentials.read(app, user_scope=scope.user)
        order = _shutdown_order(scope, app, found)
        rendered = _rendered(scope, app, found, after=order.after)
        findings += _findings(scope, app, path, found, rendered, secrets, order)
        findings += order.findings
        findings += machine_lint.of_shutdown(app, _patience(scope))
        findings += _exposure(scope, app, found)
    redis = _redis(scope, app, path) if ask_redis else None
    if redis:
        findings += redis.findings
    if found:
        findings = without_allowed(findings, app)
    bad = any(finding.level is Level.ERROR for finding in findings)
    if as_json:
        rows = [
            {
                "level": str(f.level),
                "certainty": str(f.certainty),
                "name": f.name,
                "place": f.place,
                "message": f.message,
                "why": f.why,
                "hint": f.hint,
            }
            for f in findings
        ]
        asked = {"redis": redis.to_json()} if redis else {}
        echo_json({"format": 1, "file": str(path), "findings": rows, **asked})
    else:
        for finding in findings:
            echo_lines(finding.lines)
        if redis and redis.reachable:
            echo(redis)
        counts = ", ".join(f"worker {w.name}: {w.instances}" for w in app.workers)
        echo(f"{path}: {'not ready' if bad else 'ok'} (app {app.name}; {counts})")
    return Exit.NOT_AS_WANTED if bad else Exit.OK


def _redis(scope: Scope, app: App, path: Path) -> Answered:
    """What the configured Redis answers, in two seconds at the most."""
    from unitq.queues.check import answered, unreachable
    from unitq.queues.sources import way

    try:
        there = way(app, scope.presets(), str(path))
    except ConfigError as error:
        return unreachable(error)
    return answered(there.connection, there.sources)


def _as_deployed(app: App) -> dict[str, Code]:
    """The code as a deploy would find it; without that, as many environment files as are named."""
    try:
        return code.of_app(app)
    except UnitqError:
        return {
            worker.name: Code(worker.directory, "", (b"",) * len(worker.environment_files))
            for worker in app.workers
        }


@click.command(
    epilog="""\b
Examples:
  unitq render                       print every unit
  unitq render --output /tmp/units   write one file each
"""
)
@scope_options
@click.option(
    "--output",
    metavar="DIR",
    shell_complete=completions.folders,
    help="Write the files there instead of printing them.",
)
def render(output: str | None) -> int:
    """Print or write the systemd units, without installing anything.

    They are those that a deploy would install now. Needs neither systemd nor the code. Of
    environments only the files are named: values may be secrets (`unitq show` has the names).
    """
    scope = current()
    app, _ = scope.load()
    found = _as_deployed(app)
    order = _shutdown_order(scope, app, found)
    units = _rendered(scope, app, found, after=order.after).units
    if output is None:
        for unit in units:
            echo(f"# {scope.layout.unit_dir / unit.name}")
            echo_text(f"{unit.text}\n")
        return Exit.OK
    with files.nothing_changed("cannot write"), folder.output(output, make=True) as place:
        for unit in units:
            place.replace(unit.name, unit.text.encode(), 0o644)
            echo(Path(output) / unit.name)
    return Exit.OK


_label = click.option(
    "--revision",
    "label",
    metavar="NAME",
    help="What the code is called (a commit, a build number), instead of finding it out.",
)
_adopt = click.option(
    "--adopt",
    is_flag=True,
    help="Take over an app of this name that was installed from another file.",
)


@click.command(
    cls=WholeApp,
    epilog="""\b
Examples:
  unitq plan            the changes, as a diff and one line per instance
  unitq plan --json
""",
)
@scope_options
@_label
@_adopt
@click.option("--json", "as_json", is_flag=True, help="A JSON object; see docs/json.md.")
def plan(label: str | None, adopt: bool, as_json: bool) -> int:
    """Show what a deploy would change: units as a diff, and what happens to each instance.

    Changes nothing. Exits with 0 if nothing is to be done, with 12 if changes are pending; with 5
    where only root can tell whether an environment has changed.
    """
    scope = current()
    app, path = scope.load()
    prepared = prepare(scope, scope.systemd(), app, path, label, adopt=adopt)
    return _shown(prepared, as_json=as_json)


def _shown(prepared: Prepared, *, as_json: bool) -> Exit:
    """Prints the plan; returns the exit code."""
    if as_json:
        echo_json(plan_text.as_json(prepared))
    else:
        echo_lines(plan_text.as_text(prepared))
    if prepared.plan.pending:
        return Exit.PENDING
    return Exit.NOT_PERMITTED if prepared.unknown else Exit.OK


@click.command(
    cls=WholeApp,
    epilog="""\b
Examples:
  unitq deploy                            after each change of the code or of unitq.toml
  unitq deploy --revision $GIT_COMMIT     in a pipeline
  unitq deploy --max-unavailable 25%      faster
  unitq deploy --canary 1 --promote manual
  unitq deploy --dry-run                  only show what would happen

\b
Ctrl-C finishes the instances in hand and stops (exit 10); the same command goes on from there.
A second Ctrl-C detaches at once (exit 130); what was begun goes on in systemd.
Exit codes: docs/exit-codes.md.
""",
)
@scope_options
@_label
@click.option(
    "--max-unavailable",
    metavar="N|N%",
    callback=unavailable,
    help="How many instances of a worker may be unavailable at a time, draining ones included.",
)
@rollout_options
@_adopt
@click.option("--dry-run", is_flag=True, help="Only show the plan; exits as `unitq plan` does.")
@click.option(
    "--detach",
    is_flag=True,
    help="Check, then let systemd run the deploy, and return. `unitq rollout watch` waits for it.",
)
@message_option
@waiting_options
@by_grant("deploy")
def deploy(
    label: str | None,
    message: str,
    max_unavailable: Share | None,
    adopt: bool,
    dry_run: bool,
    detach: bool,
    as_json: bool,
    timeout: float | None,
    fail_on_kill: bool,
    **flags: str | None,
) -> int:  # fmt: skip
    """Install what unitq.toml says and roll it out.

    Checks everything first. Then installs the units, starts what is new, restarts what runs
    something else than what is wanted now, a few at a time, each healthy before the next drains,
    and stops what is gone. Instances that run the wanted code and units already are left alone.
    """
    scope = current()
    app, path = scope.load()
    settings = paced(scope, flags, max_unavailable)
    if dry_run:
        prepared = prepare(
            scope, scope.systemd(), app, path, label, max_unavailable,
            settings=settings, adopt=adopt,
        )  # fmt: skip
        return _shown(prepared, as_json=as_json)
    if detach:
        return _detached(scope, app, path, label, adopt=adopt)
    waiting = Waiting(as_json, timeout, fail_on_kill)
    with state.lock(scope.layout, app.name, state.command_name()):
        return deployed(
            scope, app, path, label, message, max_unavailable, waiting, settings, adopt=adopt
        )


def _detached(scope: Scope, app: App, path: Path, label: str | None, *, adopt: bool) -> int:
    """Lets systemd run this very command, once all that can be said now has been said."""
    from unitq.rollout import detach

    systemd = scope.systemd()
    with state.lock(scope.layout, app.name, state.command_name()):
        nothing_in_the_way(scope, app.name)
        prepare(scope, systemd, app, path, label, adopt=adopt)
    unit = names.rollout(app.name)
    # It has another working directory; the last of several options counts.
    config = f"--config={absolute(path)}"
    arguments = [word for word in sys.argv[1:] if word not in ("--detach", "--")] + [config]
    detach.start(systemd, unit, f"{app.name}: unitq deploy", arguments, user=scope.user)
    user = "--user " if scope.user else ""
    echo(
        f"{app.name}: the deploy runs as {unit}; `unitq {user}-a {app.name} rollout watch` waits "
        f"for it, `journalctl {user}-u {unit}` has what it prints"
    )
    return Exit.OK


def deployed(
    scope: Scope,
    app: App,
    path: Path,
    label: str | None,
    message: str,
    max_unavailable: Share | None,
    waiting: Waiting,
    settings: RolloutSettings | None = None,
    *,
    adopt: bool = False,
    beside: Revision | None = None,
) -> int:
    """Carries the deploy out, under the lock; returns the exit code. `beside`: see prepare."""
    from unitq.linux.interrupts import Interrupts

    nothing_in_the_way(scope, app.name)
    systemd = scope.systemd()
    prepared = prepare(
        scope, systemd, app, path, label, max_unavailable, message, settings=settings,
        beside=beside, adopt=adopt,
    )  # fmt: skip
    plan, target = prepared.plan, prepared.plan.target
    previous = plan.current.id if plan.current else None
    if not plan.pending and not plan.unproved:
        run = report.Run("deploy", waiting.began, scope.user)
        left = execute.orphans(scope, target, Advisory(execute.warn))
        waiting.tell(report.document(run, target, previous, None, (), Exit.OK, orphans=left))
        return Exit.OK
    roll = Roll(
        "deploy", scope, systemd, plan, prepared.rendered, prepared.settings, prepared.way_back,
        keep=app.history, then=partial(hooks.after, app, path),
    )  # fmt: skip
    waiting.say(report.replaces(target, previous))
    if previous:
        waiting.say(f"  {plan_text.way_back(prepared)}")
    hooks.before_deploy(app, path, plan)
    with Interrupts().caught() as interrupts, begun(roll, max_unavailable, settings) as book:
        return carried_out(roll, book, waiting, interrupts)
