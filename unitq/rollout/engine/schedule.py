"""The schedule of a rollout: what to order next, and when to look again.

A sliding window: as soon as one instance is healthy the next may drain. Draining, starting and
settling count as unavailable, and so does an instance that failed or is down for any other reason;
but not one that is kept or was healthy and stays down, as an operator's stop leaves it: that would
be waited for in vain. What must serve and does not is found when the rollout ends.

Per worker, in this order:

1. new instances start, and so does the surge. No old instance is touched before the new ones are
   healthy, or have failed within max_failures. It need not wait for the surge, unless
   max_unavailable is 0; but each surge instance that serves adds one to what may be unavailable.
2. canaries, then a pause of canary_soak, then perhaps an operator's promotion; see `canaries`.
3. all other restarts: what failed earlier first. What crashed comes back by systemd with its own
   code, and is unavailable until then: it goes before others, within the budget. What is down for
   good costs no capacity: it goes whether or not the budget allows. Both only once the release has
   been healthy on one instance of the worker; until then one at a time proves it.
4. the surge stops when nothing of the worker is left to be replaced; as does what has no place in
   the new revision when this is so for all workers: capacity first.

After a failure or Ctrl-C only what is in flight is finished: a drained one is started, a settling
one probed. After Ctrl-C the surge stops, too; after a failure it is capacity, and stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.rollout.engine.groups import Trait
from unitq.rollout.engine.instance import NEVER, Action, ActionKind, Phase
from unitq.rollout.plan import Change

if TYPE_CHECKING:
    from unitq.model.names import InstanceName
    from unitq.rollout.engine.groups import WorkerGroup
    from unitq.rollout.engine.rollout import Rollout


def next_actions(rollout: Rollout, now: float) -> list[Action]:
    """Returns what to order now, in order; empty when only time or systemd can bring news."""
    return [
        *next_changes(rollout),
        *_actions(rollout, ActionKind.PROBE, rollout.probe_times.due(now)),
    ]


def next_changes(rollout: Rollout) -> list[Action]:
    """Returns all actions but probes: these do not depend on the time."""
    # Finish what is half done.
    actions = _actions(rollout, ActionKind.SWITCH, rollout.names(Phase.DRAINED))
    if rollout.failed:
        return actions
    if not rollout.halted:
        states = (rollout.instances[name] for name in eligible(rollout))
        actions += [Action(state, _kind(rollout, state.instance)) for state in states]
    return actions + _actions(rollout, ActionKind.STOP, rollout.surplus)


def eligible(rollout: Rollout) -> list[InstanceName]:
    """Returns the instances that may be touched now, those that leave last."""
    for worker in rollout.outdated:
        group = rollout.groups[worker]
        rollout.eligible.pop(worker, None)
        if names := _new(group) + _restarts(group, rollout):
            rollout.eligible[worker] = names
    rollout.outdated.clear()
    names = [name for worker in sorted(rollout.eligible) for name in rollout.eligible[worker]]
    waiting = rollout.count(Trait.TO_RESTART) + rollout.count(Trait.NEW_WAITING)
    if not waiting + rollout.count(Trait.STAYING_IN_FLIGHT):
        # What is gone stops last, once all that stays is healthy: capacity first.
        names += rollout.names(Trait.LEAVING_WAITING)
    return names


def _new(group: WorkerGroup) -> list[InstanceName]:
    """Returns the instances to be started: they take nothing away from others."""
    surges = group.names(Trait.SURGE_WAITING) if group.count(Trait.TO_RESTART) else []
    return [*group.names(Trait.NEW_WAITING), *surges]


def _restarts(group: WorkerGroup, rollout: Rollout) -> list[InstanceName]:
    """Returns the instances that may be restarted now."""
    first = group.count(Trait.TO_RESTART)
    if rollout.canary_first:
        first = group.canaries.next
    if not first or (group.count(Trait.NEW_WAITING) + group.count(Trait.NEW_IN_FLIGHT)):
        # New capacity is healthy before old capacity is touched: a broken release stops here.
        return []
    if (not group.budget and not group.count(Trait.SURGE_HEALTHY)) or group.budget_exhausted:
        return []
    room = group.budget + group.count(Trait.SURGE_SERVING)
    budget = room - group.count(Trait.UNAVAILABLE)
    # What is down and must not be touched before the canaries would be waited for in vain.
    budget += group.count(Trait.DOWN) - group.count(Trait.DOWN, among=first)
    room -= group.count(Trait.STAYING_IN_FLIGHT) + group.count(Trait.STAYING_FAILED)
    if not group.count(Trait.PROVES) and not rollout.promoted:
        # One that is down proves it at no cost; but what is down is not free: no other follows it.
        # What systemd starts again would be waited for in vain where it crashes in a loop.
        surges = group.count(Trait.SURGE_WAITING) + group.count(Trait.SURGE_IN_FLIGHT)
        trying = group.count(Trait.STAYING_IN_FLIGHT) + surges
        if not trying and (group.count(Trait.GONE, among=first) or budget <= 0):
            gone = group.names(Trait.GONE, 1, among=first)
            return gone or group.names(Trait.RETURNING, 1, among=first)
        return group.names(Trait.SERVING, min(budget, group.trials - trying), among=first)
    # What is down for good costs no capacity any more, whatever the budget.
    gone = group.names(Trait.GONE, among=first)
    returning = group.names(Trait.RETURNING, room, among=first)
    serving = group.names(Trait.SERVING, min(budget, room - len(returning)), among=first)
    return gone + returning + serving


def _kind(rollout: Rollout, name: InstanceName) -> ActionKind:
    planned, down = rollout.instances[name].planned, rollout.seen[name].down
    if planned.change is Change.STOP:
        return ActionKind.STOP
    if planned.switches_unit_text:
        # Whatever runs, or is about to, does so under the old text, and is stopped under it.
        return ActionKind.SWITCH if down else ActionKind.STOP
    if planned.change is Change.RESTART or not down:
        return ActionKind.RESTART
    return ActionKind.START


def _actions(rollout: Rollout, kind: ActionKind, names: list[InstanceName]) -> list[Action]:
    return [Action(rollout.instances[name], kind) for name in names]


def deadline(rollout: Rollout) -> float | None:
    """Returns when to look again though nothing happens; None: only events matter.

    In the past if an action is due that has not been ordered yet.
    """
    if next_changes(rollout):
        return 0.0
    time = min(rollout.step_times.first, rollout.probe_times.first)
    if rollout.canary_first and not rollout.soaked:
        time = min(time, rollout.soaked_at)
    # What may take for ever has no deadline.
    return None if time == NEVER else time
