"""A rollout: the state of each instance, how fast they may change, and how far it has come.

It changes only by what it is given: what was observed, ordered, refused, probed. It knows no clock
and does no I/O. instance.py has the states of one instance, groups.py the counts of one worker,
schedule.py what to order next; rollout/executor.py orders it.

Each event costs the same with 10 instances and with 2,000: only what has changed, and what is due,
is looked at.
"""

from __future__ import annotations

import heapq
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from unitq.instances.state import Observed
from unitq.model.settings import Promote
from unitq.rollout.engine.groups import Canaries, Trait, WorkerGroup, traits
from unitq.rollout.engine.instance import (
    NEVER,
    Action,
    ActionKind,
    InstanceState,
    Phase,
    Terms,
    external_changes,
    fail,
    fail_external_start,
    lose,
    next_probe_at,
    next_step_at,
    step,
)
from unitq.rollout.plan import Change

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from unitq.model.names import InstanceName
    from unitq.model.settings import RolloutSettings
    from unitq.rollout.plan import PlannedChange
    from unitq.systemd.exit_status import Ending


class Stage(StrEnum):
    """How far a rollout has come."""

    CANARY = "canary"  # the first few are replaced
    SOAK = "soak"  # they are healthy, and watched for canary_soak
    AWAITING = "awaiting"  # it waits for promotion by an operator
    ROLLING = "rolling"
    DONE = "done"  # complete, or ended before


class Timers:
    """A time for each instance that has one, and the first of them."""

    def __init__(self) -> None:
        self._times: dict[InstanceName, float] = {}
        self._heap: list[tuple[float, InstanceName]] = []  # also times that have changed since

    def set(self, name: InstanceName, time: float) -> None:
        """Replaces the time of an instance; NEVER: it has none."""
        if time == NEVER:
            self._times.pop(name, None)
        elif self._times.get(name) != time:
            self._times[name] = time
            heapq.heappush(self._heap, (time, name))

    @property
    def first(self) -> float:
        """The first time; NEVER: there is none."""
        while self._heap and self._times.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else NEVER

    def due(self, now: float) -> list[InstanceName]:
        """Returns the instances whose time has come, by name."""
        due = {}
        while self.first <= now:
            time, name = heapq.heappop(self._heap)
            due[name] = time
        for name, time in due.items():
            heapq.heappush(self._heap, (time, name))
        return sorted(due)


