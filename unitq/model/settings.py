"""How a rollout is to go. Apart from model.py: every command reads these, most need no more.

Named tuples, not dataclasses: `status` pays for each definition, 0.1 ms against 1.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple


class Duration(NamedTuple):
    """A time span: as the user wrote it, and in seconds (`inf` for "infinity")."""

    text: str
    seconds: float

    def __str__(self) -> str:
        return self.text


class Share(NamedTuple):
    """A number of instances, or a percentage of them."""

    number: int
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> Share:
        """Returns the share that "3" or "50%" is. Raises ValueError."""
        return cls(int(text.removesuffix("%")), text.endswith("%"))

    def down(self, instances: int) -> int:
        """The number meant for that many instances, a percentage rounded down."""
        return instances * self.number // 100 if self.percent else self.number

    def up(self, instances: int) -> int:
        """The number meant for that many instances, a percentage rounded up."""
        return -(-instances * self.number // 100) if self.percent else self.number

    def __str__(self) -> str:
        return f"{self.number}%" if self.percent else str(self.number)


def share(value: Share | str | int | None) -> Share | None:
    """Returns `2` or `"25%"` as a share; None stays None. Raises ValueError."""
    if value is None or isinstance(value, Share):
        return value
    digits, percent = str(value).removesuffix("%"), str(value).endswith("%")
    # Four digits at most: Python refuses to convert some thousands of them.
    if re.fullmatch("[0-9]{1,4}", digits) and 1 <= int(digits) <= (100 if percent else 4096):
        return Share(int(digits), percent)
    raise ValueError(f'expected a number from 1 or a percentage to "100%", got "{value}"')


class Promote(StrEnum):
    """What follows when the canaries are healthy."""

    AUTO = "auto"  # the rollout continues
    MANUAL = "manual"  # it waits for `unitq rollout promote`


class OnFailure(StrEnum):
    """What follows when more than max_failures instances have failed."""

    ROLLBACK = "rollback"  # back to the last stable revision, where there is one
    PAUSE = "pause"  # all is left as it is


class OnKilled(StrEnum):
    """What becomes of the in-flight job of a killed worker."""

    REPORT = "report"  # it is named
    REQUEUE = "requeue"  # and put back into its queue


class OnDrainTimeout(StrEnum):
    """What follows when a worker needs longer than its stop_timeout to finish its job."""

    KILL = "kill"  # SIGKILL, and the worker is named
    WAIT = "wait"  # for as long as it takes


class RolloutSettings(NamedTuple):
    """How fast instances may be replaced, when one counts as healthy, and what if not.

    The names are Kubernetes' (Deployment) and Nomad's (update block).
    """

    max_unavailable: Share
    min_healthy: Duration
    start_timeout: Duration  # until a process is there
    max_surge: Share = Share(0)
    canary: Share = Share(0)
    canary_soak: Duration = Duration("30s", 30.0)
    promote: Promote = Promote.AUTO
    healthy_deadline: Duration = Duration("2min", 120.0)  # from its start until it is healthy
    max_failures: int = 0
    on_failure: OnFailure = OnFailure.ROLLBACK
    on_drain_timeout: OnDrainTimeout = OnDrainTimeout.KILL

    def with_max_unavailable(self, max_unavailable: Share | None) -> RolloutSettings:
        """The same with what the command line says; None: it says nothing."""
        if max_unavailable is None:
            return self
        return self._replace(max_unavailable=max_unavailable)

    def surge(self, instances: int) -> int:
        """How many more processes than instances there may be: Kubernetes rounds it up."""
        return self.max_surge.up(instances)

    def unavailable(self, instances: int) -> int:
        """How many instances may be down at once: Kubernetes rounds it down.

        At least 1 where nothing may be started beside them, or nothing could ever be replaced.
        """
        least = 0 if self.surge(instances) else 1
        return max(least, self.max_unavailable.down(instances))

    def canaries(self, instances: int) -> int:
        """How many instances go first and are watched for canary_soak before any other."""
        return min(instances, self.canary.up(instances))
