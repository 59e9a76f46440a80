"""What `unitq orphans` answers: the orphans, what keeps each, what a drain did, the exit code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unitq.errors import Exit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.orphans.drain import Drain, DrainResult
    from unitq.orphans.find import Scan, Search
    from unitq.orphans.ownership import Owner
    from unitq.orphans.registered import Redis


@dataclass(frozen=True, slots=True)
class OrphanList:
    """The orphans of an app, at one moment."""

    what: Search
    look: Scan  # those that are shown: as they are now, or as they were before they ended
    others: Scan  # those that were not named
    redis: Redis
    owners: Mapping[int, Owner]  # by PID
    drained: Mapping[int, DrainResult]
    left: frozenset[int]  # the PIDs of those that are still there
    code: Exit
    now: float  # seconds since 1970


def exit_code(found: Scan) -> Exit:
    """Returns the exit code for what there is."""
    if not found.orphans:
        # Whoever it is has to look: it may be an older copy of the app, under another account.
        return Exit.NOT_AS_WANTED if found.claimed else Exit.OK
    return Exit.STALE if found.stale else Exit.NOT_AS_WANTED


def exit_code_after(done: Drain, after: Scan) -> Exit:
    """Returns the exit code of a drain, by what there is after it."""
    if done.interrupted:
        return Exit.INTERRUPTED
    at_work = {one.pid for one in done.every if one.left and one.told}
    if at_work & {each.process.pid for each in after.orphans}:
        return Exit.GAVE_UP_WAITING
    return exit_code(after)
