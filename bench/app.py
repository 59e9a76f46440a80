"""What is measured: an app of idle workers, deployed as a user would, and whole commands' times."""

from __future__ import annotations

import resource
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

UNITQ = str(Path(sys.executable).with_name("unitq"))

# Idle, and gone at once when told: what is measured is the manager and not the worker.
COMMAND = "/usr/bin/sleep infinity"

_TIMEOUT = 300.0

_CONFIG = """\
app = "{name}"
user = "www-data"
directory = "{root}"

[rollout]
min_healthy = "{min_healthy:g}s"

[workers.idle]
command = "{command}"
instances = {instances}
stop_timeout = "1min"
"""


class App:
    """Deployed for as long as the context lasts, then removed again."""

    command = COMMAND

    def __init__(self, name: str, instances: int, min_healthy: float = 0.0) -> None:
        self.name = name
        self.instances = instances
        self.min_healthy = min_healthy
        self.root = Path("/srv", name)

    @property
    def units(self) -> list[str]:
        """The names that systemd knows them by."""
        return [f"unitq-{self.name}-idle@{n}.service" for n in range(1, self.instances + 1)]

    def unitq(self, *arguments: str) -> Took:
        """Run a unitq command about this app."""
        return run(UNITQ, "-a", self.name, *arguments)

    def prepare(self) -> None:
        """Put into its directory what the workers need: nothing here."""

    def __enter__(self) -> Self:
        self.root.mkdir()
        self.prepare()
        config = self.root / "unitq.toml"
        config.write_text(
            _CONFIG.format(
                name=self.name,
                root=self.root,
                command=self.command,
                instances=self.instances,
                min_healthy=self.min_healthy,
            )
        )
        took = run(UNITQ, "-c", str(config), "deploy").wall
        # systemd gets some work done only after it has answered.
        time.sleep(1)
        print(f"# {self.name}: {self.instances} instances deployed in {took:.1f} s", flush=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.unitq("remove", "--yes")
        shutil.rmtree(self.root)


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of a whole process, with those that it waited for."""

    wall: float
    cpu: float
    """Says more than the wall where the machine is busy with other things."""


def run(*command: str) -> Took:
    """Run a command that has to succeed."""
    cpu, began = _cpu(), time.perf_counter()
    done = subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
    )
    took = Took(time.perf_counter() - began, _cpu() - cpu)
    if done.returncode != 0:
        output = done.stdout[-2000:] + done.stderr[-2000:]
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{output}")
    return took


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the result. Without a goal it is there for comparison."""

    what: str
    goal: float | None
    """At most this."""
    measured: float
    unit: str
    beside: str = ""

    @property
    def verdict(self) -> str:
        """Whether the goal was met; empty without one."""
        return "" if self.goal is None else "ok" if self.measured <= self.goal else "MISSED"

    def cells(self) -> tuple[str, ...]:
        """As the table has them."""
        goal = "-" if self.goal is None else f"{self.goal:g} {self.unit}".rstrip()
        digits = 2 if self.measured < 10 else 1 if self.measured < 100 else 0
        measured = f"{self.measured:.{digits}f} {self.unit}".rstrip()
        return self.what, goal, measured, self.verdict, self.beside


def timed(what: str, goal: float | None, taken: Sequence[Took], unit: str) -> Figure:
    """The median of several runs."""
    factor = {"s": 1, "ms": 1000}[unit]
    walls = [factor * took.wall for took in taken]
    cpu = factor * statistics.median(took.cpu for took in taken)
    beside = f"{min(walls):.3g} to {max(walls):.3g} in {len(taken)} runs; CPU {cpu:.3g}"
    return Figure(what, goal, statistics.median(walls), unit, beside)


def show(figures: Sequence[Figure]) -> None:
    """Print the table."""
    rows = [("figure", "goal", "measured", "", ""), *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip(), flush=True)
