"""`unitq ctl`: supervisorctl's arguments, output and exit codes, on top of unitq's own engine.

Standard output has what supervisorctl would print there, and nothing else. What unitq has to say
besides goes to standard error.
"""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import click

from unitq.cli.output import echo, echo_text
from unitq.cli.scope import Scope
from unitq.errors import ConfigError, Exit, NoMatchError, UnitqError
from unitq.supervisor.ctl import format as core
from unitq.supervisor.ctl.format import Code

if TYPE_CHECKING:
    from collections.abc import Callable

    from unitq.supervisor.ctl.fleet import Fleet

_HERE = frozenset({"", "localhost", "127.0.0.1", "::1", "*"})


class Call(NamedTuple):
    """One action, as it was typed."""

    scope: Scope
    action: str
    words: list[str]

    def wrong(self, message: str, code: Code = Code.GENERIC) -> Code:
        """Says what is wrong with the arguments, and what the action takes."""
        from unitq.supervisor.ctl.help import ACTIONS

        echo(message)
        echo_text(ACTIONS[self.action])
        return code


def status(call: Call) -> Code:
    """The state of each process."""
    from unitq.supervisor.ctl.fleet import ambiguous, look

    fleet = look(call.scope)
    code = Code.OK
    asked = list(fleet.names.ordered())
    if call.words and "all" not in call.words:
        asked = []
        for word in call.words:
            found = fleet.names.find(word)
            asked += [one for one in fleet.names.ordered() if one in found.processes]
            if not found.processes:
                why = "no such process" if found.single else "no such group"
                echo(core.error(found.name, ambiguous(found) if found.apps else why))
                code = Code.STATUS_UNKNOWN
    states = fleet.states()
    rows = [(fleet.names.of(one), *states[one]) for one in asked]
    for line in core.status_lines(rows):
        echo(line)
    if any(state.stopped for _, state, _ in rows):
        code = Code.STATUS_NOT_RUNNING
    return code


def pid(call: Call) -> Code:
    """The PID of each process."""
    from unitq.supervisor.ctl.fleet import ambiguous, look

    if not call.words:
        return instead(call)
    fleet = look(call.scope)
    if "all" in call.words:
        for process in fleet.names.ordered():
            echo(str(fleet.pid(process)))
        return Code.OK
    code = Code.OK
    for word in call.words:
        found = fleet.names.find(word)
        # A group has no PID: getProcessInfo takes none (supervisor/rpcinterface.py).
        if not found.processes or (":" in word and not found.single):
            if found.apps:
                ambiguous(found)
            echo(f"No such process {word}")
            code = Code.GENERIC
            continue
        for process in found.processes:
            number = fleet.pid(process)
            echo(str(number))
            if not number:
                code = Code.NOT_RUNNING
    return code


def version(call: Call) -> Code:
    """The version of Supervisor that the answers are those of."""
    from unitq import __version__

    if call.words:
        return call.wrong("Error: version accepts no arguments")
    echo(core.VERSION)
    echo(f"unitq {__version__}, which answers as supervisorctl {core.VERSION} does", err=True)
    return Code.OK


def help_(call: Call) -> Code:
    """What there is, or what one action does."""
    from unitq.supervisor.ctl.help import ACTIONS, overview

    topic = " ".join(call.words)
    if not topic:
        echo_text(overview())
    else:
        if topic in ACTIONS:
            echo_text(ACTIONS[topic])
        else:
            echo(f"*** No help on {topic}")
    return Code.OK


def instead(call: Call) -> Code:
    """What has no counterpart: why, and what to type."""
    from unitq.supervisor.ctl.help import INSTEAD

    _say(f"{call.action}: {INSTEAD[call.action]}")
    return Code.UNIMPLEMENTED


def add(call: Call) -> Code:
    """A group that is there already is answered as Supervisor does."""
    from unitq.supervisor.ctl.fleet import look

    code = Code.OK
    fleet: Fleet | None
    try:
        fleet = look(call.scope)
    except NoMatchError:
        fleet = None
    for word in call.words:
        if fleet and fleet.names.find(f"{word}:*").processes:
            echo("ERROR: process group already active")
        else:
            echo(f"ERROR: no such process/group: {word}")
            code = Code.GENERIC
    if code is not Code.OK:
        instead(call)
    return code


def quit_(_call: Call) -> Code:
    """Supervisorctl prints an empty line."""
    echo("")
    return Code.OK


def _act(call: Call) -> Code:
    from unitq.cli.ctl import actions

    return actions.act(call)


def _signal(call: Call) -> Code:
    from unitq.cli.ctl import actions

    return actions.signal(call)


def _reread(call: Call) -> Code:
    from unitq.cli.ctl import config

    return config.reread(call)


def _update(call: Call) -> Code:
    from unitq.cli.ctl import config

    return config.update(call)


def _avail(call: Call) -> Code:
    from unitq.cli.ctl import config

    return config.avail(call)


def _tail(call: Call) -> Code:
    from unitq.cli.ctl import logs

    return logs.tail(call)


def _clear(call: Call) -> Code:
    from unitq.cli.ctl import logs

    return logs.clear(call)


