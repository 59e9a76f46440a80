"""start, stop, restart, scale, remove: what is done to an installed app."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from unitq.cli import completions
from unitq.cli.grant.member import by_grant
from unitq.cli.output import confirm, echo
from unitq.cli.scope import chosen, current, scope_options
from unitq.cli.targets import targets
from unitq.errors import ConfigError, Exit, LockedError, NoMatchError
from unitq.instances import observe, paused
from unitq.model import names
from unitq.model.app import INSTANCES_MAX
from unitq.model.settings import Share
from unitq.revisions import state
from unitq.revisions.model import Origin, scaled
from unitq.rollout import install, ledger_store, startable
from unitq.rollout.deployment import Roll, begun, carried_out, nothing_in_the_way, ways_out
from unitq.rollout.execute import (
    Waiting,
    as_running,
    carry_out,
    close,
    keep,
    need_terminal,
    running,
    share,
    waiting_options,
    with_max_unavailable,
)
from unitq.rollout.plan import Change, FileChange, Plan, PlannedChange, planned_change
from unitq.units import unit_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from unitq.cli.scope import Scope
    from unitq.model.names import InstanceName
    from unitq.model.settings import RolloutSettings
    from unitq.revisions.model import Revision
    from unitq.rollout.plan import Running
    from unitq.systemd.manager import Systemd

    Choose = Callable[[InstanceName, observe.Instance], PlannedChange]


def over(
    verb: str,
    wanted: tuple[str, ...],
    waiting: Waiting,
    choose: Choose,
    *,
    settings: Callable[[RolloutSettings], RolloutSettings] = lambda settings: settings,
) -> int:
    """Runs a rollout over the instances that the targets name, leaving the others alone.

    Returns the exit code.
    """
    from unitq.linux.interrupts import Interrupts

    scope = current()
    revision = scope.installed()
    with state.lock(scope.layout, revision.app, state.command_name()):
        revision = scope.installed()
        systemd = scope.systemd()
        where = observe.machine(systemd, scope.layout)
        found = running(systemd, scope, where, revision)
        asked = chosen(revision, wanted, found)
        there = as_running(found, revision.rollout.min_healthy.seconds)
        steps = tuple(
            _to_prove(choose(name, instance), there[name]) if name in asked else keep(name)
            for name, instance in found.items()
        )
        _refuse_to_move(scope, revision, verb, steps)
        startable.require(scope.layout, revision, _starting(steps))
        with Interrupts().caught() as interrupts:
            outcome = carry_out(
                scope, systemd, revision, steps, settings(revision.rollout), waiting, interrupts
            )
            _follow_with_target(systemd, revision, verb, everything=not wanted)
            return close(verb, scope, systemd, revision, revision.id, outcome, waiting)


def _to_prove(step: PlannedChange, running: Running) -> PlannedChange:
    """The same step; what was asked for and only just runs may be crashing in a loop."""
    return replace(step, unproven=running.unproven) if step.change is Change.KEEP else step


def _starting(steps: Iterable[PlannedChange]) -> set[str]:
    """The workers of which an instance is to start."""
    return {step.instance.worker for step in steps if step.change not in (Change.KEEP, Change.STOP)}


def _refuse_to_move(
    scope: Scope, revision: Revision, verb: str, steps: Iterable[PlannedChange]
) -> None:
    """Raises LockedError where this would go on with a rollout that was cut off or is paused.

    What is started gets the code of the current revision. To stop is always possible.
    """
    place = scope.layout.app(revision.app)
    story = ledger_store.in_the_way(place)
    if story is None:
        return
    moved = [
        str(step.instance)
        for step in steps
        if step.change in (Change.START, Change.RESTART)
        and (pin := state.pinned(place, step.instance)) is not None
        and pin != revision.code(step.instance)
    ]
    if moved:
        more = f" and {len(moved) - _NAMED} more" * (len(moved) > _NAMED)
        raise LockedError(
            f"rollout {story.number} of {revision.app} ({story.kind} of {story.revision} by "
            f"{story.by}) {story.how}, and {verb} would take {', '.join(moved[:_NAMED])}{more} to "
            "its revision",
            hint=ways_out(revision.app, story, user=scope.user),
        )


_NAMED = 8


def _follow_with_target(
    systemd: Systemd, revision: Revision, verb: str, *, everything: bool
) -> None:
    """The app's target says whether the app is meant to be up."""
    target = names.target(revision.app)
    if verb == "stop" and everything:
        systemd.stop(target)
    elif verb in ("start", "restart"):
        systemd.start(target, "ignore-dependencies")
        if (timer := names.recycle_timer(revision.app)) in revision.units:
            systemd.start(timer)


