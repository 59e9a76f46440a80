"""The rollout at work, or the last one: how it stands, pausing it, giving it up."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.errors import Exit, NoMatchError, NotPermittedError
from unitq.linux.interrupts import PAUSE
from unitq.revisions import state
from unitq.rollout import ledger_store
from unitq.rollout.blocking_rollout import ways_out
from unitq.rollout.reports.observed_report import result
from unitq.rollout.resume import latest

if TYPE_CHECKING:
    from unitq.context import Scope
    from unitq.revisions.state import Holder
    from unitq.rollout.ledger import Story


class Status(NamedTuple):
    """How a rollout stands."""

    app: str
    story: Story
    state: str  # a word or two
    exit_code: Exit  # OK: at work or ended; LOCKED: cut off; PAUSED: or waiting for promotion
    pid: int | None  # of the unitq at work on the app
    ways_out: str = ""  # what to type, where it is cut off or paused

    def to_json(self) -> dict[str, Any]:
        """Returns it as docs/json.md describes it."""
        story = self.story
        return {
            "format": 1,
            "app": self.app,
            "rollout": story.number,
            "command": story.kind,
            "state": self.state,
            "revision": story.revision,
            "previous_revision": story.previous,
            "rolled_back_to": story.back_to,
            "began": round(story.began, 3),
            "ended": None if story.ended is None else round(story.ended, 3),
            "by": story.by,
            "pid": self.pid,
            "exit_code": story.code,
        }


def status(scope: Scope) -> Status:
    """Returns how the last rollout stands. Raises NoMatchError where there was none."""
    app = scope.installed().app
    story = latest(scope)
    holder = state.at_work(scope.layout, app)
    words, code = stands(story, at_work=holder is not None)
    if code is Exit.LOCKED and state.busy(scope.layout, app):
        words, code = "at work, or cut off: only root can tell", Exit.OK
    elif code is Exit.LOCKED and not ledger_store.blocking(scope.layout.app(app)):
        words, code = "cut off before anything was changed", Exit.OK
    out = code in (Exit.LOCKED, Exit.PAUSED)
    return Status(
        app, story, words, code, holder.pid if holder else None,
        ways_out(app, story, user=scope.user) if out else "",
    )  # fmt: skip


def stands(story: Story, *, at_work: bool) -> tuple[str, Exit]:
    """Returns how a rollout stands by its ledger, in words and as an exit code."""
    if story.unfinished:
        return ("at work", Exit.OK) if at_work else (story.state, Exit.LOCKED)
    if story.paused:
        return story.state, Exit.PAUSED
    return result(story.code), Exit.OK


def pause(scope: Scope) -> Holder:
    """Tells the rollout at work to stop at a safe point, to be resumed; returns whom it told.

    Raises NoMatchError where none is at work that understands it, NotPermittedError.
    """
    app = scope.installed().app
    story = ledger_store.latest(scope.layout.app(app))
    holder = state.at_work(scope.layout, app)
    if holder and (story is None or not story.unfinished or story.pid != holder.pid):
        # Only a rollout knows the signal; anything else would die of it.
        raise NoMatchError(
            f"`{holder.doing}` (PID {holder.pid}) is no rollout that can be paused now",
            hint="`unitq rollout abort` stops it at a safe point, as Ctrl-C does",
        )
    return _tell(scope, app, PAUSE)


def interrupt(scope: Scope) -> Holder | None:
    """Tells who is at work to stop at a safe point, as Ctrl-C does; None: nobody is at work."""
    app = scope.installed().app
    return _tell(scope, app, signal.SIGINT) if state.at_work(scope.layout, app) else None


def _tell(scope: Scope, app: str, number: int) -> Holder:
    holder = state.at_work(scope.layout, app)
    if holder is None:
        raise NoMatchError(f"no rollout of {app} is at work")
    try:
        os.kill(holder.pid, number)
    except ProcessLookupError:
        raise NoMatchError(f"no rollout of {app} is at work any more") from None
    except PermissionError as error:
        raise NotPermittedError(f"PID {holder.pid}: {error.strerror}") from error
    return holder
