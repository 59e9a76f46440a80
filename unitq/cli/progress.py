"""Progress while a rollout runs: lines that stay, and on a terminal what is in flight below."""

from __future__ import annotations

from contextlib import suppress
from time import time
from typing import TYPE_CHECKING, Any

from unitq.cli.output import echo
from unitq.revisions.state import shared_output
from unitq.rollout.engine.groups import Trait
from unitq.rollout.engine.instance import InstanceState, Phase
from unitq.rollout.plan import Change
from unitq.systemd.exit_status import End
from unitq.text import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from unitq.instances.state import Observed
    from unitq.model.names import InstanceName
    from unitq.rollout.engine.rollout import Rollout
    from unitq.rollout.executor import Stop
    from unitq.rollout.in_flight import InFlightTracker

_DONE = (Phase.HEALTHY, Phase.KEPT)

_NAMED = 3  # instances in a line

# Seconds between two looks at the same picture: to draw it takes milliseconds.
_REDRAW = 0.05


class Lines:
    """One line when an instance starts to drain, one when it is done. For logs and pipes."""

    interval: float | None = None

    def __init__(
        self,
        tracker: InFlightTracker | None = None,
        keep: Callable[[str, str], None] | None = None,
        *,
        read: bool = True,
    ) -> None:
        """`tracker` has the in-flight jobs of draining workers; they are looked at again each time.

        `keep` gets each line too, also when nobody reads here (`read`), or not any more: without
        the jobs, and these.
        """
        self._shown: dict[InstanceName, Phase] = {}  # the phase that was shown last
        self._read_up_to = 0  # of the rollout's phase changes
        self._done = 0
        self._total = 0
        self._width = 0
        self._tracker = tracker
        self._keep = keep
        self._read = read
        self._private = not shared_output()

    def update(
        self,
        rollout: Rollout,
        seen: Mapping[InstanceName, Observed],  # noqa: ARG002
        now: float,  # noqa: ARG002
    ) -> None:
        """Prints what has changed."""
        names: Iterable[InstanceName] = rollout.phase_changes[self._read_up_to :]
        if not self._shown:
            names = rollout.instances
            self._width = max((len(str(name)) for name in names), default=0)
            self._total = sum(map(_counts, rollout.instances.values()))
        self._read_up_to = len(rollout.phase_changes)
        states = [rollout.instances[name] for name in dict.fromkeys(names)]
        # What has become healthy first: it is why another may drain now.
        for state in sorted(states, key=lambda state: state.phase not in _DONE):
            name, phase = state.instance, state.phase
            before = self._shown.get(name, Phase.WAITING)
            self._shown[name] = phase
            # Several may have become healthy at once: each line counts up by one.
            self._done += _counts(state) * ((phase in _DONE) - (before in _DONE))
            line = _line(state, f"[{self._done}/{self._total}]") if phase is not before else ""
            if line:
                jobs = self._waits_for(name) if phase is Phase.DRAINING else ""
                self._print(f"  {name!s:<{self._width}}  {line}", jobs)

    def stopping(self, stop: Stop) -> None:
        """Says what is finished first, and what a second Ctrl-C does."""
        line = stopping(stop)
        if self._read:
            self._print(line, "")
        else:
            # Standard output is a document's.
            with suppress(OSError):
                echo(line, err=True)

    def _waits_for(self, name: InstanceName) -> str:
        if self._tracker is None:
            return ""
        jobs, possible = self._tracker.jobs.get(name), self._tracker.possible.get(name, ())
        if not (possible if jobs is None else jobs):
            return ""
        from unitq.queues.job_text import in_flight_text

        return f": {in_flight_text(jobs, possible, time())}"

    def _print(self, line: str, jobs: str) -> None:
        if self._keep:
            self._keep(line, jobs)
        if self._read:
            try:
                self._show(line + jobs if self._private else line)
            except OSError:
                self._read = False  # the terminal is gone: who looks on is told all the same

    def _show(self, line: str) -> None:
        echo(line)


