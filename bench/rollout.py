"""A rolling restart of 200 instances, 20 at a time, beside what `systemctl restart` takes for it.

Twice beside systemctl: in batches, one call for 20 units, each batch after the one before; and as
a sliding window, 20 processes of systemctl at a time, one for each unit. min_healthy is 0, and the
workers stop at once: what is measured is the manager. With --drain each worker takes between
nothing and so many seconds to stop, the same in all three ways: then a batch waits for its slowest,
and a window does not.
"""

from __future__ import annotations

import argparse
import random

from bench import report, ways
from bench.app import App, show
from bench.draining import DrainingApp
from bench.ways import BATCHES, WINDOW

GOAL = 1.05
SEED = 1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="bench/run rollout",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=5, help="of each way (5)")
    parser.add_argument("--instances", type=int, default=200, help="of one worker (200)")
    parser.add_argument("--width", type=int, default=20, help="at most so many at once (20)")
    parser.add_argument("--drain", type=float, default=0.0, help="seconds of the longest (0)")
    report.add_output(parser)
    chosen = parser.parse_args()
    source = random.Random(SEED)
    drains = [source.uniform(0.0, chosen.drain) for _ in range(chosen.instances)]
    name = "bench-rollout"
    fleet = DrainingApp(name, drains) if chosen.drain else App(name, chosen.instances)
    with fleet as app:
        runs = ways.race(app, chosen.width, chosen.runs)
    taken = ways.seconds(runs)
    found = [
        *taken.values(),
        ways.ratio(taken, BATCHES, GOAL),
        ways.ratio(taken, WINDOW, GOAL),
        *ways.checks(runs, chosen.width, 0.0),
    ]
    show(found)
    about = {"drains": drains, "width": chosen.width, "min_healthy": 0.0, "seed": SEED}
    report.write(chosen.output, "rollout", about, runs, found)


if __name__ == "__main__":
    main()
