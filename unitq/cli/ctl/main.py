"""`unitq ctl`: supervisorctl's arguments, output and exit codes, on top of unitq's own engine.

Standard output has what supervisorctl would print there, and nothing else. unitq's own messages go
to standard error.
"""

from __future__ import annotations

import sys
from importlib import import_module
from urllib.parse import urlsplit

import click

from unitq.api import App
from unitq.cli.ctl.call import Call, say
from unitq.cli.output import echo
from unitq.context import Scope
from unitq.errors import ConfigError, Exit, NoMatchError, UnitqError
from unitq.supervisor.ctl.format import Code
from unitq.supervisor.ctl.help import INSTEAD

_HERE = frozenset({"", "localhost", "127.0.0.1", "::1", "*"})


_ACTIONS = {
    "avail": "config:avail", "pid": "show:pid", "reread": "config:reread",
    "restart": "actions:act", "signal": "actions:signal", "start": "actions:act",
    "status": "show:status", "stop": "actions:act", "tail": "show:tail",
    "update": "config:update", "version": "show:version",
}  # fmt: skip


@click.command(
    context_settings={"allow_interspersed_args": False},
    epilog="""\b
Examples:
  unitq ctl status
  unitq ctl restart sms:*             rolling, as `unitq restart sms`
  unitq ctl tail -f sms:sms_00
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
@click.option("-i", "--interactive", is_flag=True, help="Not in unitq: there is no shell.")
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
    if interactive or not typed:
        return _not_here("")
    return _answer(Call(scope, typed[0], typed[1:]))


def _not_here(action: str) -> Code:
    say(f"not in unitq: {INSTEAD[action]}")
    return Code.UNIMPLEMENTED


def _answer(call: Call) -> Code:
    action = _ACTIONS.get(call.action)
    if call.action in INSTEAD and (action is None or not call.words):
        return _not_here(call.action)
    if action is None:
        echo(f"*** Unknown syntax: {' '.join([call.action, *call.words])}")
        return Code.GENERIC
    click.get_current_context().obj = App(call.scope)
    try:
        module, _, name = action.partition(":")
        code: Code = getattr(import_module(f"unitq.cli.ctl.{module}"), name)(call)
        return code
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
    scope = before.scope if isinstance(before, App) else Scope()
    if app is not None:
        scope = scope.replace(app=app)
    if user:
        scope = scope.replace(user=True)
    if configuration is not None and configuration.endswith(".toml"):
        scope = scope.replace(config=configuration)
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
