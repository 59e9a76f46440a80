"""Follows the rollout at work to its end: here, in a unit of its own, or in that of a member."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import Exit
from unitq.grants.model import VERBS, prefix
from unitq.linux import proc
from unitq.model import names
from unitq.revisions import state
from unitq.rollout import detach, ledger_store
from unitq.rollout.control import stands
from unitq.rollout.resume import latest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from unitq.context import Scope
    from unitq.rollout.detach import UnitEnd
    from unitq.rollout.ledger import Story
    from unitq.systemd.manager import Systemd

_LOOK_AGAIN = 0.5  # seconds


class Followed(NamedTuple):
    """How it ended."""

    app: str
    story: Story  # of the last rollout
    last: UnitEnd  # how the unit ended that ran it last
    unit: str  # that unit, where it did not end as the rollout did; empty: it did
    code: int  # what to exit with
    began: bool = True  # False: that command ended before it began a rollout

    @property
    def how(self) -> str:
        """How the rollout ended, in words."""
        return stands(self.story, at_work=False)[0]


def follow(scope: Scope, show: Callable[[], None]) -> Followed:
    """Waits until nobody is at work on the app; calls `show` again and again meanwhile.

    Raises NoMatchError where there was no rollout, SystemdError.
    """
    app = scope.installed().app
    unit = names.rollout(app)
    last = detach.wait_for_end(scope.systemd(), unit, show)
    if scope.user or os.geteuid() == 0:
        state.wait_until_idle(scope.layout, app, show)
    else:
        _wait_unseen(scope, app, show)
    # Connected anew: hours may have passed.
    for granted, end in _failures(scope.systemd(), app):
        if end.at > last.at:
            unit, last = granted, end
    show()
    story = latest(scope)
    code = Exit.LOCKED if story.code is None else story.code
    if not (last.signal or last.code != story.code) or last.at <= (story.ended or story.began):
        return Followed(app, story, last, "", code)
    # It came to its end before it began: a check failed, or somebody else was at work. Or it was
    # killed.
    if not last.signal:
        # One of systemd's own statuses is none of ours either (systemd.exec(5)).
        known = last.code if last.code in list(Exit) else Exit.BROKEN
        return Followed(app, story, last, unit, known, began=False)
    if story.code is not None:
        return Followed(app, story, last, unit, Exit.BROKEN, began=False)
    return Followed(app, story, last, unit, code)


def _wait_unseen(scope: Scope, app: str, show: Callable[[], None]) -> None:
    """Returns once nobody is at work on the app, as far as it shows without reading its lock."""
    systemd = scope.systemd()
    while True:
        story = ledger_store.latest(scope.layout.app(app))
        at_work = story is not None and story.unfinished and proc.runs(story.pid, "unitq")
        rows = systemd.units(_units(app, VERBS))
        if not at_work and all(row.active in ("inactive", "failed") for row in rows):
            return
        show()
        state.wait_for(story.pid if story and at_work else os.getpid(), _LOOK_AGAIN)


def _failures(systemd: Systemd, app: str) -> Iterator[tuple[str, UnitEnd]]:
    """Yields the units of members that have failed, and how."""
    # What else a member may start is none that one leaves and comes back to.
    for row in systemd.units(_units(app, ("deploy", "rollback"))):
        if row.active == "failed":
            yield row.name, detach.failure_of(systemd, row.name)


def _units(app: str, verbs: Iterable[str]) -> list[str]:
    return [f"{prefix(verb, app)}*" for verb in verbs]
