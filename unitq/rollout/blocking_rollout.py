"""An unfinished rollout that blocks another command, and the ways out of it."""

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
    story = ledger_store.blocking(scope.layout.app(app))
    if story is not None:
        raise LockedError(
            f"{_title(app, story)} {story.how}", hint=ways_out(app, story, user=scope.user)
        )


def require_no_move(
    scope: Scope, revision: Revision, verb: str, steps: Iterable[PlannedChange]
) -> None:
    """Raises LockedError where this would continue a rollout that was cut off or is paused.

    What is started gets the code of the current revision. A stop is always possible.
    """
    place = scope.layout.app(revision.app)
    story = ledger_store.blocking(place)
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
            f"{_title(revision.app, story)} {story.how}, and {verb} would take "
            f"{', '.join(moved[:_NAMED])}{more} to its revision",
            hint=ways_out(revision.app, story, user=scope.user),
        )


def ways_out(app: str, story: Story, *, user: bool) -> str:
    """Returns what may follow a rollout that was cut off or is paused."""
    verb = "promote" if story.awaiting else "resume"
    typed = unitq(app, user=user)
    return (
        f"`{typed} rollout {verb}` continues, `{typed} rollback` goes back, "
        f"`{typed} rollout abort` leaves everything as it is"
    )


def _title(app: str, story: Story) -> str:
    return f"rollout {story.number} of {app} ({story.kind} of {story.revision} by {story.by})"
