"""Rollouts of random fleets over a simulated systemd and a simulated clock.

What must hold whatever happens is asserted at every step, see `world.Watch`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.world import (
    DIES_LATE,
    GOOD,
    MIN_HEALTHY,
    NEW,
    OLD,
    RECYCLES,
    Scene,
    World,
    pace,
    scenes,
    simulated,
)
from unitq.instances.state import LEFT_BEHIND, Observed, Wrapper, ending_of, failure
from unitq.model.names import InstanceName
from unitq.model.settings import Promote, Share
from unitq.rollout.engine.instance import IN_FLIGHT, Action, ActionKind, Phase
from unitq.rollout.engine.rollout import Rollout, Stage, begin
from unitq.rollout.plan import Change, PlannedChange
from unitq.systemd.exit_status import AT_STOP_TIMEOUT, End, Ending


def endings_are_told(rollout: Rollout, world: World) -> None:
    """A killed or died worker is never called drained, and is named if it could be seen."""
    for name, slot in rollout.instances.items():
        if not slot.before or slot.gone is None:
            continue
        true = world.ends.get(slot.before)
        assert slot.ending is None or slot.ending.end is true, f"{name}: {slot.ending}, was {true}"
        assert slot.ending is not None or name not in world.shown, f"{name}: nobody saw {true}"


def waits_for_promotion(scene: Scene) -> bool:
    """Whether the others wait for an operator in the end, if all goes well."""
    restarts = {name for name, fate in scene.fates.items() if fate.change is Change.RESTART}
    manual = scene.settings.promote is Promote.MANUAL and not scene.promoted
    return manual and bool(scene.settings.canary.number) and bool(restarts - scene.canaries)


def as_wanted(world: World, scene: Scene, rollout: Rollout) -> None:
    """Everything is where it should be, as all went well."""
    assert not rollout.failed
    assert not rollout.in_flight
    waits = waits_for_promotion(scene)
    assert rollout.awaiting == waits
    assert rollout.complete != waits
    assert rollout.stage is (Stage.AWAITING if waits else Stage.DONE)
    for name, slot in rollout.instances.items():
        fate, seen = world.fates[name], world.seen[name]
        if waits and (
            fate.change is Change.STOP
            or (fate.change is Change.RESTART and name not in scene.canaries)
        ):
            assert slot.phase is Phase.WAITING
            continue
        match fate.change:
            case Change.KEEP:
                assert slot.phase is (Phase.HEALTHY if slot.planned.unproven else Phase.KEPT)
                assert seen.revision == (world.target if fate.current else OLD)
            case Change.STOP:
                assert slot.phase is Phase.STOPPED
                assert seen.active == "inactive"
            case Change.SURGE if not waits:
                assert slot.phase is Phase.STOPPED
                assert seen.active == "inactive"
            case Change.SURGE:
                # Not needed where all of its worker are canaries; else it stays as capacity.
                assert slot.phase in (Phase.HEALTHY, Phase.STOPPED)
            case _:
                assert slot.phase is Phase.HEALTHY
                assert slot.ready is not None
                if fate.outcome == GOOD:
                    assert seen.serving
                    assert seen.revision == world.target
                    assert slot.ready >= seen.since + MIN_HEALTHY


@settings(max_examples=100, deadline=None)
@given(scenes(trouble=False))
def test_without_failures_everything_ends_healthy_on_the_wanted_revision(scene: Scene) -> None:
    world = World(scene.fates)
    rollout = simulated(world, scene)
    as_wanted(world, scene, rollout)
    assert all(slot.external_changes == () for slot in rollout.instances.values())
    endings_are_told(rollout, world)


@settings(max_examples=200, deadline=None)
@given(scenes(trouble=True), st.sampled_from([OLD, NEW]))
def test_whatever_happens_it_ends_and_keeps_its_promises(scene: Scene, target: str) -> None:
    world = World(scene.fates, target)
    rollout = simulated(world, scene)
    assert not any(slot.phase in IN_FLIGHT for slot in rollout.instances.values())
    assert rollout.stage in (Stage.DONE, Stage.AWAITING)
    for name, slot in rollout.instances.items():
        assert bool(slot.reason) == (slot.phase is Phase.FAILED)
        fate = world.fates[name]
        if slot.phase is Phase.WAITING:
            assert rollout.failed or rollout.awaiting
            assert name not in world.ordered
        if slot.phase is Phase.HEALTHY or (slot.phase is Phase.KEPT and fate.there == "serving"):
            assert not world.seen[name].down, f"{name} is down, and nobody says so"
        if slot.phase is Phase.HEALTHY:
            left_over = fate.change is Change.SURGE and fate.there == "serving" and target == OLD
            good = fate.outcome in (GOOD, RECYCLES, DIES_LATE)
            # What dies soon lives on if somebody restarts it in time.
            again = fate.meddled or fate.there == "restarting" or fate.crash is not None
            assert fate.change is Change.KEEP or good or left_over or again
        if slot.phase is Phase.STOPPED:
            assert world.seen[name].down
        assert fate.meddled or not slot.external_changes
    endings_are_told(rollout, world)


@settings(max_examples=100, deadline=None)
@given(scenes(trouble=True), st.floats(1000, 1700))
def test_after_ctrl_c_what_is_in_hand_is_finished_and_nothing_else_is_touched(
    scene: Scene, interrupt: float
) -> None:
    world = World(scene.fates)
    rollout = simulated(world, scene, interrupt=interrupt)
    assert not rollout.in_flight
    for name, at in world.ordered.items():
        assert at < interrupt, f"{name} was touched after Ctrl-C"
    failures = any(slot.phase is Phase.FAILED for slot in rollout.instances.values())
    for name, slot in rollout.instances.items():
        if (
            rollout.halted
            and not failures
            and slot.planned.change is Change.SURGE
            and name in world.ordered
        ):
            assert slot.phase is Phase.STOPPED, "surge was left behind"
    endings_are_told(rollout, world)


@settings(max_examples=100, deadline=None)
@given(scenes(trouble=False), st.data())
def test_what_somebody_else_restarts_meanwhile_is_no_failure(
    scene: Scene, data: st.DataObject
) -> None:
    moments = st.lists(st.floats(0, 900), max_size=4, unique=True)
    fates = {
        name: replace(
            fate,
            meddled=tuple((at, True) for at in data.draw(moments)),
            probes=(True,),
            # Its deadline goes on while others restart it again and again.
            meddled_drain=0.5,
        )
        for name, fate in scene.fates.items()
    }
    scene = replace(scene, fates=fates)
    world = World(fates)
    rollout = simulated(world, scene)
    assert not rollout.failed, [slot.reason for slot in rollout.instances.values()]
    assert rollout.awaiting == waits_for_promotion(scene)
    for name, slot in rollout.instances.items():
        if (
            slot.phase is Phase.HEALTHY
            and fates[name].outcome == GOOD
            and slot.planned.change is not Change.KEEP
        ):
            assert world.seen[name].serving
            assert world.seen[name].revision == NEW
            assert slot.ready is not None
            assert slot.ready >= world.seen[name].since + MIN_HEALTHY


def planned_again(world: World, scene: Scene) -> Scene:
    """What a new plan finds: the same end, from what is there now."""
    fates = {}
    for name, fate in scene.fates.items():
        seen = world.seen[name]
        there = "serving" if seen.serving else "down"
        up = seen.active in ("active", "activating")
        kept = up and bool(seen.pid) and seen.revision == world.target
        active = bool(seen.pid)
        if fate.change is Change.STOP:
            if not seen.down:
                fates[name] = replace(fate, there=there)
        elif fate.change is Change.SURGE:
            fates[name] = replace(fate, there=there)
        elif fate.change is Change.KEEP or kept:
            unproven = up and (not seen.serving or world.now < seen.since + MIN_HEALTHY)
            fates[name] = replace(
                fate, change=Change.KEEP, there=there, unproven=unproven, current=kept
            )
        else:
            fates[name] = replace(
                fate, change=Change.RESTART if active else Change.START, there=there
            )
    for worker in scene.workers:
        crew = {name: fate for name, fate in fates.items() if name.worker == worker}
        if all(fate.change is not Change.RESTART for fate in crew.values()):
            for name in [name for name, fate in crew.items() if fate.change is Change.SURGE]:
                if world.seen[name].down:
                    del fates[name]
                else:
                    fates[name] = replace(fates[name], change=Change.STOP)
    return replace(scene, fates=fates)


@settings(max_examples=100, deadline=None)
@given(scenes(trouble=False), st.integers(0, 150))
def test_cut_short_anywhere_and_begun_again_it_ends_the_same(scene: Scene, cut: int) -> None:
    # Nothing that comes and goes by itself: only where it all ends is compared.
    fates = {name: replace(fate, outcome=GOOD) for name, fate in scene.fates.items()}
    scene = replace(scene, fates=fates)
    undisturbed = World(fates)
    simulated(undisturbed, scene)
    world = World(fates)
    simulated(world, scene, cut=cut)
    again = planned_again(world, scene)
    world.again(again.fates)
    rollout = simulated(world, again)
    assert not rollout.failed, [slot.reason for slot in rollout.instances.values()]
    for name, seen in undisturbed.seen.items():
        found = world.seen[name]
        if scene.fates[name].change is Change.SURGE and waits_for_promotion(scene):
            continue
        assert (found.active, found.sub) == (seen.active, seen.sub), name
        assert found.revision == seen.revision or seen.down, name
    # And once more there is nothing to do.
    if not waits_for_promotion(scene):
        once_more = planned_again(world, again)
        assert {fate.change for fate in once_more.fates.values()} <= {Change.KEEP}


# --- how a process ended, in words ----------------------------------------------------------------


WATCHMEDO = Wrapper("watchmedo", kills=True)
BASH = Wrapper("bash", caught=1 << 14)  # what is below it has a handler for SIGTERM


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Observed("active", "running"), None),
        (Observed("deactivating", "stop-sigterm"), None),
        (Observed("inactive", "dead", code=1, status=0), Ending(End.DRAINED)),
        (
            Observed("failed", "failed", result="exit-code", code=1, status=7),
            Ending(End.DIED, "exited with status 7"),
        ),
        # SuccessExitStatus=7; and the next start after a failure.
        (Observed("inactive", "dead", code=1, status=7), Ending(End.DRAINED)),
        (Observed("deactivating", "stop-post", code=1, status=7), Ending(End.DRAINED)),
        (
            Observed("activating", "start-pre", code=1, status=7),
            Ending(End.DIED, "exited with status 7"),
        ),
        (Observed("inactive", "dead", code=2, status=3), Ending(End.DIED, "died of SIGQUIT")),
        (Observed("failed", "failed", code=3, status=11), Ending(End.DIED, "died of SIGSEGV")),
        (Observed("failed", "failed", code=2, status=9), Ending(End.KILLED, "died of SIGKILL")),
        (Observed("failed", "failed", code=2, status=99), Ending(End.DIED, "died of signal 99")),
        # The main process is done, and what it left behind is being killed.
        (
            Observed("deactivating", "stop-sigkill", code=1, status=0),
            Ending(End.DRAINED, LEFT_BEHIND),
        ),
        (
            Observed("failed", "failed", result="timeout", code=1, status=0),
            Ending(End.DRAINED, LEFT_BEHIND),
        ),
        # It crashed; systemd cleans up after it.
        (
            Observed("deactivating", "stop-sigkill", result="exit-code", code=1, status=1),
            Ending(End.DIED, "exited with status 1"),
        ),
        (
            Observed("deactivating", "final-sigkill", result="signal", code=3, status=11),
            Ending(End.DIED, "died of SIGSEGV"),
        ),
        # stop_timeout was over: the main process is still there, or has just been killed.
        (
            Observed("deactivating", "stop-sigkill", result="timeout"),
            Ending(End.KILLED, AT_STOP_TIMEOUT),
        ),
        (
            Observed("failed", "failed", result="timeout", code=2, status=9),
            Ending(End.KILLED, AT_STOP_TIMEOUT),
        ),
        # RuntimeMaxSec=: a time-out as well, and time to drain.
        (Observed("deactivating", "stop-sigterm", result="timeout"), None),
        # The main process is no worker, but keeps one.
        (
            Observed("inactive", "dead", code=1, status=0, wrapper=WATCHMEDO),
            Ending(
                End.UNKNOWN,
                "watchmedo ended the worker below it, and nobody saw whether its job was finished",
            ),
        ),
        (Observed("inactive", "dead", code=1, status=0, wrapper=BASH), Ending(End.DRAINED)),
        (Observed("inactive", "dead", code=2, status=15, wrapper=BASH), Ending(End.DRAINED)),
        (
            Observed("inactive", "dead", code=2, status=15, wrapper=BASH._replace(caught=0)),
            Ending(End.DIED, "died of SIGTERM"),
        ),
        (
            Observed("failed", "failed", result="signal", code=2, status=15, wrapper=BASH),
            Ending(End.DIED, "died of SIGTERM"),
        ),
        (
            Observed("deactivating", "stop-sigkill", code=2, status=15, wrapper=BASH),
            Ending(End.KILLED, "SIGKILL when bash above it had ended"),
        ),
        (
            Observed("failed", "failed", result="timeout", code=2, status=15, wrapper=BASH),
            Ending(End.KILLED, AT_STOP_TIMEOUT),
        ),
    ],
)
def test_how_a_process_ended(seen: Observed, expected: Ending | None) -> None:
    assert ending_of(seen) == expected


def test_one_that_was_killed_stays_killed_whatever_is_seen_later() -> None:
    name = InstanceName("a", 1)
    old = Observed("active", "running", invocation="old", pid=1)
    rollout = begin((PlannedChange(name, Change.RESTART, ""),), pace(Share(1)), {name: NEW})
    rollout.record_action(Action(rollout.instances[name], ActionKind.RESTART), old, 0.0)
    for later in (
        replace(old, job=True, active="deactivating", sub="stop-sigkill"),
        replace(old, job=True, active="deactivating", sub="stop-sigkill", code=1, status=0),
        replace(old, job=True, active="inactive", sub="dead", code=1, status=0),
        Observed("active", "running", invocation="new", pid=2, revision=NEW),
    ):
        rollout.advance({name: later}, 1.0)
    slot = rollout.instances[name]
    assert slot.phase is Phase.SETTLING
    assert slot.ending == Ending(End.KILLED, "SIGKILL at stop_timeout")


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Observed("failed", result="start-limit-hit"), "crashed too often"),
        (Observed("failed", result="oom-kill"), "ran out of memory"),
        (Observed("failed", result="timeout"), "timeout"),
        (Observed("failed", result="exit-code", code=1, status=200), "200/CHDIR"),
        (Observed("failed", result="exit-code", code=1, status=203), "203/EXEC"),
        (Observed("failed", result="exit-code", code=1, status=217), "user does not exist"),
        (Observed("failed", result="exit-code", code=1, status=3), "exited with status 3"),
        (Observed("activating", "auto-restart", code=1, status=0), "exited with status 0"),
        (Observed("failed", result="signal", code=2, status=15), "died of SIGTERM"),
        (Observed("failed", result="resources"), "systemd says: resources"),
        (Observed("activating", "start"), "it is activating (start)"),
    ],
)
def test_why_a_process_is_not_running(seen: Observed, expected: str) -> None:
    assert expected in failure(seen)
