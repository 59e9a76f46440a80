"""recycle: what a timer runs to replace workers that have become too large or too old."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from unitq.cli.instances import over
from unitq.cli.output import echo, echo_json
from unitq.cli.scope import current, scope_options
from unitq.errors import Exit, LockedError
from unitq.instances import observe, paused
from unitq.linux import proc
from unitq.model.recycle import Due, Seen, due
from unitq.model.settings import Share
from unitq.rollout import report
from unitq.rollout.deployment import nothing_in_the_way
from unitq.rollout.execute import Waiting, keep, waiting_options, with_max_unavailable
from unitq.rollout.plan import Change, PlannedChange

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unitq.model.names import InstanceName
    from unitq.revisions.model import Revision, WorkerRevision


@click.command(
    epilog="""\b
Examples:
  unitq recycle --dry-run     who is due, and why
  unitq recycle               drain and replace them now, one by one
  systemctl list-timers 'unitq-*-recycle.timer'     when it is looked next

\b
Exit codes: those of restart. 0 as well where nobody is due, or a rollout is under way.
"""
)
@scope_options
@click.option("--dry-run", is_flag=True, help="Only say who is due.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing where nobody is due.")
@waiting_options
def recycle(
    dry_run: bool, quiet: bool, as_json: bool, timeout: float | None, fail_on_kill: bool
) -> int:
    """Replace workers that are beyond the limits of `recycle` in unitq.toml.

    A timer that deploy installs runs this every five minutes. Each drains, and its successor is
    healthy before the next one drains. While a rollout is under way, paused or cut off, nothing is
    done; nor where an instance of the worker has failed or is restarting: capacity first.
    """
    waiting = Waiting(as_json, timeout, fail_on_kill)
    scope = current()
    revision = scope.installed()
    systemd = scope.systemd()
    where = observe.machine(systemd, scope.layout)
    workers = {worker.name: worker for worker in revision.workers if worker.recycle}
    found = observe.instances(
        systemd, where, revision.app, workers, revision.instances, detailed=True
    )
    notes = paused.notes(scope.layout, revision.app)
    every: list[Due] = []
    for worker in workers.values():
        # What somebody has paused must not take jobs again because of a timer.
        mine = [
            one
            for name, one in found.items()
            if name.worker == worker.name and notes.get(name) != (one.invocation or None)
        ]
        if reason := _held_back(mine):
            if not as_json:
                echo(f"{worker.name}: nobody is recycled: {reason}", err=True)
            continue
        every += _due(worker, mine, revision.rollout.min_healthy.seconds)
    if dry_run:
        _told(revision, every, as_json=as_json)
        return Exit.OK
    if not every:
        if as_json:
            run = report.Run("recycle", waiting.began, scope.user)
            unchanged = report.document(run, revision, revision.id, None, (), Exit.OK)
            echo_json(unchanged)
        elif not quiet:
            echo(f"{revision.app}: nobody is due")
        return Exit.OK
    lives = {one.name: found[one.name].invocation for one in every}
    reasons = {one.name: one.why for one in every}
    if not as_json:
        for one in every:
            echo(f"{one.name}: {one.why}")

    def choose(name: InstanceName, instance: observe.Instance) -> PlannedChange:
        if name not in lives or instance.invocation != lives[name]:
            return keep(name)  # somebody has replaced it meanwhile
        return PlannedChange(name, Change.RESTART, reasons[name])

    try:
        nothing_in_the_way(scope, revision.app)
        return over(
            "recycle",
            tuple(str(name) for name in lives),
            waiting,
            choose,
            settings=lambda settings: with_max_unavailable(settings, Share(1)),
        )
    except LockedError as error:
        echo(f"{revision.app}: not now: {error.message}", err=True)
        return Exit.OK


def _due(
    worker: WorkerRevision, found: Iterable[observe.Instance], least_age: float
) -> tuple[Due, ...]:
    assert worker.recycle
    seen = [
        Seen(one.name, one.invocation, proc.age(one.main_pid) or 0.0, one.memory)
        for one in found
        if one.serving
    ]
    return due(worker.recycle, seen, least_age)


def _held_back(found: Iterable[observe.Instance]) -> str:
    """Why a worker's instances had better go on as they are; empty: they need not."""
    for one in found:
        # What somebody has stopped is no sign of trouble.
        if one.active == "failed" or one.sub == "auto-restart":
            return f"{one.name} is {one.active} ({one.sub})"
    return ""


def _told(revision: Revision, every: list[Due], *, as_json: bool) -> None:
    if as_json:
        rows = [{"instance": str(one.name), "why": one.why} for one in every]
        echo_json({"format": 1, "app": revision.app, "due": rows})
        return
    for one in every:
        echo(f"{one.name}: {one.why}")
    if not every:
        echo(f"{revision.app}: nobody is due")