class Rollout:
    """All instances concerned, and how fast they may change."""

    def __init__(
        self,
        instances: Iterable[InstanceState],
        settings: RolloutSettings,
        wanted: Mapping[InstanceName, str] | None = None,
        probes: Mapping[str, int] | None = None,
        *,
        promoted: bool = False,
    ) -> None:
        """See begin(); `instances` has a state for each instance."""
        self.settings = settings
        self.wanted = wanted or {}
        self.probes = probes or {}
        self.halted = False  # no other instance is touched; those in flight are finished
        self.promoted = promoted  # no canaries: they were healthy before
        self.soaked = False  # the canaries have been healthy for canary_soak
        self.phase_changes: list[InstanceName] = []  # whose phase has changed, in order
        self.step_times = Timers()  # when time alone may change an instance
        self.probe_times = Timers()  # when to probe it
        self._soaked_at: float | None = None
        workers: dict[str, list[PlannedChange]] = {}
        states = sorted(instances, key=lambda state: state.instance)
        for state in states:
            workers.setdefault(state.instance.worker, []).append(state.planned)
        self.groups = {worker: WorkerGroup(mine, settings) for worker, mine in workers.items()}
        self._instances = {state.instance: state for state in states}
        self._seen = dict.fromkeys(self._instances, Observed())
        self.instances: Mapping[InstanceName, InstanceState] = self._instances
        self.seen: Mapping[InstanceName, Observed] = self._seen  # what was last observed
        self._by_trait: dict[Trait | Phase, set[InstanceName]] = {
            trait: set() for trait in (*Trait, *Phase)
        }
        self.canaries = Canaries()  # of all groups
        self._with_surplus: set[str] = set()  # workers
        # The schedule's notes: what may be touched, by worker, and whose notes are out of date.
        self.eligible: dict[str, list[InstanceName]] = {}
        self.outdated: set[str] = set()
        for name in self._instances:
            self._refresh(name)

    def count(self, trait: Trait | Phase) -> int:
        """Returns how many instances have it."""
        return len(self._by_trait[trait])

    def names(self, trait: Trait | Phase) -> list[InstanceName]:
        """Returns the instances that have it, by name."""
        return sorted(self._by_trait[trait])

    # --- how far it has come ----------------------------------------------------------------------

    @property
    def failed(self) -> bool:
        """Whether no other instance is touched, because too many have failed.

        Too many: more than max_failures; a single canary, for that is what it is for; as many as
        may be unavailable, as nothing could be replaced then.
        """
        failures = self.count(Phase.FAILED)
        if failures > self.settings.max_failures:
            return True
        canary_failed = self.canary_first and bool(self.canaries.failed)
        return bool(failures) and (canary_failed or self._stuck)

    @property
    def _stuck(self) -> bool:
        """Whether failed ones take all that may be unavailable, wherever others are to follow."""
        if self.in_flight or self.count(Trait.NEW_WAITING) or self.count(Trait.SURGE_WAITING):
            return False
        waiting = [
            group
            for group in self.groups.values()
            if (group.canaries.next if self.canary_first else group.count(Trait.TO_RESTART))
        ]
        return bool(waiting) and all(group.budget_exhausted for group in waiting)

    @property
    def in_flight(self) -> bool:
        """Whether any instance is between two states."""
        return bool(self.count(Trait.IN_FLIGHT))

    @property
    def complete(self) -> bool:
        """Whether every instance got where it should, or never will."""
        if self.count(Phase.WAITING) or self.in_flight or self.count(Trait.BOUNCING):
            return False
        return self.failed or not self.surplus

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do or to wait for."""
        if self.complete or self.awaiting:
            return True
        over = self.halted or self.failed
        return over and not self.in_flight and (self.failed or not self.surplus)

    @property
    def awaiting(self) -> bool:
        """Whether the canaries are healthy and an operator decides if the others follow."""
        if not self.canary_first or not self.soaked or self.halted or self.in_flight:
            return False
        if self.count(Trait.BOUNCING):
            return False
        return bool(self.canaries.held) and self.canaries.healthy and not self.failed

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
            canaries = self.canaries
            if (canaries.taken or canaries.next) and not canaries.healthy:
                return Stage.CANARY
            if canaries.held:
                return Stage.SOAK
        return Stage.ROLLING

    @property
    def soaked_at(self) -> float:
        """When the canaries will have been healthy for canary_soak; NEVER while they are not."""
        if self._soaked_at is None:
            self._soaked_at = NEVER
            if self.canaries.held and self.canaries.healthy:
                groups = (group for group in self.groups.values() if group.restarts)
                taken = (name for group in groups for name in group.names(Trait.CANARY))
                healthy = max((self._instances[name].ready or 0.0 for name in taken), default=0.0)
                self._soaked_at = healthy + self.settings.canary_soak.seconds
        return self._soaked_at

    @property
    def surplus(self) -> list[InstanceName]:
        """The surge instances that can go now."""
        if self.halted and self.in_flight:
            return []
        workers = self.groups if self.halted else sorted(self._with_surplus)
        groups = (self.groups[worker] for worker in workers)
        return [name for group in groups for name in group.surplus(halted=self.halted)]

    def terms(self, name: InstanceName) -> Terms:
        """Returns what one instance has to achieve."""
        return Terms(self.settings, self.wanted.get(name), self.probes.get(name.worker, 0))

    # --- what changes it --------------------------------------------------------------------------

    def advance(self, seen: Mapping[InstanceName, Observed], now: float) -> None:
        """Takes what was observed since the last call, of those that it was observed of.

        Instances whose time has come are looked at again, too.
        """
        self._seen.update(seen)
        for name in dict.fromkeys((*seen, *self.step_times.due(now))):
            state = self._instances[name]
            after = step(state, self._seen[name], now, self.terms(name))
            if after is state:
                self._refresh(name)
            else:
                self.update(after)
        if self.canary_first and not self.soaked:
            self.soaked = self.soaked_at <= now
            if self.soaked:
                self.outdated.update(self.groups)

    def update(self, state: InstanceState) -> None:
        """Replaces the state of one instance."""
        name = state.instance
        if self._instances[name].phase is not state.phase:
            self.phase_changes.append(name)
        self._instances[name] = state
        self._refresh(name)

    def _refresh(self, name: InstanceName) -> None:
        """Counts an instance anew, after its state or what is seen of it has changed."""
        state, seen, terms = self._instances[name], self._seen[name], self.terms(name)
        new, group = traits(state, seen, terms.wanted), self.groups[name.worker]
        canaries = group.canaries
        old = group.update(name, new)
        if new != old:
            for trait in old - new:
                self._by_trait[trait].discard(name)
            for trait in new - old:
                self._by_trait[trait].add(name)
            self.outdated.add(name.worker)
            self._with_surplus.discard(name.worker)
            if group.surges and group.has_surplus:
                self._with_surplus.add(name.worker)
            columns = zip(self.canaries, group.canaries, canaries, strict=True)
            self.canaries = Canaries(*(total + after - before for total, after, before in columns))
        self.step_times.set(name, next_step_at(state, seen, terms))
        self.probe_times.set(name, next_probe_at(state, terms))
        self._soaked_at = None

    def record_action(self, action: Action, seen: Observed, now: float) -> None:
        """Takes that this action was ordered; `seen` is the instance as it was before."""
        state, kind = self._instances[action.state.instance], action.kind
        if state.phase is Phase.FAILED:
            return
        if kind is ActionKind.PROBE:
            # What is no longer settling by now needs none; its answer is ignored.
            asked = state.invocation if state.phase is Phase.SETTLING else ""
            self.update(replace(state, probing=asked))
            return
        if state.phase is Phase.DRAINED:
            # drained -> starting: its time begins now
            self.update(replace(state, phase=Phase.STARTING, begun=now))
            return
        running = bool(seen.pid) or seen.active in ("active", "deactivating")
        stopping = running or kind is ActionKind.STOP
        self.update(
            replace(
                state,
                # waiting, healthy -> draining if a process has to end; waiting -> starting if not
                phase=Phase.DRAINING if stopping else Phase.STARTING,
                before=seen.invocation if running else "",
                pid_before=seen.pid,
                touched=now,
                gone=None if running else now,
                begun=None if stopping else now,
                leaving=self._leaves(state, kind),
                external_changes=external_changes(state, seen),
                notified="",
                bouncing=False,
                down=None,
                lost=None,
            )
        )

    def _leaves(self, state: InstanceState, kind: ActionKind) -> bool:
        """Returns whether nothing follows once its process has ended."""
        change = state.planned.change
        if change is not Change.SURGE or kind is not ActionKind.STOP:
            return change is Change.STOP
        # A surge instance is also stopped before its unit text is switched.
        switches = state.phase is Phase.WAITING and state.planned.switches_unit_text
        needed = self.groups[state.instance.worker].count(Trait.TO_RESTART)
        return not (switches and needed)

    def record_refusal(self, name: InstanceName, reason: str) -> None:
        """Takes that systemd refused the order for this instance: masked, or not permitted."""
        # waiting, drained -> failed
        self.update(fail(self._instances[name], reason))

    def record_ending(self, name: InstanceName, ending: Ending) -> None:
        """Takes what was found out later about how an old process ended."""
        self.update(replace(self._instances[name], ending=ending))

    def record_probe(self, name: InstanceName, ok: bool, detail: str, now: float) -> None:
        """Takes that a probe of this instance has ended; `detail` is what it said, in short."""
        state = self._instances[name]
        asked = state.phase is Phase.SETTLING and state.probing == state.invocation != ""
        state = replace(state, probing="", probed=now)
        if asked:
            state = replace(state, passed=state.passed + 1 if ok else 0, detail=detail)
        self.update(state)

    def confirm(self, seen: Mapping[InstanceName, Observed], now: float) -> None:
        """Takes a look at the state itself, when nothing seems left to do.

        Only now "down" means that nothing is going to start it: among signals, systemd shows
        "dead" or "failed" in passing before every automatic restart too. And only now "stopped"
        means that nobody has started it again.
        """
        self.advance(seen, now)
        for name, state in tuple(self._instances.items()):
            served = state.phase is Phase.HEALTHY or (
                state.phase is Phase.KEPT and state.invocation
            )
            if served and self._seen[name].down:
                # kept, healthy -> failed: it exited 0 and is not started again, or was stopped
                self.update(lose(state, self._seen[name]))
            elif state.phase is Phase.STOPPED and not self._seen[name].down:
                # stopped -> failed: there is a process where there should be none
                self.update(fail_external_start(state, self._seen[name]))


def begin(
    changes: Iterable[PlannedChange],
    settings: RolloutSettings,
    wanted: Mapping[InstanceName, str],
    *,
    probes: Mapping[str, int] | None = None,
    promoted: bool = False,
) -> Rollout:
    """Returns a rollout that has touched nothing yet.

    `wanted` is the revision that each instance has to run, `probes` how many successful probes in
    a row an instance of a worker needs to be healthy. `promoted`: the canaries were healthy
    before, to an operator or in an earlier rollout; none are taken.
    """
    states = (InstanceState(planned, _first_phase(planned)) for planned in changes)
    return Rollout(states, settings, wanted, probes, promoted=promoted)


def _first_phase(planned: PlannedChange) -> Phase:
    if planned.change is not Change.KEEP:
        return Phase.WAITING
    # What crashes in a loop is up now and then, too: no other instance may follow it there.
    return Phase.SETTLING if planned.unproven else Phase.KEPT
