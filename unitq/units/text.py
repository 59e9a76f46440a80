"""Unit texts as values: what one says, and how it changes. Pure."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# The first line of a pin, see rollout/plan.py: an operator's own file for an instance has none.
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


YES = ("1", "yes", "y", "true", "t", "on")  # systemd.syntax(7)


class WorkerUnit(NamedTuple):
    """What a worker's unit says."""

    command: str  # with the release's own programs as paths below it, without systemd's escapes
    stop_signal: str
    unlimited: bool  # a job takes as long as it takes
    user: str = ""  # that it runs as; empty: who systemd itself runs as
    dynamic: bool = False  # systemd makes that account up (DynamicUser=)
    group: str = ""
    groups: tuple[str, ...] = ()  # besides
    directives: frozenset[str] = frozenset()  # the names of all that it sets


def settings(text: str) -> Iterator[tuple[str, str]]:
    """Yields names and values, lines that continue in the next one joined (systemd.syntax(7))."""
    joined = re.sub(r"\\\n(?:[ \t]*[#;].*\n)*", " ", text)
    for line in joined.splitlines():
        name, sign, value = line.strip().partition("=")
        if sign and name[:1] not in ("#", ";", "["):
            yield name.strip(), value.strip()


def read_unit(text: str, pin: str) -> WorkerUnit | None:
    """Returns what the text says; None: it starts nothing. `pin` is of the worker's instances."""
    values = dict(settings(text))  # the last line of a name wins
    command = values.get("ExecStart")
    if not command:
        return None
    # Programs of the release are written by way of the pin; see cmdline/exec_line.py.
    command = re.sub(rf"{re.escape(pin.replace('%', '%%'))}/[^/\s]+/release/", "./", command)
    groups = (value for name, value in settings(text) if name == "SupplementaryGroups")
    return WorkerUnit(
        command.replace("%%", "%").replace("$$", "$"),
        values.get("KillSignal") or "SIGTERM",  # systemd.kill(5)
        values.get("TimeoutStopSec") == "infinity",
        values.get("User", ""),
        values.get("DynamicUser", "").lower() in YES,
        values.get("Group", ""),
        tuple(" ".join(groups).split()),
        frozenset(values),
    )
