"""rollback: an earlier revision rolled out again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from unitq.cli import completions
from unitq.cli.grant.member import by_grant
from unitq.cli.scope import current, scope_options
from unitq.errors import Exit, PreflightError
from unitq.model.settings import OnFailure, Share
from unitq.revisions import checkout, code, history, in_place, state, store
from unitq.revisions.model import Origin, Revision, restored
from unitq.rollout import ledger_store, report
from unitq.rollout.deployment import Roll, begun, carried_out, plan_to, typed_deploy, way_back
from unitq.rollout.execute import (
    Waiting,
    message_option,
    share,
    waiting_options,
    with_max_unavailable,
)
from unitq.text import unitq

if TYPE_CHECKING:
    from unitq.cli.scope import Scope
    from unitq.model.settings import RolloutSettings

pace = click.option(
    "--max-unavailable",
    metavar="N|N%",
    callback=share,
    help="How many instances of a worker may be unavailable at a time.",
)


@click.command(
    epilog="""\b
Examples:
  unitq rollback          to the last stable revision before this one
  unitq rollback 41       to that one; `unitq history` lists them
  unitq rollback --max-unavailable 50%
"""
)
@scope_options
@pace
@message_option
@waiting_options
@click.argument("revision", required=False, metavar="[N]", shell_complete=completions.revisions)
@by_grant("rollback")
def rollback(
    revision: str | None,
    max_unavailable: Share | None,
    message: str,
    as_json: bool,
    timeout: float | None,
    fail_on_kill: bool,
) -> int:
    """Roll an earlier revision out again: its code, its environment, its units.

    As a new revision: history only goes forward, so a second rollback goes further back and not
    forth again. Also a way out of a rollout that was cut off or is paused. A rollback that fails
    is not rolled back.

    Where the code is updated in place (a git checkout, a plain directory) only settings and
    environment could come back: to another version of the code it is refused, and says what to
    type first.
    """
    scope = current()
    app = scope.installed().app
    waiting = Waiting(as_json, timeout, fail_on_kill)
    with state.lock(scope.layout, app, state.command_name()):
        before = scope.installed()
        place = scope.layout.app(app)
        goal = _goal(scope, before, revision)
        _refuse_overwritten(scope, before, goal)
        origin = Origin(time.time(), state.whoami(), goal.config, message)
        target = restored(before, goal, origin)
        systemd = scope.systemd()
        plan = plan_to(scope, systemd, before, target, store.unit_texts(place, goal))
        settings = of_rollback(with_max_unavailable(target.rollout, max_unavailable))
        roll = Roll("rollback", scope, systemd, plan, goal, settings, None, promoted=True)
        waiting.say(report.replaces(target, before.id))
        return _go(roll, max_unavailable, waiting)


def _goal(scope: Scope, before: Revision, named: str | None) -> Revision:
    """The revision to go back to. Raises NoMatchError or PreflightError."""
    place = scope.layout.app(before.app)
    if named is None:
        story = ledger_store.in_the_way(place)
        if story and story.revision != before.id:
            # It was cut off before its revision became the wanted one, or on its way back.
            return before
        last = ledger_store.latest(place)
        if last and last.cut_short and last.back_to == before.id:
            return before  # interrupted on its way back: that is the way meant
        if (found := way_back(scope, before)) is None:
            raise PreflightError(
                f"{before.app}: no stable revision before {before.number} to go back to",
                hint=f"`{unitq(before.app, user=scope.user)} history` lists what there is; "
                "`rollback N` takes one by its number",
            )
        return found
    notes: list[str] = []
    known = store.every(place, notes.append)
    goal = history.find(known, named, before.id)
    if goal.id not in store.complete(place, known):
        gone = [w.release for w in goal.workers if not store.still_there(w)]
        raise PreflightError(
            f"{before.app}: revision {goal.number} cannot be rolled out again: "
            + (
                f"{', '.join(gone)} is gone, or leads elsewhere now"
                if gone
                else "a part of it was deleted"
            ),
            problems=tuple(notes),
            hint=f"`{unitq(before.app, user=scope.user)} history` lists the others",
        )
    return goal


def _refuse_overwritten(scope: Scope, before: Revision, goal: Revision) -> None:
    """Raises PreflightError where files have been replaced since: they would be started again."""
    gone = [
        worker
        for worker in in_place.overwritten(goal, before)
        # Somebody may have brought them back already. What was not committed nothing proves.
        if in_place.with_changes([worker])
        or not (commit := in_place.deployed_commit(worker))
        or not code.is_checked_out(worker.release, commit)
    ]
    if not gone:
        return
    places = ", ".join(in_place.directories(gone))
    raise PreflightError(
        f"{before.app}: the code of revision {goal.number} ({gone[0].code_version}) is not in "
        f"{places} any more: it is updated in place",
        problems=(
            f"It would start the files of revision {before.number} or later again.",
            "Only settings and environment would come back. Nothing was changed.",
        ),
        hint=checkout.how_to_restore(goal, gone, before, typed_deploy(scope, before)),
    )


def of_rollback(settings: RolloutSettings) -> RolloutSettings:
    """How a rollback goes: without canaries, for it is known to work; nothing follows a failure."""
    return settings._replace(on_failure=OnFailure.PAUSE, canary=Share(0))


def _go(roll: Roll, max_unavailable: Share | None, waiting: Waiting) -> Exit:
    from unitq.linux.interrupts import Interrupts

    with Interrupts().caught() as interrupts, begun(roll, max_unavailable) as book:
        return carried_out(roll, book, waiting, interrupts)
