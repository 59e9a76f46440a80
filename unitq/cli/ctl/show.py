"""`unitq ctl` status, pid, tail, version: the actions that change nothing."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from unitq import __version__
from unitq.cli.ctl.call import refuse, say, why
from unitq.cli.output import STDOUT, echo, echo_lines, echo_text
from unitq.errors import UnitqError
from unitq.supervisor.ctl.fleet import look
from unitq.supervisor.ctl.format import VERSION, Code, error, status_lines
from unitq.systemd import journal

if TYPE_CHECKING:
    from unitq.cli.ctl.call import Call

_BYTES = 1600  # supervisorctl's default


def status(call: Call) -> Code:
    """Prints the state of each process."""
    fleet = look(call.scope)
    code = Code.OK
    asked = list(fleet.names.in_order())
    if call.words and "all" not in call.words:
        asked = []
        for word in call.words:
            match = fleet.names.find(word)
            asked += [process for process in fleet.names.in_order() if process in match.processes]
            if not match.processes:
                refuse(match)
                code = Code.STATUS_UNKNOWN
    states = fleet.states()
    rows = [(fleet.names.of(process), *states[process]) for process in asked]
    for line in status_lines(rows):
        echo(line)
    if any(state.stopped for _, state, _ in rows):
        code = Code.STATUS_NOT_RUNNING
    return code


def pid(call: Call) -> Code:
    """Prints the PID of each process."""
    fleet = look(call.scope)
    if "all" in call.words:
        for process in fleet.names.in_order():
            echo(str(fleet.pid(process)))
        return Code.OK
    code = Code.OK
    for word in call.words:
        match = fleet.names.find(word)
        # A group has no PID: getProcessInfo takes none (supervisor/rpcinterface.py).
        if not match.processes or (":" in word and not match.single):
            why(match)
            echo(f"No such process {word}")
            code = Code.GENERIC
            continue
        for process in match.processes:
            number = fleet.pid(process)
            echo(str(number))
            if not number:
                code = Code.NOT_RUNNING
    return code


def version(call: Call) -> Code:
    """Prints the version of Supervisor that unitq answers as."""
    if call.words:
        return call.wrong("Error: version accepts no arguments")
    echo(VERSION)
    say(f"version {__version__}, which answers as supervisorctl {VERSION} does")
    return Code.OK


def tail(call: Call) -> Code:
    """Prints the end of a process's output; with -f what follows."""
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
    match = fleet.names.find(name)
    if not match.single or len(match.processes) != 1:
        echo(error(name, why(match) if match.apps else "no such process name"))
        return Code.GENERIC
    if channel == "stderr":
        say("the journal has both streams as one: this is all of it")
    unit = fleet.instances[match.processes[0]].unit
    user = call.scope.user
    if follow:
        echo("==> Press Ctrl-C to exit <==")
        return _follow(journal.follow(unit, user=user))
    count = int(modifier[1:]) if modifier else _BYTES
    try:
        text = journal.unit_output(unit, count, user=user)
    except UnitqError as problem:
        echo(error(name, "unknown error reading log"))
        say(problem.message)
        return Code.GENERIC
    echo_text(text.decode(errors="surrogateescape") + "\n")
    return Code.OK


def _follow(arguments: list[str]) -> Code:
    with suppress(KeyboardInterrupt):
        for lines in journal.stream(arguments, STDOUT):
            echo_lines(line.decode(errors="surrogateescape") for line in lines)
    return Code.OK
