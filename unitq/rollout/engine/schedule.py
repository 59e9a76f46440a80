"""The pace of a rollout: what is to be ordered next, and when to look again.

A sliding window: as soon as one instance is healthy the next may drain. Draining, starting and
settling count as unavailable, and so does an instance that failed or is down for any other reason;
but not one that is kept or was healthy and stays down, as an operator's stop leaves it: to wait
for it would be for ever. What must serve and does not is found when the rollout ends.

Per worker, in this order:

1. new instances start, and those that there are more for a while (surge). No old instance is
   touched before the new ones are healthy, or have failed within max_failures. It need not wait
   for the surge, unless max_unavailable is 0; but each of these that serves adds one to what may
   be unavailable.
2. canaries, then a pause of canary_soak, then perhaps an operator's word; see `Canaries`.
3. all other restarts: what failed earlier first. What crashed comes back by systemd with its own
   code, and is unavailable until then: it goes before others, within the budget. What is down for
   good costs no capacity: it goes whether or not the budget allows. Both only once the release has
   been healthy on one instance of the worker; until then one at a time proves it.
4. the surge stops when nothing of the worker is left to be replaced; as does what has no place in
   the new revision when this is so for all workers: capacity first.

After a failure or Ctrl-C only what is in hand is finished: a drained one is started, a settling
one probed. After Ctrl-C the surge stops, too; after a failure it is capacity, and stays.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from unitq.instances.state import Seen
from unitq.rollout.engine.groups import canaries_of, urgent_first
from unitq.rollout.engine.instance import (
    CRASHING,
    FINAL,
    IN_FLIGHT,
    PASSING,
    Order,
    Phase,
    Slot,
    What,
)
from unitq.rollout.engine.rollout import soaked_at
from unitq.rollout.plan import Do

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.model.names import InstanceName
    from unitq.rollout.engine.groups import Crew
    from unitq.rollout.engine.rollout import Rollout

# Phases that end with time.
_TIMED = frozenset({Phase.STARTING, Phase.SETTLING})

# Seconds from the end of a probe to the next one.
PROBE_INTERVAL = 1.0


def orders(rollout: Rollout, seen: Mapping[InstanceName, Seen], now: float) -> tuple[Order, ...]:
    """What is to be ordered now, in order."""
    probes = [
        Order(slot, What.PROBE)
        for slot in (rollout.slots.values() if rollout.probes else ())
        if (at := _probe_due(rollout, slot)) is not None and at <= now
    ]
    return (*_changes(rollout, seen), *probes)


def _changes(rollout: Rollout, seen: Mapping[InstanceName, Seen]) -> list[Order]:
    """All orders but the probes: these depend on what is there only, not on the time."""
    found = []
    if rollout.tally.any((Phase.DRAINED,)):
        drained = (slot for slot in rollout.slots.values() if slot.phase is Phase.DRAINED)
        found = [Order(slot, What.SWITCH) for slot in drained]
    if rollout.failed:
        return found
    if not rollout.halted:
        found += _touched(rollout, seen)
    return found + [Order(slot, What.STOP) for slot in rollout.surplus()]


def _touched(rollout: Rollout, seen: Mapping[InstanceName, Seen]) -> list[Order]:
    return [] if windows_full(rollout, seen) else due(rollout, seen)


def due(rollout: Rollout, seen: Mapping[InstanceName, Seen]) -> list[Order]:
    """The instances that may be touched now, those that leave last; by a close look at all."""
    crews = rollout.crews().values()
    first = None
    if rollout.canary_first:
        first = {slot.instance for slot in canaries_of(crews, rollout.settings).next}
    found: list[Slot] = []
    for crew in crews:
        found += _new(crew)
        found += _old(crew, rollout, seen, first)
    if all(slot.phase in FINAL for crew in crews for slot in crew.staying):
        # What is gone stops last, once all that stays is healthy: capacity first.
        found += [slot for crew in crews for slot in crew.leaving if slot.phase is Phase.WAITING]
    return [Order(slot, _what(slot, _sight(seen, slot))) for slot in found]


def windows_full(rollout: Rollout, seen: Mapping[InstanceName, Seen]) -> bool:
    """Whether no instance can be due, by counts alone: so it is after most events.

    False where that takes a close look: where something else than restarts is under way, too.
    """
    tally = rollout.tally
    size: dict[str, int] = {}
    taken: dict[str, int] = {}
    waiting: set[str] = set()
    leaving = busy = False
    if tally.surges:
        return False
    for ((worker, do), phase), number in tally.kinds.items():
        if not number:
            continue
        if do is Do.STOP:
            leaving = leaving or phase is Phase.WAITING
            continue
        size[worker] = size.get(worker, 0) + number
        if phase is Phase.WAITING:
            if do is Do.START:
                return False
            waiting.add(worker)
        elif phase in IN_FLIGHT or phase is Phase.FAILED:
            busy = busy or phase is not Phase.FAILED
            taken[worker] = taken.get(worker, 0) + number
    if leaving and not busy and not waiting:
        return False
    unavailable = rollout.settings.unavailable
    if any(taken.get(name, 0) < max(unavailable(size[name]), 1) for name in waiting):
        return False
    # What is down already goes first, budget or not.
    return all(name in seen and seen[name].serving for name in tally.waiting)


def _new(crew: Crew) -> list[Slot]:
    """The instances that are to be started: they take nothing away from anybody."""
    surges = crew.surges if crew.surges and crew.restarts else []
    starts = [slot for slot in crew.staying if slot.step.do is Do.START]
    found = [slot for slot in starts + surges if slot.phase is Phase.WAITING]
    return urgent_first(found)


def _old(
    crew: Crew,
    rollout: Rollout,
    seen: Mapping[InstanceName, Seen],
    first: set[InstanceName] | None,
) -> list[Slot]:
    """The instances that may be restarted now; of `first` only, if given."""
    allowed = crew.allowed(rollout.settings)
    extra = [slot for slot in crew.surges if slot.phase is Phase.HEALTHY and not slot.leaving]
    pending = IN_FLIGHT | {Phase.WAITING}
    if any(slot.step.do is Do.START and slot.phase in pending for slot in crew.staying):
        # New capacity is healthy before old capacity is touched: a broken release stops here.
        return []
    if (not allowed and not extra) or crew.spent(rollout.settings):
        return []
    serving: list[Slot] = []
    returning: list[Slot] = []  # systemd is about to start them again, with their own code
    gone: list[Slot] = []
    extras = sum(_sight(seen, slot).serving for slot in extra)
    budget = room = allowed + extras
    for slot in crew.staying:
        sight = _sight(seen, slot)
        if slot.waits_to_restart:
            if first is None or slot.instance in first:
                (serving if sight.serving else gone if slot.gone_for_good else returning).append(
                    slot
                )
            elif sight.down:
                continue  # not to be touched before the canaries: waited for in vain
        budget -= _unavailable(slot, sight)
        room -= slot.phase in IN_FLIGHT or slot.phase is Phase.FAILED
    serving, returning, gone = map(urgent_first, (serving, returning, gone))
    if not _proved(crew, rollout, seen):
        # One that is down proves it at no cost; but what is down is not free: no other follows it.
        # What systemd starts again would be waited for in vain where it crashes in a loop.
        trying = sum(slot.phase in IN_FLIGHT for slot in crew.staying) + sum(
            slot.phase in pending for slot in crew.surges
        )
        if not trying and (gone or budget <= 0):
            return (gone or returning)[:1]
        # Those that run beside the others prove it as well: together no more than either may be.
        most = max(allowed, rollout.settings.canaries(len(crew.staying)), len(crew.surges))
        return serving[: max(0, min(budget, most - trying))]
    # What is down for good costs no capacity any more, whatever the budget.
    found = returning[: max(0, room)]
    return gone + found + serving[: max(0, min(budget, room - len(found)))]


def _proved(crew: Crew, rollout: Rollout, seen: Mapping[InstanceName, Seen]) -> bool:
    """Whether what is wanted has been healthy somewhere: here, or before this rollout."""
    return rollout.promoted or any(
        slot.current
        or (slot.phase is Phase.HEALTHY and slot.step.do is not Do.KEEP)
        or (
            slot.phase is Phase.WAITING
            and (sight := _sight(seen, slot)).serving
            and sight.revision is not None
            and sight.revision == rollout.wanted.get(slot.instance)
        )
        for slot in (*crew.staying, *crew.surges)
    )


def _unavailable(slot: Slot, seen: Seen) -> bool:
    if slot.phase in (Phase.KEPT, Phase.HEALTHY) and seen.down:
        return False
    return not seen.serving or slot.phase in IN_FLIGHT or slot.phase is Phase.FAILED


def _what(slot: Slot, seen: Seen) -> What:
    if slot.step.do is Do.STOP:
        return What.STOP
    if slot.step.switch:
        # Whatever runs, or is about to, does so under the old text, and is stopped under it.
        return What.SWITCH if seen.down else What.STOP
    if slot.step.do is Do.RESTART or not seen.down:
        return What.RESTART
    return What.START


def deadline(rollout: Rollout, seen: Mapping[InstanceName, Seen]) -> float | None:
    """When to look again though nothing happens; None: only events matter.

    In the past where an order is due that has not been given yet.
    """
    # What is in flight leads to another look sooner or later. Without it nothing may.
    if (rollout.tally.any((Phase.DRAINED,)) or not rollout.in_flight) and _changes(rollout, seen):
        return 0.0
    times = [
        time
        for slot in rollout.slots.values()
        if slot.down is not None or slot.lost is not None or slot.phase in _TIMED
        for time in _times(rollout, slot, seen)
    ]
    if rollout.canary_first and not rollout.soaked:
        times.append(soaked_at(rollout))
    # What may take for ever has no deadline.
    return min((time for time in times if isfinite(time)), default=None)


def _times(rollout: Rollout, slot: Slot, seen: Mapping[InstanceName, Seen]) -> list[float]:
    times = []
    if slot.phase in (Phase.HEALTHY, Phase.WAITING) and slot.down is not None:
        times.append(slot.down + PASSING)
    if slot.phase is Phase.WAITING and slot.lost is not None:
        times.append(slot.lost + CRASHING)
    if slot.begun is None or slot.phase not in (Phase.STARTING, Phase.SETTLING):
        return times
    terms = rollout.terms(slot.instance)
    times.append(slot.begun + terms.chance.seconds)
    if slot.phase is Phase.STARTING and not slot.told:
        times.append(slot.begun + terms.settings.start_timeout.seconds)
    elif slot.phase is Phase.SETTLING and slot.passed >= terms.probes and slot.invocation:
        # Without one it is not there yet, and since when it serves is not known.
        times.append(_sight(seen, slot).since + terms.settings.min_healthy.seconds)
    elif (at := _probe_due(rollout, slot)) is not None:
        times.append(at)
    return times


def _probe_due(rollout: Rollout, slot: Slot) -> float | None:
    """When an instance is to be probed next; in the past: now. None: it is not."""
    if slot.phase is not Phase.SETTLING or slot.probing or slot.begun is None:
        return None
    if not slot.invocation:
        return None  # it is not there yet
    if slot.passed >= rollout.probes.get(slot.instance.worker, 0):
        return None
    return slot.begun if slot.probed is None else slot.probed + PROBE_INTERVAL


def _sight(seen: Mapping[InstanceName, Seen], slot: Slot) -> Seen:
    return seen.get(slot.step.instance) or Seen()
