"""Three ways to restart a fleet, one after the other on the same fleet: unitq's, and two loops."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

from bench.app import Figure, Took, run, timed
from bench.draining import DrainingApp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.app import App
    from bench.draining import Drain

UNITQ = "unitq restart"
BATCHES = "lock-step batches"
WINDOW = "sliding window of systemctl"

# So long, all is quiet between two runs.
_PAUSE = 2.0


def unitq(app: App, width: int) -> Took:
    """With unitq; min_healthy is in its configuration."""
    return app.unitq("restart", "--max-unavailable", str(width), "--json")


def batches(app: App, width: int) -> Took:
    """Lock-step: a batch begins when all of the batch before are back, and min_healthy is over."""
    return _loop(f"--max-args={width}", app)


def window(app: App, width: int) -> Took:
    """As soon as one is back, and min_healthy is over, the next one is restarted."""
    return _loop(f"--max-procs={width} --max-args=1", app)


def _loop(options: str, app: App) -> Took:
    restart = "systemctl restart"
    if app.min_healthy:
        restart = f"sh -c 'systemctl restart \"$@\" && sleep {app.min_healthy:g}' -"
    return run("bash", "-c", f'printf "%s\\n" "$@" | xargs {options} {restart}', "-", *app.units)


WAYS = {UNITQ: unitq, BATCHES: batches, WINDOW: window}


class Run(NamedTuple):
    """One restart of the whole fleet."""

    way: str
    took: Took
    drains: tuple[Drain, ...]  # none if the workers write nothing down


def race(app: App, width: int, times: int) -> list[Run]:
    """All ways in turn, so that what else the machine does falls on all of them."""
    found = []
    for _ in range(times):
        for name, way in WAYS.items():
            time.sleep(_PAUSE)
            writes = app if isinstance(app, DrainingApp) else None
            if writes:
                writes.forget()
            began = time.time()
            took = way(app, width)
            found.append(Run(name, took, writes.recorded(began) if writes else ()))
            print(f"# {name}: {took.wall:.2f} s", flush=True)
    return found


def seconds(runs: Sequence[Run]) -> dict[str, Figure]:
    """What each way took: the medians."""
    return {
        name: timed(name, None, [run.took for run in runs if run.way == name], "s") for name in WAYS
    }


def ratio(taken: Mapping[str, Figure], other: str, goal: float | None) -> Figure:
    """How much unitq takes of what the other way does."""
    return Figure(f"ratio to {other}", goal, taken[UNITQ].measured / taken[other].measured, "")


def checks(runs: Sequence[Run], width: int, min_healthy: float) -> list[Figure]:
    """Whether the runs are what they claim to be: drains as asked, and the window not exceeded."""
    if not any(run.drains for run in runs):
        return []
    over = [1000 * (one.gone - one.told - one.asked) for run in runs for one in run.drains]
    # Without min_healthy the next drains as soon as systemd has executed a process, and that is a
    # little before the process can write it down.
    down = "draining or starting" if min_healthy else "draining"
    most = max(
        _most([(one.told, one.up if min_healthy else one.gone) for one in run.drains])
        for run in runs
        if run.way == UNITQ
    )
    beside = f"at most {max(over):.1f}; median of all ways"
    return [
        Figure("drains longer than asked", 5.0, statistics.median(over), "ms", beside),
        Figure(f"{UNITQ}: most instances {down} at once", float(width), float(most), ""),
    ]


def _most(spans: Sequence[tuple[float, float]]) -> int:
    """How many of the spans overlap at most."""
    changes = sorted(change for begin, end in spans for change in ((begin, 1), (end, -1)))
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most
