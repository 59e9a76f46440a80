"""The rollout: what became of each instance, and how far it has come.

Everything that decides lives here, in slot.py (one instance) and in pace.py (which one may be
touched next), and is pure: states in, states out, the time as an argument. `apply.py` carries the
decisions out and feeds back what systemd says.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from unitq.instances.state import Seen
from unitq.model.settings import Promote
from unitq.rollout.engine.counts import moved, tallied
from unitq.rollout.engine.groups import canaries_of, crews_of
from unitq.rollout.engine.instance import (
    FINAL,
    IN_FLIGHT,
    Order,
    Phase,
    Slot,
    Terms,
    What,
    back_again,
    failed,
    found_stopped,
    looked,
    lost,
)
from unitq.rollout.plan import Do

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from unitq.model.names import InstanceName
    from unitq.model.settings import RolloutSettings
    from unitq.rollout.engine.counts import Tally
    from unitq.rollout.engine.groups import Canaries, Crew
    from unitq.rollout.plan import Step
    from unitq.systemd.exit_status import Ending

__all__ = [
    "FINAL",
    "IN_FLIGHT",
    "Order",
    "Phase",
    "Rollout",
    "Slot",
    "Stage",
    "What",
    "advance",
    "begin",
    "confirmed",
    "ended",
    "ordered",
    "probed",
    "refused",
]


class Stage(StrEnum):
    """How far a rollout has come."""

    CANARY = "canary"  # the first few are replaced
    SOAK = "soak"  # they are healthy, and watched for canary_soak
    AWAITING = "awaiting"  # an operator has the word
    ROLLING = "rolling"
    DONE = "done"  # complete, or ended before


@dataclass(frozen=True, slots=True)
class Rollout:
    """All instances concerned, and how fast they may change."""

    slots: Mapping[InstanceName, Slot]
    settings: RolloutSettings
    wanted: Mapping[InstanceName, str] = field(default_factory=dict)  # revision per instance
    probes: Mapping[str, int] = field(default_factory=dict)  # per worker: successes asked for
    halted: bool = False  # no new instance is touched; those in hand are finished
    promoted: bool = False  # the canaries are judged already
    soaked: bool = False  # they have been healthy for canary_soak
    counted: Tally | None = field(default=None, compare=False, repr=False)  # see `tally`

    @property
    def tally(self) -> Tally:
        """How many instances are in which phase."""
        kept = self.counted
        return kept if kept is not None and kept.slots is self.slots else tallied(self.slots)

    @property
    def failed(self) -> bool:
        """Whether no further instance is touched, because too many failed.

        Too many is more than max_failures; a single canary, for that is what it is for; as many
        as may be unavailable, as nothing could be replaced then.
        """
        found = self.tally.phases.get(Phase.FAILED, 0)
        if found <= self.settings.max_failures:
            return bool(found) and (self._canary_failed or self._stuck)
        return True

    @property
    def _canary_failed(self) -> bool:
        return self.canary_first and any(
            slot.phase is Phase.FAILED for slot in self.canaries().taken
        )

    @property
    def _stuck(self) -> bool:
        """Whether failed ones take all that may be unavailable, wherever others are to follow."""
        if self.in_flight:
            return False
        first = {one.instance for one in self.canaries().next} if self.canary_first else None
        spent = []
        for crew in self.crews().values():
            new = [slot for slot in crew.staying if slot.step.do is Do.START] + crew.surges
            if any(slot.phase is Phase.WAITING for slot in new):
                return False
            if any(first is None or slot.instance in first for slot in crew.restarts):
                spent.append(crew.spent(self.settings))
        return bool(spent) and all(spent)

    @property
    def in_flight(self) -> bool:
        return self.tally.any(IN_FLIGHT)

    @property
    def complete(self) -> bool:
        """Every instance got where it should, or never will."""
        if self.tally.any(set(Phase) - FINAL):
            return False
        return not any(
            slot.away and slot.phase is not Phase.FAILED for slot in self.slots.values()
        ) and not (not self.failed and self.surplus())

    @property
    def finished(self) -> bool:
        """Nothing is left to be done or to be waited for."""
        if self.complete or self.awaiting:
            return True
        over = self.halted or self.failed
        return over and not self.in_flight and not (not self.failed and self.surplus())

    @property
    def awaiting(self) -> bool:
        """The canaries are healthy, and an operator is to say whether the others follow."""
        if not self.canary_first or not self.soaked or self.halted or self.in_flight:
            return False
        if any(slot.away for slot in self.slots.values()):
            return False  # somebody else is restarting one just now
        canaries = self.canaries()
        return canaries.held and canaries.healthy and not self.failed

    @property
    def canary_first(self) -> bool:
        """Whether all but the canaries have to wait."""
        if self.promoted or not self.settings.canary.number:
            return False
        return not self.soaked or self.settings.promote is Promote.MANUAL

    @property
    def stage(self) -> Stage:
        """How far it has come, for those who watch."""
        if self.awaiting:
            return Stage.AWAITING
        if self.finished:
            return Stage.DONE
        if self.canary_first:
            canaries = self.canaries()
            if (canaries.taken or canaries.next) and not canaries.healthy:
                return Stage.CANARY
            if canaries.held:
                return Stage.SOAK
        return Stage.ROLLING

    def crews(self) -> dict[str, Crew]:
        """The instances per worker."""
        return crews_of(self.slots)

    def canaries(self) -> Canaries:
        """The canaries of all workers."""
        return canaries_of(self.crews().values(), self.settings)

    def surplus(self) -> list[Slot]:
        """The instances beyond the usual number that can go now."""
        if self.halted and self.in_flight:
            return []
        found: list[Slot] = []
        if not self.tally.surges:
            return found
        for crew in self.crews().values():
            if crew.surges and (self.halted or all(slot.phase in FINAL for slot in crew.staying)):
                found += crew.surplus(self.settings)
        # What was never started needs no end where nothing more is begun.
        return [slot for slot in found if not self.halted or slot.phase is Phase.HEALTHY]

    def terms(self, name: InstanceName) -> Terms:
        """What is asked of one instance."""
        return Terms(self.settings, self.wanted.get(name), self.probes.get(name.worker, 0))


def begin(
    steps: tuple[Step, ...],
    settings: RolloutSettings,
    wanted: Mapping[InstanceName, str],
    *,
    probes: Mapping[str, int] | None = None,
    promoted: bool = False,
) -> Rollout:
    """A rollout that has touched nothing yet.

    `wanted` is the revision that each instance is to run, `probes` how many successful probes in
    a row an instance of a worker needs to be healthy, if any. `promoted`: the canaries are judged,
    by an operator or in a rollout before; none are taken.
    """
    slots = {
        step.instance: Slot(step, _first_phase(step))
        for step in sorted(steps, key=lambda step: step.instance)
    }
    return Rollout(
        slots=slots,
        settings=settings,
        wanted=wanted,
        probes=probes or {},
        promoted=promoted,
        counted=tallied(slots),
    )


def _first_phase(step: Step) -> Phase:
    if step.do is not Do.KEEP:
        return Phase.WAITING
    # What crashes in a loop is up now and then, too: no other instance may follow it there.
    return Phase.SETTLING if step.young else Phase.KEPT


def ordered(rollout: Rollout, order: Order, seen: Seen, now: float) -> Rollout:
    """The rollout after this order was given; `seen` is the instance as it was before."""
    slot, what = rollout.slots[order.slot.instance], order.what
    if slot.phase is Phase.FAILED:
        return rollout
    if what is What.PROBE:
        # What is no longer settling by now needs none; its answer is ignored.
        asked = slot.invocation if slot.phase is Phase.SETTLING else ""
        return _with(rollout, replace(slot, probing=asked))
    if slot.phase is Phase.DRAINED:
        # drained -> starting: its time begins now
        return _with(rollout, replace(slot, phase=Phase.STARTING, begun=now))
    running = bool(seen.pid) or seen.active in ("active", "deactivating")
    ending = running or what is What.STOP
    leaving = slot.step.do is Do.STOP or (
        # One more than usual is also stopped before its unit text is switched.
        slot.step.do is Do.SURGE
        and what is What.STOP
        and not (slot.phase is Phase.WAITING and slot.step.switch and _needed(rollout, slot))
    )
    changed = replace(
        slot,
        # waiting, healthy -> draining if there is a process to end; waiting -> starting if not
        phase=Phase.DRAINING if ending else Phase.STARTING,
        before=seen.invocation if running else "",
        pid_before=seen.pid,
        touched=now,
        gone=None if running else now,
        begun=None if ending else now,
        leaving=leaving,
        foreign=found_stopped(slot, seen),
        told="",
        away=False,
        down=None,
        lost=None,
    )
    return _with(rollout, changed)


def _needed(rollout: Rollout, surge: Slot) -> bool:
    return any(
        slot.waits_to_restart and slot.instance.worker == surge.instance.worker
        for slot in rollout.slots.values()
    )


def refused(rollout: Rollout, slot: Slot, reason: str) -> Rollout:
    """The rollout after systemd refused the order for this instance."""
    # waiting, drained -> failed: masked, or not permitted
    return _with(rollout, failed(rollout.slots[slot.instance], reason))


def ended(rollout: Rollout, slot: Slot, ending: Ending) -> Rollout:
    """The rollout with what was found out later about how an old process ended."""
    return _with(rollout, replace(rollout.slots[slot.instance], ending=ending))


def probed(rollout: Rollout, name: InstanceName, ok: bool, detail: str, now: float) -> Rollout:
    """The rollout after a probe of this instance ended; `detail` is what it said, in short."""
    slot = rollout.slots[name]
    changed = replace(slot, probing="", probed=now)
    if slot.phase is Phase.SETTLING and slot.probing and slot.probing == slot.invocation:
        changed = replace(changed, passed=slot.passed + 1 if ok else 0, detail=detail)
    return _with(rollout, changed)


def advance(
    rollout: Rollout,
    seen: Mapping[InstanceName, Seen],
    now: float,
    only: Iterable[InstanceName] | None = None,
) -> Rollout:
    """The rollout after a look at what is there; at `only` these instances, if given."""
    changed = {}
    for name in rollout.slots if only is None else only:
        before, sight = rollout.slots[name], seen.get(name) or Seen()
        if before.unmoved(sight, rollout.wanted.get(name)):
            continue
        slot = looked(before, sight, now, rollout.terms(name))
        if slot is not before:
            changed[name] = slot
    if changed:
        rollout = _changed(rollout, changed)
    if rollout.canary_first and not rollout.soaked and soaked_at(rollout) <= now:
        rollout = replace(rollout, soaked=True)
    return rollout


def soaked_at(rollout: Rollout) -> float:
    """When the canaries will have been healthy for canary_soak; inf while they are not."""
    canaries = rollout.canaries()
    if not canaries.held or not canaries.healthy:
        return float("inf")
    healthy = max((slot.ready or 0.0 for slot in canaries.taken), default=0.0)
    return healthy + rollout.settings.canary_soak.seconds


def confirmed(rollout: Rollout, seen: Mapping[InstanceName, Seen], now: float) -> Rollout:
    """The rollout after a look at the state itself, when nothing seems left to be done.

    Only now "down" means that nothing is going to start it: among signals, systemd shows "dead" or
    "failed" in passing before every automatic restart too. And only now "stopped" means that
    nobody has started it again.
    """
    rollout = advance(rollout, seen, now)
    for slot in rollout.slots.values():
        served = slot.phase is Phase.HEALTHY or (slot.phase is Phase.KEPT and slot.invocation)
        sight = seen.get(slot.instance) or Seen()
        if served and sight.down:
            # kept, healthy -> failed: it exited 0 and is not started again, or somebody stopped it
            rollout = _with(rollout, lost(slot, sight))
        elif slot.phase is Phase.STOPPED and not sight.down:
            # stopped -> failed: there is a process where there should be none
            rollout = _with(rollout, back_again(slot, sight))
    return rollout


def _with(rollout: Rollout, slot: Slot) -> Rollout:
    if rollout.slots[slot.instance] is slot:
        return rollout
    return _changed(rollout, {slot.instance: slot})


def _changed(rollout: Rollout, changed: Mapping[InstanceName, Slot]) -> Rollout:
    slots = {**rollout.slots, **changed}
    return replace(rollout, slots=slots, counted=moved(rollout.tally, slots, changed))
