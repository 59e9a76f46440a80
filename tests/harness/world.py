"""A simulated systemd with a simulated clock, and random fleets for it.

The simulation does what systemd 252 does to a unit: the states of a restart, those that show in
passing only, and that PropertiesChanged may leave some of them out.
What must hold whatever happens is asserted at every step, see `Watch`.
"""

from __future__ import annotations

import heapq
import signal
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from unitq.instances.state import Observed
from unitq.model.names import InstanceName
from unitq.model.settings import Duration, Promote, RolloutSettings, Share
from unitq.rollout.engine.groups import Trait
from unitq.rollout.engine.instance import (
    FINAL,
    IN_FLIGHT,
    PROBE_INTERVAL,
    Action,
    ActionKind,
    Phase,
    step,
)
from unitq.rollout.engine.rollout import Rollout, begin
from unitq.rollout.engine.schedule import deadline, next_actions
from unitq.rollout.plan import Change, PlannedChange
from unitq.systemd.exit_status import End

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

    change: Change
    there: str  # serving, down, failed, restarting: when the rollout begins
    drain: float = 0.0
    end: End = End.DRAINED
    merged: bool = False  # how it ended is not shown, as signals may be merged
    start: float = 0.0  # seconds until the unit job is done
    outcome: str = GOOD
    crash: float | None = None  # ends by itself at this time, if it is not touched before
    for_good: bool = False  # and is not started again
    unproven: bool = False  # kept, and has not run for min_healthy when the rollout begins
    current: bool = False  # kept, and runs what is wanted
    switches_unit_text: bool = False  # its unit text changes
    failed_before: bool = False  # it failed in a rollout before
    probes: tuple[bool, ...] = (True,)  # what probes say; the last one is repeated
    probe_time: float = 0.1
    meddled: tuple[tuple[float, bool], ...] = ()  # somebody else: when, and whether it is back
    meddled_drain: float = 0.5


