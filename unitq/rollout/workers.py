"""What is done to the workers of an installed app: start, stop, restart, scale, remove."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from unitq.context import chosen
from unitq.errors import ConfigError, NoMatchError
from unitq.instances import paused
from unitq.model import names
from unitq.model.app import INSTANCES_MAX
from unitq.revisions import state
from unitq.revisions.model import Origin
from unitq.rollout import blocking_rollout, install
from unitq.rollout.checks import startable
from unitq.rollout.current_state import as_running
from unitq.rollout.deployment import Deployment
from unitq.rollout.executor import forget
from unitq.rollout.plan import Change, Plan, PlannedChange, keep, planned_change
from unitq.units import unit_files
from unitq.units.text import FileChange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import PurePath

    from unitq.context import Scope
    from unitq.instances import observe
    from unitq.model.names import InstanceName
    from unitq.model.settings import RolloutSettings, Share
    from unitq.revisions.model import Revision
    from unitq.rollout.operation import Operation
    from unitq.rollout.plan import Running
    from unitq.rollout.reports.report import Report
    from unitq.systemd.manager import Systemd

    Choose = Callable[[InstanceName, observe.Instance], PlannedChange]


def start(operation: Operation, targets: Sequence[str]) -> Report:
    """Starts what does not run of the targets; of the whole app where there are none."""
    return over(operation, targets, to_start)


def stop(operation: Operation, targets: Sequence[str]) -> Report:
    """Stops the targets; the whole app where there are none."""
    return over(operation, targets, to_stop)


def restart(
    operation: Operation, targets: Sequence[str], max_unavailable: Share | None = None
) -> Report:
    """Restarts the targets, or the whole app; at most so many of a worker at a time."""
    return over(
        operation,
        targets,
        to_restart,
        settings=lambda settings: settings.with_max_unavailable(max_unavailable),
    )


def to_start(name: InstanceName, instance: observe.Instance) -> PlannedChange:
    """Returns what `start` does to an instance that was named."""
    return keep(name) if instance.serving else PlannedChange(name, Change.START, "not running")


def to_stop(name: InstanceName, instance: observe.Instance) -> PlannedChange:
    """Returns what `stop` does to an instance that was named."""
    return PlannedChange(name, Change.STOP, "asked for") if instance.present else keep(name)


def to_restart(name: InstanceName, instance: observe.Instance) -> PlannedChange:
    """Returns what `restart` does to an instance that was named."""
    return PlannedChange(name, Change.RESTART if instance.present else Change.START, "asked for")


def over(
    operation: Operation,
    targets: Sequence[str],
    choose: Choose,
    *,
    settings: Callable[[RolloutSettings], RolloutSettings] = lambda settings: settings,
) -> Report:
    """Runs a rollout over the instances that the targets name, leaving the others alone.

    `choose` says what happens to one that is named. Raises NoMatchError,
    LockedError or PreflightError before anything is changed.
    """
    scope, verb = operation.scope, operation.verb
    revision = scope.installed()
    with state.lock(scope.layout, revision.app, state.command_name()):
        revision = scope.installed()
        instances = operation.running(revision)
        targeted = chosen(revision, targets, instances)
        states = as_running(instances, revision.rollout.min_healthy.seconds)
        steps = tuple(
            _to_prove(choose(name, instance), states[name]) if name in targeted else keep(name)
            for name, instance in instances.items()
        )
        blocking_rollout.require_no_move(scope, revision, verb, steps)
        startable.require(scope.layout, revision, _starting(steps), operation.systemd.search_path())
        with operation.interrupts.caught():
            outcome = operation.roll(revision, steps, settings(revision.rollout))
            _follow_with_target(operation.systemd, revision, verb, everything=not targets)
            return operation.close(revision, revision.id, outcome)


def _to_prove(step: PlannedChange, running: Running) -> PlannedChange:
    """Returns the same step; what was asked for and only just runs may be crashing in a loop."""
    return replace(step, unproven=running.unproven) if step.change is Change.KEEP else step


def _starting(steps: Iterable[PlannedChange]) -> set[str]:
    """Returns the workers of which an instance is to start."""
    return {step.instance.worker for step in steps if step.change not in (Change.KEEP, Change.STOP)}


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


# --- scale ----------------------------------------------------------------------------------------


def scale(operation: Operation, counts: Sequence[str]) -> Report:
    """Changes how many instances there are, by words such as `sms=8`.

    Raises ConfigError or NoMatchError for a word that says nothing, LockedError where a rollout
    is in the way.
    """
    scope = operation.scope
    revision = scope.installed()
    wanted = _counts(counts, revision)
    with state.lock(scope.layout, revision.app, state.command_name()):
        blocking_rollout.require_none(scope, revision.app)
        before = scope.installed()
        origin = Origin(time.time(), state.whoami(), before.config, f"scale {' '.join(counts)}")
        target = before.with_instances(wanted, origin)
        instances = operation.running(target)
        steps = tuple(
            _scale_step(name, before, target, instances)
            for name in sorted({*instances, *target.instances})
        )
        linked = unit_files.started_by(scope.layout.unit_dir, names.target(before.app))
        links = set(target.links) ^ linked
        startable.require(scope.layout, target, _starting(steps), operation.systemd.search_path())
        plan = Plan(before, target, (), steps, tuple(sorted(links)))
        return Deployment(operation, plan, before, target.rollout).run()


def _scale_step(
    name: InstanceName,
    before: Revision,
    target: Revision,
    instances: Mapping[InstanceName, observe.Instance],
) -> PlannedChange:
    if before.goal(name) and target.goal(name):
        return keep(name)
    return planned_change(name, target, as_running(instances).get(name))


def _counts(words: Sequence[str], revision: Revision) -> dict[str, int]:
    numbers = {}
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
        numbers[worker] = int(count)
    return numbers


# --- remove ---------------------------------------------------------------------------------------


class Removal(NamedTuple):
    """What `remove` stops and deletes."""

    app: str
    instances: int
    units: Mapping[str, str]  # their texts, by name
    paths: tuple[PurePath, ...]


def removal(scope: Scope) -> Removal:
    """Returns what `remove` would stop and delete now. Raises NoMatchError."""
    layout, revision = scope.layout, scope.installed()
    units = unit_files.of_app(layout.unit_dir, revision.app)
    paths = (*(layout.unit_dir / name for name in units), layout.app(revision.app).state)
    return Removal(revision.app, len(revision.instances), units, paths)


def remove(operation: Operation, what: Removal, removed: Callable[[str], None]) -> Report:
    """Stops the app and deletes all that deploy installed.

    Nothing is deleted where an instance could not be stopped. `removed` is called with the app's
    name once all is deleted.
    """
    scope = operation.scope
    with state.lock(scope.layout, what.app, state.command_name()):
        revision, systemd = scope.installed(), operation.systemd
        instances = operation.running(revision)
        steps = tuple(
            PlannedChange(name, Change.STOP, "removed")
            for name, instance in instances.items()
            if instance.present
        )
        with operation.interrupts.caught():
            outcome = operation.roll(revision, steps, revision.rollout)
            if outcome.rollout.complete and not outcome.failed and not outcome.detached:
                # Else one that had to be killed stays in systemd's list of failed units.
                forget(systemd, scope.layout, revision.app, iter(instances))
                changes = [FileChange(name, text, None) for name, text in what.units.items()]
                install.remove(systemd, scope.layout, revision.app, changes)
                paused.forget(scope.layout, revision.app)
                removed(revision.app)
            return operation.close(revision, revision.id, outcome)
