"""Progress while a rollout runs: lines that stay, and on a terminal what is in flight below."""

from __future__ import annotations

from contextlib import suppress
from time import time
from typing import TYPE_CHECKING, Any

from unitq.cli.output import echo
from unitq.revisions import state
from unitq.rollout.engine.rollout import Phase, Rollout, Slot
from unitq.rollout.plan import Do
from unitq.systemd.exit_status import End
from unitq.text import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from unitq.instances.state import Seen
    from unitq.model.names import InstanceName
    from unitq.rollout.executor import Stop
    from unitq.rollout.in_flight import Hands

_DONE = (Phase.HEALTHY, Phase.KEPT)

_NAMED = 3  # instances in a line

# Seconds between two looks at the same picture: to draw it takes milliseconds.
_REDRAW = 0.05


class Lines:
    """One line when an instance starts to drain, one when it is done. For logs and pipes."""

    interval: float | None = None

    def __init__(
        self,
        hands: Hands | None = None,
        keep: Callable[[str, str], None] | None = None,
        *,
        read: bool = True,
    ) -> None:
        """`hands` have what those have in hand that drain; they are looked at again each time.

        `keep` gets each line too, also when nobody reads here (`read`), or not any more: without
        the jobs, and these.
        """
        self._last: Rollout | None = None
        self._hands = hands
        self._keep = keep
        self._read = read
        self._private = not state.shared_output()

    def update(
        self,
        rollout: Rollout,
        seen: Mapping[InstanceName, Seen],  # noqa: ARG002
        now: float,  # noqa: ARG002
    ) -> None:
        """Prints what has changed."""
        before = self._last
        if rollout is before:
            return
        width = max((len(str(name)) for name in rollout.slots), default=0)
        total = sum(_counts(slot) for slot in rollout.slots.values())
        done = 0
        if before:
            done = sum(_counts(slot) and slot.phase in _DONE for slot in before.slots.values())
        # What has become healthy first: it is why another may drain now.
        slots = sorted(rollout.slots.items(), key=lambda item: item[1].phase not in _DONE)
        for name, slot in slots:
            was = before.slots[name].phase if before else Phase.WAITING
            # Several may have become healthy at once: each line counts up by one.
            done += _counts(slot) * ((slot.phase in _DONE) - (was in _DONE))
            line = _line(slot, f"[{done}/{total}]") if slot.phase is not was else ""
            if line:
                jobs = self._waits_for(name) if slot.phase is Phase.DRAINING else ""
                self._print(f"  {name!s:<{width}}  {line}", jobs)
        self._last = rollout

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
        if self._hands is None:
            return ""
        jobs, possible = self._hands.jobs.get(name), self._hands.possible.get(name, ())
        if not (possible if jobs is None else jobs):
            return ""
        from unitq.queues.job_text import held_text

        return f": {held_text(jobs, possible, time())}"

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
        self, hands: Hands | None = None, keep: Callable[[str, str], None] | None = None
    ) -> None:
        super().__init__(hands, keep)
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

    def update(self, rollout: Rollout, seen: Mapping[InstanceName, Seen], now: float) -> None:
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
        for name, slot in rollout.slots.items():
            if slot.phase in (Phase.DRAINING, Phase.STARTING, Phase.SETTLING):
                since = slot.touched if slot.gone is None else slot.gone
                job = self._waits_for(name) if slot.phase is Phase.DRAINING else ""
                told = f"  {name}  {slot.phase} for {duration(now - since)}{job}"
                shown.append(line(told, "yellow"))
        left = sum(slot.phase is Phase.WAITING for slot in rollout.slots.values())
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


def _counts(slot: Slot) -> bool:
    """Whether it is one of those that there are to be in the end."""
    return slot.step.do not in (Do.STOP, Do.SURGE)


def _line(slot: Slot, count: str) -> str:
    if slot.phase is Phase.DRAINING:
        return f"draining (PID {slot.pid_before})" if slot.pid_before else "stopping"
    if slot.phase is Phase.FAILED:
        return f"FAILED: {slot.reason}"
    if slot.phase is Phase.STOPPED:
        return _ended(slot) or "stopped"
    if slot.phase is Phase.HEALTHY:
        ended = _ended(slot)
        started = "" if slot.step.do is Do.KEEP else "started, "
        return f"{ended + ', ' if ended else ''}{started}healthy  {count}"
    return ""


def _ended(slot: Slot) -> str:
    """How the old process ended, and after how long."""
    if slot.drained_for is None:
        return ""
    time = duration(slot.drained_for)
    if slot.ending is None or slot.ending.end is End.UNKNOWN:
        return f"gone after {time}"
    if slot.ending.end is End.KILLED:
        return f"KILLED after {time} ({slot.ending.detail}, PID {slot.pid_before})"
    if slot.ending.end is End.DIED:
        return f"ended after {time} ({slot.ending.detail})"
    return f"drained in {time}"
