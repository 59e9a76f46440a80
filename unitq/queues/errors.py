"""What goes wrong with Redis, for operators."""

from __future__ import annotations

from unitq.errors import UnitqError


class QueuesError(UnitqError):
    """Redis cannot be asked, or does not answer in time."""