@click.command(
    epilog="""\b
Examples:
  unitq start           everything that does not run
  unitq start sms@3
"""
)
@scope_options
@waiting_options
@targets
@by_grant("start")
def start(
    targets: tuple[str, ...], as_json: bool, timeout: float | None, fail_on_kill: bool
) -> int:
    """Start what does not run, and wait until it is healthy. What runs is left alone."""

    def choose(name: InstanceName, instance: observe.Instance) -> PlannedChange:
        return keep(name) if instance.serving else PlannedChange(name, Change.START, "not running")

    return over("start", targets, Waiting(as_json, timeout, fail_on_kill), choose)


@click.command(
    epilog="""\b
Examples:
  unitq stop            the whole app
  unitq stop 'sms@[12]'
"""
)
@scope_options
@waiting_options
@targets
def stop(targets: tuple[str, ...], as_json: bool, timeout: float | None, fail_on_kill: bool) -> int:
    """Let workers finish their jobs and stop them.

    A worker that needs longer than its stop_timeout is killed, and named. Stopped workers come
    back with `unitq start`, `unitq deploy` and at the next boot.
    """

    def choose(name: InstanceName, instance: observe.Instance) -> PlannedChange:
        return PlannedChange(name, Change.STOP, "asked for") if instance.present else keep(name)

    return over("stop", targets, Waiting(as_json, timeout, fail_on_kill), choose)


@click.command(
    epilog="""\b
Examples:
  unitq restart                   rolling, as many at a time as max_unavailable says
  unitq restart sms --max-unavailable 50%
  unitq restart --all-at-once
"""
)
@scope_options
@click.option(
    "--max-unavailable",
    metavar="N|N%",
    callback=share,
    help="How many instances of a worker may be unavailable at a time.",
)
@click.option("--all-at-once", is_flag=True, help="All together: for a while, none is serving.")
@waiting_options
@targets
@by_grant("restart")
def restart(
    targets: tuple[str, ...],
    max_unavailable: Share | None,
    all_at_once: bool,
    as_json: bool,
    timeout: float | None,
    fail_on_kill: bool,
) -> int:  # fmt: skip
    """Restart workers, a few at a time, each healthy before the next drains.

    With the code and environment of the current revision; new code comes with `unitq deploy`.
    """
    pace = Share(100, percent=True) if all_at_once else max_unavailable

    def choose(name: InstanceName, instance: observe.Instance) -> PlannedChange:
        return PlannedChange(
            name, Change.RESTART if instance.present else Change.START, "asked for"
        )

    return over(
        "restart",
        targets,
        Waiting(as_json, timeout, fail_on_kill),
        choose,
        settings=lambda settings: with_max_unavailable(settings, pace),
    )


@click.command(
    epilog="""\b
Examples:
  unitq scale sms=8
  unitq scale sms=8 mail=2
"""
)
@scope_options
@waiting_options
@click.argument(
    "counts", nargs=-1, required=True, metavar="WORKER=COUNT...", shell_complete=completions.counts
)
def scale(counts: tuple[str, ...], as_json: bool, timeout: float | None, fail_on_kill: bool) -> int:
    """Change how many instances there are. Only those that come or go are touched.

    Until the next `unitq deploy`, which goes by unitq.toml: change `instances` there too.
    """
    from unitq.linux.interrupts import Interrupts

    scope = current()
    revision = scope.installed()
    wanted = _counts(counts, revision)
    with state.lock(scope.layout, revision.app, state.command_name()):
        nothing_in_the_way(scope, revision.app)
        before = scope.installed()
        origin = Origin(time.time(), state.whoami(), before.config, f"scale {' '.join(counts)}")
        target = scaled(before, wanted, origin)
        systemd = scope.systemd()
        where = observe.machine(systemd, scope.layout)
        found = running(systemd, scope, where, target)
        steps = tuple(
            _scale_step(name, before, target, found) for name in sorted({*found, *target.instances})
        )
        linked = unit_files.enabled(scope.layout.unit_dir, names.target(before.app))
        links = set(target.links) ^ linked
        startable.require(scope.layout, target, _starting(steps))
        plan = Plan(before, target, (), steps, tuple(sorted(links)))
        waiting = Waiting(as_json, timeout, fail_on_kill)
        roll = Roll("scale", scope, systemd, plan, before, target.rollout, None)
        with Interrupts().caught() as interrupts, begun(roll, None) as book:
            return carried_out(roll, book, waiting, interrupts)


