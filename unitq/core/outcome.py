"""What became of a rollout, and the exit code that says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unitq.core.errors import Exit
from unitq.core.rollout import Phase
from unitq.core.sight import End

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.core.names import InstanceName
    from unitq.core.plan import DrainLimit
    from unitq.core.queue import Job
    from unitq.core.rollout import InstanceState, Rollout
    from unitq.core.sight import Seen


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a rollout, from observation."""

    rollout: Rollout
    seen: Mapping[InstanceName, Seen]
    seconds: float
    least_serving: Mapping[str, int]  # per worker, while the rollout ran
    interrupted: bool = False
    paused: bool = False
    detached: bool = False
    gave_up: bool = False
    broken: str = ""  # what nobody expected, in words; the rollout ended there
    logs: Mapping[InstanceName, tuple[str, ...]] = field(default_factory=dict)
    # What those had in hand that were told to stop, when it was last seen.
    jobs: Mapping[InstanceName, tuple[Job, ...]] = field(default_factory=dict)
    # Where jobs do not say who has them: those in hand all the while, one of which may be its own.
    possible: Mapping[InstanceName, tuple[Job, ...]] = field(default_factory=dict)
    # Taken from their queue by workers that ended before they began them.
    dropped: tuple[Job, ...] = ()
    # Of those that were killed and whose job was to be put back: why it was not; empty: it was.
    requeued: Mapping[InstanceName, str] = field(default_factory=dict)
    limits: tuple[DrainLimit, ...] = ()  # of the old processes whose stop_timeout has changed

    @property
    def failed(self) -> tuple[InstanceState, ...]:
        return tuple(s for s in self.rollout.instances.values() if s.phase is Phase.FAILED)

    @property
    def killed(self) -> tuple[InstanceState, ...]:
        """The instances whose old process was killed: a job may be lost."""
        return self._ended(End.KILLED)

    @property
    def died(self) -> tuple[InstanceState, ...]:
        """The instances whose old process did not end as a drain ends: a job may be lost."""
        return self._ended(End.DIED, End.UNKNOWN)

    def _ended(self, *ends: End) -> tuple[InstanceState, ...]:
        slots = self.rollout.instances.values()
        return tuple(slot for slot in slots if slot.ending and slot.ending.end in ends)

    def exit(self, *, fail_on_kill: bool = False) -> Exit:
        """The exit code: one outcome each."""
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
