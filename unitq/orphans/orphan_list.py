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
    from unitq.orphans.registered import RegistrationReader


@dataclass(frozen=True, slots=True)
class OrphanList:
    """The orphans of an app, at one moment."""

    search: Search
    look: Scan  # those that are shown: as they are now, or as they were before they ended
    others: Scan  # those that were not named
    redis: RegistrationReader
    owners: Mapping[int, Owner]  # by PID
    drained: Mapping[int, DrainResult]
    left: frozenset[int]  # the PIDs of those that still run
    code: Exit
    now: float  # seconds since 1970


def exit_code(look: Scan) -> Exit:
    """Returns the exit code for these orphans."""
    if not look.orphans:
        # An operator has to look: it may be an older copy of the app, under another account.
        return Exit.NOT_AS_WANTED if look.claimed else Exit.OK
    return Exit.STALE if look.stale else Exit.NOT_AS_WANTED


def exit_code_after(drain: Drain, after: Scan) -> Exit:
    """Returns the exit code of a drain, by the orphans after it."""
    if drain.interrupted:
        return Exit.INTERRUPTED
    at_work = {result.pid for result in drain.results if result.left and result.signalled}
    if at_work & {orphan.process.pid for orphan in after.orphans}:
        return Exit.GAVE_UP_WAITING
    return exit_code(after)
