"""What the journal says of a unit and of its processes, as values. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What systemd says of a unit."""

    STARTED = "started"  # also: its start failed
    ENDED = "ended"
    RESTARTED = "restarted"  # systemd starts it again


class Event(NamedTuple):
    """One message of systemd's about a unit."""

    at: float  # seconds on CLOCK_MONOTONIC
    kind: Kind
    how: str = ""  # of an end, in words


class Print(NamedTuple):
    """A line that a process wrote."""

    time: float  # seconds since 1970
    text: str
    gap: bool = False  # not its own: journald says that it has left out lines before this time
