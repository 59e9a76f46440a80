"""A connection that breaks: an order that arrived is not given again, and no end is silent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.world import NEW, OLD, pace
from unitq.errors import GoingDownError, NoSystemdError
from unitq.instances.state import Observed
from unitq.model.layout import user
from unitq.model.names import InstanceName
from unitq.rollout.engine.instance import Action, ActionKind, Phase
from unitq.rollout.engine.rollout import Rollout, begin
from unitq.rollout.executor import Executor
from unitq.rollout.plan import Change, PlannedChange
from unitq.rollout.tracker import StateTracker
from unitq.systemd.errors import BusLostError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ONE = InstanceName("a", 1)
OLD_ONE = Observed("active", "running", invocation="old", pid=1, revision=OLD)
NEW_ONE = Observed("active", "running", invocation="new", pid=2, revision=NEW)


class Systemd:
    """Is connected, and knows nothing."""

    def __init__(self) -> None:
        self.interrupted: list[bool] = []

    def control_group(self) -> str:
        return ""

    def reconnect(self, interrupted: Callable[[], bool]) -> None:
        self.interrupted.append(interrupted())
        raise NoSystemdError("no systemd to talk to")


class Bench:
    """A rollout of one instance whose order breaks the connection, and what is seen after that."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, after: Observed) -> None:
        layout = user(home=str(folder), uid=1000, environment={})
        self.executor: Any = Executor(Systemd(), layout, "shop")  # type: ignore[arg-type]
        steps = (PlannedChange(ONE, Change.RESTART, ""),)
        self.rollout = begin(steps, pace(), {ONE: NEW})
        self.given: list[ActionKind] = []
        executor = self.executor
        executor._tracker = StateTracker(executor._systemd, executor._where, "shop", (ONE,))
        executor._tracker.seen = {ONE: OLD_ONE}
        monkeypatch.setattr(self.executor._orders, "give", self._give)
        monkeypatch.setattr(self.executor, "_reconnect", self._reconnect)
        self._after = after

    def _give(self, action: Action, _wanted: str | None, _seen: Observed) -> str:
        self.given.append(action.kind)
        if len(self.given) == 1:
            raise BusLostError("the connection to systemd broke")
        return "/job/2"

    def _reconnect(self, _rollout: Rollout) -> None:
        self.executor._tracker.seen[ONE] = self._after

    def restart(self) -> Rollout:
        action = Action(self.rollout.instances[ONE], ActionKind.RESTART)
        self.executor._order(self.rollout, action)
        return self.rollout


def test_one_that_was_carried_out_is_not_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, monkeypatch, NEW_ONE)
    rollout = bench.restart()
    # A second restart would end the new process at its first job.
    assert bench.given == [ActionKind.RESTART]
    slot = rollout.instances[ONE]
    assert (slot.phase, slot.before) == (Phase.DRAINING, "old")
    assert not bench.executor._tracker.seen[ONE].job


@pytest.mark.parametrize(
    "after",
    [
        OLD_ONE,
        replace(OLD_ONE, active="deactivating", sub="stop-sigterm"),  # systemd merges the second
        replace(NEW_ONE, active="activating", sub="start"),
    ],
)
def test_one_that_may_not_have_arrived_is_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: Observed
) -> None:
    bench = Bench(tmp_path, monkeypatch, after)
    bench.restart()
    assert bench.given == [ActionKind.RESTART, ActionKind.RESTART]
    assert bench.executor._tracker.seen[ONE].job


def test_a_rollout_that_systemd_has_left_says_so(tmp_path: Path) -> None:
    layout = user(home=str(tmp_path), uid=1000, environment={})
    systemd = Systemd()
    executor: Any = Executor(systemd, layout, "shop")  # type: ignore[arg-type]
    rollout = begin((PlannedChange(ONE, Change.RESTART, ""),), pace(), {ONE: NEW})
    executor._interrupts.count = 1  # the SIGTERM that all processes get at the end of a shutdown
    with pytest.raises(GoingDownError, match=r"does not answer any more: .* is cut off"):
        executor._reconnect(rollout)
    assert systemd.interrupted == [True]
