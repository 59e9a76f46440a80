"""Continues a rollout that was cut off, is paused, or waits for promotion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.errors import Exit, NoMatchError, PreflightError
from unitq.linux import files
from unitq.model.settings import Share
from unitq.revisions import state, store
from unitq.rollout import ledger_store
from unitq.rollout.deployment import Deployment
from unitq.rollout.rollback_target import of_rollback, rollback_target
from unitq.text import unitq

if TYPE_CHECKING:
    from unitq.context import Scope
    from unitq.revisions.model import Revision
    from unitq.rollout.ledger import Story
    from unitq.rollout.operation import Operation
    from unitq.rollout.reports.report import Report


def latest(scope: Scope) -> Story:
    """Returns what the ledger says of the app's last rollout. Raises NoMatchError."""
    app = scope.installed().app
    story = ledger_store.latest(scope.layout.app(app))
    if story is None:
        raise NoMatchError(f"{app} has had no rollout", hint="`unitq deploy` begins one")
    return story


def resume(
    operation: Operation, max_unavailable: Share | None = None, *, promote: bool = False
) -> Report:
    """Goes on with the last rollout from what is there.

    `promote`: an operator has said that its canaries are good. Raises NoMatchError where it has
    ended. The report has the verb of the command that began it.
    """
    scope = operation.scope
    app = scope.installed().app
    with state.lock(scope.layout, app, state.command_name()):
        story = latest(scope)
        if not story.resumable:
            raise NoMatchError(
                f"rollout {story.number} of {app} has ended: there is nothing to resume",
                hint=f"`{unitq(app, user=scope.user)} status` shows what runs",
            )
        if promote and not story.awaiting:
            raise NoMatchError(
                f"rollout {story.number} of {app} {story.how} and does not wait for promotion",
                hint=f"`{unitq(app, user=scope.user)} rollout resume` continues it",
            )
        operation.verb = story.kind
        before = scope.installed()
        target = _target(scope, story, before)
        # A rollback has its own; a rollout has those of the command line that began it.
        given = story.settings if target.id == story.revision else None
        base = given or target.rollout
        units = store.unit_texts(scope.layout.app(app), target)
        plan = operation.plan(before, target, units, base)
        settings = base.with_max_unavailable(max_unavailable or _pace_of(story))
        back = rollback_target(scope, target)
        if story.kind == "rollback" or target.id == story.back_to:
            # One that fails now is not rolled back either.
            settings, back = of_rollback(settings), None
        deployment = Deployment(
            operation, plan, None, settings, back, promoted=promote or story.promoted
        )
        operation.presenter.say(
            f"{app}: rollout {story.number} continues to revision {target.number}"
        )
        return deployment.resume(story.number, promote=promote)


def give_up(scope: Scope) -> Story:
    """Closes the last rollout and leaves everything as it is; returns what it was.

    Raises NoMatchError where none is paused or cut off.
    """
    app = scope.installed().app
    place = scope.layout.app(app)
    with state.lock(scope.layout, app, state.command_name()):
        story = latest(scope)
        if not ledger_store.blocking(place):
            raise NoMatchError(f"no rollout of {app} is under way, paused or cut off")
        with files.preflight_errors("cannot write the ledger"):
            ledger = ledger_store.resume(place, story.number, 0)
        with ledger:
            ledger.write("end", code=int(Exit.INTERRUPTED), aborted=True)
    return story


def _pace_of(story: Story) -> Share | None:
    """Returns --max-unavailable of the command that began the rollout."""
    text = story.max_unavailable
    return Share.parse(text) if text else None


def _target(scope: Scope, story: Story, before: Revision) -> Revision:
    """Returns the revision that the rollout leads to. Raises PreflightError: never written."""
    if before.id in (story.revision, story.back_to):
        return before
    place = scope.layout.app(before.app)
    notes: list[str] = []
    known = store.read_all(place, notes.append)
    whole = store.complete(place, known)
    for revision in known:
        if revision.id == story.revision and revision.id in whole:
            return revision
    raise PreflightError(
        f"rollout {story.number} of {before.app} was cut off before anything was changed",
        problems=tuple(notes),
        hint="`unitq rollout abort` closes it; then deploy again",
    )