@dataclass
class World:
    """systemd: what is there, and what will happen when."""

    fates: dict[InstanceName, Fate]
    target: str = NEW  # OLD: a restart of what is there
    now: float = 1000.0
    seen: dict[InstanceName, Observed] = field(default_factory=dict)
    ordered: dict[InstanceName, float] = field(default_factory=dict)
    orders: list[tuple[InstanceName, ActionKind, float]] = field(default_factory=list)
    changed: dict[InstanceName, Observed] = field(
        default_factory=dict
    )  # since it was last asked for
    ends: dict[str, End] = field(default_factory=dict)  # how each process really ended
    shown: set[InstanceName] = field(default_factory=set)  # whose end could be seen
    pins: dict[InstanceName, str] = field(default_factory=dict)  # what the next start runs
    answers: list[tuple[InstanceName, bool]] = field(default_factory=list)  # of probes, not heard
    said: dict[InstanceName, list[tuple[str, bool, float]]] = field(default_factory=dict)
    run: int = 0  # whose orders these are: that of the first rollout, or of the next
    _events: list[tuple[float, int, InstanceName, Callable[[Observed], Observed]]] = field(
        default_factory=list
    )
    _count: count[int] = field(default_factory=count)
    _crashes: count[int] = field(default_factory=lambda: count(1))
    _epoch: dict[InstanceName, int] = field(default_factory=dict)
    _orders_of: dict[InstanceName, list[ActionKind]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, fate in self.fates.items():
            self.see(name, self._first(name, fate.there))
            if fate.there == "restarting":
                self._at(name, RESTART_DELAY, self._serving(name, "again"))
            if fate.crash is not None and fate.there == "serving":
                self._crash(name, fate.crash, for_good=fate.for_good)
            for after, back in fate.meddled:
                self._at(name, after, self._meddling(name, back=back), always=True)

    def see(self, name: InstanceName, seen: Observed) -> None:
        self.seen[name] = self.changed[name] = seen

    def changes(self) -> dict[InstanceName, Observed]:
        """What has changed since the last call, as StateTracker.take_changes()."""
        changed, self.changed = self.changed, {}
        return {name: seen for name, seen in changed.items() if name in self.fates}

    def again(self, fates: dict[InstanceName, Fate]) -> None:
        """The first rollout was cut short; another begins. What was ordered goes on."""
        self.run += 1
        self.fates = fates
        self.ordered.clear()
        self.orders.clear()
        self._orders_of.clear()
        self.answers.clear()
        self.said.clear()
        self.changed = {}
        for name, seen in list(self.seen.items()):
            self.see(name, replace(seen, job=False))

    def _first(self, name: InstanceName, there: str) -> Observed:
        match there:
            case "serving":
                since = self.now - MIN_HEALTHY * (0.5 if self.fates[name].unproven else 5)
                runs = self.target if self.fates[name].current else OLD
                self.pins[name] = runs
                return replace(self._serving(name, "old", runs)(Observed()), since=since)
            case "restarting":
                return Observed(
                    "activating", "auto-restart", invocation=f"{name} old", code=1, status=1
                )
            case "failed":
                return Observed("failed", "failed", result="exit-code", code=1, status=1)
        return Observed()

    def _serving(
        self, name: InstanceName, life: str, revision: str = OLD
    ) -> Callable[[Observed], Observed]:
        def change(_: Observed) -> Observed:
            return Observed(
                "active",
                "running",
                invocation=f"{name} {life}",
                pid=100 + name.number,
                since=self.now,
                revision=revision,
            )

        return change

    def _at(
        self,
        name: InstanceName,
        after: float,
        change: Callable[[Observed], Observed],
        *,
        always: bool = False,
    ) -> None:
        epoch = self._epoch.setdefault(name, 0)

        def guarded(seen: Observed) -> Observed:
            # An order makes void what would have happened without it.
            return change(seen) if always or self._epoch[name] == epoch else seen

        heapq.heappush(self._events, (self.now + after, next(self._count), name, guarded))

    def _ends(
        self, name: InstanceName, after: float, status: int, *, for_good: bool = False
    ) -> None:
        """It ends by itself. systemd shows "dead" or "failed" in passing, then restarts it."""

        def down(seen: Observed) -> Observed:
            state, result = ("failed", "exit-code") if status else ("inactive", "success")
            sub = state if status else "dead"
            self.ends[seen.invocation] = End.DIED if status else End.DRAINED
            return replace(seen, active=state, sub=sub, pid=0, result=result, code=1, status=status)

        self._at(name, after, down)
        if not for_good:
            self._at(
                name, after, lambda seen: replace(seen, active="activating", sub="auto-restart")
            )

    def _crash(self, name: InstanceName, after: float, *, for_good: bool) -> None:
        self._ends(name, after, 1, for_good=for_good)
        if not for_good:
            # Of each crash its own: an instance may crash before it is touched, and afterwards.
            life = f"after crash {next(self._crashes)}"
            self._at(name, after + RESTART_DELAY, self._serving(name, life))

    def _meddling(self, name: InstanceName, *, back: bool) -> Callable[[Observed], Observed]:
        """Somebody else's `systemctl restart`, or `stop`."""

        def change(seen: Observed) -> Observed:
            if not seen.serving or seen.job:
                return seen
            self._epoch[name] += 1
            self.ends[seen.invocation] = End.DRAINED
            after = self.fates[name].meddled_drain
            self._at(
                name,
                after,
                lambda seen: replace(seen, active="inactive", sub="dead", pid=0, code=1),
            )
            if back:
                life = f"{seen.invocation} again"
                runs = self.pins.get(name, OLD)
                self._at(
                    name, after, lambda _: Observed("activating", "start", invocation=life, pid=1)
                )
                self._at(
                    name,
                    after + 0.1,
                    lambda _: replace(self._serving(name, "", runs)(Observed()), invocation=life),
                )
            return replace(seen, active="deactivating", sub="stop-sigterm")

        return change

    def order(self, name: InstanceName, what: ActionKind) -> bool:
        """StopUnit, StartUnit, RestartUnit, a probe; False where systemd refuses."""
        fate, seen = self.fates[name], self.seen[name]
        self.orders.append((name, what, self.now))
        mine = self._orders_of.setdefault(name, [])
        mine.append(what)
        if what is ActionKind.PROBE:
            self._probe(name, seen.invocation)
            return True
        before = [found for found in mine[:-1] if found is not ActionKind.PROBE]
        # Once each: but stopped, then started under another text; and one more than usual goes.
        assert (before[-1:], what) in [
            ([], what),
            ([ActionKind.STOP], ActionKind.SWITCH),
            ([ActionKind.START], ActionKind.STOP),
            ([ActionKind.RESTART], ActionKind.STOP),
            ([ActionKind.SWITCH], ActionKind.STOP),
        ], f"{name}: {what} after {before}"
        assert (
            not before
            or fate.change is Change.SURGE
            or (what is ActionKind.SWITCH and fate.switches_unit_text)
        )
        if fate.switches_unit_text and fate.change is not Change.STOP:
            assert what in (ActionKind.STOP, ActionKind.SWITCH), (
                f"{name}: {what} though its text changes"
            )
        if what is ActionKind.SWITCH:
            assert seen.down, f"{name}: its text changes while something runs under it"
            assert not seen.pid
        if what is ActionKind.START:
            assert seen.down
        self.ordered.setdefault(name, self.now)
        if what is not ActionKind.STOP and fate.outcome == REFUSED:
            return False
        self.see(name, replace(seen, job=True))
        if fate.outcome == CANCELLED:
            self._at(name, fate.start, lambda seen: replace(seen, job=False), always=True)
            return True
        self._epoch[name] = self._epoch.get(name, 0) + 1
        after = 0.0
        if seen.pid:
            after = self._stop(name, fate, what)
        if what is ActionKind.STOP:
            self._at(
                name,
                after,
                lambda seen: replace(seen, active="inactive", sub="dead", pid=0, job=False),
            )
        else:
            self._start(name, fate, after)
        return True

    def _probe(self, name: InstanceName, life: str) -> None:
        said = self.said.setdefault(name, [])
        asked = (
            sum(other == name and what is ActionKind.PROBE for other, what, _ in self.orders) - 1
        )
        answers, run = self.fates[name].probes, self.run

        def answered(seen: Observed) -> Observed:
            if run == self.run:
                ok = answers[min(asked, len(answers) - 1)]
                said.append((life, ok, self.now))
                self.answers.append((name, ok))
            return seen

        self._at(name, self.fates[name].probe_time, answered, always=True)

    def _stop(self, name: InstanceName, fate: Fate, what: ActionKind) -> float:
        code, status, result = ENDINGS[fate.end]
        self.ends[self.seen[name].invocation] = fate.end
        self._at(name, 0.0, lambda seen: replace(seen, active="deactivating", sub="stop-sigterm"))
        if fate.end is End.KILLED and not fate.merged:
            self._at(name, fate.drain, lambda seen: replace(seen, sub="stop-sigkill"))
        if what is ActionKind.STOP or not fate.merged:
            self.shown.add(name)
            self._at(
                name,
                fate.drain,
                lambda seen: replace(seen, pid=0, code=code, status=status, result=result),
            )
        return fate.drain

    def _start(self, name: InstanceName, fate: Fate, after: float) -> None:
        life, run = f"new {self.run}" if self.run else "new", self.run

        def starting(_: Observed) -> Observed:
            self.pins[name] = self.target
            ours = run == self.run
            return Observed(
                "activating", "start", job=ours, invocation=f"{name} {life}", pid=1,
                revision=revision,
            )  # fmt: skip

        revision = OTHER if fate.outcome == WRONG else self.target
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
        self._at(name, done, self._serving(name, life, revision))
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
        self._at(name, after, self._serving(name, f"recycled {self.run} {life}", self.target))
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
            self.see(name, change(self.seen[name]))
            yield name


@dataclass(frozen=True)
class Scene:
    """A fleet, and how its rollout is to go."""

    fates: dict[InstanceName, Fate]
    settings: RolloutSettings
    probes: dict[str, int] = field(default_factory=dict)
    promoted: bool = False

    def staying(self, worker: str) -> list[InstanceName]:
        return [
            name
            for name, fate in self.fates.items()
            if name.worker == worker and fate.change not in (Change.STOP, Change.SURGE)
        ]

    def surges(self, worker: str) -> list[InstanceName]:
        return [
            n
            for n, fate in self.fates.items()
            if n.worker == worker and fate.change is Change.SURGE
        ]

    def allowed(self, worker: str) -> int:
        """How many of a worker may be down."""
        least = 0 if self.surges(worker) else 1
        return max(least, self.settings.unavailable(len(self.staying(worker))))

    @property
    def workers(self) -> set[str]:
        return {name.worker for name in self.fates}

    @property
    def canaries(self) -> set[InstanceName]:
        """Those that are to go first, by another way than the rollout's."""
        found: set[InstanceName] = set()
        if self.promoted:
            return found
        for worker in self.workers:
            staying = self.staying(worker)
            restarts = [name for name in staying if self.fates[name].change is Change.RESTART]
            there = sum(
                self.fates[name].current or self.fates[name].change is Change.START
                for name in staying
            )
            restarts.sort(key=lambda name: (not self.fates[name].failed_before, name.number))
            found |= set(restarts[: max(0, self.settings.canaries(len(staying)) - there)])
        return found


class Watch:
    """What must hold at every step."""

    def __init__(self, world: World, scene: Scene) -> None:
        self.world = world
        self.scene = scene
        self.settings = scene.settings
        # Were serving, and not healthy again since we touched them.
        self.taken: set[InstanceName] = set()
        self.leaving: set[InstanceName] = set()  # surge that was told to go
        self.proved: set[InstanceName] = set()  # surge that was healthy once
        self.failed = False
        self.spent = False  # more than max_failures
        first = scene.canaries
        self.canaries = first
        self.free = scene.promoted or not scene.settings.canary.number
        if world.target == OLD and any(f.change is Change.KEEP for f in scene.fates.values()):
            self.free = True  # what is kept runs what is wanted, and is as good as a canary

    def before_order(self, rollout: Rollout, action: Action) -> None:
        name, what = action.state.instance, action.kind
        fate, slot = self.scene.fates[name], rollout.instances[name]
        if what is ActionKind.PROBE:
            assert slot.phase is Phase.SETTLING
            said = self.world.said.get(name, [])
            asked = [at for n, w, at in self.world.orders if n == name and w is ActionKind.PROBE]
            assert len(said) == len(asked), "two probes at once"
            assert not said or self.world.now >= said[-1][2] + PROBE_INTERVAL
            return
        assert fate.change is not Change.KEEP, f"{name} was to be kept"
        if slot.phase is Phase.DRAINED:
            return  # what is in hand is finished, whatever happened
        assert not self.failed, f"{name} was touched after a failure"
        assert not self.spent, f"{name} was touched after too many failures"
        if (
            fate.change is Change.SURGE
            and what is ActionKind.STOP
            and slot.phase is not Phase.WAITING
        ):
            self._before_surge_goes(rollout, name)
            return
        assert not rollout.halted, f"{name} was touched after Ctrl-C"
        if fate.change is Change.RESTART:
            self._before_restart(rollout, name)
        if fate.change is Change.STOP:
            # Capacity first: nothing goes before all that stays is as wanted.
            for other in rollout.instances.values():
                assert other.planned.change in (Change.STOP, Change.SURGE) or other.phase in FINAL

    def _before_restart(self, rollout: Rollout, name: InstanceName) -> None:
        worker = name.worker
        if not self.free:
            assert name in self.canaries, f"{name} went with the canaries"
        surges = [rollout.instances[one] for one in self.scene.surges(worker)]
        assert all(one.phase is not Phase.WAITING for one in surges), "surge comes first"
        if surges and not self.settings.unavailable(len(self.scene.staying(worker))):
            assert any(one.phase is Phase.HEALTHY for one in surges), "surge was not waited for"
        for other in self.scene.staying(worker):
            # New capacity comes before old capacity goes.
            slot = rollout.instances[other]
            assert slot.planned.change is not Change.START or slot.phase in (
                Phase.HEALTHY,
                Phase.FAILED,
            )
        self._before_it_is_proved(rollout, worker)
        if self.world.seen[name].serving:
            self.taken.add(name)
            # Also what has not proved itself yet counts as unavailable, and what failed.
            bad = IN_FLIGHT | {Phase.FAILED}
            flying = sum(rollout.instances[one].phase in bad for one in self.scene.staying(worker))
            more = sum(
                one.phase is Phase.HEALTHY and self.world.seen[one.instance].serving
                for one in surges
            )
            assert flying < self.scene.allowed(worker) + more

    def _before_it_is_proved(self, rollout: Rollout, worker: str) -> None:
        """Never more on a release that was healthy nowhere than may be unavailable for it."""
        staying = self.scene.staying(worker)
        slots = [rollout.instances[one] for one in (*staying, *self.scene.surges(worker))]
        if self.world.target == OLD or rollout.promoted:
            return
        if any(
            slot.current or (slot.phase is Phase.HEALTHY and slot.planned.change is not Change.KEEP)
            for slot in slots
        ):
            return
        flying = sum(
            slot.phase in IN_FLIGHT and slot.planned.change in (Change.RESTART, Change.SURGE)
            for slot in slots
        )
        most = max(
            self.scene.allowed(worker),
            self.settings.canaries(len(staying)),
            len(self.scene.surges(worker)),
        )
        assert flying < most, f"{flying + 1} on a release that is not proved, {most} allowed"

    def _before_surge_goes(self, rollout: Rollout, name: InstanceName) -> None:
        others = [rollout.instances[one] for one in self.scene.staying(name.worker)]
        if rollout.halted:
            assert all(one.phase not in IN_FLIGHT for one in others)
        else:
            assert all(one.phase in FINAL for one in others)
        self.leaving.add(name)

    def after_step(self, rollout: Rollout) -> None:
        slots = rollout.instances
        self.failed = self.failed or rollout.failed
        failures = sum(slot.phase is Phase.FAILED for slot in slots.values())
        self.spent = self.spent or failures > self.settings.max_failures
        assert not self.spent or rollout.failed
        if rollout.halted:
            assert not rollout.awaiting
        self.taken -= {n for n, slot in slots.items() if slot.phase is Phase.HEALTHY}
        self._canaries(rollout)
        for worker in self.scene.workers:
            staying, surges = self.scene.staying(worker), self.scene.surges(worker)
            self.proved |= {n for n in surges if slots[n].phase is Phase.HEALTHY}
            down = [name for name in staying if name in self.taken]
            # I1: at least N - max_unavailable serve, counting only what we took.
            allowed = self.scene.allowed(worker) + len(self.proved & set(surges) - self.leaving)
            assert len(down) <= allowed, f"{down} of {len(staying)} down, {allowed} allowed"
            # I2: at most N + max_surge processes, draining ones included.
            there = sum(bool(self.world.seen[name].pid) for name in staying + surges)
            assert there <= len(staying) + self.settings.surge(len(staying))
            if len(staying) == 1 and not self.settings.max_surge.number:
                assert there <= 1  # I13
        for name, slot in slots.items():
            needed = self.scene.probes.get(name.worker, 0)
            if slot.phase is Phase.HEALTHY and slot.ready == self.world.now and needed:
                said = self.world.said.get(name, [])
                last = [
                    ok for life, ok, _ in said if life == slot.invocation or not slot.invocation
                ]
                assert len(last) >= needed, f"{name}: {said}"
                assert all(last[-needed:])

    def _canaries(self, rollout: Rollout) -> None:
        """I3: no other than the canaries before they were healthy for canary_soak."""
        if self.free or self.settings.promote is Promote.MANUAL:
            return
        slots = [rollout.instances[name] for name in self.canaries]
        if all(slot.phase is Phase.HEALTHY for slot in slots):
            since = max((slot.ready or 0.0 for slot in slots), default=0.0)
            self.free = self.world.now >= since + self.settings.canary_soak.seconds


def begun(world: World, scene: Scene) -> Rollout:
    """A rollout of this scene that has touched nothing yet."""
    steps = tuple(
        PlannedChange(
            name, fate.change, "test", fate.unproven, fate.switches_unit_text, fate.failed_before
        )
        for name, fate in scene.fates.items()
    )
    wanted = {
        name: world.target for name, fate in scene.fates.items() if fate.change is not Change.STOP
    }
    return begin(steps, scene.settings, wanted, probes=scene.probes, promoted=scene.promoted)


class Calls:
    """How the rollout is called; replaced where each call is measured or counted."""

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)


