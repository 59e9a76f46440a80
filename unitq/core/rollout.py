"""The rollout: which instance may be touched next, and what became of each.

Everything that decides lives here and is pure: states in, states out, the time as an argument.
`apply.py` carries the decisions out and feeds back what systemd says.

    waiting  -> draining   its stop or restart was ordered, the old process is not gone yet
    waiting  -> starting   it was not running, its start was ordered
    draining -> starting   the old process is gone (how it ended is noted on the way)
    draining -> stopped    the old process is gone and nothing is to follow
    starting -> settling   the unit job is done, a new process runs the wanted revision
    settling -> healthy    the same process for min_healthy seconds
    any but waiting, stopped -> failed; healthy and kept ones too: they are watched until the end

A sliding window: as soon as one instance is healthy the next may drain. Draining, starting and
settling count as unavailable, and so does an instance that is down for any other reason; but not
one that is kept or was healthy and stays down, as an operator's stop leaves it: to wait for it
would be for ever. What must serve and does not is found when the rollout ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from unitq.core.plan import Do
from unitq.core.sight import EXITED, End, Ending, Seen, ending_of, failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from unitq.core.names import InstanceName
    from unitq.core.plan import Step
    from unitq.core.settings import RolloutSettings


class Phase(StrEnum):
    """Where an instance stands in the rollout."""

    KEPT = "kept"
    WAITING = "waiting"
    DRAINING = "draining"
    STARTING = "starting"
    SETTLING = "settling"
    HEALTHY = "healthy"
    STOPPED = "stopped"
    FAILED = "failed"


IN_FLIGHT = frozenset({Phase.DRAINING, Phase.STARTING, Phase.SETTLING})
FINAL = frozenset({Phase.KEPT, Phase.HEALTHY, Phase.STOPPED, Phase.FAILED})


@dataclass(frozen=True, slots=True)
class Slot:
    """One instance in the rollout."""

    step: Step
    phase: Phase
    before: str = ""  # the invocation that was there when it was touched
    pid_before: int = 0
    invocation: str = ""  # the new one
    touched: float = 0.0  # when it was told to stop or start
    gone: float | None = None  # when the old process was seen gone
    ready: float | None = None  # when it became healthy
    ending: Ending | None = None
    reason: str = ""  # why it failed

    @property
    def instance(self) -> InstanceName:
        return self.step.instance

    @property
    def drained_for(self) -> float | None:
        """Seconds from the order to the end of the old process; None where there was none."""
        return self.gone - self.touched if self.before and self.gone is not None else None


@dataclass(frozen=True, slots=True)
class Rollout:
    """All instances concerned, and how fast they may change."""

    slots: Mapping[InstanceName, Slot]
    settings: RolloutSettings
    wanted: Mapping[InstanceName, str] = field(default_factory=dict)  # revision per instance
    halted: bool = False  # no new instance is touched; those in hand are finished

    @property
    def failed(self) -> bool:
        return any(slot.phase is Phase.FAILED for slot in self.slots.values())

    @property
    def in_flight(self) -> bool:
        return any(slot.phase in IN_FLIGHT for slot in self.slots.values())

    @property
    def complete(self) -> bool:
        """Every instance got where it should, or never will."""
        return all(slot.phase in FINAL for slot in self.slots.values())

    @property
    def finished(self) -> bool:
        """Nothing is left to be done or to be waited for."""
        return self.complete or ((self.halted or self.failed) and not self.in_flight)


def begin(
    steps: tuple[Step, ...], settings: RolloutSettings, wanted: Mapping[InstanceName, str]
) -> Rollout:
    """A rollout that has touched nothing yet."""
    return Rollout(
        slots={step.instance: Slot(step, _first_phase(step)) for step in steps},
        settings=settings,
        wanted=wanted,
    )


def _first_phase(step: Step) -> Phase:
    if step.do is not Do.KEEP:
        return Phase.WAITING
    # What crashes in a loop is up now and then, too: no other instance may follow it there.
    return Phase.SETTLING if step.young else Phase.KEPT


def permitted(rollout: Rollout, seen: Mapping[InstanceName, Seen]) -> tuple[Slot, ...]:
    """The waiting instances that may be touched now, in order."""
    if rollout.halted or rollout.failed:
        return ()
    touch: list[Slot] = []
    for worker in sorted({instance.worker for instance in rollout.slots}):
        slots = [slot for name, slot in sorted(rollout.slots.items()) if name.worker == worker]
        touch += _permitted_of_worker(slots, rollout, seen)
    if not touch and all(
        slot.phase is not Phase.WAITING or slot.step.do is Do.STOP
        for slot in rollout.slots.values()
    ):
        # What is gone stops last, once all that stays is healthy: capacity first.
        if rollout.in_flight and not all(
            slot.step.do is Do.STOP for slot in rollout.slots.values() if slot.phase in IN_FLIGHT
        ):
            return ()
        touch = [slot for slot in rollout.slots.values() if slot.phase is Phase.WAITING]
    return tuple(touch)


def _permitted_of_worker(
    slots: list[Slot], rollout: Rollout, seen: Mapping[InstanceName, Seen]
) -> list[Slot]:
    staying = [slot for slot in slots if slot.step.do is not Do.STOP]
    waiting = [slot for slot in staying if slot.phase is Phase.WAITING]
    starts = [slot for slot in waiting if slot.step.do is Do.START]
    if starts:
        return starts
    if any(slot.step.do is Do.START and slot.phase in IN_FLIGHT for slot in staying):
        # New capacity is healthy before old capacity is touched: a broken release stops here.
        return []
    down = [slot for slot in waiting if not _sight(seen, slot).serving]
    budget = rollout.settings.unavailable(len(staying)) - sum(
        _unavailable(slot, _sight(seen, slot)) for slot in staying
    )
    serving = [slot for slot in waiting if _sight(seen, slot).serving]
    # An instance that is down already costs no capacity, so it goes first, budget or not.
    return down + serving[: max(0, budget)]


def _unavailable(slot: Slot, seen: Seen) -> bool:
    if slot.phase in (Phase.KEPT, Phase.HEALTHY) and seen.down:
        return False
    return slot.phase in IN_FLIGHT or slot.phase is Phase.FAILED or not seen.serving


def touched(rollout: Rollout, slot: Slot, seen: Seen, now: float) -> Rollout:
    """The rollout after the order for this instance was given to systemd."""
    running = bool(seen.pid) or seen.active in ("active", "deactivating")
    changed = replace(
        slot,
        # waiting -> draining if there is a process to end, waiting -> starting if not
        phase=Phase.DRAINING if running or slot.step.do is Do.STOP else Phase.STARTING,
        before=seen.invocation if running else "",
        pid_before=seen.pid,
        touched=now,
        gone=None if running else now,
    )
    return _with(rollout, changed)


def refused(rollout: Rollout, slot: Slot, reason: str) -> Rollout:
    """The rollout after systemd refused the order for this instance."""
    # waiting -> failed: masked, or not permitted
    return _with(rollout, _failed(slot, reason))


def ended(rollout: Rollout, slot: Slot, ending: Ending) -> Rollout:
    """The rollout with what was found out later about how an old process ended."""
    return _with(rollout, replace(slot, ending=ending))


def advance(
    rollout: Rollout,
    seen: Mapping[InstanceName, Seen],
    now: float,
    only: Iterable[InstanceName] | None = None,
) -> Rollout:
    """The rollout after a look at what is there; at `only` these instances, if given."""
    for name in rollout.slots if only is None else only:
        slot = rollout.slots[name]
        sight = _sight(seen, slot)
        if slot.phase is Phase.DRAINING and slot.step.do is Do.STOP:
            rollout = _with(rollout, _stopping(slot, sight, now))
        elif slot.phase in (Phase.DRAINING, Phase.STARTING):
            rollout = _with(rollout, _starting(slot, sight, now, rollout))
        elif slot.phase is Phase.KEPT:
            rollout = _with(rollout, _kept(slot, sight))
        if rollout.slots[slot.instance].phase in (Phase.SETTLING, Phase.HEALTHY):
            rollout = _with(rollout, _watched(rollout.slots[slot.instance], sight, now, rollout))
    return rollout


def _stopping(slot: Slot, seen: Seen, now: float) -> Slot:
    slot = _noting_the_end(slot, seen)
    if seen.job or seen.active == "deactivating":
        return slot
    if seen.active in ("inactive", "failed"):
        # draining -> stopped: nothing is left in its cgroup
        return replace(slot, phase=Phase.STOPPED, gone=now)
    # draining -> failed: somebody cancelled the stop or started it again
    return _failed(slot, f"it is {seen.active} ({seen.sub}) again: something else started it")


def _starting(slot: Slot, seen: Seen, now: float, rollout: Rollout) -> Slot:
    slot = _noting_the_end(slot, seen)
    is_new = bool(seen.invocation) and seen.invocation != slot.before
    if slot.gone is None and (is_new or seen.active in ("inactive", "activating", "failed")):
        # draining -> starting: the old process is gone
        slot = replace(slot, phase=Phase.STARTING, gone=now)
    if seen.job or seen.active == "deactivating":
        late = slot.gone is not None and now >= slot.gone + rollout.settings.start_timeout.seconds
        if late:
            # starting -> failed: no answer within start_timeout
            return _failed(slot, f"still not started after {rollout.settings.start_timeout}")
        return slot
    if not seen.serving:
        # starting -> failed: the job is done and the process is not there
        return _failed(slot, failure(seen))
    if not is_new:
        # draining -> failed: the order was cancelled and the old process is still there
        return _failed(slot, "the restart was cancelled by something else: the old process runs")
    wanted = rollout.wanted.get(slot.instance)
    if seen.revision is not None and wanted is not None and seen.revision != wanted:
        # starting -> failed: somebody moved the pin, or started it before it was moved
        return _failed(slot, f"it runs revision {seen.revision}, not {wanted}")
    # starting -> settling
    return replace(slot, phase=Phase.SETTLING, invocation=seen.invocation)


def confirmed(rollout: Rollout, seen: Mapping[InstanceName, Seen], now: float) -> Rollout:
    """The rollout after a look at the state itself, when nothing seems left to be done.

    Only now "down" means that nothing is going to start it: among signals, systemd shows "dead" or
    "failed" in passing before every automatic restart too.
    """
    rollout = advance(rollout, seen, now)
    for slot in rollout.slots.values():
        served = slot.phase is Phase.HEALTHY or (slot.phase is Phase.KEPT and slot.invocation)
        if served and _sight(seen, slot).down:
            # kept, healthy -> failed: it exited 0 and is not started again, or somebody stopped it
            reason = f"it ended and was not started again: {failure(_sight(seen, slot))}"
            rollout = _with(rollout, _failed(slot, reason))
    return rollout


def _kept(slot: Slot, seen: Seen) -> Slot:
    """What served when the rollout began must serve at its end; what was down then need not."""
    return replace(slot, invocation=seen.invocation) if seen.serving else slot


def _watched(slot: Slot, seen: Seen, now: float, rollout: Rollout) -> Slot:
    if slot.phase is Phase.SETTLING and not slot.invocation and seen.serving:
        slot = replace(slot, invocation=seen.invocation)  # one that is kept
    if slot.phase is Phase.HEALTHY and _between_lives(slot, seen):
        return replace(slot, invocation="")
    if slot.phase is Phase.HEALTHY and not slot.invocation and seen.serving:
        return replace(slot, invocation=seen.invocation)
    if seen.invocation != slot.invocation or not seen.serving:
        # settling, healthy -> failed: it died, whether or not systemd has started another
        again = " and was started again" if seen.serving else ""
        lived = "after it had been healthy" if slot.phase is Phase.HEALTHY else "soon after"
        return _failed(slot, f"it ended {lived}{again}: {failure(seen)}")
    if slot.phase is Phase.SETTLING and now >= seen.since + rollout.settings.min_healthy.seconds:
        # settling -> healthy: the same process for min_healthy
        return replace(slot, phase=Phase.HEALTHY, ready=now)
    return slot


def _between_lives(slot: Slot, seen: Seen) -> bool:
    """Whether a healthy worker exited 0, as many do after so many jobs, and is started again."""
    return (
        seen.active in ("inactive", "activating", "deactivating")
        and slot.invocation in ("", seen.invocation)
        and seen.code in (0, EXITED)
        and seen.status == 0
    )


def deadline(rollout: Rollout, seen: Mapping[InstanceName, Seen]) -> float | None:
    """When to look again though nothing happens; None: only events matter."""
    times = []
    for slot in rollout.slots.values():
        if slot.phase is Phase.SETTLING:
            times.append(_sight(seen, slot).since + rollout.settings.min_healthy.seconds)
        elif slot.phase is Phase.STARTING and slot.gone is not None:
            times.append(slot.gone + rollout.settings.start_timeout.seconds)
    return min(times, default=None)


def _noting_the_end(slot: Slot, seen: Seen) -> Slot:
    """How the old process ends shows only while its invocation is still the unit's."""
    if not slot.before or seen.invocation not in ("", slot.before):
        return slot
    ending = ending_of(seen)
    if ending is None or (slot.ending and slot.ending.end is End.KILLED):
        return slot
    return replace(slot, ending=ending)


def _failed(slot: Slot, reason: str) -> Slot:
    return replace(slot, phase=Phase.FAILED, reason=reason)


def _with(rollout: Rollout, slot: Slot) -> Rollout:
    if rollout.slots[slot.instance] is slot:
        return rollout
    return replace(rollout, slots={**rollout.slots, slot.instance: slot})


def _sight(seen: Mapping[InstanceName, Seen], slot: Slot) -> Seen:
    return seen.get(slot.instance, Seen())
