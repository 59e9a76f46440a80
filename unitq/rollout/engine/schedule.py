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
    switches = _actions(rollout, ActionKind.SWITCH, rollout.names(Phase.DRAINED))
    if rollout.failed:
        return switches  # finish what is half done, touch nothing new
    stops = _actions(rollout, ActionKind.STOP, rollout.surplus)
    if rollout.halted:
        return [*switches, *stops]
    return [*switches, *_touch(rollout, eligible(rollout)), *stops]


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
    """Returns the instances that may be restarted now; `first` are those whose turn it can be."""
    first = group.canaries.next if rollout.canary_first else group.count(Trait.TO_RESTART)
    if not first:
        return []
    if group.count(Trait.NEW_WAITING) + group.count(Trait.NEW_IN_FLIGHT):
        return []  # new capacity first: a broken release stops here
    if group.budget_exhausted or not group.budget + group.count(Trait.SURGE_HEALTHY):
        return []  # there is no capacity to lose
    if not group.count(Trait.PROVES) and not rollout.promoted:
        return _trials(group, first)
    # What is down for good costs no capacity any more, whatever the budget.
    gone = group.names(Trait.GONE, among=first)
    room = _capacity(group) - group.count(Trait.STAYING_IN_FLIGHT)
    room -= group.count(Trait.STAYING_FAILED)
    returning = group.names(Trait.RETURNING, room, among=first)
    free = min(_free(group, first), room - len(returning))
    return gone + returning + group.names(Trait.SERVING, free, among=first)


def _trials(group: WorkerGroup, first: int) -> list[InstanceName]:
    """Returns the instances that may try a revision that has not been healthy on any yet."""
    surges = group.count(Trait.SURGE_WAITING) + group.count(Trait.SURGE_IN_FLIGHT)
    trying = group.count(Trait.STAYING_IN_FLIGHT) + surges
    free = _free(group, first)
    if not trying and (group.count(Trait.GONE, among=first) or free <= 0):
        # One that is down tries it at no cost; but what is down is not free: no other follows it.
        # What systemd starts again would be waited for in vain where it crashes in a loop.
        gone = group.names(Trait.GONE, 1, among=first)
        return gone or group.names(Trait.RETURNING, 1, among=first)
    return group.names(Trait.SERVING, min(free, group.trials - trying), among=first)


def _capacity(group: WorkerGroup) -> int:
    """Returns how many may be unavailable: each serving surge instance adds one."""
    return group.budget + group.count(Trait.SURGE_SERVING)


def _free(group: WorkerGroup, first: int) -> int:
    """Returns how many more may become unavailable."""
    free = _capacity(group) - group.count(Trait.UNAVAILABLE)
    # What is down and must not be touched before the canaries would be waited for in vain.
    return free + group.count(Trait.DOWN) - group.count(Trait.DOWN, among=first)


def _touch(rollout: Rollout, names: list[InstanceName]) -> list[Action]:
    return [Action(rollout.instances[name], _kind(rollout, name)) for name in names]


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
