"""Rollouts of random fleets over a simulated systemd and a simulated clock.

The simulation does what systemd 252 does to a unit: the states of a restart, those that show in
passing only, and that PropertiesChanged may leave some of them out.
What must hold whatever happens is asserted at every step, see `Watch`.
"""

from __future__ import annotations

import heapq
import signal
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unitq.core.names import InstanceName
from unitq.core.plan import Do, Step
from unitq.core.rollout import (
    IN_FLIGHT,
    Phase,
    Rollout,
    Slot,
    advance,
    begin,
    confirmed,
    deadline,
    permitted,
    refused,
    touched,
)
from unitq.core.settings import Duration, RolloutSettings, Share
from unitq.core.sight import End, Ending, Seen, ending_of, failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OLD, NEW, OTHER = "1-aaaaaa", "2-bbbbbb", "3-cccccc"
MIN_HEALTHY, START_TIMEOUT = 10.0, 90.0
RESTART_DELAY = 1.0

# How a process ends when it is told to: ExecMainCode, ExecMainStatus, Result.
ENDINGS = {
    End.DRAINED: (1, 0, "success"),
    End.DIED: (1, 7, "exit-code"),
    End.KILLED: (2, int(signal.SIGKILL), "timeout"),
}

# What becomes of a start.
GOOD, RECYCLES, EXEC_FAILS, DIES, DIES_LATE, HANGS, WRONG, REFUSED, CANCELLED = (
    "good",
    "recycles",  # exits 0 now and then, as workers do after so many jobs
    "exec-fails",
    "dies",
    "dies-late",
    "hangs",
    "wrong-revision",
    "refused",
    "cancelled",  # by somebody else's order: the old process goes on
)


@dataclass(frozen=True)
class Fate:
    """All that will happen to one instance."""

    do: Do
    there: str  # serving, down, failed, restarting: when the rollout begins
    drain: float = 0.0
    end: End = End.DRAINED
    merged: bool = False  # how it ended is not shown, as signals may be merged
    start: float = 0.0  # seconds until the unit job is done
    outcome: str = GOOD
    crash: float | None = None  # ends by itself at this time, if it is not touched before
    for_good: bool = False  # and is not started again
    young: bool = False  # kept, and has not run for min_healthy when the rollout begins


