"""What is ordered of systemd, in which order, and in which unit of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from unitq.core import names
from unitq.core.errors import NoMatchError
from unitq.core.layout import Layout, user
from unitq.core.names import InstanceName
from unitq.core.plan import Do, Step
from unitq.core.rollout import Order, Phase, Slot, What
from unitq.core.sight import Seen
from unitq.host import state
from unitq.host.orders import Orders

if TYPE_CHECKING:
    from pathlib import Path

ONE = InstanceName("sms", 1)
UNIT = names.unit("shop", ONE)


class Systemd:
    """Notes what it is told, and what the pin was by then."""

    def __init__(self, layout: Layout, **properties: Any) -> None:
        self.told: list[tuple[str, str, str | None]] = []
        self._layout = layout
        self._properties = properties

    def __getattr__(self, verb: str) -> Any:
        def note(unit: str) -> str:
            self.told.append((verb, unit, state.pinned(self._layout.app("shop"), ONE)))
            return f"/job/{verb}"

        return note

    def properties(self, unit: str, *wanted: str) -> dict[str, Any]:
        if not self._properties:
            raise NoMatchError(f"{unit} is not loaded")
        return {name: self._properties[name] for name in wanted}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return user(home=str(tmp_path), uid=1000, environment={})


def order(what: What) -> Order:
    return Order(Slot(Step(ONE, Do.RESTART, ""), Phase.WAITING), what)


@pytest.mark.parametrize(
    ("what", "seen", "verbs"),
    [
        (What.START, Seen(), ["reset_failed", "start"]),
        # A start limit was hit: systemd refuses what is not forgotten first.
        (What.START, Seen("failed", "failed", result="start-limit-hit"), ["reset_failed", "start"]),
        (What.RESTART, Seen("active", "running"), ["reset_failed", "restart"]),
        (What.RESTART, Seen("activating", "auto-restart"), ["reset_failed", "restart"]),
        (What.SWITCH, Seen(), ["reset_failed", "start"]),
        (What.STOP, Seen("active", "running"), ["stop"]),
    ],
)
def test_earlier_starts_are_forgotten_and_the_code_is_there_before_a_start(
    layout: Layout, what: What, seen: Seen, verbs: list[str]
) -> None:
    systemd = Systemd(layout)
    orders = Orders(systemd, layout, "shop")  # type: ignore[arg-type]
    job = orders.give(order(what), None if what is What.STOP else "2-b", seen)
    assert [verb for verb, _, _ in systemd.told] == verbs
    assert job == f"/job/{verbs[-1]}"
    assert {unit for _, unit, _ in systemd.told} == {UNIT}
    assert {pin for _, _, pin in systemd.told} == {None if what is What.STOP else "2-b"}


@pytest.mark.parametrize(
    ("micros", "seconds"),
    [(90_000_000, 90.0), (1_500_000, 1.5), (3_600_000_000, 3600.0), (2**64 - 1, None)],
)
def test_the_time_to_stop_is_in_seconds(layout: Layout, micros: int, seconds: float | None) -> None:
    systemd = Systemd(layout, TimeoutStopUSec=micros)
    assert Orders(systemd, layout, "shop").limit(ONE) == seconds  # type: ignore[arg-type]


def test_what_is_not_loaded_has_no_time_to_stop(layout: Layout) -> None:
    assert Orders(Systemd(layout), layout, "shop").limit(ONE) is None  # type: ignore[arg-type]
