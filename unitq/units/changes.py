"""Changes of unit files, as values. Pure."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

# The first line of a pin, see `_pins`: an operator's own file for an instance has none.
PIN = "# A pin: this instance still runs by the text below, and a rollout will take it away.\n"


@dataclass(frozen=True, slots=True)
class FileChange:
    """A unit file that is written, replaced or deleted. None: there is no such file."""

    name: str
    before: str | None
    after: str | None

    @property
    def diff(self) -> str:
        """The change as a unified diff."""
        return "".join(
            difflib.unified_diff(
                (self.before or "").splitlines(keepends=True),
                (self.after or "").splitlines(keepends=True),
                "/dev/null" if self.before is None else f"a/{self.name}",
                "/dev/null" if self.after is None else f"b/{self.name}",
            )
        )
