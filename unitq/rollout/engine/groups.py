"""The instances of a rollout by worker: what is counted of them, and which go first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unitq.rollout.engine.instance import Phase, Slot
from unitq.rollout.plan import Do

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from unitq.model.names import InstanceName
    from unitq.model.settings import RolloutSettings


class Crew(NamedTuple):
    """The instances of one worker."""

    staying: list[Slot]  # those that there are to be in the end: Kubernetes' replicas
    surges: list[Slot]  # those that there are more, while the others are replaced
    leaving: list[Slot]

    @property
    def restarts(self) -> list[Slot]:
        """Those still to be restarted, in order."""
        return urgent_first(slot for slot in self.staying if slot.waits_to_restart)

    def allowed(self, settings: RolloutSettings) -> int:
        """How many may be unavailable: at least 1 where no other is started beside them."""
        return max(settings.unavailable(len(self.staying)), 0 if self.surges else 1)

    def spent(self, settings: RolloutSettings) -> bool:
        """Whether no further one can ever be replaced: too many have failed."""
        usable = sum(
            slot.phase is not Phase.FAILED and not slot.leaving for slot in self.surges
        ) + self.allowed(settings)
        return sum(slot.phase is Phase.FAILED for slot in self.staying) >= usable

    def surplus(self, settings: RolloutSettings) -> list[Slot]:
        """Those beyond the usual number that can go, once no other is to be replaced.

        As many as it takes to make up for failed ones are left.
        """
        down = sum(slot.phase is Phase.FAILED for slot in self.staying)
        healthy = [slot for slot in self.surges if slot.phase is Phase.HEALTHY]
        idle = [slot for slot in self.surges if slot.phase is Phase.WAITING]
        return healthy[max(0, down - self.allowed(settings)) :] + idle


class Canaries(NamedTuple):
    """The instances that go first."""

    taken: list[Slot]  # those that have been touched, are new, or run what is wanted already
    next: list[Slot]  # those to be touched
    held: bool  # whether any others wait for them

    @property
    def healthy(self) -> bool:
        return not self.next and all(
            slot.phase in (Phase.HEALTHY, Phase.KEPT) for slot in self.taken
        )


def urgent_first(slots: Iterable[Slot]) -> list[Slot]:
    """Instances in order, but first those that failed earlier: they have nothing to lose."""
    return sorted(slots, key=lambda slot: not slot.step.urgent)


def crews_of(slots: Mapping[InstanceName, Slot]) -> dict[str, Crew]:
    """The instances per worker, in the order of the slots."""
    crews: dict[str, Crew] = {}
    for name, slot in slots.items():
        crew = crews.get(name.worker)
        if crew is None:
            crew = crews[name.worker] = Crew([], [], [])
        if slot.step.do is Do.SURGE:
            crew.surges.append(slot)
        elif slot.step.do is Do.STOP:
            crew.leaving.append(slot)
        else:
            crew.staying.append(slot)
    return crews


def canaries_of(crews: Iterable[Crew], settings: RolloutSettings) -> Canaries:
    """The canaries of all workers with instances to be restarted, `settings.canary` of each.

    They are the first to be restarted. Those that are newly started count, for they run what is
    new; and so does what an earlier rollout has brought there: one that was cut short and begun
    again takes no more canaries than it would have.
    """
    taken: list[Slot] = []
    following: list[Slot] = []
    held = False
    for crew in crews:
        restarts = [slot for slot in crew.staying if slot.step.do is Do.RESTART]
        if not restarts:
            continue
        there = [slot for slot in restarts if slot.phase is not Phase.WAITING]
        there += [slot for slot in crew.staying if slot.current or slot.step.do is Do.START]
        more = max(0, settings.canaries(len(crew.staying)) - len(there))
        waiting = crew.restarts
        taken += there
        following += waiting[:more]
        held = held or len(waiting) > more
    return Canaries(taken, following, held)
