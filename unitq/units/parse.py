"""What a unit text that unitq has written says of its worker. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple


class Told(NamedTuple):
    """What is of interest of a worker's unit."""

    command: str  # with the release's own programs as paths below it, without systemd's escapes
    stop_signal: str
    unlimited: bool  # a job takes as long as it takes
    user: str = ""  # that it runs as; empty: who systemd itself runs as
    dynamic: bool = False  # systemd makes that account up (DynamicUser=)
    group: str = ""
    groups: tuple[str, ...] = ()  # besides
    directives: frozenset[str] = frozenset()  # the names of all that it sets


YES = ("1", "yes", "y", "true", "t", "on")  # systemd.syntax(7)


def told(text: str, pin: str) -> Told | None:
    """What the text says; None: it starts nothing. `pin` is that of the worker's instances."""
    command = _last(text, "ExecStart")
    if not command:
        return None
    # Programs of the release are written by way of the pin; see cmdline/exec_line.py.
    command = re.sub(rf"{re.escape(pin.replace('%', '%%'))}/[^/\s]+/release/", "./", command)
    command = command.replace("%%", "%").replace("$$", "$")
    return Told(
        command,
        _last(text, "KillSignal") or "SIGTERM",  # systemd.kill(5)
        _last(text, "TimeoutStopSec") == "infinity",
        _last(text, "User"),
        _last(text, "DynamicUser").lower() in YES,
        _last(text, "Group"),
        tuple(" ".join(re.findall(r"(?m)^SupplementaryGroups=(.*)$", text)).split()),
        frozenset(re.findall(r"(?m)^([A-Za-z]+)=", text)),
    )


def _last(text: str, directive: str) -> str:
    """The value of the last line of that name; it wins."""
    found = re.findall(rf"(?m)^{directive}=(.*)$", text)
    return found[-1].strip() if found else ""
