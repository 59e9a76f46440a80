"""An earlier revision rolled out again: which one, whether it can be, and doing it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from unitq.errors import PreflightError
from unitq.revisions import checkout, code, history, in_place, state, store
from unitq.revisions.model import Origin
from unitq.rollout import ledger_store
from unitq.rollout.deployment import Deployment
from unitq.rollout.reports.observed_report import replaces
from unitq.rollout.rollback_target import deploy_command, of_rollback, rollback_target
from unitq.text import unitq

if TYPE_CHECKING:
    from unitq.context import Scope
    from unitq.model.settings import Share
    from unitq.revisions.model import Revision
    from unitq.rollout.operation import Operation
    from unitq.rollout.reports.report import Report


def rollback(
    operation: Operation,
    named: str | None,
    max_unavailable: Share | None = None,
    message: str = "",
) -> Report:
    """Rolls the revision out that is named, or the last stable one.

    Raises NoMatchError, PreflightError or LockedError before anything is changed.
    """
    scope = operation.scope
    app = scope.installed().app
    with state.lock(scope.layout, app, state.command_name()):
        before = scope.installed()
        goal = _goal(scope, before, named)
        _require_files(scope, before, goal)
        origin = Origin(time.time(), state.whoami(), goal.config, message)
        target = before.back_to(goal, origin)
        units = store.unit_texts(scope.layout.app(app), goal)
        plan = operation.plan(before, target, units)
        settings = of_rollback(target.rollout.with_max_unavailable(max_unavailable))
        operation.presenter.say(replaces(target, before.id))
        return Deployment(operation, plan, goal, settings, promoted=True).run(max_unavailable)


def _goal(scope: Scope, before: Revision, named: str | None) -> Revision:
    """Returns the revision to go back to. Raises NoMatchError or PreflightError."""
    place = scope.layout.app(before.app)
    if named is None:
        story = ledger_store.blocking(place)
        if story and story.revision != before.id:
            # It was cut off before its revision became the wanted one, or on its way back.
            return before
        last = ledger_store.latest(place)
        if last and last.cut_short and last.back_to == before.id:
            return before  # interrupted on its way back: that is the way meant
        if (target := rollback_target(scope, before)) is None:
            raise PreflightError(
                f"{before.app}: no stable revision before {before.number} to go back to",
                hint=f"`{unitq(before.app, user=scope.user)} history` lists what there is; "
                "`rollback N` takes one by its number",
            )
        return target
    notes: list[str] = []
    known = store.read_all(place, notes.append)
    goal = history.find(known, named, before.id)
    if goal.id not in store.complete(place, known):
        gone = [w.release for w in goal.workers if not store.release_exists(w)]
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


def _require_files(scope: Scope, before: Revision, goal: Revision) -> None:
    """Raises PreflightError where files have been replaced since: they would be started again."""
    gone = [
        worker
        for worker in in_place.overwritten_workers(goal, before)
        # Somebody may have brought them back already. What was not committed nothing proves.
        if in_place.with_changes([worker])
        or not (commit := in_place.commit_of(worker))
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
        hint=checkout.how_to_restore(goal, gone, before, deploy_command(scope, before)),
    )
