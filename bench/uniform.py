"""A large fleet whose drains all take the same time: what managing it costs.

unitq beside a sliding window of `systemctl restart` and beside lock-step batches, which are at
their best here: no member of a batch waits for another.
"""

from __future__ import annotations

import argparse

from bench import report, ways
from bench.app import show
from bench.draining import DrainingApp
from bench.ways import BATCHES, WINDOW

GOAL_WINDOW = 1.05


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="bench/run uniform",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=3, help="of each way (3)")
    parser.add_argument("--instances", type=int, default=400, help="of one worker (400)")
    parser.add_argument("--width", type=int, default=20, help="at most so many at once (20)")
    parser.add_argument("--drain", type=float, default=0.2, help="seconds of each drain (0.2)")
    parser.add_argument("--min-healthy", type=float, default=0.0, help="seconds (0)")
    report.add_output(parser)
    chosen = parser.parse_args()
    drains = [chosen.drain] * chosen.instances
    with DrainingApp("bench-uniform", drains, chosen.min_healthy) as app:
        runs = ways.race(app, chosen.width, chosen.runs)
    taken = ways.seconds(runs)
    found = [
        *taken.values(),
        ways.ratio(taken, WINDOW, GOAL_WINDOW),
        ways.ratio(taken, BATCHES, None),
        *ways.checks(runs, chosen.width, chosen.min_healthy),
    ]
    show(found)
    about = {
        "drains": drains,
        "width": chosen.width,
        "min_healthy": chosen.min_healthy,
        "bound": sum(drain + chosen.min_healthy for drain in drains) / chosen.width,
    }
    report.write(chosen.output, "uniform", about, runs, found)


if __name__ == "__main__":
    main()