def roll(world: World, rollout: Rollout, call: Calls) -> int:
    """What Executor.run does, with nothing checked; returns how many events there were."""
    events = 0
    while True:
        call(rollout.advance, world.changes(), world.now)
        for action in call(next_actions, rollout, world.now):
            name, before = action.state.instance, world.seen[action.state.instance]
            assert world.order(name, action.kind)
            call(rollout.record_action, action, before, world.now)
        if call(getattr, rollout, "finished"):
            call(rollout.confirm, world.changes(), world.now)
            return events
        event, look = world.next_event(), call(deadline, rollout)
        if event is not None and (look is None or event <= look):
            for _ in world.step():
                events += 1
                call(rollout.advance, world.changes(), world.now)
                while world.answers:
                    name, ok = world.answers.pop()
                    call(rollout.record_probe, name, ok, "", world.now)
        else:
            world.now = max(world.now, look)


def rebuilt(rollout: Rollout, world: World) -> Rollout:
    """The same rollout, with all that it counts and all its timers made anew."""
    made = Rollout(
        rollout.instances.values(),
        rollout.settings,
        rollout.wanted,
        rollout.probes,
        promoted=rollout.promoted,
    )
    made.halted, made.soaked = rollout.halted, rollout.soaked
    made.advance({name: rollout.seen[name] for name in rollout.instances}, world.now)
    return made


