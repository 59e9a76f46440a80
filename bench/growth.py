"""What the decisions of a rolling restart cost as the fleet grows: unitq's own CPU time.

Systemd and the clock are simulated (tests/harness/world.py), and their time does not count. Each
instance drains for 0.1 to 30 s and is healthy after 10 s. Twice the instances may cost twice as
much, and a tenth more for the noise of the machine: one event costs the same in any fleet.

With --systemd it is the CPU time of `unitq restart`, all of it, against a real systemd, of workers
that stop at once.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
from dataclasses import dataclass
from itertools import pairwise
from time import process_time
from typing import TYPE_CHECKING, Any

from bench.app import App
from tests.harness.world import Calls, Fate, Scene, World, begun, pace, roll
from unitq.model.names import InstanceName
from unitq.model.settings import Share
from unitq.rollout.plan import Change

if TYPE_CHECKING:
    from collections.abc import Callable

SEED = 1
SIZES = (250, 500, 1000, 2000)
REAL_SIZES = (250, 500, 1000)
MOST = 1.0  # milliseconds for each instance
NOISE = 1.1  # times what the instances account for
WINDOWS = (Share(20), Share(25, percent=True))


class Meter(Calls):
    """The CPU time of all calls, in seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        begun = process_time()
        answer = function(*arguments)
        self.seconds += process_time() - begun
        return answer


@dataclass(frozen=True)
class Cost:
    """Of one size."""

    instances: int
    events: int | None  # None: not counted
    seconds: float

    @property
    def each(self) -> float:
        """Milliseconds for each instance."""
        return self.seconds * 1000 / self.instances


def measure(instances: int, window: Share, runs: int) -> Cost:
    """The least of so many runs: what else the machine does only adds."""
    costs = []
    for _ in range(runs):
        source = random.Random(SEED)
        fates = {
            InstanceName("idle", number): Fate(
                Change.RESTART, "serving", drain=source.uniform(0.1, 30.0), start=0.1
            )
            for number in range(1, instances + 1)
        }
        scene = Scene(fates, pace(window))
        world, meter = World(fates), Meter()
        rollout = meter(begun, world, scene)
        gc.collect()
        events = roll(world, rollout, meter)
        assert rollout.complete
        assert not rollout.failed
        costs.append(Cost(instances, events, meter.seconds))
    return min(costs, key=lambda cost: cost.seconds)


def measure_command(instances: int, window: Share, runs: int) -> Cost:
    """The same of the whole command and a real systemd."""
    with App(f"growth-{instances}", instances) as app:
        spent = [app.unitq("restart", "--max-unavailable", _text(window)).cpu for _ in range(runs)]
    return Cost(instances, None, min(spent))


def _text(window: Share) -> str:
    return f"{window.number}{'%' * window.percent}"


def table(window: Share, costs: list[Cost]) -> list[str]:
    """Lines: a head, and one for each size."""
    head = (
        f"{f'max_unavailable {_text(window)}':>20}  {'events':>7}  {'CPU':>8}  {'each':>9}  growth"
    )
    lines = [head]
    for before, cost in zip([None, *costs], costs, strict=False):
        growth = f"{cost.seconds / before.seconds:>6.2f} x" if before else ""
        events = f"{cost.events:,}" if cost.events else "-"
        lines.append(
            f"{cost.instances:>20,}  {events:>7}  {cost.seconds * 1000:>5.0f} ms"
            f"  {cost.each:>6.3f} ms  {growth}".rstrip()
        )
    return lines


def missed(costs: list[Cost]) -> list[str]:
    """What is more than the goals allow, in words; those of MOST are of the decisions alone."""
    wrong = [
        f"{cost.instances} instances: {cost.each:.3f} ms each, the goal is {MOST:g} ms"
        for cost in costs
        if cost.events and cost.each > MOST
    ]
    for less, more in pairwise(costs):
        times, goal = more.seconds / less.seconds, more.instances / less.instances
        if times > goal * NOISE:
            wrong.append(
                f"{more.instances} instances cost {times:.2f} times as much as {less.instances}, "
                f"the goal is {goal:g} and a tenth of it for noise"
            )
    return wrong


def main() -> int:
    """Measure and print; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(
        prog="bench/run growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=5, help="of each size; the least counts (5)")
    parser.add_argument("--instances", help="sizes, ascending: 250,500,1000, and 2000 simulated")
    parser.add_argument("--systemd", action="store_true", help="of whole commands")
    chosen = parser.parse_args()
    cost_of = measure_command if chosen.systemd else measure
    sizes = (
        [int(size) for size in chosen.instances.split(",")]
        if chosen.instances
        else list(REAL_SIZES if chosen.systemd else SIZES)
    )
    wrong = []
    for window in WINDOWS:
        costs = [cost_of(size, window, chosen.runs) for size in sizes]
        print("\n".join(table(window, costs)))
        wrong += missed(costs)
    for line in wrong:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
