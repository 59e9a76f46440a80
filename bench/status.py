"""`unitq status --json` of 20 and of 1,000 instances: whole-process wall time, median.

python -m bench.status [--runs N] [--instances N,N]
"""

from __future__ import annotations

import argparse
import sys

from bench.app import App, Figure, run, show, timed

GOALS = {20: 100.0}  # milliseconds; of more, beside others: bench/peers.py


def measure(sizes: list[int], runs: int) -> list[Figure]:
    """One figure for each size, and what nothing could go below."""
    bare = [run(sys.executable, "-c", "pass") for _ in range(runs)]
    figures = [timed("python -c pass", None, bare, "ms")]
    for size in sizes:
        with App(f"bench-{size}", size) as app:
            app.unitq("status", "--json")
            taken = [app.unitq("status", "--json") for _ in range(runs)]
        what = f"status --json of {size} instances"
        figures.append(timed(what, GOALS.get(size), taken, "ms"))
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench/run status", description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--instances", default="20,1000")
    chosen = parser.parse_args()
    show(measure([int(size) for size in chosen.instances.split(",")], chosen.runs))


if __name__ == "__main__":
    main()