def nothing_is_passed_over(rollout: Rollout, world: World) -> None:
    """What looks at changes only comes to the same as a close look at all, and to all counts."""
    for name, state in rollout.instances.items():
        assert rollout.seen[name] == world.seen[name]
        again = step(state, world.seen[name], world.now, rollout.terms(name))
        assert again == state, f"{name} was passed over"
    other = rebuilt(rollout, world)
    for trait in (*Trait, *Phase):
        assert rollout.count(trait) == other.count(trait), trait
        assert rollout.names(trait) == other.names(trait), trait
    assert next_actions(rollout, world.now) == next_actions(other, world.now)
    assert deadline(rollout) == deadline(other)
    assert rollout.canaries == other.canaries
    assert (rollout.stage, rollout.failed) == (other.stage, other.failed)


def simulated(
    world: World,
    scene: Scene,
    *,
    interrupt: float | None = None,
    cut: int | None = None,
) -> Rollout:
    """What Executor.run does, over the simulated systemd; cut short after so many steps."""
    rollout = begun(world, scene)
    watch = Watch(world, scene)
    for done in range(2000 * (len(world.fates) + 1)):
        if done == cut:
            return rollout
        if interrupt is not None and world.now >= interrupt:
            rollout.halted = True
        rollout.advance(world.changes(), world.now)
        watch.after_step(rollout)
        nothing_is_passed_over(rollout, world)
        for action in next_actions(rollout, world.now):
            watch.before_order(rollout, action)
            name, before = action.state.instance, world.seen[action.state.instance]
            if world.order(name, action.kind):
                rollout.record_action(action, before, world.now)
            else:
                rollout.record_refusal(name, "masked")
                break
        watch.after_step(rollout)
        if rollout.finished:
            rollout.confirm(world.changes(), world.now)
            if rollout.finished:
                return rollout
        event, look = world.next_event(), deadline(rollout)
        assert event is not None or look is not None, f"waits for ever: {describe(rollout, world)}"
        if event is not None and (look is None or event <= look):
            for _ in world.step():
                rollout.advance(world.changes(), world.now)
                while world.answers:
                    asked, ok = world.answers.pop()
                    said = "yes" if ok else "no"
                    rollout.record_probe(asked, ok, f"said {said}", world.now)
                watch.after_step(rollout)
        else:
            assert look is not None
            # A clock has a resolution: never a deadline that is due and does nothing.
            world.now = max(world.now, look)
    raise AssertionError(f"never ends: {describe(rollout, world)}")


