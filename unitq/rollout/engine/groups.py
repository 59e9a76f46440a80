"""The instances of one worker in a rollout, counted by what the schedule asks about them.

Each instance has traits, worked out from its state and from what was last seen of it. A group
keeps its instances by trait and is updated with each of them, so that a question costs the same
whether the worker has 10 instances or 2,000.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from enum import IntEnum, auto
from typing import TYPE_CHECKING, NamedTuple

from unitq.rollout.engine.instance import IN_FLIGHT, Phase
from unitq.rollout.plan import Change

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from unitq.instances.state import Observed
    from unitq.model.names import InstanceName
    from unitq.model.settings import RolloutSettings
    from unitq.rollout.engine.instance import InstanceState
    from unitq.rollout.plan import PlannedChange

_GOOD = frozenset({Phase.HEALTHY, Phase.KEPT})

# What is left when the rollout is over: Kubernetes' replicas. Surge instances come and go.
_STAYING = frozenset({Change.KEEP, Change.START, Change.RESTART})


class Trait(IntEnum):
    """What the schedule asks about an instance, besides its phase."""

    IN_FLIGHT = auto()
    BOUNCING = auto()  # somebody else is restarting it
    PROVES = auto()  # the wanted revision is healthy here, now or before this rollout
    # Of those that stay:
    STAYING_IN_FLIGHT = auto()
    STAYING_FAILED = auto()
    UNAVAILABLE = auto()
    NEW_WAITING = auto()
    NEW_IN_FLIGHT = auto()
    # Of those that wait for their restart, which is one of the last three:
    TO_RESTART = auto()
    DOWN = auto()
    SERVING = auto()
    RETURNING = auto()  # systemd is about to start it again, with its own code
    GONE = auto()  # down for good
    # Of the surge:
    SURGE_WAITING = auto()
    SURGE_IN_FLIGHT = auto()
    SURGE_HEALTHY = auto()
    SURGE_SERVING = auto()  # healthy, and serving now
    SURGE_USABLE = auto()  # it serves, or may still do so
    # Of those that leave:
    LEAVING_WAITING = auto()
    # Of the canaries, that is what runs the wanted revision or was told to:
    CANARY = auto()
    CANARY_NOT_HEALTHY = auto()
    CANARY_FAILED = auto()


_OF_CHANGE = {
    Change.START: {Phase.WAITING: Trait.NEW_WAITING}
    | dict.fromkeys(IN_FLIGHT, Trait.NEW_IN_FLIGHT),
    Change.RESTART: {Phase.WAITING: Trait.TO_RESTART},
    Change.STOP: {Phase.WAITING: Trait.LEAVING_WAITING},
    Change.SURGE: {Phase.WAITING: Trait.SURGE_WAITING, Phase.HEALTHY: Trait.SURGE_HEALTHY}
    | dict.fromkeys(IN_FLIGHT, Trait.SURGE_IN_FLIGHT),
}


def traits(state: InstanceState, seen: Observed, wanted: str | None) -> frozenset[Trait | Phase]:
    """Returns the traits of an instance; `wanted` is the revision that it has to run."""
    return frozenset(_traits(state, seen, wanted))


def _traits(state: InstanceState, seen: Observed, wanted: str | None) -> Iterator[Trait | Phase]:
    phase, change = state.phase, state.planned.change
    yield phase
    if phase in IN_FLIGHT:
        yield Trait.IN_FLIGHT
    if state.bouncing and phase is not Phase.FAILED:
        yield Trait.BOUNCING
    if change in _OF_CHANGE and phase in _OF_CHANGE[change]:
        yield _OF_CHANGE[change][phase]
    if change is Change.STOP:
        return
    runs_wanted = seen.serving and seen.revision is not None and seen.revision == wanted
    healthy = phase is Phase.HEALTHY and change is not Change.KEEP
    up = state.current and (phase is not Phase.SETTLING or seen.serving)
    if up or healthy or (phase is Phase.WAITING and runs_wanted):
        yield Trait.PROVES
    if change is Change.SURGE:
        if phase is Phase.HEALTHY and seen.serving:
            yield Trait.SURGE_SERVING
        if phase is not Phase.FAILED and not state.leaving:
            yield Trait.SURGE_USABLE
        return
    if phase in IN_FLIGHT:
        yield Trait.STAYING_IN_FLIGHT
    if phase is Phase.FAILED:
        yield Trait.STAYING_FAILED
    # What was healthy and stays down, as an operator's stop leaves it, would be waited for in
    # vain; it is found when the rollout ends.
    if (
        phase in IN_FLIGHT
        or phase is Phase.FAILED
        or not (seen.serving or (phase in _GOOD and seen.down))
    ):
        yield Trait.UNAVAILABLE
    if state.waits_to_restart:
        if seen.down:
            yield Trait.DOWN
        if seen.serving:
            yield Trait.SERVING
        else:
            yield Trait.GONE if state.gone_for_good else Trait.RETURNING
    elif change is not Change.KEEP or state.current:
        yield Trait.CANARY
        if phase not in _GOOD:
            yield Trait.CANARY_NOT_HEALTHY
        if phase is Phase.FAILED:
            yield Trait.CANARY_FAILED


class WorkerGroup:
    """The instances of one worker."""

    def __init__(self, instances: Iterable[PlannedChange], settings: RolloutSettings) -> None:
        # What failed before goes first: it has no capacity to lose.
        ranked = sorted(instances, key=lambda one: (not one.failed_before, one.instance))
        changes = [planned.change for planned in ranked]
        self.size = sum(change in _STAYING for change in changes)
        self.surges = changes.count(Change.SURGE)
        self.restarts = changes.count(Change.RESTART)
        # How many may be unavailable: at least 1 where no other is started beside them.
        self.budget = max(settings.unavailable(self.size), 0 if self.surges else 1)
        self._canaries = settings.canaries(self.size) if self.restarts else 0
        # How many may try a revision that is not proved. Those that run beside the others prove
        # it as well: together no more than either may be.
        self.trials = max(self.budget, settings.canaries(self.size), self.surges)
        self._names = [planned.instance for planned in ranked]
        self._ranks = {name: rank for rank, name in enumerate(self._names)}
        self._traits: list[frozenset[Trait | Phase]] = [frozenset()] * len(ranked)
        self._by_trait: dict[Trait | Phase, list[int]] = {  # ranks, sorted
            trait: [] for trait in (*Trait, *Phase)
        }

    def update(self, name: InstanceName, new: frozenset[Trait | Phase]) -> frozenset[Trait | Phase]:
        """Takes the traits that an instance has now; returns those that it had."""
        rank = self._ranks[name]
        old, self._traits[rank] = self._traits[rank], new
        if new is not old:
            for trait in old - new:
                ranks = self._by_trait[trait]
                del ranks[bisect_left(ranks, rank)]
            for trait in new - old:
                insort(self._by_trait[trait], rank)
        return old

    def count(self, trait: Trait | Phase, *, among: int | None = None) -> int:
        """Returns how many have it; `among`: of those in the first so many of TO_RESTART."""
        ranks = self._by_trait[trait]
        return len(ranks) if among is None else self._within(ranks, among)

    def names(
        self,
        trait: Trait | Phase,
        limit: int | None = None,
        *,
        skip: int = 0,
        among: int | None = None,
    ) -> list[InstanceName]:
        """Returns those that have it, in order: at most `limit`, without the first `skip`.

        `among`: only those in the first so many of TO_RESTART.
        """
        end = self.count(trait, among=among)
        if limit is not None:
            end = min(end, skip + max(0, limit))
        return [self._names[rank] for rank in self._by_trait[trait][skip:end]]

    def _within(self, ranks: list[int], first: int) -> int:
        waiting = self._by_trait[Trait.TO_RESTART]
        return bisect_right(ranks, waiting[first - 1]) if first else 0

    @property
    def settled(self) -> bool:
        """Whether all that stay are where they end up."""
        waiting = self.count(Trait.TO_RESTART) + self.count(Trait.NEW_WAITING)
        return not waiting + self.count(Trait.STAYING_IN_FLIGHT)

    @property
    def budget_exhausted(self) -> bool:
        """Whether no further one can ever be replaced: too many have failed."""
        return self.count(Trait.STAYING_FAILED) >= self.budget + self.count(Trait.SURGE_USABLE)

    @property
    def has_surplus(self) -> bool:
        """Whether surge instances can go, as no other instance is to be replaced."""
        surplus = self.count(Trait.SURGE_HEALTHY) > self._needed or self.count(Trait.SURGE_WAITING)
        return bool(surplus) and self.settled

    def surplus(self, *, halted: bool) -> list[InstanceName]:
        """Returns the surge instances that can go; `halted`: not those that were never started."""
        healthy = self.names(Trait.SURGE_HEALTHY, skip=self._needed)
        return healthy if halted else healthy + self.names(Trait.SURGE_WAITING)

    @property
    def _needed(self) -> int:
        """How many of the surge make up for failed instances."""
        return max(0, self.count(Trait.STAYING_FAILED) - self.budget)

    @property
    def canaries(self) -> Canaries:
        """Its canaries: the first to be restarted, as many as the settings say.

        New instances count, for they run the new revision; and so does what an earlier rollout
        has brought there: one that was cut off and begun again takes no more canaries.
        """
        if not self.restarts:
            return Canaries()
        taken, waiting = self.count(Trait.CANARY), self.count(Trait.TO_RESTART)
        missing = min(waiting, max(0, self._canaries - taken))
        return Canaries(
            taken,
            missing,
            waiting - missing,
            self.count(Trait.CANARY_NOT_HEALTHY),
            self.count(Trait.CANARY_FAILED),
        )


class Canaries(NamedTuple):
    """How many instances go first, and how they are."""

    taken: int = 0  # touched, new, or running the wanted revision already
    next: int = 0  # still to be touched
    held: int = 0  # those that wait for them
    not_healthy: int = 0  # of those that are taken
    failed: int = 0  # of those that are taken

    @property
    def healthy(self) -> bool:
        """Whether all are."""
        return not self.next and not self.not_healthy
