"""An unfinished rollout that stands in the way of another command, and the ways out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.errors import LockedError
from unitq.revisions import state
from unitq.rollout import ledger_store
from unitq.rollout.plan import Change
from unitq.text import unitq

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unitq.context import Scope
    from unitq.revisions.model import Revision
    from unitq.rollout.ledger import Story
    from unitq.rollout.plan import PlannedChange

_NAMED = 8  # instances that a message names


def require_none(scope: Scope, app: str) -> None:
    """Raises LockedError where an unfinished rollout has to be dealt with first."""
    story = ledger_store.in_the_way(scope.layout.app(app))
    if story is not None:
        raise LockedError(
            f"{_named(app, story)} {story.how}", hint=ways_out(app, story, user=scope.user)
        )


def require_no_move(
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
        and (pin := state.pin_of(place, step.instance)) is not None
        and pin != revision.code(step.instance)
    ]
    if moved:
        more = f" and {len(moved) - _NAMED} more" * (len(moved) > _NAMED)
        raise LockedError(
            f"{_named(revision.app, story)} {story.how}, and {verb} would take "
            f"{', '.join(moved[:_NAMED])}{more} to its revision",
            hint=ways_out(revision.app, story, user=scope.user),
        )


def ways_out(app: str, story: Story, *, user: bool) -> str:
    """Returns what may follow a rollout that was cut off or is paused."""
    on = "promote" if story.awaiting else "resume"
    typed = unitq(app, user=user)
    return (
        f"`{typed} rollout {on}` goes on, `{typed} rollback` goes back, "
        f"`{typed} rollout abort` leaves everything as it is"
    )


def _named(app: str, story: Story) -> str:
    return f"rollout {story.number} of {app} ({story.kind} of {story.revision} by {story.by})"
