"""`unitq ctl` tail and clear: what a worker printed is in the journal."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from unitq.cli.output import STDOUT, echo, echo_lines, echo_text
from unitq.errors import UnitqError
from unitq.supervisor.ctl.fleet import ambiguous, look
from unitq.supervisor.ctl.format import Code, error
from unitq.systemd import journal

if TYPE_CHECKING:
    from unitq.cli.ctl.main import Call

_BYTES = 1600  # what supervisorctl shows where nobody says how much


def tail(call: Call) -> Code:
    """The last bytes of what a process has printed, or all that it prints from now on."""
    words = list(call.words)
    if not words:
        return call.wrong("Error: too few arguments")
    if len(words) > 3:
        return call.wrong("Error: too many arguments")
    modifier = words.pop(0) if words[0].startswith("-") else ""
    if not words:
        echo("Error: tail requires process name")
        return Code.GENERIC
    name, channel = words[0], (words[-1].lower() if len(words) > 1 else "stdout")
    if channel not in ("stdout", "stderr"):
        echo(f"Error: bad channel {channel!r}")
        return Code.GENERIC
    follow = modifier == "-f"
    if modifier and not follow and not re.fullmatch("-[0-9]{1,9}", modifier):
        echo(f"Error: bad argument {modifier}")
        return Code.GENERIC
    fleet = look(call.scope)
    found = fleet.names.find(name)
    if not found.single or len(found.processes) != 1:
        why = ambiguous(found) if found.apps else "no such process name"
        echo(error(name, why))
        return Code.GENERIC
    if channel == "stderr":
        echo("unitq: the journal has both streams as one: this is all of it", err=True)
    unit = fleet.instances[found.processes[0]].unit
    user = call.scope.user
    if follow:
        echo("==> Press Ctrl-C to exit <==")
        return _followed(journal.follow(unit, user=user))
    count = int(modifier[1:]) if modifier else _BYTES
    try:
        text = journal.printed(unit, count, user=user)
    except UnitqError as problem:
        echo(error(name, "unknown error reading log"))
        echo(f"unitq: {problem.message}", err=True)
        return Code.GENERIC
    echo_text(text.decode(errors="surrogateescape") + "\n")
    return Code.OK


def _followed(arguments: list[str]) -> Code:
    with suppress(KeyboardInterrupt):
        for lines in journal.stream(arguments, STDOUT):
            echo_lines(line.decode(errors="surrogateescape") for line in lines)
    return Code.OK


def clear(call: Call) -> Code:
    """Clears nothing, and says so: nothing of a single unit can be deleted from the journal."""
    if not call.words:
        return call.wrong("Error: clear requires a process name")
    fleet = look(call.scope)
    code = Code.OK
    for word in call.words if "all" not in call.words else ():
        found = fleet.names.find(word)
        if not found.single or not found.processes:
            why = ambiguous(found) if found.apps else "no such process"
            echo(error(found.name, why))
            code = Code.GENERIC
    if code is Code.OK:
        echo(
            "unitq: nothing was cleared: the journal keeps to limits of its own (SystemMaxUse= in "
            "journald.conf); `unitq logs --since TIME` leaves out what is older",
            err=True,
        )
    return code
