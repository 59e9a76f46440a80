"""Moves the processes of a program from Supervisor to units, as many at a time as may be missing.

A window: whenever an instance has become healthy the next process gets its signal. Those that end
do not wait for each other. Instances start as soon as their predecessors have ended; those that
end while others start follow together, and meanwhile all that still work are looked after.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from unitq.errors import UnitqError
from unitq.rollout.engine.instance import Phase
from unitq.rollout.operation import Operation, Waiting
from unitq.rollout.plan import Change, PlannedChange, keep
from unitq.rollout.presenter import Presenter
from unitq.supervisor.takeover.stop_many import StopGroup
from unitq.supervisor.takeover.strategy import command, in_order
from unitq.supervisor.takeover.waiting import DetachedError, GaveUpError, HandoverError
from unitq.text import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from unitq.instances.state import Observed
    from unitq.linux.interrupts import Interrupts
    from unitq.model.names import InstanceName
    from unitq.model.process import Process
    from unitq.revisions.model import Revision
    from unitq.rollout.engine.rollout import Rollout
    from unitq.rollout.executor import Progress, Stop
    from unitq.rollout.in_flight import InFlightTracker
    from unitq.rollout.reports.outcome import Outcome
    from unitq.supervisor.takeover.plan import TakeoverPlan
    from unitq.supervisor.takeover.stop_one import Stopped
    from unitq.supervisor.takeover.strategy import Move, Pair
    from unitq.systemd.manager import Systemd

_OFTEN = 0.02  # seconds between two looks at those that end while others start
_TOGETHER = 2.0  # seconds in which those that are just ending are waited for, to start together


class _UnitFailedError(HandoverError):
    """An instance did not become healthy."""


class BatchMover:
    """One takeover's processes."""

    def __init__(
        self,
        planned: TakeoverPlan,
        systemd: Systemd,
        interrupts: Interrupts,
        deadline: float | None,
        presenter: Presenter,
    ) -> None:
        """`deadline` is on the monotonic clock."""
        self._planned = planned
        self._systemd = systemd
        self._interrupts = interrupts
        self._deadline = deadline
        self._presenter = presenter
        self._say = presenter.say
        self._warn = presenter.warn
        self._stops = StopGroup(
            planned.supervisord,
            Path(planned.scope.layout.takeover_notes(planned.app.name)),
            interrupts,
            lambda line: presenter.say(f"  {line}"),
            deadline,
        )
        self._ending: dict[str, tuple[Move, Pair, float]] = {}  # since when
        self._to_start: dict[InstanceName, tuple[Pair, str]] = {}  # and how the process ended
        self._first = 0.0  # when the first of these could start; on the monotonic clock
        self._failure: UnitqError | None = None
        self.left: list[tuple[str, Process]] = []
        self.killed: list[str] = []
        self.moved: set[str] = set()

    @property
    def unfinished(self) -> Mapping[str, int]:
        """Processes of Supervisor's that got their signal and are not waited for; with their PIDs.

        One with another PID by now is another, which got none.
        """
        return self._stops.unfinished

    def move(self, revision: Revision, move: Move) -> bool:
        """Moves what is left of a program; False: a Ctrl-C came before all were begun.

        After a failure, too, none is begun, and those that have begun finish; then it is raised.
        GaveUpError and DetachedError are raised at once.
        """
        waiting = list(in_order(move.pairs))
        width = self._planned.width(move)
        self._failure = None
        try:
            while True:
                while (
                    waiting and self._may_begin and len(self._ending) + len(self._to_start) < width
                ):
                    self._begin(move, waiting.pop(0))
                if self._ending and (not self._to_start or self._soon()):
                    self._stops.wait()
                    self._turn()
                elif self._to_start:
                    self._start(revision)
                else:
                    break
        finally:
            self._stops.close()
            self._ending.clear()
            self._to_start.clear()
        if self._failure is not None:
            raise self._failure
        return not waiting

    @property
    def _may_begin(self) -> bool:
        return self._failure is None and not self._interrupts.count

    # --- the way out ------------------------------------------------------------------------------

    def _begin(self, move: Move, pair: Pair) -> None:
        self._ending[pair.process] = (move, pair, monotonic())
        self._stops.begin(self._planned.task(move, pair))

    def _soon(self) -> bool:
        """Whether to wait a moment with the start of those that are gone."""
        return self._stops.soon and monotonic() - self._first < _TOGETHER

    def _turn(self) -> None:
        self._stops.turn()
        for process, result in self._stops.results().items():
            move, pair, begun = self._ending.pop(process)
            if isinstance(result, UnitqError):
                self._fail(result)
            else:
                self._release(move, pair, result, monotonic() - begun)

    def _release(self, move: Move, pair: Pair, stopped: Stopped, seconds: float) -> None:
        """Supervisor starts it no more."""
        if stopped.killed:
            self.killed.append(pair.process)
            self._warn(
                f"{pair.process} took its stopwaitsecs, {move.settings.stopwaitsecs} s, and "
                "Supervisor may have killed it"
            )
        self.left += [(pair.process, process) for process in stopped.left]
        for process in stopped.left:
            self._warn(f"{pair.process} leaves PID {process.pid} behind: {command(process)}")
        was = f"ended under Supervisor after {duration(seconds)}, " if stopped.signalled else ""
        if pair.serving:
            self._healthy(pair, was)
            return
        if not self._to_start:
            self._first = monotonic()
        self._to_start[pair.instance] = (pair, was)

    def _fail(self, error: UnitqError) -> None:
        """Keeps the first failure, which is raised at the end, and warns of any other at once."""
        if self._failure is not None:
            self._warn(error.message)
            return
        self._failure = error
        rest = [*self._ending, *(pair.process for pair, _ in self._to_start.values())]
        if rest:
            self._warn(f"{error.message}; no other is begun, and {', '.join(rest)} is finished")

    # --- the way in -------------------------------------------------------------------------------

    def _start(self, revision: Revision) -> None:
        """Starts the instances of those that are gone, and waits until they are healthy."""
        asked = self._interrupts.count
        left, self._to_start = self._to_start, {}
        while left:
            # Those that have begun finish, so a Ctrl-C from before does not count here.
            self._interrupts.count = 0
            try:
                outcome = self.roll(revision, left)
            finally:
                if self._interrupts.paused:
                    self._interrupts.paused = False
                    asked = max(asked, 1)
                self._interrupts.count += asked
                asked = self._interrupts.count
            slots, before = outcome.rollout.instances, len(left)
            for name, (pair, was) in list(left.items()):
                if slots[name].phase is Phase.HEALTHY:
                    self._healthy(pair, was)
                    del left[name]
            for slot in outcome.failed:
                left.pop(slot.instance, None)
                lines = [f"  | {line}" for line in outcome.logs.get(slot.instance, ())]
                self._fail(
                    _UnitFailedError(
                        f"{slot.instance} failed: {slot.reason}", problems=tuple(lines)
                    )
                )
            if left and outcome.gave_up:
                raise GaveUpError("gave up waiting (--timeout)")
            if left and (asked > 1 or outcome.detached):
                raise DetachedError("detached; systemd starts what was ordered")
            if len(left) == before and outcome.failed:
                return  # one that was moved earlier has failed, so that none of these may start

    def _healthy(self, pair: Pair, was: str) -> None:
        self.moved.add(pair.process)
        self._say(f"{pair.process}: {was}{pair.instance} is healthy")

    def roll(self, revision: Revision, started: Iterable[InstanceName]) -> Outcome:
        """A rollout that starts these and leaves all others as they are."""
        rest = None if self._deadline is None else max(0.0, self._deadline - monotonic())
        operation = Operation(
            "takeover",
            self._planned.scope,
            _Meanwhile(self._presenter, self._turn, bool(self._ending)),
            Waiting(rest),
            systemd=self._systemd,
            interrupts=self._interrupts,
        )
        wanted = set(started)
        steps = tuple(
            PlannedChange(name, Change.START, "taken over") if name in wanted else keep(name)
            for name in operation.running(revision)
        )
        return operation.roll(revision, steps, revision.rollout, promoted=True)


class _Meanwhile(Presenter):
    """Looks after those that end while others start; shows notes only."""

    def __init__(self, presenter: Presenter, turn: Callable[[], None], busy: bool) -> None:
        self._presenter = presenter
        self._turn = turn
        self.interval = _OFTEN if busy else None

    def say(self, line: str) -> None:
        """Passes it on."""
        self._presenter.say(line)

    def note(self, *lines: str) -> None:
        """Passes them on."""
        self._presenter.note(*lines)

    @contextmanager
    def progress(
        self,
        jobs: InFlightTracker | None,  # noqa: ARG002
        keep: Callable[[str, str], None] | None,  # noqa: ARG002
    ) -> Iterator[Progress]:
        """It is the progress, too."""
        yield self

    def update(self, rollout: Rollout, seen: Mapping[InstanceName, Observed], now: float) -> None:  # noqa: ARG002
        """Called after each step of the rollout's loop."""
        self._turn()

    def stopping(self, stop: Stop) -> None:
        """Said by the takeover itself."""
