"""Stops several processes of one supervisord, side by side, in one loop.

How each one ends: stop_one.py. None waits for another: the caller waits for all.
"""

from __future__ import annotations

from itertools import compress
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import UnitqError
from unitq.supervisor.takeover.stop_one import Stopped, StopProcess, Task
from unitq.supervisor.takeover.waiting import HandoverError, Wait, Waiter, are_over

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from unitq.linux.interrupts import Interrupts
    from unitq.supervisor.takeover.rpc import Supervisord
    from unitq.supervisor.takeover.waiting import Steps

_SOON = 0.1  # seconds: longer than any pause between two looks


class _Stopping(NamedTuple):
    process: StopProcess
    steps: Steps[Stopped]
    wait: Wait


class StopGroup:
    """The processes that are being stopped; each is named as Supervisor does."""

    def __init__(
        self,
        supervisord: Supervisord,
        notes: Path,
        interrupts: Interrupts,
        say: Callable[[str], None],
        deadline: float | None = None,
    ) -> None:
        """`notes` is a folder that goes with the boot; `deadline` is on the monotonic clock."""
        self._supervisord = supervisord
        self._notes = notes
        self._waiter = Waiter(interrupts, say, deadline)
        self._say = say
        self._active: dict[str, _Stopping] = {}
        self._results: dict[str, Stopped | UnitqError] = {}
        # Who got the signal, and is not waited for any more, with the PID that Supervisor knows.
        self.unfinished: dict[str, int] = {}

    @property
    def active(self) -> tuple[str, ...]:
        """Those that have begun to end, and have not."""
        return tuple(self._active)

    @property
    def soon(self) -> bool:
        """Whether one of them is just now ending: the others' jobs may take hours."""
        return any(active.wait.until - monotonic() < _SOON for active in self._active.values())

    def begin(self, task: Task) -> None:
        """Has a process end; the first step follows in the next turn."""
        stop = StopProcess(self._supervisord, self._notes, self._say, task, len(self._active))
        self._active[task.process] = _Stopping(stop, stop.steps(), Wait((), 0.0))

    def turn(self) -> None:
        """Continues with each that need not wait any more. Does not wait, and does not raise."""
        stopping = list(self._active.items())
        due = are_over([active.wait for _, active in stopping])
        for name, active in compress(stopping, due):
            try:
                self._active[name] = active._replace(wait=next(active.steps))
                continue
            except StopIteration as end:
                self._results[name] = end.value
            except UnitqError as error:
                self._results[name] = error
                self._note_unfinished(name, active)
            except OSError as error:
                self._results[name] = HandoverError(f"{name}: {error}")
                self._note_unfinished(name, active)
            del self._active[name]

    def _note_unfinished(self, name: str, active: _Stopping) -> None:
        if active.process.ending:
            self.unfinished[name] = active.process.ending

    def wait(self) -> None:
        """Waits until the next turn is due, or a signal came. Raises GaveUpError, DetachedError."""
        self._waiter.until([active.wait for active in self._active.values()])

    def results(self) -> dict[str, Stopped | UnitqError]:
        """Returns how those went that have ended since the last call.

        An error: Supervisor has this one as before, but for the signal that it may have got.
        """
        results, self._results = self._results, {}
        return results

    def close(self) -> None:
        """Leaves the rest to Supervisor: what is held is let go, who got its signal finishes."""
        for name, active in self._active.items():
            active.steps.close()
            self._note_unfinished(name, active)
        self._active.clear()
