"""What a failed rollout can go back to, and what brings back code that was updated in place."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from unitq.model.settings import OnFailure, Share
from unitq.revisions import checkout, history, in_place, store
from unitq.rollout.reports import stored_reports as reports

if TYPE_CHECKING:
    from unitq.context import Scope
    from unitq.model.settings import RolloutSettings
    from unitq.revisions.model import Revision


def rollback_target(scope: Scope, revision: Revision) -> Revision | None:
    """Returns the last stable revision before this one that is still there; None: there is none."""
    place = scope.layout.app(revision.app)
    known = store.read_all(place, _ignore)
    kept = reports.reports(place, _ignore)
    history_entries = history.entries(known, [report.verdict for report in kept], None, None)
    entry = history.last_stable(history_entries, revision, store.complete(place, known))
    return entry.revision if entry else None


def of_rollback(settings: RolloutSettings) -> RolloutSettings:
    """Returns the settings of a rollback: no canaries, as its code has worked; none follows."""
    return settings._replace(on_failure=OnFailure.PAUSE, canary=Share(0))


def restore_commands(scope: Scope, goal: Revision, now: Revision) -> str:
    """Returns what brings the code of `goal` back where that of `now` has replaced its files.

    Empty where a rollback does.
    """
    gone = in_place.overwritten_workers(goal, now)
    return checkout.how_to_restore(goal, gone, now, deploy_command(scope, now)) if gone else ""


def deploy_command(scope: Scope, revision: Revision) -> str:
    """Returns the command that deploys this app, from whatever directory."""
    return f"unitq{' --user' * scope.user} -c {shlex.quote(revision.config)} deploy"


def _ignore(words: str) -> None:
    """What cannot be read is no way back; `unitq history` says why."""