def _scale_step(
    name: InstanceName,
    before: Revision,
    target: Revision,
    found: Mapping[InstanceName, observe.Instance],
) -> PlannedChange:
    if before.wanted(name) and target.wanted(name):
        return keep(name)
    return planned_change(name, target, as_running(found).get(name))


def _counts(words: tuple[str, ...], revision: Revision) -> dict[str, int]:
    found = {}
    for word in words:
        worker, equals, count = word.partition("=")
        # Four digits at most: Python refuses to convert some thousands of them.
        if not equals or not re.fullmatch("[0-9]{1,4}", count):
            raise ConfigError(
                f'expected WORKER=COUNT, such as sms=8, got "{word}"',
                hint=f"COUNT is a number from 1 to {INSTANCES_MAX}",
            )
        wanted = revision.worker(worker)
        if wanted is None:
            known = ", ".join(worker.name for worker in revision.workers)
            raise NoMatchError(f"no worker {worker} in {revision.app}", hint=f"workers: {known}")
        if not 1 <= int(count) <= INSTANCES_MAX:
            raise ConfigError(
                f"{word}: expected a count from 1 to {INSTANCES_MAX}",
                hint=f"`unitq stop {worker}` stops all of them" if int(count) == 0 else "",
            )
        if wanted.singleton and int(count) > 1:
            raise ConfigError(
                f"{word}: {worker} is a singleton: there must never be two of it",
                hint="take `singleton` out of unitq.toml, then deploy",
            )
        found[worker] = int(count)
    return found


@click.command(
    epilog="""\b
Examples:
  unitq remove          says what it would delete, and asks
  unitq -a shop remove --yes
"""
)
@scope_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@waiting_options
def remove(yes: bool, as_json: bool, timeout: float | None, fail_on_kill: bool) -> int:
    """Stop an app and delete all that deploy installed: units, links, revisions.

    unitq.toml and the code stay.
    """
    from unitq.linux.interrupts import Interrupts
    from unitq.rollout.executor import forget

    scope = current()
    revision = scope.installed()
    units = unit_files.installed(scope.layout.unit_dir, revision.app)
    place = scope.layout.app(revision.app)
    if not yes:
        need_terminal(f"remove {revision.app}")
        echo(f"This stops {len(revision.instances)} instances and deletes:")
        for path in (*(scope.layout.unit_dir / name for name in units), place.state):
            echo(f"  {path}")
        if not confirm("Go on?"):
            echo("not removed; nothing was changed")
            return Exit.INTERRUPTED
    with state.lock(scope.layout, revision.app, state.command_name()):
        revision = scope.installed()
        systemd = scope.systemd()
        where = observe.machine(systemd, scope.layout)
        found = running(systemd, scope, where, revision)
        steps = tuple(
            PlannedChange(name, Change.STOP, "removed")
            for name, instance in found.items()
            if instance.present
        )
        waiting = Waiting(as_json, timeout, fail_on_kill)
        with Interrupts().caught() as interrupts:
            outcome = carry_out(
                scope, systemd, revision, steps, revision.rollout, waiting, interrupts
            )
            if outcome.rollout.complete and not outcome.failed and not outcome.detached:
                # Else one that had to be killed stays in systemd's list of failed units.
                forget(systemd, scope.layout, revision.app, iter(found))
                changes = [FileChange(name, text, None) for name, text in units.items()]
                install.remove(systemd, scope.layout, revision.app, changes)
                paused.forget(scope.layout, revision.app)
                _remind_of_grants(scope, revision.app)
            return close("remove", scope, systemd, revision, revision.id, outcome, waiting)


def _remind_of_grants(scope: Scope, app: str) -> None:
    """A grant stays, as unitq.toml does: a member could install the app again."""
    from unitq.grants import store

    groups = [] if scope.user else [one.group for one in store.grants() if one.app == app]
    if groups:
        echo(
            f"note: members of {', '.join(groups)} may deploy {app} again; "
            f"`unitq grant -a {app} --revoke` takes that back",
            err=True,
        )
