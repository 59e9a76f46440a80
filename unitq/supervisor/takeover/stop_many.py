"""Brings several processes of one supervisord's to their end, side by side, in one loop.

How each one ends: stop_one.py. Nobody waits for another: whoever calls this waits for all.
"""

from __future__ import annotations

from itertools import compress
from time import monotonic
from typing import TYPE_CHECKING

from unitq.errors import UnitqError
from unitq.supervisor.takeover.stop_one import Ended, Ending, Task
from unitq.supervisor.takeover.waiting import HandoverError, Patience, Wait, over

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from unitq.linux.interrupts import Interrupts
    from unitq.supervisor.takeover.rpc import Supervisord
    from unitq.supervisor.takeover.waiting import Steps

_NOW = Wait((), 0.0)
_SOON = 0.1  # seconds: longer than any pause between two looks


class Handover:
    """The processes in hand; each is named as Supervisor does."""

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
        self._patience = Patience(interrupts, say, deadline)
        self._say = say
        self._hand: dict[str, tuple[Ending, Steps[Ended], Wait]] = {}
        self._done: dict[str, Ended | UnitqError] = {}
        # Who was told to end, and nobody waits for any more, with the PID that Supervisor knows.
        self.unfinished: dict[str, int] = {}

    @property
    def in_hand(self) -> tuple[str, ...]:
        """Those that have begun to end, and have not."""
        return tuple(self._hand)

    @property
    def soon(self) -> bool:
        """Whether one of them is just now ending: the others' jobs may take hours."""
        return any(wait.until - monotonic() < _SOON for _, _, wait in self._hand.values())

    def begin(self, task: Task) -> None:
        """Has a process end; the first step follows in the next turn."""
        ending = Ending(self._supervisord, self._notes, self._say, task, len(self._hand))
        self._hand[task.process] = (ending, ending.steps(), _NOW)

    def turn(self) -> None:
        """Goes on with each that need not wait any more. Does not wait, and does not raise."""
        every = list(self._hand.items())
        ready = over(wait for _, (_, _, wait) in every)
        for process, (ending, steps, _) in compress(every, ready):
            try:
                self._hand[process] = (ending, steps, next(steps))
                continue
            except StopIteration as end:
                self._done[process] = end.value
            except UnitqError as error:
                self._done[process] = error
                self._note(process, ending)
            except OSError as error:
                self._done[process] = HandoverError(f"{process}: {error}")
                self._note(process, ending)
            del self._hand[process]

    def _note(self, process: str, ending: Ending) -> None:
        if ending.ends:
            self.unfinished[process] = ending.ends

    def wait(self) -> None:
        """Waits until the next turn is due, or a signal came. Raises GaveUpError, DetachedError."""
        self._patience.until([wait for _, _, wait in self._hand.values()])

    def done(self) -> dict[str, Ended | UnitqError]:
        """How those went that have ended since the last call; once Supervisor starts none instead.

        An error: Supervisor has this one as before, but for the signal that it may have got.
        """
        found, self._done = self._done, {}
        return found

    def close(self) -> None:
        """Leaves those in hand to Supervisor: what is held is let go, what was told finishes."""
        for process, (ending, steps, _) in self._hand.items():
            steps.close()
            self._note(process, ending)
        self._hand.clear()