def describe(rollout: Rollout, world: World) -> str:
    return f"{rollout.stage}: " + "; ".join(
        f"{name}: {state.planned.change} {state.phase}, "
        f"{world.seen[name].active} {world.seen[name].sub}"
        for name, state in rollout.instances.items()
    )


# --- random fleets --------------------------------------------------------------------------------

SECONDS = st.sampled_from([0.0, 0.1, 2.0, 30.0, 600.0])
SHARES = st.builds(Share, st.integers(0, 7)) | st.builds(
    Share, st.sampled_from([1, 25, 50, 100]), st.just(True)
)
THERE = {
    Change.KEEP: ["serving", "serving", "down", "failed", "restarting"],
    Change.START: ["down", "failed"],
    Change.RESTART: ["serving", "serving", "serving", "restarting", "down"],
    Change.STOP: ["serving", "restarting"],
    Change.SURGE: ["down", "down", "serving"],
}


STAYING_OR_NOT = [
    Change.RESTART,
    Change.RESTART,
    Change.RESTART,
    Change.KEEP,
    Change.START,
    Change.STOP,
]


@st.composite
def fates(draw: st.DrawFn, *, trouble: bool, switch: bool, surge: bool = False) -> Fate:
    do = Change.SURGE if surge else draw(st.sampled_from(STAYING_OR_NOT))
    there = draw(st.sampled_from(THERE[do])) if trouble else THERE[do][0]
    outcomes = [GOOD, GOOD, RECYCLES]
    if trouble:
        outcomes += [EXEC_FAILS, DIES, DIES_LATE, HANGS, WRONG, REFUSED, CANCELLED]
    kept = do is Change.KEEP and there == "serving"
    return Fate(
        change=do,
        there=there,
        drain=draw(SECONDS),
        end=draw(st.sampled_from(list(ENDINGS))),
        merged=draw(st.booleans()),
        start=draw(st.sampled_from([0.0, 0.1, 5.0])),
        outcome=draw(st.sampled_from(outcomes)),
        crash=draw(st.none() | SECONDS) if trouble else None,
        for_good=trouble and draw(st.booleans()),
        unproven=kept and draw(st.booleans()),
        current=kept and draw(st.booleans()),
        switches_unit_text=switch and do in (Change.RESTART, Change.START, Change.SURGE),
        failed_before=do is Change.RESTART and draw(st.integers(0, 4)) == 0,
        probes=draw(st.sampled_from(ANSWERS if trouble else ANSWERS[:3])),
        probe_time=draw(st.sampled_from([0.0, 0.1, 0.5])),
        meddled=tuple(draw(st.lists(st.tuples(MOMENTS, st.booleans()), max_size=2)))
        if trouble
        else (),
        meddled_drain=draw(st.sampled_from([0.0, 0.5, 200.0])) if trouble else 0.5,
    )


