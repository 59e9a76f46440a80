"""Goes on with a rollout that was cut off, is paused, or waits for promotion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.errors import Exit, NoMatchError, PreflightError
from unitq.linux import files
from unitq.model.settings import Share
from unitq.revisions import state, store
from unitq.revisions.model import settings_of
from unitq.rollout import ledger_store
from unitq.rollout.deployment import Deployment
from unitq.rollout.rollback_target import of_rollback, rollback_target
from unitq.text import unitq

if TYPE_CHECKING:
    from unitq.context import Scope
    from unitq.revisions.model import Revision
    from unitq.rollout.ledger import Story
    from unitq.rollout.operation import Operation
    from unitq.rollout.report import Report


def latest(scope: Scope) -> Story:
    """What the ledger tells of the app's last rollout. Raises NoMatchError where there is none."""
    app = scope.installed().app
    story = ledger_store.latest(scope.layout.app(app))
    if story is None:
        raise NoMatchError(f"{app} has had no rollout", hint="`unitq deploy` begins one")
    return story


def resume(
    operation: Operation, max_unavailable: Share | None = None, *, promote: bool = False
) -> Report:
    """Goes on with the last rollout from what is there.

    `promote`: its canaries are good. Raises NoMatchError where there is nothing to go on with.
    The report calls it what the command was that began it.
    """
    scope = operation.scope
    app = scope.installed().app
    with state.lock(scope.layout, app, state.command_name()):
        story = latest(scope)
        if not story.resumable:
            raise NoMatchError(
                f"rollout {story.number} of {app} has ended: nothing to go on with",
                hint=f"`{unitq(app, user=scope.user)} status` shows what runs",
            )
        if promote and not story.awaiting:
            raise NoMatchError(
                f"rollout {story.number} of {app} {story.how} and does not wait for promotion",
                hint=f"`{unitq(app, user=scope.user)} rollout resume` goes on with it",
            )
        operation.verb = story.kind
        before = scope.installed()
        target = _target(scope, story, before)
        # Of a way back its own, else what the command line that began it said.
        given = story.settings if target.id == story.revision else None
        base = settings_of(given) if given else target.rollout
        units = store.unit_texts(scope.layout.app(app), target)
        plan = operation.plan(before, target, units, base)
        settings = base.paced(max_unavailable or _pace_of(story))
        back = rollback_target(scope, target)
        if story.kind == "rollback" or target.id == story.back_to:
            # One that fails now is not rolled back either.
            settings, back = of_rollback(settings), None
        deployment = Deployment(
            operation, plan, None, settings, back, promoted=promote or story.promoted
        )
        operation.presenter.say(
            f"{app}: rollout {story.number} goes on to revision {target.number}"
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
        if not ledger_store.in_the_way(place):
            raise NoMatchError(f"no rollout of {app} is under way, paused or cut off")
        with files.nothing_changed("cannot write the ledger"):
            ledger = ledger_store.resume(place, story.number, 0)
        with ledger:
            ledger.write("end", code=int(Exit.INTERRUPTED), aborted=True)
    return story


def _pace_of(story: Story) -> Share | None:
    """What the command line of the rollout said."""
    text = story.max_unavailable
    return Share(int(text.removesuffix("%")), text.endswith("%")) if text else None


def _target(scope: Scope, story: Story, before: Revision) -> Revision:
    """Where a rollout that goes on goes to. Raises PreflightError where that was never written."""
    if before.id in (story.revision, story.back_to):
        return before
    place = scope.layout.app(before.app)
    notes: list[str] = []
    known = store.every(place, notes.append)
    whole = store.complete(place, known)
    for revision in known:
        if revision.id == story.revision and revision.id in whole:
            return revision
    raise PreflightError(
        f"rollout {story.number} of {before.app} was cut off before anything was changed",
        problems=tuple(notes),
        hint="`unitq rollout abort` closes it; then deploy again",
    )
