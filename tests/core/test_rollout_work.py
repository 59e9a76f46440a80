"""One event costs the same with few instances and with many: counted in work, not in time."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.world import Calls, Fate, Scene, World, begun, pace, roll
from unitq.core import crew, slot
from unitq.core import pace as schedule
from unitq.core import rollout as engine
from unitq.core.names import InstanceName
from unitq.core.plan import Change
from unitq.core.settings import Duration, RolloutSettings, Share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    from unitq.core.slot import InstanceState

FILES = frozenset(module.__file__ for module in (crew, schedule, engine, slot))
FEW, MANY = 30, 120
MORE = 1.05  # times as much: searches and heaps grow a little


class Work(Calls):
    """Counts the bytecodes that the engine executes. What is done in C is not seen by that."""

    def __init__(self) -> None:
        self.done = 0

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        before = sys.gettrace()
        sys.settrace(self._called)
        try:
            return function(*arguments)
        finally:
            sys.settrace(before)

    def _called(self, frame: FrameType, _event: str, _argument: object) -> Any:
        if frame.f_code.co_filename not in FILES:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._traced

    def _traced(self, _frame: FrameType, event: str, _argument: object) -> Any:
        self.done += event == "opcode"
        return self._traced


class Walked(dict[InstanceName, "InstanceState"]):
    """The states of all instances; counts how often it is gone through as a whole, also in C."""

    walks = 0

    def __iter__(self) -> Iterator[InstanceName]:
        self.walks += 1
        return super().__iter__()

    def keys(self) -> Any:
        self.walks += 1
        return super().keys()

    def values(self) -> Any:
        self.walks += 1
        return super().values()

    def items(self) -> Any:
        self.walks += 1
        return super().items()


SETTINGS: Mapping[str, tuple[RolloutSettings, dict[str, Any]]] = {
    "a narrow window": (pace(Share(2)), {}),
    "a share of all": (pace(Share(25, percent=True)), {}),
    "all at once": (pace(Share(100, percent=True)), {}),
    "a surge": (pace(Share(0), max_surge=Share(25, percent=True)), {}),
    "canaries": (
        pace(Share(2), canary=Share(50, percent=True), canary_soak=Duration("30s", 30.0)),
        {},
    ),
    "probes": (pace(Share(25, percent=True)), {"probes": (False, True)}),
    "another unit text": (pace(Share(25, percent=True)), {"switches_unit_text": True}),
    "crash loops": (pace(Share(25, percent=True)), {"there": "restarting"}),
    "all down": (pace(Share(2)), {"there": "down"}),
    "many workers": (pace(Share(1)), {"each": 3}),
    "canaries of many workers": (pace(Share(1), canary=Share(1)), {"each": 3}),
}


class Fleet:
    """A rolling restart of so many instances, run to its end."""

    def __init__(self, kind: str, instances: int, work: Work) -> None:
        settings, more = SETTINGS[kind][0], dict(SETTINGS[kind][1])
        each = more.pop("each", instances + 1)  # instances of each worker
        fates = {
            InstanceName(f"w{number // each}", number % each + 1): replace(
                Fate(Change.RESTART, "serving", drain=0.1 + number * 0.618 % 7, start=0.1), **more
            )
            for number in range(1, instances + 1)
        }
        for number in range(instances + 1, instances + settings.surge(instances) + 1):
            fates[InstanceName("w0", number + 1)] = Fate(Change.SURGE, "down", start=0.1)
        world = World(fates)
        rollout = begun(world, Scene(fates, settings, {"w0": 1} if "probes" in more else {}))
        rollout.instances = rollout._instances = walked = Walked(rollout._instances)
        events = roll(world, rollout, work)
        assert rollout.complete
        assert not rollout.failed
        self.walks = walked.walks
        self.each = work.done / events  # bytecodes for each event


@pytest.mark.parametrize("kind", SETTINGS)
def test_an_event_costs_the_same_with_few_and_with_many(kind: str) -> None:
    few, many = Fleet(kind, FEW, Work()), Fleet(kind, MANY, Work())
    assert few.walks == many.walks == 1, "once, to confirm the end"
    assert many.each < few.each * MORE


class Confirms(Work):
    """Goes through all instances at each event."""

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        answer = super().__call__(function, *arguments)
        if function.__name__ == "advance":
            super().__call__(function.__self__.confirm, *arguments)  # type: ignore[attr-defined]
        return answer


def test_what_goes_through_all_instances_at_each_event_is_found_out() -> None:
    few, many = (Fleet("a narrow window", size, Confirms()) for size in (FEW, MANY))
    assert many.walks > MANY
    assert many.each > few.each * MORE
