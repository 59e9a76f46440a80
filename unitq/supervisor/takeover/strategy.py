"""What a takeover from Supervisor does, in which order, and to which process. Pure.

Supervisor starts again what ends. So a worker has to end in a way that it does not answer:

- STOP: Supervisor's own stop, where that is as gentle as ours: its signal lets the job finish,
  and its SIGKILL comes no sooner than ours would.
- HOLD: the worker is below a shell. The shell is held (SIGSTOP) while the worker finishes its
  job, so that Supervisor sees no end; then Supervisor stops it, and the empty shell goes.
- DRAIN: the worker gets its signal. What Supervisor starts in its place is held before it has
  opened any way to a queue, and then stopped: it cannot have taken a job.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from unitq.cmdline.wrappers import SHELLS, Kind, names
from unitq.instances.signal_targets import recipients
from unitq.model import signals
from unitq.model.app import KillMode
from unitq.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from unitq.model.app import Worker
    from unitq.model.names import InstanceName
    from unitq.model.process import Process
    from unitq.presets.model import Preset
    from unitq.supervisor.conf.programs import Settings

# What starts a worker below itself and stays; the signal is for the worker.
_BETWEEN = SHELLS | names(Kind.PASSES_ON, Kind.KEEPS, Kind.ELSEWHERE)

_SHOWN = 100  # characters of a command line

UP = frozenset({"STARTING", "RUNNING", "STOPPING", "BACKOFF"})


class Way(StrEnum):
    """How a worker is brought to its end."""

    STOP = "stop"
    HOLD = "hold"
    DRAIN = "drain"


def command(process: Process) -> str:
    """Returns what `ps` would show of it, shortened."""
    return one_line(" ".join(process.words) or process.executable)[:_SHOWN]


def between(process: Process) -> bool:
    """Whether it only stands above a worker: a shell, npm, sudo and their likes."""
    called = {process.executable.rpartition("/")[2]}
    for word in process.words[:2]:
        # A title such as "npm run worker" is one word with spaces.
        name = word.split(" ", 1)[0].rpartition("/")[2].removeprefix("-")
        called.add(name.removesuffix("-cli.js").removesuffix(".js"))
        if not name.startswith(("node", "python")):
            break
    return bool(called & _BETWEEN)


def workers_of(family: Sequence[Process], number: int, *, strict: bool) -> tuple[Process, ...]:
    """Returns who gets the signal, of a process and all below it, the top first.

    `strict`: without a handler a process gets none, as it would die of it. Otherwise the first one
    below the shells does: that is how its `stop_signal` wants it to end.
    """
    top = family[0].pid if family else 0
    return recipients(family, number, between, strict=strict, top=top)


def way(
    family: Sequence[Process],
    settings: Settings,
    worker: Worker,
    preset: Preset | None,
    *,
    known: bool,
) -> Way:
    """Returns how the worker that runs as this family is brought to its end.

    `known`: supervisord goes by the settings that are in the file now.
    """
    workers = workers_of(family, signals.number(worker.stop_signal), strict=preset is not None)
    if workers != tuple(family[:1]):
        return Way.HOLD
    if not known or settings.stopwaitsecs < worker.stop_timeout.seconds:
        return Way.DRAIN
    return Way.STOP if _gentle(settings, worker, preset) else Way.DRAIN


def _gentle(settings: Settings, worker: Worker, preset: Preset | None) -> bool:
    """Whether Supervisor's stop signal lets the job finish."""
    if preset is not None:
        stop = preset.for_command(worker.command).stop
        good = stop.drains_all if settings.stopasgroup else (*stop.drains, *stop.drains_all)
        return settings.stopsignal in good
    if settings.stopasgroup and worker.kill_mode is not KillMode.CONTROL_GROUP:
        return False
    return settings.stopsignal == worker.stop_signal


@dataclass(frozen=True, slots=True)
class Pair:
    """One process of Supervisor's and the instance that takes its place."""

    process: str  # group:process
    instance: InstanceName
    state: str  # in Supervisor's words
    pid: int  # 0: none
    serving: bool  # whether the instance runs already

    @property
    def moved(self) -> bool:
        """Nothing is left to do."""
        return self.serving and self.state not in UP


@dataclass(frozen=True, slots=True)
class Move:
    """One program and its processes."""

    program: str
    section: str
    file: str
    settings: Settings
    workers: tuple[Worker, ...]
    pairs: tuple[Pair, ...]

    @property
    def autostart(self) -> bool:
        return self.settings.autostart

    @property
    def moved(self) -> bool:
        """Nothing is left to do."""
        return not self.autostart and all(pair.moved for pair in self.pairs)

    def worker(self, pair: Pair) -> Worker:
        """Returns the worker that the instance is of."""
        return next(worker for worker in self.workers if worker.name == pair.instance.worker)


def in_order(pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    """Returns the pairs that are left to do, in the order in which they are done.

    First what runs twice: there are too many. Then what runs nowhere, as its queue lacks it.
    """

    def urgency(pair: Pair) -> int:
        up = pair.state in UP
        return 0 if up and pair.serving else 1 if not up else 2

    return tuple(sorted((pair for pair in pairs if not pair.moved), key=urgency))
