"""A rolling restart of 200 instances, 20 at a time, beside what `systemctl restart` takes for it.

python -m bench.rollout [--runs N] [--instances N] [--width N] [--drain SECONDS]

Twice beside systemctl: in batches, one call for 20 units, each batch after the one before; and as
a sliding window, 20 processes of systemctl at a time, one for each unit. min_healthy is 0, so that
both do the same. With --drain each worker takes between nothing and so many seconds to stop: then
a batch waits for its slowest, and a window does not.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bench.app import App, Figure, Took, run, show, timed

if TYPE_CHECKING:
    from collections.abc import Callable

GOAL = 1.05

# bash starts what goes into the background with SIGQUIT ignored, so the child has to be told.
_DRAINING = """\
trap 'sleep $((RANDOM % {milliseconds} + 1))e-3; kill $!; exit 0' QUIT
sleep infinity &
wait
"""


def batches(app: App, width: int) -> Took:
    """Lock-step: a batch begins when all of the batch before are back."""
    return _loop(f"xargs --max-args={width} systemctl restart", app)


def window(app: App, width: int) -> Took:
    """As soon as one is back the next one is restarted."""
    return _loop(f"xargs --max-procs={width} --max-args=1 systemctl restart", app)


def _loop(command: str, app: App) -> Took:
    return run("bash", "-c", f'printf "%s\\n" "$@" | {command}', "-", *app.units)


def rolling(app: App, width: int) -> Took:
    """With unitq."""
    return app.unitq("restart", "--max-unavailable", str(width), "--json")


def measure(instances: int, width: int, runs: int, drain: float) -> list[Figure]:
    """All three in turn, so that what else the machine does falls on all of them."""
    ways: dict[str, Callable[[App, int], Took]] = {
        "unitq restart": rolling,
        "systemctl restart, in batches": batches,
        "systemctl restart, sliding window": window,
    }
    taken: dict[str, list[Took]] = {name: [] for name in ways}
    script = _DRAINING.format(milliseconds=round(drain * 1000)) if drain else ""
    with App("bench-rollout", instances, script) as app:
        for _ in range(runs):
            for name, way in ways.items():
                taken[name].append(way(app, width))
    figures = {
        name: timed(f"{name}, {width} of {instances}", None, times, "s")
        for name, times in taken.items()
    }
    mine, *others = figures.values()
    return [
        *figures.values(),
        *(Figure(f"ratio to {o.what}", GOAL, mine.measured / o.measured, "") for o in others),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.rollout", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--instances", type=int, default=200)
    parser.add_argument("--width", type=int, default=20)
    parser.add_argument("--drain", type=float, default=0.0)
    chosen = parser.parse_args()
    show(measure(chosen.instances, chosen.width, chosen.runs, chosen.drain))


if __name__ == "__main__":
    main()