class Live(Lines):
    """The same lines, and below them who drains and for how long."""

    interval: float | None = 0.5

    def __init__(
        self, tracker: InFlightTracker | None = None, keep: Callable[[str, str], None] | None = None
    ) -> None:
        super().__init__(tracker, keep)
        from unitq.cli.screen import Picture

        self._picture = Picture(transient=True)
        self._drawn = -_REDRAW

    def __enter__(self) -> Live:
        self._picture.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        # The terminal may have gone meanwhile; what is left to do must still be done.
        with suppress(OSError):
            self._picture.__exit__()

    def update(self, rollout: Rollout, seen: Mapping[InstanceName, Observed], now: float) -> None:
        """Prints what has changed and redraws what is in flight."""
        super().update(rollout, seen, now)
        if self._read and (now - self._drawn >= _REDRAW or not rollout.in_flight):
            self._drawn = now
            try:
                self._picture.draw(*self._in_flight(rollout, now))
            except OSError:
                self._read = False

    def _show(self, line: str) -> None:
        self._picture.print(line, "red" if "FAILED" in line or "KILLED" in line else "")

    def _in_flight(self, rollout: Rollout, now: float) -> list[Any]:
        from unitq.cli.screen import line

        shown = []
        for name in sorted(rollout.names(Trait.IN_FLIGHT)):
            state = rollout.instances[name]
            if state.phase is not Phase.DRAINED:
                since = state.touched if state.gone is None else state.gone
                job = self._waits_for(name) if state.phase is Phase.DRAINING else ""
                text = f"  {name}  {state.phase} for {duration(now - since)}{job}"
                shown.append(line(text, "yellow"))
        left = rollout.count(Phase.WAITING)
        return [*shown, line(f"  {left} to go" + (", stopping" if rollout.halted else ""), "dim")]


def stopping(stop: Stop) -> str:
    """What is still finished, how long that may take, and what a second Ctrl-C does."""
    why = "interrupted" if stop.interrupted else "paused"
    parts = []
    if stop.draining:
        limit = "as long as their jobs take"
        if stop.seconds is not None:
            limit = f"at most {duration(stop.seconds)} more"
        parts.append(f"{_some(stop.draining)} draining ({limit})")
    if stop.starting:
        parts.append(f"{_some(stop.starting)} starting")
    if not parts:
        return f"{why}: no instance is between two states, so it stops here"
    second = "; Ctrl-C again leaves at once, and systemd finishes them" * stop.interrupted
    return f"{why}: finishes {' and '.join(parts)}, touches no other{second}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _counts(state: InstanceState) -> bool:
    """Whether it is one of those that there are to be in the end."""
    return state.planned.change not in (Change.STOP, Change.SURGE)


def _line(state: InstanceState, count: str) -> str:
    if state.phase is Phase.DRAINING:
        return f"draining (PID {state.pid_before})" if state.pid_before else "stopping"
    if state.phase is Phase.FAILED:
        return f"FAILED: {state.reason}"
    if state.phase is Phase.STOPPED:
        return _ended(state) or "stopped"
    if state.phase is Phase.HEALTHY:
        ended = _ended(state)
        started = "" if state.planned.change is Change.KEEP else "started, "
        return f"{ended + ', ' if ended else ''}{started}healthy  {count}"
    return ""


def _ended(state: InstanceState) -> str:
    """How the old process ended, and after how long."""
    if state.drained_for is None:
        return ""
    time = duration(state.drained_for)
    if state.ending is None or state.ending.end is End.UNKNOWN:
        return f"gone after {time}"
    if state.ending.end is End.KILLED:
        return f"KILLED after {time} ({state.ending.detail}, PID {state.pid_before})"
    if state.ending.end is End.DIED:
        return f"ended after {time} ({state.ending.detail})"
    return f"drained in {time}"
