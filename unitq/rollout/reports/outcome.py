"""The outcome of a rollout, and its exit code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unitq.errors import Exit
from unitq.rollout.engine.instance import Phase
from unitq.systemd.exit_status import End

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.instances.state import Observed
    from unitq.model.names import InstanceName
    from unitq.queues.model import Job
    from unitq.revisions.model import Revision
    from unitq.rollout.engine.instance import InstanceState
    from unitq.rollout.engine.rollout import Rollout
    from unitq.rollout.plan import DrainLimit


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a rollout, as it was observed."""

    rollout: Rollout
    seen: Mapping[InstanceName, Observed]
    seconds: float
    least_serving: Mapping[str, int]  # per worker, while the rollout ran
    interrupted: bool = False
    paused: bool = False
    detached: bool = False
    gave_up: bool = False
    broken: str = ""  # an unexpected error, in words, that ended the rollout
    logs: Mapping[InstanceName, tuple[str, ...]] = field(default_factory=dict)
    # The jobs in flight of instances that were told to stop, as last seen.
    jobs: Mapping[InstanceName, tuple[Job, ...]] = field(default_factory=dict)
    # Where jobs do not say who has them: those in flight throughout, one of which may be its own.
    possible: Mapping[InstanceName, tuple[Job, ...]] = field(default_factory=dict)
    # Jobs that were taken from their queue by workers that ended before they began them.
    dropped: tuple[Job, ...] = ()
    # Of killed instances whose job had to be put back: why it was not; empty: it was.
    requeued: Mapping[InstanceName, str] = field(default_factory=dict)
    limits: tuple[DrainLimit, ...] = ()  # of the old processes whose stop_timeout has changed

    @property
    def failed(self) -> tuple[InstanceState, ...]:
        return tuple(
            state for state in self.rollout.instances.values() if state.phase is Phase.FAILED
        )

    @property
    def killed(self) -> tuple[InstanceState, ...]:
        """The instances whose old process was killed: a job may be lost."""
        return self._ended(End.KILLED)

    @property
    def died(self) -> tuple[InstanceState, ...]:
        """The instances whose old process did not end as a drain ends: a job may be lost."""
        return self._ended(End.DIED, End.UNKNOWN)

    def _ended(self, *ends: End) -> tuple[InstanceState, ...]:
        states = self.rollout.instances.values()
        return tuple(state for state in states if state.ending and state.ending.end in ends)

    def exit(self, *, fail_on_kill: bool = False) -> Exit:
        """Returns the exit code: one for each outcome."""
        if self.detached:
            return Exit.DETACHED
        if self.failed or self.broken:
            return Exit.DEGRADED
        if self.gave_up:
            return Exit.GAVE_UP_WAITING
        if self.interrupted and not self.rollout.complete:
            return Exit.INTERRUPTED
        if self.paused and not self.rollout.complete:
            return Exit.PAUSED
        if (self.killed or self.dropped) and fail_on_kill:
            return Exit.KILLED
        return Exit.OK


@dataclass(frozen=True, slots=True)
class RollbackOutcome:
    """The outcome of the rollback that followed a failure."""

    revision: Revision
    outcome: Outcome

    @property
    def whole(self) -> bool:
        """Whether everything is healthy on the old revision again."""
        outcome = self.outcome
        return outcome.rollout.complete and not outcome.failed and not outcome.broken

    @property
    def cut_short(self) -> bool:
        """Whether somebody ended it, or the wait for it, before it was complete."""
        ended = self.outcome.interrupted or self.outcome.paused or self.outcome.gave_up
        return ended and not self.outcome.rollout.complete

    @property
    def exit(self) -> Exit:
        """The exit code of a rollout that it followed."""
        if self.outcome.detached:
            return Exit.DETACHED
        return Exit.ROLLED_BACK if self.whole else Exit.DEGRADED
