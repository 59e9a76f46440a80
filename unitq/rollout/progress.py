"""The lines that tell of a rollout while it runs: who drains, who is healthy, who has failed."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Protocol

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
_REDRAW = 0.05  # seconds between two drawings


class Reader(Protocol):
    """Shows the lines. Each may raise OSError: nobody reads any more."""

    interval: float | None  # seconds between two drawings; None: nothing is drawn

    def step(self, line: str, *, failed: bool = False) -> None:
        """Shows what has become of an instance."""

    def stop(self, line: str) -> None:
        """Shows that the rollout stops."""

    def draw(self, in_flight: Sequence[str], waiting: str) -> None:
        """Shows who is in flight, and how many wait."""


class Lines:
    """Tells a reader when an instance starts to drain, and when it is done."""

    def __init__(
        self,
        reader: Reader,
        jobs: InFlightTracker | None = None,
        keep: Callable[[str, str], None] | None = None,
    ) -> None:
        """`jobs` tracks the jobs of instances that drain.

        `keep` gets each line too, also where the reader has gone away: without the jobs, and these.
        """
        self._reader: Reader | None = reader
        self.interval = reader.interval
        self._drawn = -_REDRAW
        self._jobs = jobs
        self._keep = keep
        self._private = not shared_output()
        self._shown: dict[InstanceName, Phase] = {}  # the phase that was shown last
        self._read_up_to = 0  # of the rollout's phase changes
        self._done = 0
        self._total = 0
        self._width = 0

    def update(
        self,
        rollout: Rollout,
        seen: Mapping[InstanceName, Observed],  # noqa: ARG002
        now: float,
    ) -> None:
        """Tells what has changed, and who is in flight now."""
        self._tell_steps(rollout)
        # To draw takes milliseconds.
        due = now - self._drawn >= _REDRAW or not rollout.in_flight
        if self._reader and self.interval is not None and due:
            self._drawn = now
            *in_flight, waiting = self._in_flight(rollout, now)
            self._call(lambda reader: reader.draw(in_flight, waiting))

    def _tell_steps(self, rollout: Rollout) -> None:
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
                jobs = self._jobs_of(name) if phase is Phase.DRAINING else ""
                self._tell(f"  {name!s:<{self._width}}  {line}", jobs)

    def stopping(self, stop: Stop) -> None:
        """Tells what is finished first, and what a second Ctrl-C does."""
        line = stop_line(stop)
        if self._keep:
            self._keep(line, "")
        self._call(lambda reader: reader.stop(line))

    def _jobs_of(self, name: InstanceName) -> str:
        """Returns `: SendSms 8f3a for 9 s` for an instance that drains; empty: not known."""
        if self._jobs is None:
            return ""
        jobs, possible = self._jobs.jobs.get(name), self._jobs.possible.get(name, ())
        if not (possible if jobs is None else jobs):
            return ""
        from unitq.queues.job_text import in_flight_text

        return f": {in_flight_text(jobs, possible, time())}"

    def _in_flight(self, rollout: Rollout, now: float) -> list[str]:
        """Returns a line per instance in flight, with its time, and a last one: how many wait."""
        lines = []
        for name in sorted(rollout.names(Trait.IN_FLIGHT)):
            state = rollout.instances[name]
            if state.phase is not Phase.DRAINED:
                since = state.touched if state.gone is None else state.gone
                jobs = self._jobs_of(name) if state.phase is Phase.DRAINING else ""
                lines.append(f"  {name}  {state.phase} for {duration(now - since)}{jobs}")
        left = rollout.count(Phase.WAITING)
        return [*lines, f"  {left} to go" + (", stopping" if rollout.halted else "")]

    def _tell(self, line: str, jobs: str) -> None:
        if self._keep:
            self._keep(line, jobs)
        text = line + jobs if self._private else line
        failed = "FAILED" in line or "KILLED" in line
        self._call(lambda reader: reader.step(text, failed=failed))

    def _call(self, show: Callable[[Reader], None]) -> None:
        if self._reader:
            try:
                show(self._reader)
            except OSError:
                # The terminal is gone; `keep` still gets the lines.
                self._reader, self.interval = None, None


def stop_line(stop: Stop) -> str:
    """What is still finished, how long that may take, and what a second Ctrl-C does."""
    why = "interrupted" if stop.interrupted else "paused"
    parts = []
    if stop.draining:
        limit = "as long as their jobs take"
        if stop.seconds is not None:
            limit = f"at most {duration(stop.seconds)} more"
        parts.append(f"{_names(stop.draining)} draining ({limit})")
    if stop.starting:
        parts.append(f"{_names(stop.starting)} starting")
    if not parts:
        return f"{why}: no instance is between two states, so it stops here"
    second = "; Ctrl-C again leaves at once, and systemd finishes them" * stop.interrupted
    return f"{why}: finishes {' and '.join(parts)}, touches no other{second}"


def _names(names: Sequence[str]) -> str:
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