@dataclass
class World:
    """systemd: what is there, and what will happen when."""

    fates: dict[InstanceName, Fate]
    target: str = NEW  # OLD: a restart of what is there
    now: float = 1000.0
    seen: dict[InstanceName, Seen] = field(default_factory=dict)
    ordered: dict[InstanceName, float] = field(default_factory=dict)
    shown: set[InstanceName] = field(default_factory=set)  # whose end could be seen
    _events: list[tuple[float, int, InstanceName, Callable[[Seen], Seen]]] = field(
        default_factory=list
    )
    _count: count[int] = field(default_factory=count)
    _epoch: dict[InstanceName, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, fate in self.fates.items():
            self.seen[name] = self._first(name, fate.there)
            if fate.there == "restarting":
                self._at(name, RESTART_DELAY, self._serving(name, "again"))
            if fate.crash is not None and fate.there == "serving":
                self._crash(name, fate.crash, for_good=fate.for_good)

    def _first(self, name: InstanceName, there: str) -> Seen:
        match there:
            case "serving":
                since = self.now - MIN_HEALTHY * (0.5 if self.fates[name].young else 5)
                return replace(self._serving(name, "old", OLD)(Seen()), since=since)
            case "restarting":
                return Seen(
                    "activating", "auto-restart", invocation=f"{name} old", code=1, status=1
                )
            case "failed":
                return Seen("failed", "failed", result="exit-code", code=1, status=1)
        return Seen()

    def _serving(
        self, name: InstanceName, life: str, revision: str = OLD
    ) -> Callable[[Seen], Seen]:
        def change(_: Seen) -> Seen:
            return Seen(
                "active",
                "running",
                invocation=f"{name} {life}",
                pid=100 + name.number,
                since=self.now,
                revision=revision,
            )

        return change

    def _at(self, name: InstanceName, after: float, change: Callable[[Seen], Seen]) -> None:
        epoch = self._epoch.setdefault(name, 0)

        def guarded(seen: Seen) -> Seen:
            # An order makes void what would have happened without it.
            return change(seen) if self._epoch[name] == epoch else seen

        heapq.heappush(self._events, (self.now + after, next(self._count), name, guarded))

    def _ends(
        self, name: InstanceName, after: float, status: int, *, for_good: bool = False
    ) -> None:
        """It ends by itself. systemd shows "dead" or "failed" in passing, then restarts it."""

        def down(seen: Seen) -> Seen:
            state, result = ("failed", "exit-code") if status else ("inactive", "success")
            sub = state if status else "dead"
            return replace(seen, active=state, sub=sub, pid=0, result=result, code=1, status=status)

        self._at(name, after, down)
        if not for_good:
            self._at(
                name, after, lambda seen: replace(seen, active="activating", sub="auto-restart")
            )

    def _crash(self, name: InstanceName, after: float, *, for_good: bool) -> None:
        self._ends(name, after, 1, for_good=for_good)
        if not for_good:
            self._at(name, after + RESTART_DELAY, self._serving(name, "after a crash"))

    def order(self, name: InstanceName, do: Do) -> bool:
        """StopUnit, StartUnit, RestartUnit; False where systemd refuses."""
        fate, seen = self.fates[name], self.seen[name]
        assert name not in self.ordered, f"{name} was ordered twice"
        self.ordered[name] = self.now
        if do is not Do.STOP and fate.outcome == REFUSED:
            return False
        self._epoch[name] = self._epoch.get(name, 0) + 1
        self.seen[name] = replace(seen, job=True)
        if fate.outcome == CANCELLED:
            self._at(name, fate.start, lambda seen: replace(seen, job=False))
            return True
        after = 0.0
        if seen.pid:
            after = self._stop(name, fate)
        if do is Do.STOP:
            self._at(
                name,
                after,
                lambda seen: replace(seen, active="inactive", sub="dead", pid=0, job=False),
            )
        else:
            self._start(name, fate, after)
        return True

    def _stop(self, name: InstanceName, fate: Fate) -> float:
        code, status, result = ENDINGS[fate.end]
        self._at(name, 0.0, lambda seen: replace(seen, active="deactivating", sub="stop-sigterm"))
        if fate.end is End.KILLED and not fate.merged:
            self._at(name, fate.drain, lambda seen: replace(seen, sub="stop-sigkill"))
        if fate.do is Do.STOP or not fate.merged:
            self.shown.add(name)
            self._at(
                name,
                fate.drain,
                lambda seen: replace(seen, pid=0, code=code, status=status, result=result),
            )
        return fate.drain

    def _start(self, name: InstanceName, fate: Fate, after: float) -> None:
        def starting(_: Seen) -> Seen:
            return Seen("activating", "start", job=True, invocation=f"{name} new", pid=1)

        self._at(name, after, starting)
        done = after + fate.start
        match fate.outcome:
            case "hangs":
                return
            case "exec-fails":
                self._at(
                    name,
                    done,
                    lambda seen: replace(
                        seen, active="failed", sub="failed", job=False, pid=0,
                        result="exit-code", code=1, status=203,
                    ),
                )  # fmt: skip
                return
        revision = OTHER if fate.outcome == WRONG else self.target
        self._at(name, done, self._serving(name, "new", revision))
        if fate.outcome == RECYCLES:
            self._recycle(name, done + MIN_HEALTHY * 1.5, 1)
        if fate.outcome in (DIES, DIES_LATE):
            self._crash(
                name, done + MIN_HEALTHY * (0.5 if fate.outcome == DIES else 1.5), for_good=False
            )

    def _recycle(self, name: InstanceName, after: float, life: int) -> None:
        self._ends(name, after, 0, for_good=self.fates[name].for_good)
        if self.fates[name].for_good:
            return
        after += RESTART_DELAY
        self._at(name, after, self._serving(name, f"recycled {life}", self.target))
        if life < 20:
            self._recycle(name, after + MIN_HEALTHY * 1.5, life + 1)

    def next_event(self) -> float | None:
        return self._events[0][0] if self._events else None

    def step(self) -> Iterator[InstanceName]:
        """Lets happen what is next, and all that happens at the same time, one by one."""
        at = self._events[0][0]
        self.now = at
        while self._events and self._events[0][0] == at:
            _, _, name, change = heapq.heappop(self._events)
            self.seen[name] = change(self.seen[name])
            yield name


class Watch:
    """What must hold at every step."""

    def __init__(self, world: World, settings: RolloutSettings) -> None:
        self.world = world
        self.settings = settings
        self.taken: set[InstanceName] = (
            set()
        )  # were serving, and not healthy again since we touched them
        self.failed = False

    def before_order(self, rollout: Rollout, slot: Slot) -> None:
        name, fate = slot.instance, self.world.fates[slot.instance]
        assert fate.do is not Do.KEEP, f"{name} was to be kept"
        assert not self.failed, f"{name} was touched after a failure"
        assert not rollout.halted, f"{name} was touched after Ctrl-C"
        if fate.do is not Do.STOP and self.world.seen[name].serving:
            self.taken.add(name)
            # Also what has not proved itself yet counts as unavailable.
            same = [s for n, s in rollout.slots.items() if n.worker == name.worker]
            staying = [s for s in same if s.step.do is not Do.STOP]
            flying = sum(s.phase in IN_FLIGHT for s in staying)
            assert flying < self.settings.unavailable(len(staying))
        for other, found in rollout.slots.items():
            if fate.do is Do.STOP:
                # Capacity first: nothing goes before all that stays is as wanted.
                assert found.step.do is Do.STOP or found.phase in (Phase.KEPT, Phase.HEALTHY)
            elif other.worker == name.worker and fate.do is Do.RESTART:
                # New capacity comes before old capacity goes.
                assert found.step.do is not Do.START or found.phase is Phase.HEALTHY

    def after_step(self, rollout: Rollout) -> None:
        self.failed = self.failed or rollout.failed
        self.taken -= {n for n, slot in rollout.slots.items() if slot.phase is Phase.HEALTHY}
        for worker in {name.worker for name in rollout.slots}:
            staying = [
                slot
                for name, slot in rollout.slots.items()
                if name.worker == worker and slot.step.do is not Do.STOP
            ]
            down = [slot for slot in staying if slot.instance in self.taken]
            allowed = self.settings.unavailable(len(staying))
            assert len(down) <= allowed, f"{len(down)} of {len(staying)} down, {allowed} allowed"


def simulated(
    world: World, settings: RolloutSettings, *, interrupt: float | None = None
) -> Rollout:
    """What apply.Applier.run does, over the simulated systemd."""
    steps = tuple(Step(name, fate.do, "test", fate.young) for name, fate in world.fates.items())
    wanted = {name: world.target for name, fate in world.fates.items() if fate.do is not Do.STOP}
    rollout = begin(steps, settings, wanted)
    watch = Watch(world, settings)
    for _ in range(100 * (len(world.fates) + 1)):
        if interrupt is not None and world.now >= interrupt:
            rollout = replace(rollout, halted=True)
        rollout = advance(rollout, world.seen, world.now)
        watch.after_step(rollout)
        for slot in permitted(rollout, world.seen):
            watch.before_order(rollout, slot)
            before = world.seen[slot.instance]
            if world.order(slot.instance, slot.step.do):
                rollout = touched(rollout, slot, before, world.now)
            else:
                rollout = refused(rollout, slot, "masked")
                break
        watch.after_step(rollout)
        if rollout.finished:
            rollout = confirmed(rollout, world.seen, world.now)
            if rollout.finished:
                return rollout
        event, look = world.next_event(), deadline(rollout, world.seen)
        assert event is not None or look is not None, f"waits for ever: {describe(rollout, world)}"
        if event is not None and (look is None or event <= look):
            for name in world.step():
                rollout = advance(rollout, world.seen, world.now, (name,))
                watch.after_step(rollout)
        else:
            assert look is not None
            # A clock has a resolution: never a deadline that is due and does nothing.
            world.now = max(world.now, look)
    raise AssertionError(f"never ends: {describe(rollout, world)}")


def describe(rollout: Rollout, world: World) -> str:
    return "; ".join(
        f"{name}: {slot.step.do} {slot.phase}, {world.seen[name].active} {world.seen[name].sub}"
        for name, slot in rollout.slots.items()
    )


# --- random fleets --------------------------------------------------------------------------------

SECONDS = st.sampled_from([0.0, 0.1, 2.0, 30.0, 600.0])
THERE = {
    Do.KEEP: ["serving", "serving", "down", "failed", "restarting"],
    Do.START: ["down", "failed"],
    Do.RESTART: ["serving", "serving", "serving", "restarting", "down"],
    Do.STOP: ["serving", "restarting"],
}


@st.composite
def fates(draw: st.DrawFn, *, trouble: bool) -> Fate:
    do = draw(st.sampled_from([Do.RESTART, Do.RESTART, Do.RESTART, Do.KEEP, Do.START, Do.STOP]))
    there = draw(st.sampled_from(THERE[do])) if trouble else THERE[do][0]
    outcomes = [GOOD, GOOD, RECYCLES]
    if trouble:
        outcomes += [EXEC_FAILS, DIES, DIES_LATE, HANGS, WRONG, REFUSED, CANCELLED]
    return Fate(
        do=do,
        there=there,
        drain=draw(SECONDS),
        end=draw(st.sampled_from(list(ENDINGS))),
        merged=draw(st.booleans()),
        start=draw(st.sampled_from([0.0, 0.1, 5.0])),
        outcome=draw(st.sampled_from(outcomes)),
        crash=draw(st.none() | SECONDS) if trouble else None,
        for_good=trouble and draw(st.booleans()),
        young=do is Do.KEEP and there == "serving" and draw(st.booleans()),
    )


@st.composite
def fleets(draw: st.DrawFn, *, trouble: bool) -> dict[InstanceName, Fate]:
    found = {}
    for worker in ("a", "b")[: draw(st.integers(1, 2))]:
        for number in range(1, draw(st.integers(1, 6)) + 1):
            found[InstanceName(worker, number)] = draw(fates(trouble=trouble))
    return found


SHARES = st.builds(Share, st.integers(1, 7)) | st.builds(
    Share, st.sampled_from([1, 25, 50, 100]), st.just(True)
)


def pace(share: Share) -> RolloutSettings:
    return RolloutSettings(
        share,
        Duration(f"{MIN_HEALTHY:g}s", MIN_HEALTHY),
        Duration(f"{START_TIMEOUT:g}s", START_TIMEOUT),
    )


def endings_are_told(rollout: Rollout, world: World) -> None:
    """A killed or died worker is never called drained, and is named if it could be seen."""
    for name, slot in rollout.slots.items():
        if not slot.before or slot.gone is None:
            continue
        true = world.fates[name].end
        assert slot.ending is None or slot.ending.end is true, f"{name}: {slot.ending}, was {true}"
        assert slot.ending is not None or name not in world.shown, f"{name}: nobody saw {true}"


@settings(max_examples=100, deadline=None)
@given(fleets(trouble=False), SHARES)
def test_without_failures_everything_ends_healthy_on_the_wanted_revision(
    fleet: dict[InstanceName, Fate], share: Share
) -> None:
    world = World(fleet)
    rollout = simulated(world, pace(share))
    assert rollout.complete
    assert not rollout.failed
    for name, slot in rollout.slots.items():
        match slot.step.do:
            case Do.KEEP:
                assert slot.phase is (Phase.HEALTHY if slot.step.young else Phase.KEPT)
                assert world.seen[name].revision == OLD
            case Do.STOP:
                assert slot.phase is Phase.STOPPED
                assert world.seen[name].active == "inactive"
            case _:
                assert slot.phase is Phase.HEALTHY
                assert slot.ready is not None
                if world.fates[name].outcome == GOOD:
                    assert world.seen[name].serving
                    assert world.seen[name].revision == NEW
                    assert slot.ready >= world.seen[name].since + MIN_HEALTHY
    endings_are_told(rollout, world)


@settings(max_examples=200, deadline=None)
@given(fleets(trouble=True), SHARES, st.sampled_from([OLD, NEW]))
def test_whatever_happens_it_ends_and_keeps_its_promises(
    fleet: dict[InstanceName, Fate], share: Share, target: str
) -> None:
    world = World(fleet, target)
    rollout = simulated(world, pace(share))
    assert not any(slot.phase in IN_FLIGHT for slot in rollout.slots.values())
    for slot in rollout.slots.values():
        assert bool(slot.reason) == (slot.phase is Phase.FAILED)
        if slot.phase is Phase.WAITING:
            assert rollout.failed
            assert slot.instance not in world.ordered
        if slot.phase is Phase.HEALTHY or (
            slot.phase is Phase.KEPT and world.fates[slot.instance].there == "serving"
        ):
            assert not world.seen[slot.instance].down, (
                f"{slot.instance} is down, and nobody says so"
            )
        if slot.phase is Phase.HEALTHY:
            fate = world.fates[slot.instance]
            assert fate.do is Do.KEEP or fate.outcome in (GOOD, RECYCLES, DIES_LATE)
        if slot.phase is Phase.STOPPED:
            assert world.seen[slot.instance].down
    endings_are_told(rollout, world)


@settings(max_examples=100, deadline=None)
@given(fleets(trouble=True), SHARES, st.floats(1000, 1700))
def test_after_ctrl_c_what_is_in_hand_is_finished_and_nothing_else_is_touched(
    fleet: dict[InstanceName, Fate], share: Share, interrupt: float
) -> None:
    world = World(fleet)
    rollout = simulated(world, pace(share), interrupt=interrupt)
    assert not rollout.in_flight
    for name, at in world.ordered.items():
        assert at < interrupt, f"{name} was touched after Ctrl-C"
    endings_are_told(rollout, world)


# --- how a process ended, in words ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Seen("active", "running"), None),
        (Seen("deactivating", "stop-sigterm"), None),
        (Seen("inactive", "dead", code=1, status=0), Ending(End.DRAINED)),
        (Seen("failed", "failed", code=1, status=7), Ending(End.DIED, "exited with status 7")),
        (Seen("inactive", "dead", code=2, status=3), Ending(End.DIED, "died of SIGQUIT")),
        (Seen("failed", "failed", code=3, status=11), Ending(End.DIED, "died of SIGSEGV")),
        (Seen("failed", "failed", code=2, status=9), Ending(End.KILLED, "died of SIGKILL")),
        (Seen("failed", "failed", code=2, status=99), Ending(End.DIED, "died of signal 99")),
        # The main process is done, and what it started is being killed: a job was lost.
        (
            Seen("deactivating", "stop-sigkill", code=1, status=0),
            Ending(End.KILLED, "SIGKILL at stop_timeout"),
        ),
        (
            Seen("failed", "failed", result="timeout", code=1, status=0),
            Ending(End.KILLED, "SIGKILL at stop_timeout"),
        ),
    ],
)
def test_how_a_process_ended(seen: Seen, expected: Ending | None) -> None:
    assert ending_of(seen) == expected


