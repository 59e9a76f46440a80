"""One example for each rule of a rollout, by hand: no simulation between the rule and the test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.harness.world import MIN_HEALTHY, NEW, OLD, START_TIMEOUT, pace
from unitq.instances.state import Observed
from unitq.model.names import InstanceName
from unitq.model.settings import Duration, Promote, RolloutSettings, Share
from unitq.rollout.engine.instance import (
    CRASHING,
    PASSING,
    Action,
    ActionKind,
    InstanceState,
    Phase,
)
from unitq.rollout.engine.rollout import Stage, begin
from unitq.rollout.engine.schedule import deadline, next_actions
from unitq.rollout.plan import Change, PlannedChange

DOWN = Observed()


def number(instance: int | InstanceName) -> InstanceName:
    return instance if isinstance(instance, InstanceName) else InstanceName("a", instance)


class Bench:
    """A rollout with what is seen and the time, moved on by hand."""

    def __init__(
        self,
        steps: list[PlannedChange],
        settings: RolloutSettings | None = None,
        *,
        probes: int = 0,
        promoted: bool = False,
    ) -> None:
        self.now = 1000.0
        self.lives = 0
        wanted = {step.instance: NEW for step in steps if step.change is not Change.STOP}
        self.rollout = begin(
            tuple(steps),
            settings or pace(),
            wanted,
            probes={step.instance.worker: probes for step in steps},
            promoted=promoted,
        )
        self.seen = {
            step.instance: DOWN
            if step.change in (Change.START, Change.SURGE)
            else self.process(OLD, 0.0)
            for step in steps
        }
        self.unseen = dict(self.seen)  # by the rollout

    def looks(self) -> None:
        """The first look at those of which nothing else was seen before."""
        self.rollout.advance(self.unseen, self.now)
        self.unseen = {}

    def process(self, revision: str, since: float) -> Observed:
        self.lives += 1
        return Observed(
            "active", "running", invocation=f"life {self.lives}", pid=self.lives, since=since,
            revision=revision,
        )  # fmt: skip

    def slot(self, instance: int | InstanceName) -> InstanceState:
        return self.rollout.instances[number(instance)]

    @property
    def phases(self) -> list[str]:
        return [str(self.rollout.instances[name].phase) for name in sorted(self.rollout.instances)]

    # Methods, as mypy believes that what a property said once it says for ever.

    def stage(self) -> Stage:
        return self.rollout.stage

    def awaits(self) -> bool:
        return self.rollout.awaiting

    def fails(self) -> bool:
        return self.rollout.failed

    def ends(self) -> bool:
        return self.rollout.finished

    def completes(self) -> bool:
        return self.rollout.complete

    def due(self) -> list[tuple[str, ActionKind]]:
        self.looks()
        found = next_actions(self.rollout, self.now)
        return [(str(action.state.instance), action.kind) for action in found]

    def give(self) -> list[tuple[str, ActionKind]]:
        """Gives all orders that are due."""
        self.looks()
        found = next_actions(self.rollout, self.now)
        for action in found:
            name = action.state.instance
            self.rollout.record_action(action, self.seen[name], self.now)
            if action.kind is not ActionKind.PROBE:
                self.seen[name] = replace(self.seen[name], job=True)
        return [(str(action.state.instance), action.kind) for action in found]

    def see(
        self, instance: int | InstanceName, seen: Observed | None = None, **changes: object
    ) -> InstanceState:
        """Something is seen of an instance."""
        name = number(instance)
        self.seen[name] = replace(seen or self.seen[name], **changes)  # type: ignore[arg-type]
        self.unseen.pop(name, None)
        self.rollout.advance({name: self.seen[name]}, self.now)
        return self.rollout.instances[name]

    def stops(self, *instances: int | InstanceName) -> None:
        for each in instances:
            self.see(each, active="deactivating", sub="stop-sigterm")
            self.see(each, active="inactive", sub="dead", pid=0, code=1, job=False)

    def goes(self, *instances: int | InstanceName) -> None:
        """They are down, and not only in passing."""
        for each in instances:
            self.see(each, DOWN)
        self.passes(PASSING)

    def starts(self, *instances: int | InstanceName, revision: str = NEW) -> None:
        for each in instances:
            self.see(each, self.process(revision, self.now))

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.rollout.advance(self.seen, self.now)

    def replaced(self, *instances: int | InstanceName) -> None:
        """What was ordered succeeds, until healthy."""
        self.starts(*instances)
        self.passes(MIN_HEALTHY)
        for each in instances:
            assert self.slot(each).phase is Phase.HEALTHY


def steps(do: Change, *numbers: int, worker: str = "a", **more: bool) -> list[PlannedChange]:
    return [PlannedChange(InstanceName(worker, each), do, "test", **more) for each in numbers]


def restart(*numbers: int, worker: str = "a", **more: bool) -> list[PlannedChange]:
    return steps(Change.RESTART, *numbers, worker=worker, **more)


# --- what is ordered, and the switch of a unit text -----------------------------------------------


def test_a_restart_is_one_order_and_its_phases_are_as_they_were() -> None:
    bench = Bench(restart(1))
    assert bench.give() == [("a@1", ActionKind.RESTART)]
    assert bench.phases == ["draining"]
    bench.see(1, job=True, active="deactivating", sub="stop-sigterm")
    bench.see(1, job=True, active="inactive", sub="dead", pid=0, code=1)
    assert bench.phases == ["starting"]
    bench.starts(1)
    assert bench.phases == ["settling"]
    bench.passes(MIN_HEALTHY)
    assert bench.phases == ["healthy"]
    assert bench.ends()
    assert bench.stage() is Stage.DONE


def test_one_that_was_just_being_started_is_not_gone_before_it_is_stopped() -> None:
    bench = Bench(restart(1))
    starting = Observed("activating", "start", invocation="theirs", pid=7, revision=OLD)
    bench.see(1, starting)
    assert bench.give() == [("a@1", ActionKind.RESTART)]
    bench.see(1, starting, job=True)  # systemd has not begun with it
    assert bench.phases == ["draining"]
    bench.see(1, active="deactivating", sub="stop-sigterm")
    bench.passes(START_TIMEOUT + 1.0)
    assert bench.phases == ["draining"]
    bench.see(1, active="inactive", sub="dead", pid=0, code=1)
    assert bench.phases == ["starting"]


def test_a_unit_text_changes_between_the_old_process_and_the_new_one() -> None:
    bench = Bench(restart(1, 2, switches_unit_text=True))
    assert bench.give() == [("a@1", ActionKind.STOP)]
    assert bench.phases == ["draining", "waiting"]
    assert bench.due() == []
    bench.now += 300.0
    bench.stops(1)
    assert bench.phases == ["drained", "waiting"]
    assert bench.slot(1).drained_for == 300.0
    # It is down: no budget is needed, and nobody waits for anything.
    assert deadline(bench.rollout) == 0.0
    bench.now += 5.0
    assert bench.give() == [("a@1", ActionKind.SWITCH)]
    assert bench.phases == ["starting", "waiting"]
    # The text took its time; the start has all of its own.
    assert deadline(bench.rollout) == bench.now + START_TIMEOUT
    bench.replaced(1)
    assert bench.slot(1).drained_for == 300.0
    assert bench.give() == [("a@2", ActionKind.STOP)]


CRASHED = Observed("activating", "auto-restart", invocation="old", code=1, status=1)


def test_an_old_one_that_crashes_does_not_follow_a_release_that_is_not_proved() -> None:
    bench = Bench(restart(1, 2, 3, 4))
    assert bench.give() == [("a@1", ActionKind.RESTART)]
    # A crash, and somebody's `systemctl restart 'unitq-*'`.
    bench.see(2, CRASHED)
    bench.see(3, active="inactive", sub="dead", pid=0, job=True)
    bench.see(4, DOWN)
    assert bench.due() == []
    # They come back with their own code, and it has been healthy nowhere yet.
    bench.starts(2, 3, revision=OLD)
    assert bench.due() == []
    bench.replaced(1)
    # Now what is down for good goes; it is unavailable as it is, so no other goes with it.
    assert bench.give() == [("a@4", ActionKind.RESTART)]


def test_one_that_crashes_goes_before_others_within_the_budget() -> None:
    bench = Bench(restart(1, 2, 3, 4))
    bench.give()
    bench.replaced(1)
    bench.see(4, CRASHED)
    assert bench.give() == [("a@4", ActionKind.RESTART)]
    bench.see(3, CRASHED)
    assert bench.due() == []


def test_one_that_does_not_come_back_is_down_for_good() -> None:
    """Its release was deleted below it: systemd starts it for ever, in vain."""
    bench = Bench(restart(1, 2, 3, 4))
    bench.give()
    bench.replaced(1)
    assert bench.give() == [("a@2", ActionKind.RESTART)]
    bench.see(4, CRASHED)
    assert bench.due() == []
    bench.passes(CRASHING)
    assert bench.give() == [("a@4", ActionKind.RESTART)]


def test_where_all_are_down_one_proves_the_release_for_the_others() -> None:
    bench = Bench(restart(1, 2, 3))
    bench.goes(1, 2, 3)
    assert bench.give() == [("a@1", ActionKind.RESTART)]
    assert bench.due() == []
    bench.replaced(1)
    assert bench.give() == [("a@2", ActionKind.RESTART), ("a@3", ActionKind.RESTART)]


def test_where_all_crash_in_a_loop_a_release_that_mends_it_is_not_waited_for() -> None:
    bench = Bench(restart(1, 2, 3))
    for each in (1, 2, 3):
        bench.see(each, CRASHED)
    assert bench.give() == [("a@1", ActionKind.RESTART)]


def test_what_has_proved_itself_before_goes_to_all_that_are_down() -> None:
    bench = Bench(restart(1, 2, 3), promoted=True)
    bench.goes(1, 2, 3)
    assert [name for name, _ in bench.due()] == ["a@1", "a@2", "a@3"]


def test_what_is_down_is_switched_at_once() -> None:
    bench = Bench(
        [*steps(Change.START, 1, switches_unit_text=True), *restart(2, switches_unit_text=True)]
    )
    assert bench.give() == [("a@1", ActionKind.SWITCH)]
    bench.replaced(1)
    bench.see(2, DOWN)
    assert bench.give() == [("a@2", ActionKind.SWITCH)]
    assert bench.phases == ["healthy", "starting"]


def test_what_is_about_to_start_again_by_itself_is_stopped_before_its_text_changes() -> None:
    bench = Bench(restart(1, switches_unit_text=True))
    bench.see(1, Observed("activating", "auto-restart", invocation="old", code=1, status=1))
    assert bench.give() == [("a@1", ActionKind.STOP)]
    bench.see(1, active="inactive", sub="dead", job=False)
    assert bench.give() == [("a@1", ActionKind.SWITCH)]


def test_a_drained_one_is_started_even_after_a_failure_or_ctrl_c() -> None:
    bench = Bench(restart(1, 2, switches_unit_text=True), pace(Share(2)))
    bench.give()
    bench.stops(1)
    bench.rollout.record_refusal(number(2), "masked")
    bench.rollout.halted = True
    assert bench.fails()
    assert not bench.ends()
    assert bench.give() == [("a@1", ActionKind.SWITCH)]


def test_a_drained_one_that_somebody_else_starts_has_failed() -> None:
    bench = Bench(restart(1, switches_unit_text=True))
    bench.give()
    bench.stops(1)
    bench.starts(1, revision=OLD)
    assert bench.slot(1).reason == "it is active (running) again: something else started it"
    assert bench.due() == []


def test_what_came_up_meanwhile_is_restarted_not_started() -> None:
    bench = Bench(steps(Change.START, 1))
    bench.starts(1, revision=OLD)
    assert bench.give() == [("a@1", ActionKind.RESTART)]
    assert bench.phases == ["draining"]


# --- surge ----------------------------------------------------------------------------------------


def surge(*numbers: int, worker: str = "a", **more: bool) -> list[PlannedChange]:
    return steps(Change.SURGE, *numbers, worker=worker, **more)


def test_with_none_unavailable_restarts_wait_for_the_surge_and_it_goes_last() -> None:
    bench = Bench([*restart(1, 2), *surge(3)], pace(Share(0), max_surge=Share(1)))
    assert bench.give() == [("a@3", ActionKind.START)]
    bench.starts(3)
    assert bench.due() == []
    bench.passes(MIN_HEALTHY)
    assert bench.give() == [("a@1", ActionKind.RESTART)]
    assert bench.due() == []
    bench.replaced(1)
    assert bench.give() == [("a@2", ActionKind.RESTART)]
    bench.starts(2)
    assert bench.due() == []
    bench.passes(MIN_HEALTHY)
    assert not bench.ends()
    assert deadline(bench.rollout) == 0.0
    assert bench.give() == [("a@3", ActionKind.STOP)]
    assert bench.phases == ["healthy", "healthy", "draining"]
    bench.stops(3)
    assert bench.phases == ["healthy", "healthy", "stopped"]
    assert bench.completes()


@pytest.mark.parametrize(
    ("unavailable", "more", "first"),
    [
        # As many as the larger of the two, and the surge is the first of them.
        (1, 1, ["a@5"]),
        (1, 2, ["a@5", "a@6"]),
        (2, 1, ["a@5", "a@1"]),
        (3, 1, ["a@5", "a@1", "a@2"]),
    ],
)
def test_the_surge_counts_where_a_release_is_not_proved(
    unavailable: int, more: int, first: list[str]
) -> None:
    instances = [*restart(1, 2, 3, 4), *surge(*range(5, 5 + more))]
    bench = Bench(instances, pace(Share(unavailable), max_surge=Share(more)))
    assert [name for name, _ in bench.give()] == first
    bench.starts(5)
    bench.passes(MIN_HEALTHY)
    # It is proved: what may be unavailable follows, and the surge adds to it.
    others = [name for name, _ in bench.give()]
    assert len([name for name in [*first, *others] if name < "a@5"]) == unavailable + 1


def test_with_some_unavailable_restarts_need_not_wait_and_the_surge_adds_to_them() -> None:
    paced = pace(Share(1), max_surge=Share(2))
    bench = Bench([*restart(1, 2, 3, 4), *surge(5, 6)], paced, promoted=True)
    assert bench.give() == [
        ("a@5", ActionKind.START),
        ("a@6", ActionKind.START),
        ("a@1", ActionKind.RESTART),
    ]
    bench.starts(5)
    bench.passes(MIN_HEALTHY)
    assert bench.give() == [("a@2", ActionKind.RESTART)]
    # It adds to the budget only while it serves.
    bench.see(5, active="activating", sub="auto-restart", pid=0, code=1)
    bench.starts(6)
    bench.passes(MIN_HEALTHY)
    assert bench.phases[4:] == ["healthy", "healthy"]
    assert bench.due() == []
    bench.see(5, bench.process(NEW, bench.now))
    assert bench.give() == [("a@3", ActionKind.RESTART)]
    assert bench.due() == []


def test_even_what_is_down_waits_for_the_surge_where_none_may_be_unavailable() -> None:
    bench = Bench([*restart(1, 2), *surge(3)], pace(Share(0), max_surge=Share(1)))
    bench.see(2, DOWN)
    assert bench.give() == [("a@3", ActionKind.START)]
    bench.replaced(3)
    assert bench.give() == [("a@2", ActionKind.RESTART)]


def test_after_ctrl_c_the_surge_is_stopped_when_nothing_else_is_in_flight() -> None:
    bench = Bench([*restart(1, 2), *surge(3)], pace(Share(0), max_surge=Share(1)))
    bench.give()
    bench.replaced(3)
    bench.give()
    bench.rollout.halted = True
    assert bench.due() == []
    bench.replaced(1)
    assert not bench.ends()
    assert bench.give() == [("a@3", ActionKind.STOP)]
    bench.stops(3)
    assert bench.ends()
    assert not bench.completes()
    assert bench.phases == ["healthy", "waiting", "stopped"]


def test_after_a_failure_the_surge_is_left_as_capacity() -> None:
    bench = Bench([*restart(1, 2), *surge(3)], pace(Share(0), max_surge=Share(1)))
    bench.give()
    bench.replaced(3)
    bench.give()
    bench.see(1, Observed("failed", "failed", invocation="x", result="exit-code", code=1, status=7))
    assert bench.fails()
    assert bench.ends()
    assert bench.due() == []
    assert bench.phases == ["failed", "waiting", "healthy"]


def test_the_surge_makes_up_for_what_failed_within_the_budget() -> None:
    settings = pace(Share(0), max_surge=Share(2), max_failures=1)
    bench = Bench([*restart(1, 2), *surge(3, 4)], settings)
    bench.give()
    bench.replaced(3, 4)
    assert bench.give() == [("a@1", ActionKind.RESTART), ("a@2", ActionKind.RESTART)]
    bench.see(1, Observed("failed", "failed", invocation="x", code=1, status=7))
    bench.replaced(2)
    # One of two serves, and two are to: one of the surge stays.
    assert bench.give() == [("a@4", ActionKind.STOP)]
    bench.stops(4)
    assert bench.completes()
    assert bench.phases == ["failed", "healthy", "healthy", "stopped"]


def test_a_surge_that_fails_is_not_waited_for() -> None:
    settings = pace(Share(0), max_surge=Share(1), max_failures=3)
    bench = Bench([*restart(1), *surge(2)], settings)
    bench.give()
    bench.see(2, Observed("failed", "failed", invocation="x", code=1, status=7))
    # Nothing can be replaced without it.
    assert bench.fails()
    assert bench.ends()


def test_a_surge_that_is_lost_is_not_waited_for_either() -> None:
    bench = Bench([*restart(1), *surge(2)], pace(Share(0), max_surge=Share(1)))
    bench.give()
    bench.replaced(2)
    bench.see(2, active="inactive", sub="dead", pid=0, code=1)
    assert bench.slot(2).phase is Phase.HEALTHY
    look = deadline(bench.rollout)
    assert look is not None
    bench.passes(look - bench.now)
    assert bench.slot(2).reason == "it ended and was not started again: exited with status 0"
    assert bench.ends()


def test_a_surge_of_a_rollout_that_was_cut_short_is_taken_over() -> None:
    bench = Bench([*restart(1), *surge(2)], pace(Share(0), max_surge=Share(1)))
    bench.starts(2)
    assert bench.phases == ["waiting", "settling"]
    assert bench.due() == []
    bench.passes(MIN_HEALTHY)
    assert bench.give() == [("a@1", ActionKind.RESTART)]


def test_a_surge_on_old_code_is_replaced_first() -> None:
    bench = Bench(
        [*restart(1, switches_unit_text=True), *surge(2, switches_unit_text=True)],
        pace(Share(0), max_surge=Share(1)),
    )
    bench.starts(2, revision=OLD)
    assert bench.give() == [("a@2", ActionKind.STOP)]
    bench.stops(2)
    assert bench.give() == [("a@2", ActionKind.SWITCH)]
    bench.replaced(2)
    assert bench.give() == [("a@1", ActionKind.STOP)]


def test_a_surge_that_nobody_needs_is_never_started() -> None:
    bench = Bench([*steps(Change.START, 1), *surge(2)], pace(max_surge=Share(1)))
    assert bench.give() == [("a@1", ActionKind.START)]
    bench.replaced(1)
    assert bench.give() == [("a@2", ActionKind.STOP)]
    bench.see(2, DOWN)
    assert bench.completes()


def test_what_has_no_place_any_more_stops_when_all_that_stays_is_done() -> None:
    instances = [*restart(1), *steps(Change.STOP, 2), *surge(3)]
    bench = Bench(instances, pace(max_surge=Share(1)), promoted=True)
    assert bench.give() == [("a@3", ActionKind.START), ("a@1", ActionKind.RESTART)]
    bench.starts(3, 1)
    assert bench.due() == []
    bench.passes(MIN_HEALTHY)
    assert bench.give() == [("a@2", ActionKind.STOP), ("a@3", ActionKind.STOP)]


@pytest.mark.parametrize(
    ("unavailable", "surge", "instances", "expected"),
    [
        # Kubernetes: max_unavailable is rounded down, max_surge up.
        (Share(25, percent=True), Share(25, percent=True), 10, (2, 3)),
        (Share(25, percent=True), Share(25, percent=True), 4, (1, 1)),
        (Share(25, percent=True), Share(25, percent=True), 3, (0, 1)),
        (Share(25, percent=True), Share(25, percent=True), 1, (0, 1)),
        (Share(30, percent=True), Share(0), 3, (1, 0)),
        (Share(30, percent=True), Share(1, percent=True), 3, (0, 1)),
        (Share(0), Share(0), 5, (1, 0)),
        (Share(100, percent=True), Share(100, percent=True), 7, (7, 7)),
    ],
)
def test_shares_are_rounded_as_kubernetes_does(
    unavailable: Share, surge: Share, instances: int, expected: tuple[int, int]
) -> None:
    settings = pace(unavailable, max_surge=surge)
    assert (settings.unavailable(instances), settings.surge(instances)) == expected
    extra = steps(Change.SURGE, *range(instances + 1, instances + 1 + expected[1]))
    bench = Bench([*restart(*range(1, instances + 1)), *extra], settings, promoted=True)
    found = [what for _, what in bench.give()]
    assert found.count(ActionKind.RESTART) == expected[0]
    assert found.count(ActionKind.START) == expected[1]


def test_one_without_any_surge_may_be_unavailable_even_if_surge_was_meant() -> None:
    bench = Bench(restart(1, 2), pace(Share(0), max_surge=Share(1)))
    assert bench.give() == [("a@1", ActionKind.RESTART)]


# --- canaries -------------------------------------------------------------------------------------

SOAK = Duration("30s", 30.0)


def two_workers() -> list[PlannedChange]:
    return [*restart(1, 2, 3, 4), *restart(1, 2, worker="b")]


def test_canaries_go_first_and_are_watched_before_any_other_goes() -> None:
    bench = Bench(two_workers(), pace(Share(2), canary=Share(1), canary_soak=SOAK))
    b1 = InstanceName("b", 1)
    assert bench.stage() is Stage.CANARY
    assert bench.give() == [("a@1", ActionKind.RESTART), ("b@1", ActionKind.RESTART)]
    bench.replaced(1)
    assert bench.due() == []
    assert bench.stage() is Stage.CANARY
    bench.passes(100.0)
    bench.replaced(b1)
    assert bench.stage() is Stage.SOAK
    assert bench.due() == []
    assert deadline(bench.rollout) == bench.now + 30.0
    bench.passes(29.9)
    assert bench.due() == []
    bench.passes(0.1)
    assert bench.stage() is Stage.ROLLING
    assert bench.due() == [
        ("a@2", ActionKind.RESTART),
        ("a@3", ActionKind.RESTART),
        ("b@2", ActionKind.RESTART),
    ]


def test_a_canary_that_an_earlier_rollout_was_just_starting_is_one() -> None:
    settings = pace(Share(2), canary=Share(1), canary_soak=SOAK)
    bench = Bench([*steps(Change.KEEP, 1, unproven=True), *restart(2, 3)], settings)
    bench.see(1, Observed("activating", "start", invocation="new", pid=7, revision=NEW))
    assert bench.due() == []
    bench.replaced(1)
    bench.passes(30.0)
    assert [name for name, _ in bench.due()] == ["a@2", "a@3"]


def test_what_is_kept_of_a_worker_without_restarts_is_no_canary() -> None:
    kept = steps(Change.KEEP, 1, worker="b")
    bench = Bench([*restart(1, 2), *kept], pace(Share(1), canary=Share(1), canary_soak=SOAK))
    bench.give()
    bench.replaced(1)
    # It runs what is wanted, and began later than the canary.
    b1 = InstanceName("b", 1)
    bench.see(b1, bench.process(NEW, bench.now + 20.0))
    assert bench.stage() is Stage.SOAK
    assert deadline(bench.rollout) == bench.now + 30.0


def test_a_canary_that_fails_while_it_is_watched_ends_the_rollout() -> None:
    # Whatever max_failures says: that is what it is for.
    settings = pace(Share(4), canary=Share(1), canary_soak=SOAK, max_failures=3)
    bench = Bench(restart(1, 2, 3, 4), settings)
    bench.give()
    bench.replaced(1)
    bench.passes(20.0)
    bench.see(1, active="failed", sub="failed", pid=0, code=1, status=7)
    assert bench.fails()
    assert bench.ends()
    assert bench.due() == []


def test_a_person_promotes() -> None:
    settings = pace(Share(4), canary=Share(25, percent=True), promote=Promote.MANUAL)
    bench = Bench(restart(1, 2, 3, 4), settings)
    assert bench.give() == [("a@1", ActionKind.RESTART)]
    bench.replaced(1)
    assert not bench.awaits()
    bench.passes(30.0)
    assert bench.awaits()
    assert bench.ends()
    assert not bench.completes()
    assert not bench.fails()
    assert bench.stage() is Stage.AWAITING
    assert bench.due() == []
    assert deadline(bench.rollout) is None
    again = Bench([*steps(Change.KEEP, 1), *restart(2, 3, 4)], settings, promoted=True)
    assert again.stage() is Stage.ROLLING
    assert [name for name, _ in again.give()] == ["a@2", "a@3", "a@4"]


def test_a_canary_that_fails_while_a_person_is_awaited_ends_the_rollout() -> None:
    settings = pace(Share(4), canary=Share(1), promote=Promote.MANUAL, max_failures=3)
    bench = Bench(restart(1, 2), settings)
    bench.give()
    bench.replaced(1)
    bench.passes(30.0)
    assert bench.awaits()
    bench.see(1, active="failed", sub="failed", pid=0, code=1, status=7)
    assert not bench.awaits()
    assert bench.fails()
    assert bench.stage() is Stage.DONE


@pytest.mark.parametrize("which", [1, 2])
def test_nobody_is_awaited_while_somebody_restarts_an_instance(which: int) -> None:
    settings = pace(Share(4), canary=Share(1), promote=Promote.MANUAL, max_failures=3)
    bench = Bench(restart(1, 2), settings)
    bench.give()
    bench.replaced(1)
    bench.passes(30.0)
    assert bench.awaits()
    # The canary itself, or one that has not had its turn.
    bench.see(which, active="deactivating", sub="stop-sigterm")
    assert not bench.awaits()
    assert not bench.ends()
    bench.see(which, active="inactive", sub="dead", pid=0, code=1)
    bench.starts(which, revision=NEW if which == 1 else OLD)
    bench.passes(MIN_HEALTHY)
    assert bench.awaits()


def test_nobody_is_awaited_while_one_more_than_usual_still_starts() -> None:
    settings = pace(Share(2), max_surge=Share(1), canary=Share(1), promote=Promote.MANUAL)
    bench = Bench([*steps(Change.SURGE, 4), *restart(1, 2, 3)], settings)
    assert bench.give() == [("a@4", ActionKind.START), ("a@1", ActionKind.RESTART)]
    bench.replaced(1)
    bench.passes(30.0)
    assert not bench.awaits()
    bench.replaced(4)
    assert bench.awaits()


def test_canaries_of_a_rollout_that_was_cut_short_count() -> None:
    settings = pace(Share(4), canary=Share(2), canary_soak=SOAK, promote=Promote.MANUAL)
    bench = Bench([*steps(Change.KEEP, 1, 2), *restart(3, 4)], settings)
    bench.see(1, bench.process(NEW, bench.now - MIN_HEALTHY))
    bench.see(2, bench.process(NEW, bench.now - MIN_HEALTHY - 10.0))
    assert bench.stage() is Stage.SOAK
    assert bench.due() == []
    # They are watched for what is left of the time.
    assert deadline(bench.rollout) == bench.now + 30.0
    bench.passes(30.0)
    assert bench.awaits()


def test_what_an_earlier_rollout_has_just_started_is_waited_for() -> None:
    bench = Bench([*steps(Change.KEEP, 1, unproven=True), *restart(2)])
    bench.see(1, Observed("activating", "start", invocation="new", pid=7, revision=NEW))
    assert bench.phases == ["settling", "waiting"]
    assert bench.due() == []
    bench.replaced(1)
    assert bench.give() == [("a@2", ActionKind.RESTART)]
    # systemd shows "dead" for a moment when it starts a crashed one again.
    bench = Bench([*steps(Change.KEEP, 1, unproven=True), *restart(2)])
    bench.see(1, Observed())
    assert bench.phases == ["settling", "waiting"]
    bench.replaced(1)
    assert bench.give() == [("a@2", ActionKind.RESTART)]
    # But not for ever, and what crashes in a loop is not just started.
    bench = Bench(steps(Change.KEEP, 1, unproven=True))
    bench.see(1, Observed("activating", "start", invocation="new", pid=7, revision=NEW))
    bench.passes(120.0)
    assert bench.slot(1).reason == "still not healthy after 2min"
    bench = Bench(steps(Change.KEEP, 1, unproven=True))
    bench.see(1, Observed("activating", "auto-restart", invocation="new", code=1, status=7))
    assert bench.slot(1).reason == "it ended soon after its start: exited with status 7"


def test_what_is_kept_on_another_revision_is_no_canary() -> None:
    bench = Bench([*steps(Change.KEEP, 1), *restart(2, 3)], pace(Share(4), canary=Share(1)))
    bench.passes(0.0)
    assert bench.give() == [("a@2", ActionKind.RESTART)]


def test_newly_started_ones_are_canaries() -> None:
    bench = Bench([*restart(1, 2), *steps(Change.START, 3)], pace(Share(4), canary=Share(1)))
    assert bench.give() == [("a@3", ActionKind.START)]
    bench.replaced(3)
    assert bench.stage() is Stage.SOAK
    bench.passes(30.0)
    assert bench.give() == [("a@1", ActionKind.RESTART), ("a@2", ActionKind.RESTART)]


def test_where_all_are_canaries_nothing_is_waited_for() -> None:
    settings = pace(Share(4), canary=Share(100, percent=True), promote=Promote.MANUAL)
    bench = Bench([*restart(1, 2), *steps(Change.STOP, 3)], settings)
    assert bench.give() == [("a@1", ActionKind.RESTART), ("a@2", ActionKind.RESTART)]
    bench.replaced(1, 2)
    assert bench.give() == [("a@3", ActionKind.STOP)]
    bench.stops(3)
    assert bench.completes()


def test_without_canaries_nothing_changes() -> None:
    bench = Bench(restart(1, 2), pace(promote=Promote.MANUAL))
    assert bench.stage() is Stage.ROLLING
    assert bench.give() == [("a@1", ActionKind.RESTART)]
    bench.replaced(1)
    assert bench.give() == [("a@2", ActionKind.RESTART)]


def test_what_is_down_and_has_to_wait_for_a_canary_is_not_waited_for() -> None:
    bench = Bench(restart(1, 2), pace(Share(1), canary=Share(1)))
    bench.see(2, DOWN)
    assert bench.give() == [("a@1", ActionKind.RESTART)]


# --- the failure budget ---------------------------------------------------------------------------


def test_failures_within_the_budget_stay_unavailable() -> None:
    bench = Bench(restart(1, 2, 3, 4), pace(Share(2), max_failures=1))
    assert len(bench.give()) == 2
    bench.see(1, Observed("failed", "failed", invocation="x", code=1, status=7))
    assert not bench.fails()
    assert bench.due() == []
    bench.replaced(2)
    assert bench.give() == [("a@3", ActionKind.RESTART)]
    bench.see(3, Observed("failed", "failed", invocation="y", code=1, status=7))
    assert bench.fails()
    assert bench.ends()
    assert bench.due() == []


def test_where_failures_take_all_that_may_be_unavailable_the_rollout_has_failed() -> None:
    bench = Bench([*restart(1, 2), *restart(1, 2, worker="b")], pace(Share(1), max_failures=5))
    b1, b2 = InstanceName("b", 1), InstanceName("b", 2)
    bench.give()
    bench.see(1, Observed("failed", "failed", invocation="x", code=1, status=7))
    bench.replaced(b1)
    # The other worker goes on.
    assert not bench.fails()
    assert bench.give() == [("b@2", ActionKind.RESTART)]
    bench.replaced(b2)
    assert bench.fails()
    assert bench.ends()
    assert bench.phases == ["failed", "waiting", "healthy", "healthy"]


def test_what_failed_before_goes_first() -> None:
    bench = Bench([*restart(1, 2), *restart(3, failed_before=True)], pace(Share(1)))
    assert bench.give() == [("a@3", ActionKind.RESTART)]
    bench = Bench([*restart(1, 2), *restart(3, failed_before=True)], pace(Share(3)))
    assert [name for name, _ in bench.give()] == ["a@3", "a@1", "a@2"]


# --- deadlines and probes -------------------------------------------------------------------------


def test_probes_have_to_agree_in_a_row() -> None:
    bench = Bench(restart(1), probes=2)
    bench.give()
    bench.starts(1)
    name = InstanceName("a", 1)
    assert bench.give() == [("a@1", ActionKind.PROBE)]
    assert bench.due() == []
    bench.now += 0.5
    bench.rollout.record_probe(name, True, "200 OK", bench.now)
    assert bench.due() == []
    assert deadline(bench.rollout) == bench.now + 1.0
    for ok in (False, True):
        bench.passes(1.0)
        assert bench.give() == [("a@1", ActionKind.PROBE)]
        bench.rollout.record_probe(name, ok, "", bench.now)
    bench.passes(MIN_HEALTHY)
    assert bench.phases == ["settling"]
    assert bench.give() == [("a@1", ActionKind.PROBE)]
    bench.rollout.record_probe(name, True, "", bench.now)
    bench.passes(0.0)
    assert bench.phases == ["healthy"]
    assert bench.due() == []


def test_probes_do_not_shorten_min_healthy() -> None:
    bench = Bench(restart(1), probes=1)
    bench.give()
    bench.starts(1)
    bench.give()
    bench.rollout.record_probe(InstanceName("a", 1), True, "", bench.now)
    assert deadline(bench.rollout) == bench.now + MIN_HEALTHY
    bench.passes(MIN_HEALTHY - 0.1)
    assert bench.phases == ["settling"]
    assert bench.due() == []


def test_a_probe_of_an_earlier_process_says_nothing() -> None:
    bench = Bench(restart(1), probes=1)
    bench.give()
    bench.starts(1)
    bench.give()
    bench.stops(1)
    bench.starts(1)
    assert bench.slot(1).external_changes == ("restarted by somebody else",)
    assert bench.due() == []  # one probe at a time
    bench.rollout.record_probe(InstanceName("a", 1), True, "old", bench.now)
    assert bench.slot(1).passed == 0
    bench.passes(MIN_HEALTHY)
    assert bench.phases == ["settling"]
    assert bench.give() == [("a@1", ActionKind.PROBE)]


def test_what_does_not_become_healthy_in_time_has_failed_with_what_the_probe_said() -> None:
    bench = Bench(restart(1), probes=1)
    bench.give()
    bench.now += 500.0  # of the drain
    bench.see(1, job=True, active="activating", sub="start", invocation="x")
    begun = bench.now
    bench.passes(5.0)
    bench.starts(1)
    while bench.slot(1).phase is Phase.SETTLING:
        look = deadline(bench.rollout)
        assert look is not None
        bench.passes(look - bench.now)
        if bench.give():
            name = InstanceName("a", 1)
            bench.rollout.record_probe(name, False, "connection refused", bench.now)
    assert bench.now == begun + 120.0
    assert bench.slot(1).reason == "still not healthy after 2min: connection refused"


def test_probes_go_on_after_ctrl_c_and_after_a_failure() -> None:
    bench = Bench(restart(1, 2), pace(Share(2)), probes=1)
    bench.give()
    bench.starts(1)
    bench.see(2, Observed("failed", "failed", invocation="x", code=1, status=7))
    bench.rollout.halted = True
    assert bench.give() == [("a@1", ActionKind.PROBE)]


def test_a_probe_of_what_is_no_longer_settling_is_no_probe() -> None:
    bench = Bench(restart(1), probes=1)
    bench.give()
    bench.starts(1)
    (order,) = next_actions(bench.rollout, bench.now)
    bench.see(1, active="failed", sub="failed", pid=0, code=1, status=7)
    before = bench.slot(1)
    bench.rollout.record_action(order, bench.seen[InstanceName("a", 1)], bench.now)
    assert bench.slot(1) is before
    bench.rollout.record_probe(InstanceName("a", 1), True, "", bench.now)
    assert bench.phases == ["failed"]


def test_a_healthy_deadline_that_cannot_be_met_does_not_count() -> None:
    settings = pace(healthy_deadline=Duration("5s", 5.0))
    bench = Bench(restart(1), settings)
    bench.give()
    bench.replaced(1)
    # Of what never gets there, the times that do count.
    bench = Bench(restart(1), settings, probes=1)
    bench.give()
    bench.starts(1)
    bench.passes(START_TIMEOUT + MIN_HEALTHY)
    assert bench.slot(1).reason == "still not healthy after 100s"


def test_what_may_take_for_ever_has_no_deadline() -> None:
    for_ever = Duration("infinity", float("inf"))
    settings = pace()._replace(start_timeout=for_ever, healthy_deadline=for_ever)
    bench = Bench(steps(Change.START, 1), settings)
    bench.give()
    bench.see(1, job=True)
    assert deadline(bench.rollout) is None


# --- somebody else --------------------------------------------------------------------------------

SOMEBODY = ("restarted by somebody else",)


def test_somebody_restarts_what_settles() -> None:
    bench = Bench(restart(1))
    bench.give()
    begun = bench.now
    bench.starts(1)
    bench.passes(5.0)
    bench.see(1, active="deactivating", sub="stop-sigterm")
    assert bench.phases == ["starting"]
    bench.see(1, active="inactive", sub="dead", pid=0, code=1)
    assert bench.phases == ["starting"]
    assert deadline(bench.rollout) == begun + 120.0
    bench.see(1, Observed("activating", "start", invocation="theirs", pid=9))
    bench.starts(1)
    assert bench.phases == ["settling"]
    assert bench.slot(1).external_changes == SOMEBODY
    bench.passes(MIN_HEALTHY - 1.0)
    assert bench.phases == ["settling"]
    bench.passes(1.0)
    assert bench.phases == ["healthy"]


def test_somebody_stops_what_settles() -> None:
    bench = Bench(restart(1))
    bench.give()
    bench.starts(1)
    bench.stops(1)
    bench.passes(119.0)
    assert bench.phases == ["starting"]
    bench.passes(1.0)
    assert bench.slot(1).reason == "somebody else stopped it and it did not come back in time"
    assert bench.slot(1).external_changes == ("stopped by somebody else",)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"code": 1, "status": 0}, Phase.HEALTHY),  # so many jobs
        ({"code": 0, "status": 0}, Phase.HEALTHY),  # "dead" in passing
        ({"code": 1, "status": 1}, Phase.FAILED),
        ({"code": 1, "status": 255}, Phase.FAILED),
        ({"code": 2, "status": 9}, Phase.FAILED),
        ({"code": 3, "status": 11}, Phase.FAILED),
        # Another start has ended since it was seen last: whether it was ever healthy is not known.
        ({"code": 1, "status": 0, "invocation": "unseen"}, Phase.FAILED),
    ],
)
@pytest.mark.parametrize(("active", "sub"), [("activating", "auto-restart"), ("inactive", "dead")])
def test_a_healthy_one_recycles_itself_if_it_exits_with_0(
    active: str, sub: str, changes: dict[str, Any], expected: Phase
) -> None:
    bench = Bench(restart(1, 2))
    bench.give()
    bench.replaced(1)
    slot = bench.see(1, active=active, sub=sub, pid=0, **changes)
    assert slot.phase is expected
    if expected is Phase.HEALTHY:
        bench.starts(1)
        assert bench.slot(1).phase is Phase.HEALTHY


def test_somebody_restarts_what_is_healthy_and_it_settles_again() -> None:
    bench = Bench(restart(1, 2))
    bench.give()
    bench.replaced(1)
    bench.stops(1)
    assert bench.phases == ["healthy", "waiting"]
    bench.starts(1)
    assert bench.phases == ["settling", "waiting"]
    assert bench.due() == []
    bench.passes(MIN_HEALTHY)
    assert bench.slot(1).external_changes == SOMEBODY
    assert bench.give() == [("a@2", ActionKind.RESTART)]


def test_somebody_restarts_what_is_healthy_with_other_code() -> None:
    bench = Bench(restart(1))
    bench.give()
    bench.replaced(1)
    bench.stops(1)
    bench.starts(1, revision="9-ffffff")
    assert bench.slot(1).reason == f"it runs revision 9-ffffff, not {NEW}"


def test_somebody_restarts_it_and_it_dies() -> None:
    bench = Bench(restart(1))
    bench.give()
    bench.replaced(1)
    bench.stops(1)
    bench.see(1, Observed("failed", "failed", invocation="theirs", code=1, status=7))
    assert bench.slot(1).reason == "restarted by somebody else, and then: exited with status 7"


def test_somebody_stops_what_is_healthy_or_kept() -> None:
    bench = Bench([*restart(1), *steps(Change.KEEP, 2)])
    bench.passes(0.0)
    bench.give()
    bench.replaced(1)
    for each in (1, 2):
        bench.see(each, active="deactivating", sub="stop-sigterm")
    # How that ends is waited for: the end of a restart is not the same as that of a stop.
    assert not bench.ends()
    for each in (1, 2):
        bench.see(each, active="inactive", sub="dead", pid=0, code=1)
    assert bench.ends()
    bench.rollout.confirm(bench.seen, bench.now)
    for each in (1, 2):
        assert bench.slot(each).reason == "somebody else stopped it and it was not started again"
        assert bench.slot(each).external_changes == ("stopped by somebody else",)


def test_somebody_restarts_what_is_kept_or_waits() -> None:
    bench = Bench([*restart(1, 2), *steps(Change.KEEP, 3)])
    bench.passes(0.0)
    bench.give()
    bench.stops(2, 3)
    bench.starts(2, 3, revision=OLD)
    assert bench.phases == ["draining", "waiting", "kept"]
    assert [bench.slot(each).external_changes for each in (1, 2, 3)] == [(), SOMEBODY, SOMEBODY]
    bench.replaced(1)
    bench.give()
    bench.replaced(2)
    bench.rollout.confirm(bench.seen, bench.now)
    assert bench.completes()
    assert not bench.fails()


def test_somebody_stops_what_waits_and_it_is_replaced_all_the_same() -> None:
    bench = Bench(restart(1))
    bench.stops(1)
    assert bench.give() == [("a@1", ActionKind.RESTART)]
    assert bench.slot(1).external_changes == ("stopped by somebody else",)


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (Observed("deactivating", "stop-sigterm", pid=1), True),
        (Observed("deactivating", "stop-sigkill", pid=1), True),
        (Observed("deactivating", "stop", pid=1), True),
        # It ended by itself, and what it has left behind is being stopped.
        (Observed("deactivating", "stop-sigterm", code=1, status=1), False),
        (Observed("deactivating", "stop-post", pid=1), False),
        (Observed("deactivating", "final-sigterm", pid=1), False),
        # systemd itself wants it gone.
        (Observed("deactivating", "stop-watchdog", pid=1, result="watchdog"), False),
        (Observed("deactivating", "stop-sigterm", pid=1, result="oom-kill"), False),
        (Observed("deactivating", "stop-sigterm", pid=1, result="timeout"), False),
        (Observed("activating", "auto-restart"), False),
        (Observed("inactive", "dead"), False),
        (Observed("active", "running", pid=1), False),
    ],
)
def test_whether_somebody_told_systemd_to_stop_it(seen: Observed, told: bool) -> None:
    assert seen.stop_requested is told


def test_a_crash_is_nobody_else() -> None:
    bench = Bench(restart(1))
    bench.give()
    bench.starts(1)
    bench.see(1, active="deactivating", sub="stop-sigterm", pid=0, code=1, status=3)
    assert bench.slot(1).reason == "it ended soon after its start: exited with status 3"
    assert bench.slot(1).external_changes == ()


def test_somebody_starts_what_was_stopped_for_good() -> None:
    bench = Bench(steps(Change.STOP, 1))
    bench.give()
    bench.stops(1)
    assert bench.phases == ["stopped"]
    bench.starts(1)
    bench.rollout.confirm(bench.seen, bench.now)
    assert bench.slot(1).reason == "it is active (running) again: something else started it"


@pytest.mark.parametrize(
    ("active", "sub", "job"),
    [
        ("activating", "start", True),
        ("activating", "auto-restart", False),
        ("inactive", "dead", True),
        ("deactivating", "stop-sigterm", False),
        ("active", "exited", False),
    ],
)
def test_what_is_about_to_start_again_is_not_stopped(active: str, sub: str, job: bool) -> None:
    bench = Bench(steps(Change.STOP, 1))
    bench.give()
    bench.stops(1)
    bench.see(1, active=active, sub=sub, job=job)
    bench.rollout.confirm(bench.seen, bench.now)
    assert bench.phases == ["failed"]
    assert "something else started it" in bench.slot(1).reason


# --- orders that come too late --------------------------------------------------------------------


def test_an_order_for_what_has_failed_meanwhile_changes_nothing() -> None:
    bench = Bench([*restart(1), *surge(2)], pace(Share(0), max_surge=Share(1)))
    bench.give()
    bench.replaced(2)
    bench.give()
    bench.replaced(1)
    (stop,) = next_actions(bench.rollout, bench.now)
    bench.see(2, active="failed", sub="failed", pid=0, code=1, status=7)
    failed = bench.slot(2)
    bench.rollout.record_action(stop, bench.seen[InstanceName("a", 2)], bench.now)
    assert bench.slot(2) is failed


def test_an_order_counts_for_what_is_there_now() -> None:
    bench = Bench(restart(1))
    order = Action(bench.slot(1), ActionKind.RESTART)
    bench.stops(1)
    bench.starts(1, revision=OLD)
    bench.rollout.record_action(order, bench.seen[InstanceName("a", 1)], bench.now)
    assert bench.slot(1).external_changes == SOMEBODY
