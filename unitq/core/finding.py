"""What `check` found."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Level(StrEnum):
    """An error stops a deploy; a warning may lose jobs; a note is for information."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `check` found, with its place in the configuration."""

    level: Level
    place: str
    message: str
    hint: str = ""

    @property
    def line(self) -> str:
        """Returns all of it in one line."""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.level}: {self.place}: {self.message}{hint}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found on this machine of one worker."""

    heads: Mapping[str, str] = field(default_factory=dict)  # of scripts, by path as written
    environment: Mapping[str, str] = field(default_factory=dict)  # of the environment files
