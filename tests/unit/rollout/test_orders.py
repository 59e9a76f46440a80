"""What is ordered of systemd, in which order, and in which unit of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from unitq.errors import GoingDownError, NoMatchError
from unitq.instances.state import Observed
from unitq.model import names
from unitq.model.layout import Layout, user
from unitq.model.names import InstanceName
from unitq.revisions import state
from unitq.rollout.engine.instance import Action, ActionKind, InstanceState, Phase
from unitq.rollout.orders import Orders
from unitq.rollout.plan import Change, PlannedChange

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
            self.told.append((verb, unit, state.pin_of(self._layout.app("shop"), ONE)))
            return f"/job/{verb}"

        return note

    def properties(self, unit: str, *wanted: str) -> dict[str, Any]:
        if not self._properties:
            raise NoMatchError(f"{unit} is not loaded")
        return {name: self._properties[name] for name in wanted}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return user(home=str(tmp_path), uid=1000, environment={})


def order(what: ActionKind) -> Action:
    return Action(InstanceState(PlannedChange(ONE, Change.RESTART, ""), Phase.WAITING), what)


@pytest.mark.parametrize(
    ("what", "seen", "verbs"),
    [
        (ActionKind.START, Observed(), ["reset_failed", "start"]),
        # A start limit was hit: systemd refuses what is not forgotten first.
        (
            ActionKind.START,
            Observed("failed", "failed", result="start-limit-hit"),
            ["reset_failed", "start"],
        ),
        (ActionKind.RESTART, Observed("active", "running"), ["reset_failed", "restart"]),
        (ActionKind.RESTART, Observed("activating", "auto-restart"), ["reset_failed", "restart"]),
        (ActionKind.SWITCH, Observed(), ["reset_failed", "start"]),
        (ActionKind.STOP, Observed("active", "running"), ["stop"]),
    ],
)
def test_earlier_starts_are_forgotten_and_the_code_is_there_before_a_start(
    layout: Layout, what: ActionKind, seen: Observed, verbs: list[str]
) -> None:
    systemd = Systemd(layout)
    orders = Orders(systemd, layout, "shop")  # type: ignore[arg-type]
    job = orders.give(order(what), None if what is ActionKind.STOP else "2-b", seen)
    assert [verb for verb, _, _ in systemd.told] == verbs
    assert job == f"/job/{verbs[-1]}"
    assert {unit for _, unit, _ in systemd.told} == {UNIT}
    assert {pin for _, _, pin in systemd.told} == {None if what is ActionKind.STOP else "2-b"}


@pytest.mark.parametrize(
    ("micros", "seconds"),
    [(90_000_000, 90.0), (1_500_000, 1.5), (3_600_000_000, 3600.0), (2**64 - 1, None)],
)
def test_the_time_to_stop_is_in_seconds(layout: Layout, micros: int, seconds: float | None) -> None:
    systemd = Systemd(layout, TimeoutStopUSec=micros)
    assert Orders(systemd, layout, "shop").limit(ONE) == seconds  # type: ignore[arg-type]


def test_what_is_not_loaded_has_no_time_to_stop(layout: Layout) -> None:
    assert Orders(Systemd(layout), layout, "shop").limit(ONE) is None  # type: ignore[arg-type]


# --- what is written down before it is ordered ----------------------------------------------------


class Book:
    """A ledger that notes what is asked of it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str]]] = []

    def note(self, what: str, **data: str) -> None:
        self.calls.append((what, data))

    def sync(self) -> None:
        self.calls.append(("sync", {}))


class Manager:
    """systemd, which may be about to stop everything."""

    def __init__(self, *, stopping: bool = False) -> None:
        self._stopping = stopping

    def stopping(self) -> bool:
        return self._stopping


def test_orders_are_on_disk_before_they_are_given(layout: Layout) -> None:
    book = Book()
    orders = Orders(Manager(), layout, "shop", book)  # type: ignore[arg-type]
    seen = {ONE: Observed("active", "running", invocation="old")}
    orders.write_down([order(ActionKind.RESTART), order(ActionKind.STOP)], seen)
    told = [("order", {"instance": "sms@1", "do": what, "before": "old"})
            for what in ("restart", "stop")]  # fmt: skip
    assert book.calls == [*told, ("sync", {})]
    book.calls.clear()
    orders.write_down([order(ActionKind.START)], {})
    assert book.calls[0][1]["before"] == ""


@pytest.mark.parametrize("what", [(), (ActionKind.PROBE,), (ActionKind.PROBE, ActionKind.PROBE)])
def test_what_changes_nothing_is_not_written_down(
    layout: Layout, what: tuple[ActionKind, ...]
) -> None:
    book = Book()
    orders = Orders(Manager(), layout, "shop", book)  # type: ignore[arg-type]
    orders.write_down([order(each) for each in what], {})
    assert book.calls == []


def test_nothing_is_ordered_of_a_systemd_that_stops_everything(layout: Layout) -> None:
    book = Book()
    orders = Orders(Manager(stopping=True), layout, "shop", book)  # type: ignore[arg-type]
    for what in (ActionKind.RESTART, ActionKind.PROBE):
        with pytest.raises(GoingDownError):
            orders.write_down([order(what)], {})
    assert book.calls == []
    orders.write_down([], {})