_ACTIONS: dict[str, Callable[[Call], Code]] = {
    "add": add, "avail": _avail, "clear": _clear, "exit": quit_, "fg": instead, "help": help_,
    "maintail": instead, "open": instead, "pid": pid, "quit": quit_, "reload": instead,
    "remove": instead, "reread": _reread, "restart": _act, "shutdown": instead, "signal": _signal,
    "start": _act, "status": status, "stop": _act, "tail": _tail, "update": _update,
    "version": version,
}  # fmt: skip


@click.command(
    context_settings={"allow_interspersed_args": False},
    epilog="""\b
Examples:
  unitq ctl status
  unitq ctl restart sms:*             rolling, as `unitq restart sms`
  unitq ctl tail -f sms:sms_00
  unitq ctl help restart
  ln -s "$(command -v unitq)" /usr/local/bin/supervisorctl

\b
Exit codes are supervisorctl's, not unitq's: 0 ok; 1 failed; 2 wrong arguments; of `status` 3
something does not run, 4 no such process; of others 3 there is no such thing, 7 it does not run.
""",
)
@click.option("--debug", is_flag=True, help="Show a traceback where something fails.")
@click.option("--user", is_flag=True, help="Your own systemd units; no root needed.")
@click.option("-a", "--app", metavar="APP", help="The app, where there are several.")
@click.option(
    "-c", "--configuration", "--config", metavar="FILE",
    help="A unitq.toml (*.toml); any other is Supervisor's own, and not read.",
)  # fmt: skip
@click.option(
    "-s", "--serverurl", metavar="URL", help="Ignored; refused where it names another machine."
)
@click.option("-u", "--username", metavar="NAME", help="Ignored: there is no server to log in to.")
@click.option("-p", "--password", metavar="TEXT", help="Ignored, as -u.")
@click.option(
    "-r", "--history-file", "--history_file", metavar="FILE", help="Ignored: there is no shell."
)
@click.option("-i", "--interactive", is_flag=True, help="Ignored, as -r; the exit code is 0.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[ACTION [ARGUMENT]...]")
def ctl(
    words: tuple[str, ...],
    app: str | None,
    configuration: str | None,
    serverurl: str | None,
    interactive: bool,
    user: bool,
    debug: bool,  # noqa: ARG001  (main.py looks for it)
    username: str | None,  # noqa: ARG001
    password: str | None,
    history_file: str | None,  # noqa: ARG001
) -> int:  # fmt: skip
    """Answer as supervisorctl does, for scripts that call it.

    The same arguments, lines and exit codes; `restart` is rolling, `stop` lets jobs finish,
    `reread` is `unitq plan`, `update` is `unitq deploy`. A symlink named supervisorctl does the
    same. What is different: docs/leaving-supervisor.md.
    """
    if password:
        # What was typed is kept in locks and reports, which everybody may read.
        sys.argv[1:] = ["…" if password in word else word for word in sys.argv[1:]]
    scope = _scope(app, configuration, user=user)
    _refuse_other_machines(serverurl)
    typed = " ".join(words).split()
    asks = not typed or interactive
    if asks:
        _say("there is no supervisor shell: this is `status`, and the end" if not typed else
             "-i: there is no supervisor shell")  # fmt: skip
    code = _answered(Call(scope, typed[0] if typed else "status", typed[1:]))
    if asks and _commands_are_waiting():
        _say("what stands on the standard input is not read: `supervisorctl ACTION` for each")
        return Code.GENERIC
    return Code.OK if asks else code


def _answered(call: Call) -> Code:
    action = _ACTIONS.get(call.action)
    if action is None:
        echo(f"*** Unknown syntax: {' '.join([call.action, *call.words])}")
        return Code.GENERIC
    click.get_current_context().obj = call.scope
    try:
        return action(call)
    except UnitqError as error:
        # main() shows it. supervisorctl's codes say: no idea; nobody there; it failed.
        if call.action == "status":
            error.exit = Exit(Code.STATUS_UNKNOWN)
        elif isinstance(error, NoMatchError):
            error.exit = Exit(Code.NOT_RUNNING)
        else:
            error.exit = Exit(Code.GENERIC)
        raise


def _scope(app: str | None, configuration: str | None, *, user: bool) -> Scope:
    before = click.get_current_context().obj
    scope = before if isinstance(before, Scope) else Scope()
    if app is not None:
        scope = scope._replace(app=app)
    if user:
        scope = scope._replace(user=True)
    if configuration is not None and configuration.endswith(".toml"):
        scope = scope._replace(config=configuration)
    return scope


def _refuse_other_machines(url: str | None) -> None:
    """Raises ConfigError: `-s http://web2:9001 stop all` must not stop what is here."""
    if url is None:
        return
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        host = url
    if parts.scheme != "unix" and host not in _HERE:
        raise ConfigError(
            f"-s {url}: unitq manages the machine that it runs on",
            hint=f"ssh {host} unitq ctl ACTION",
        )


def _commands_are_waiting() -> bool:
    """Whether standard input is a file or a pipe, which a script may have put commands into."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def _say(words: str) -> None:
    echo(f"unitq: {words}", err=True)
