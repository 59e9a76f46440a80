"""An order that arrived before the connection broke is not given again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.world import NEW, OLD, pace
from unitq.instances.state import Seen
from unitq.model.layout import user
from unitq.model.names import InstanceName
from unitq.rollout.engine.rollout import Order, Phase, Rollout, What, begin
from unitq.rollout.executor import Applier
from unitq.rollout.plan import Do, Step
from unitq.systemd.errors import BusLostError

if TYPE_CHECKING:
    from pathlib import Path

ONE = InstanceName("a", 1)
OLD_ONE = Seen("active", "running", invocation="old", pid=1, revision=OLD)
NEW_ONE = Seen("active", "running", invocation="new", pid=2, revision=NEW)


class Systemd:
    """Is connected, and knows nothing."""

    def control_group(self) -> str:
        return ""


class Bench:
    """A rollout of one instance whose order breaks the connection, and what is seen after that."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, after: Seen) -> None:
        layout = user(home=str(folder), uid=1000, environment={})
        self.applier: Any = Applier(Systemd(), layout, "shop")  # type: ignore[arg-type]
        steps = (Step(ONE, Do.RESTART, ""),)
        self.rollout = begin(steps, pace(), {ONE: NEW})
        self.given: list[What] = []
        self.applier._sights.units = {"unit": ONE}
        self.applier._sights.seen = {ONE: OLD_ONE}
        monkeypatch.setattr(self.applier._orders, "give", self._give)
        monkeypatch.setattr(self.applier, "_reconnected", self._reconnected)
        self._after = after

    def _give(self, order: Order, _wanted: str | None, _seen: Seen) -> str:
        self.given.append(order.what)
        if len(self.given) == 1:
            raise BusLostError("the connection to systemd broke")
        return "/job/2"

    def _reconnected(self, rollout: Rollout) -> Rollout:
        self.applier._sights.seen[ONE] = self._after
        return rollout

    def restart(self) -> Rollout:
        order = Order(self.rollout.slots[ONE], What.RESTART)
        found: Rollout = self.applier._order(self.rollout, order)
        return found


def test_one_that_was_carried_out_is_not_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, monkeypatch, NEW_ONE)
    rollout = bench.restart()
    # A second restart would end the new process at its first job.
    assert bench.given == [What.RESTART]
    slot = rollout.slots[ONE]
    assert (slot.phase, slot.before) == (Phase.DRAINING, "old")
    assert not bench.applier._sights.seen[ONE].job


@pytest.mark.parametrize(
    "after",
    [
        OLD_ONE,
        replace(OLD_ONE, active="deactivating", sub="stop-sigterm"),  # systemd merges the second
        replace(NEW_ONE, active="activating", sub="start"),
    ],
)
def test_one_that_may_not_have_arrived_is_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: Seen
) -> None:
    bench = Bench(tmp_path, monkeypatch, after)
    bench.restart()
    assert bench.given == [What.RESTART, What.RESTART]
    assert bench.applier._sights.seen[ONE].job