def test_one_that_was_killed_stays_killed_whatever_is_seen_later() -> None:
    name = InstanceName("a", 1)
    old = Seen("active", "running", invocation="old", pid=1)
    rollout = begin((Step(name, Do.RESTART, ""),), pace(Share(1)), {name: NEW})
    rollout = touched(rollout, rollout.slots[name], old, 0.0)
    for later in (
        replace(old, job=True, active="deactivating", sub="stop-sigkill"),
        replace(old, job=True, active="deactivating", sub="stop-sigkill", code=1, status=0),
        replace(old, job=True, active="inactive", sub="dead", code=1, status=0),
        Seen("active", "running", invocation="new", pid=2, revision=NEW),
    ):
        rollout = advance(rollout, {name: later}, 1.0)
    slot = rollout.slots[name]
    assert slot.phase is Phase.SETTLING
    assert slot.ending == Ending(End.KILLED, "SIGKILL at stop_timeout")


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Seen("failed", result="start-limit-hit"), "crashed too often"),
        (Seen("failed", result="oom-kill"), "ran out of memory"),
        (Seen("failed", result="timeout"), "timeout"),
        (Seen("failed", result="exit-code", code=1, status=200), "200/CHDIR"),
        (Seen("failed", result="exit-code", code=1, status=203), "203/EXEC"),
        (Seen("failed", result="exit-code", code=1, status=217), "user does not exist"),
        (Seen("failed", result="exit-code", code=1, status=3), "exited with status 3"),
        (Seen("activating", "auto-restart", code=1, status=0), "exited with status 0"),
        (Seen("failed", result="signal", code=2, status=15), "died of SIGTERM"),
        (Seen("failed", result="resources"), "systemd says: resources"),
        (Seen("activating", "start"), "it is activating (start)"),
    ],
)
def test_why_a_process_is_not_running(seen: Seen, expected: str) -> None:
    assert expected in failure(seen)
