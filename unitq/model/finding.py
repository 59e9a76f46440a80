"""What `check` found."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Level(StrEnum):
    """An error stops a deploy; a warning may lose jobs; a note is for information."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Certainty(StrEnum):
    """How sure a finding is that what it says will happen."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"


BY_LEVEL = {
    Level.ERROR: Certainty.CERTAIN,
    Level.WARNING: Certainty.LIKELY,
    Level.NOTE: Certainty.POSSIBLE,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `check` found, with its place in the configuration.

    What is wrong, why it matters (unless that is plain), and what to write. A finding that has a
    `name` can be silenced by it: `allow = ["pipe"]`. One that guards root has none.
    """

    level: Level
    place: str
    message: str
    hint: str = ""
    why: str = ""
    name: str = ""
    sure: Certainty | None = None  # None: as its level says

    @property
    def certainty(self) -> Certainty:
        return self.sure or BY_LEVEL[self.level]

    @property
    def lines(self) -> tuple[str, ...]:
        """Returns a line each: what is wrong, why it matters, what to write."""
        more = (f"  {part}" for part in (self.why, self.hint) if part)
        name = f" [{self.name}, {self.certainty}]" if self.name else ""
        return (f"{self.level}: {self.place}: {self.message}{name}", *more)

    @property
    def text(self) -> str:
        """Returns the lines as one text."""
        return "\n".join(self.lines)


error = partial(Finding, Level.ERROR)
warning = partial(Finding, Level.WARNING)
note = partial(Finding, Level.NOTE)


def shared(key: str, places: Sequence[str], workers: int) -> Sequence[str]:
    """Returns the places of a value; the app's key alone where all of its workers have it."""
    return (key,) if len(places) == workers > 1 else places


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What was found on this machine of one worker."""

    heads: Mapping[str, str] = field(default_factory=dict)  # of scripts, by path as written
    environment: Mapping[str, str] = field(default_factory=dict)  # of the environment files
    settings: Mapping[str, str] = field(default_factory=dict)  # its framework's files, by path
    in_place: bool = False  # no release moves a link to its directory
