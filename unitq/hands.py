"""What workers have in hand while they drain, as Redis tells.

Looked at before the stop signal and again just before systemd reaches for SIGKILL: what starts in a
worker's place may delete its record (lib/Resque/Worker.php, pruneDeadWorkers). A Redis that is
down or slow holds nobody up: it is asked no more, and that is said once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unitq.core.errors import UnitqError
from unitq.core.slot import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from unitq.core.names import InstanceName
    from unitq.core.queue import Job, Registration
    from unitq.core.rollout import Rollout

# Seconds before stop_timeout: long enough for a look, and too short for another job.
_BEFORE_THE_END = 0.5

# Seconds between two looks for those who watch.
_INTERVAL = 1.0


class Draining(NamedTuple):
    """An instance that is told to stop."""

    name: InstanceName
    pids: tuple[int, ...]  # its processes, before
    limit: float | None  # seconds that it may take; None: any time


class Presence:
    """Whether new workers have registered themselves, where their health is to depend on that."""

    def __init__(self, ask: Callable[[], Iterable[Registration]], workers: frozenset[str]) -> None:
        """`ask` gives the workers of this host that are registered, or raises UnitqError.

        `workers` are the names of those whose health depends on it.
        """
        self._ask = ask
        self.workers = workers

    def missing(self, pids: Iterable[int]) -> str:
        """Why none of these processes counts as registered; empty: one does."""
        try:
            registered = {each.pid for each in self._ask()}
        except UnitqError as error:
            return error.message
        return "" if registered & set(pids) else "it is not registered in Redis"


class Hands:
    """The jobs of the instances that are drained, by instance: the last that was seen of each."""

    def __init__(
        self, ask: Callable[[], Iterable[Registration]], say: Callable[[str], None]
    ) -> None:
        """`ask` gives the workers of this host that are registered, or raises UnitqError."""
        self._ask = ask
        self._say = say
        self._draining: dict[InstanceName, Draining] = {}
        self._looked = 0.0
        self._blind = False
        self.jobs: dict[InstanceName, tuple[Job, ...]] = {}
        self.workers: dict[InstanceName, tuple[Registration, ...]] = {}  # that had them

    def before(self, rollout: Rollout, told: Iterable[Draining], now: float) -> None:
        """Looks at what these have in hand; they are about to be told to stop."""
        new = {one.name: one for one in told}
        self._draining |= new
        # Not at those that have ended: they may have left their PIDs to somebody else.
        self._look([*new, *self._still(rollout)], now)

    def again(self, rollout: Rollout, now: float, *, watched: bool) -> None:
        """Looks again where it is time."""
        at = self.due(rollout, watched=watched)
        if at is not None and at <= now:
            self._look(self._still(rollout), now)

    def due(self, rollout: Rollout, *, watched: bool) -> float | None:
        """When to look again; None: there is nothing to see. `watched`: somebody looks on."""
        names = self._still(rollout)
        if self._blind or not names:
            return None
        times = [self._looked + _INTERVAL] if watched else []
        for name in names:
            limit = self._draining[name].limit
            if limit is not None:
                end = rollout.slots[name].touched + limit - _BEFORE_THE_END
                if end > self._looked:
                    times.append(end)
        return min(times, default=None)

    def _still(self, rollout: Rollout) -> list[InstanceName]:
        slots = rollout.slots
        return [
            name for name in self._draining if name in slots and slots[name].phase is Phase.DRAINING
        ]

    def _look(self, names: Iterable[InstanceName], now: float) -> None:
        if self._blind:
            return
        self._looked = now
        try:
            registered = {each.pid: each for each in self._ask() if each.pid is not None}
        except UnitqError as error:
            self._blind = True
            self._say(f"{error.message}: what is in hand is not known")
            return
        for name in names:
            mine = [registered[pid] for pid in self._draining[name].pids if pid in registered]
            # One that is not registered any more has had its record deleted: what was seen before
            # counts. Had it finished, it would have said so before it went.
            if mine:
                self.jobs[name] = tuple(job for each in mine for job in each.jobs)
                self.workers[name] = tuple(each for each in mine if each.jobs)
