"""The same drains, most short and a few long, rolled in three ways on the same fleet.

By unitq; in lock-step batches, `systemctl restart` of as many units at once, then min_healthy, then
the next batch; and by a sliding window of `systemctl restart`, each followed by min_healthy.

Nothing can be faster than the bound: all drains and all times to become healthy spread evenly over
the window, or the longest of them. Who does not know the drains beforehand may not reach it,
for a long one may come last. What a window that costs nothing takes in this order stands beside.
"""

from __future__ import annotations

import argparse
import heapq
import random
from dataclasses import asdict, dataclass

from bench import report, ways
from bench.app import Figure, show
from bench.draining import DrainingApp
from bench.ways import BATCHES, UNITQ, WINDOW, Run

GOAL_BATCHES = 0.7
GOAL_BOUND = 1.1

# With this one the order costs nothing: the window in order reaches the bound.
SEED = 8


@dataclass(frozen=True, slots=True)
class Setup:
    """What is rolled, and how wide."""

    drains: tuple[float, ...]
    width: int
    min_healthy: float
    seed: int

    @property
    def spread(self) -> float:
        """Seconds if all slots of the window were busy to the end."""
        return sum(drain + self.min_healthy for drain in self.drains) / self.width

    @property
    def longest(self) -> float:
        """Seconds that the longest takes by itself."""
        return max(self.drains) + self.min_healthy

    @property
    def bound(self) -> float:
        """Seconds that nothing can be below."""
        return max(self.spread, self.longest)

    @property
    def in_order(self) -> float:
        """Seconds of a window without any cost of its own, first come first served."""
        slots = [0.0] * self.width
        for drain in self.drains:
            heapq.heapreplace(slots, slots[0] + drain + self.min_healthy)
        return max(slots)


def heavy_tailed(chosen: argparse.Namespace) -> Setup:
    """Short drains, and exactly a tenth long ones, where the seed puts them."""
    count = chosen.instances
    late = set(random.Random(chosen.seed).sample(range(count), max(1, count // 10)))
    drains = tuple(chosen.long if n in late else chosen.short for n in range(count))
    return Setup(drains, chosen.width, chosen.min_healthy, chosen.seed)


def figures(setup: Setup, runs: list[Run]) -> list[Figure]:
    """The table."""
    taken = ways.seconds(runs)
    mine = taken[UNITQ].measured
    which = "the window's" if setup.spread >= setup.longest else "the longest drain's"
    return [
        *taken.values(),
        ways.ratio(taken, BATCHES, GOAL_BATCHES),
        ways.ratio(taken, WINDOW, None),
        Figure(
            "ratio to the bound",
            GOAL_BOUND,
            mine / setup.bound,
            "",
            f"{setup.bound:.2f} s, {which}",
        ),
        Figure(
            "ratio to a window in this order, at no cost",
            GOAL_BOUND,
            mine / setup.in_order,
            "",
            f"{setup.in_order:.2f} s",
        ),
        *ways.checks(runs, setup.width, setup.min_healthy),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="bench/run drains",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=1, help="of each way (1)")
    parser.add_argument("--instances", type=int, default=40, help="of one worker (40)")
    parser.add_argument("--width", type=int, default=4, help="at most so many at once (4)")
    parser.add_argument("--short", type=float, default=0.2, help="seconds of most drains (0.2)")
    parser.add_argument("--long", type=float, default=10.0, help="seconds of a tenth (10)")
    parser.add_argument("--min-healthy", type=float, default=0.2, help="seconds (0.2)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"where the long ones are ({SEED})")
    report.add_output(parser)
    chosen = parser.parse_args()
    setup = heavy_tailed(chosen)
    late = [n for n, drain in enumerate(setup.drains, 1) if drain == max(setup.drains)]
    print(f"# long drains: instances {', '.join(map(str, late))}", flush=True)
    with DrainingApp("bench-drains", setup.drains, setup.min_healthy) as app:
        runs = ways.race(app, setup.width, chosen.runs)
    found = figures(setup, runs)
    show(found)
    about = {
        **asdict(setup),
        "bound": round(setup.bound, 4),
        "in_order": round(setup.in_order, 4),
    }
    report.write(chosen.output, "drains", about, runs, found)


if __name__ == "__main__":
    main()
