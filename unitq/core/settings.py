"""How a rollout is to go. Apart from model.py: every command reads these, most need no more.

Named tuples, not dataclasses: `status` pays for each definition, 0.1 ms against 1.
"""

from __future__ import annotations

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

    def of(self, instances: int) -> int:
        """The number meant for that many instances: Kubernetes' rounding (down), but at least 1."""
        return max(1, instances * self.number // 100 if self.percent else self.number)

    def __str__(self) -> str:
        return f"{self.number}%" if self.percent else str(self.number)


class RolloutSettings(NamedTuple):
    """How fast instances may be replaced, and when one counts as healthy."""

    max_unavailable: Share
    min_healthy: Duration
    start_timeout: Duration