ANSWERS = [(True,), (False, True), (True, False, True), (False,), (True, False)]
MOMENTS = st.sampled_from([0.0, 0.05, 3.0, 8.0, 12.0, 40.0, 60.0, 620.0, 640.0])


@st.composite
def fleets(
    draw: st.DrawFn, *, trouble: bool, settings: RolloutSettings
) -> dict[InstanceName, Fate]:
    found: dict[InstanceName, Fate] = {}
    for worker in ("a", "b")[: draw(st.integers(1, 2))]:
        switch = draw(st.booleans())
        numbers = draw(st.integers(1, 6))
        crew = [draw(fates(trouble=trouble, switch=switch)) for _ in range(numbers)]
        staying = sum(fate.change is not Change.STOP for fate in crew)
        if any(fate.change is Change.RESTART for fate in crew):
            crew += [
                draw(fates(trouble=trouble, switch=switch, surge=True))
                for _ in range(settings.surge(staying))
            ]
        found |= {InstanceName(worker, number): fate for number, fate in enumerate(crew, 1)}
    return found


@st.composite
def scenes(draw: st.DrawFn, *, trouble: bool) -> Scene:
    none = st.just(Share(0))
    settings = pace(
        draw(SHARES),
        max_surge=draw(none | SHARES),
        canary=draw(none | SHARES),
        canary_soak=draw(st.sampled_from([Duration("0s", 0.0), Duration("30s", 30.0)])),
        promote=draw(st.sampled_from(Promote)),
        max_failures=draw(st.integers(0, 4)) if trouble else 0,
    )
    return Scene(
        draw(fleets(trouble=trouble, settings=settings)),
        settings,
        draw(st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 3))),
        promoted=draw(st.booleans()),
    )


def pace(share: Share | None = None, **more: Any) -> RolloutSettings:
    return RolloutSettings(
        share or Share(1),
        Duration(f"{MIN_HEALTHY:g}s", MIN_HEALTHY),
        Duration(f"{START_TIMEOUT:g}s", START_TIMEOUT),
        **more,
    )
