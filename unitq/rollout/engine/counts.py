"""How many instances of a rollout are in which phase: counted once, and then kept up to date.

A large fleet is looked at after each of its many events. What all but a few looks come to, that
nothing is to be done, can be told by these counts without a look at each instance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unitq.rollout.plan import Do

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from unitq.model.names import InstanceName
    from unitq.rollout.engine.instance import Phase, Slot

Kind = tuple[str, Do]  # a worker, and what is to become of these instances of it


class Tally(NamedTuple):
    """The counts of one state of a rollout."""

    slots: Mapping[InstanceName, Slot]  # of which they are; of any other they say nothing
    kinds: dict[tuple[Kind, Phase], int]
    phases: dict[Phase, int]
    waiting: frozenset[InstanceName]  # those that are waiting to be restarted
    surges: bool  # whether there are any, for a while

    def any(self, phases: Iterable[Phase]) -> bool:
        """Whether any instance is in one of these phases."""
        return any(self.phases.get(phase) for phase in phases)


def tallied(slots: Mapping[InstanceName, Slot]) -> Tally:
    """The counts, by a look at each instance."""
    count: dict[tuple[Kind, Phase], int] = {}
    phases: dict[Phase, int] = {}
    for slot in slots.values():
        _add(count, phases, slot, 1)
    return Tally(
        slots,
        count,
        phases,
        frozenset(name for name, slot in slots.items() if slot.waits_to_restart),
        any(slot.step.do is Do.SURGE for slot in slots.values()),
    )


def moved(
    tally: Tally, slots: Mapping[InstanceName, Slot], changed: Mapping[InstanceName, Slot]
) -> Tally:
    """The counts of `slots`, which are those of before but for the changed ones."""
    count, phases = tally.kinds, tally.phases
    gone: set[InstanceName] = set()
    new: set[InstanceName] = set()
    for name, slot in changed.items():
        before = tally.slots[name]
        if before.phase is slot.phase:
            continue  # a step never changes
        if count is tally.kinds:
            count, phases = dict(count), dict(phases)
        _add(count, phases, before, -1)
        _add(count, phases, slot, 1)
        if before.waits_to_restart:
            gone.add(name)
        elif slot.waits_to_restart:
            new.add(name)
    waiting = (tally.waiting - gone) | new if gone or new else tally.waiting
    return Tally(slots, count, phases, waiting, tally.surges)


def _add(
    count: dict[tuple[Kind, Phase], int], phases: dict[Phase, int], slot: Slot, number: int
) -> None:
    key = ((slot.instance.worker, slot.step.do), slot.phase)
    count[key] = count.get(key, 0) + number
    phases[slot.phase] = phases.get(slot.phase, 0) + number
