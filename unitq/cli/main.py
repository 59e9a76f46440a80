"""The `unitq` command: its options, its sub-commands, and the one place where errors end."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from unitq.cli import output
from unitq.cli.output import details, echo, echo_lines, echo_text
from unitq.cli.scope import scope_options
from unitq.errors import Exit, UnitqError
from unitq.linux import changes

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from unitq.api import App

# Name, where it is, and its line in `unitq --help`. Listed here so that help and completion need
# not import every command, and a command imports only what it uses.
_COMMANDS = {
    "init": ("unitq.cli.setup:init", "Write a commented unitq.toml to start from."),
    "import": ("unitq.cli.import_:import_", "Write unitq.toml from a configuration of Supervisor."),
    "takeover": (
        "unitq.cli.takeover.main:takeover",
        "Move running workers from Supervisor to unitq.",
    ),
    "check": ("unitq.cli.deploy:check", "Look for mistakes in unitq.toml and on this machine."),
    "render": ("unitq.cli.deploy:render", "Print or write the systemd units."),
    "plan": ("unitq.cli.deploy:plan", "Show what a deploy would change."),
    "deploy": ("unitq.cli.deploy:deploy", "Install what unitq.toml says and roll it out."),
    "rollback": ("unitq.cli.rollback:rollback", "Roll an earlier revision out again."),
    "rollout": ("unitq.cli.rollout:rollout", "A rollout under way, paused, or cut off."),
    "status": (
        "unitq.cli.status.main:status",
        "Show what runs, and whether it runs the wanted code.",
    ),
    "queues": ("unitq.cli.queues.main:queues", "Show what waits in Redis, who takes it, how fast."),
    "orphans": ("unitq.cli.orphans.main:orphans", "Show what works for the app outside its units."),
    "history": ("unitq.cli.history:history", "Show what was deployed, and what became of it."),
    "show": ("unitq.cli.history:show", "Show one revision."),
    "diff": ("unitq.cli.history:diff", "Show how two revisions differ."),
    "presets": ("unitq.cli.presets:presets", "List the queue frameworks that unitq knows."),
    "releases": (
        "unitq.cli.releases:releases",
        "List the release directories that are needed.",
    ),
    "start": ("unitq.cli.instances:start", "Start what does not run."),
    "stop": ("unitq.cli.instances:stop", "Let workers finish their jobs and stop them."),
    "restart": ("unitq.cli.instances:restart", "Restart workers, a few at a time."),
    "recycle": ("unitq.cli.recycle:recycle", "Replace workers that are too large or too old."),
    "scale": ("unitq.cli.instances:scale", "Change how many instances there are."),
    "pause": ("unitq.cli.pause:pause", "Let workers finish their job and take no other."),
    "resume": ("unitq.cli.pause:resume", "Let paused workers take jobs again."),
    "signal": ("unitq.cli.signal:send_signal", "Send a signal to workers."),
    "logs": ("unitq.cli.logs:logs", "Show what workers printed."),
    "ctl": ("unitq.cli.ctl.main:ctl", "Answer as supervisorctl does, for scripts that call it."),
    "grant": ("unitq.cli.grant.main:grant", "Let a group deploy an app without root."),
    "remove": ("unitq.cli.instances:remove", "Stop an app and delete all that deploy installed."),
    "trust": ("unitq.cli.trust:trust", "Let an account decide what its workers run."),
    "schema": ("unitq.cli.setup:schema", "Print the JSON Schema of unitq.toml for editors."),
    "completion": ("unitq.cli.setup:completion", "Print the completion script for a shell."),
}


_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
# How `unitq --help` groups them.
GROUPS = {
    "Every day": (
        "deploy", "status", "logs", "restart", "rollback", "plan", "check", "start", "stop",
        "scale",
    ),
    "Look": ("queues", "orphans", "history", "show", "diff", "releases", "presets"),
    "Move in": ("init", "import", "takeover", "ctl", "grant", "trust", "completion"),
    "Rare": (
        "rollout", "pause", "resume", "recycle", "signal", "render", "schema", "remove",
    ),
}  # fmt: skip
# Commands of other tools, and what replaces them.
_ELSEWHERE = {
    "reread": "`unitq plan` shows what a changed unitq.toml would do",
    "update": "`unitq deploy` installs what unitq.toml says and rolls it out",
    "tail": "`unitq logs` shows what workers printed; -f follows",
    "fg": "`unitq logs -f` follows what workers print",
    "reload": "`unitq deploy` takes new code and settings, `unitq restart` starts all anew",
    "upgrade": "`unitq deploy` takes new code and settings",
    "install": "`unitq deploy` installs the units and starts the workers",
    "up": "`unitq deploy` installs the units and starts the workers",
    "down": "`unitq stop` lets workers finish their jobs and stops them",
    "shutdown": "`unitq stop` lets workers finish their jobs and stops them",
    "kill": "`unitq stop` lets workers finish; `unitq signal NAME` sends a signal",
    "pid": "`unitq status` shows the PIDs",
    "ps": "`unitq status` shows what runs",
    "list": "`unitq status` shows what runs",
    "avail": "`unitq status` shows what runs",
    "undo": "`unitq rollback` rolls an earlier revision out again",
    "uninstall": "`unitq remove` stops an app and deletes all that deploy installed",
}
# Supervisor's commands that `unitq ctl` takes.
_SUPERVISORS = ("reread", "update", "tail", "pid", "avail")


class LazyGroup(click.Group):
    """Imports a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name in _WORDS:
            return _WORDS[cmd_name]
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        # _COMMANDS has the help lines: click would import every command.
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(name, help=text)
            for name, (_, text) in _COMMANDS.items()
            if name.startswith(incomplete)
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        widest = max(map(len, _COMMANDS))
        for title, members in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(widest), _COMMANDS[name][1]) for name in members])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from unitq.model.suggest import nearest

            word = args[0]
            near = nearest(word, _COMMANDS)
            hint = f" Did you mean '{near}'?" if near else ""
            if word in _ELSEWHERE:
                more = f"; `unitq ctl {word}` answers as supervisorctl does"
                hint = f" {_ELSEWHERE[word]}{more * (word in _SUPERVISORS)}."
            raise click.UsageError(error.message + hint, ctx) from error


@click.command("help", hidden=True)
@click.argument("words", nargs=-1, metavar="[COMMAND]...")
@click.pass_context
def _help(context: click.Context, words: tuple[str, ...]) -> int:
    """Print the help of unitq, or of a command."""
    above = context.parent
    assert above is not None
    command: click.Command = above.command
    for word in words:
        if not isinstance(command, click.Group):
            raise click.UsageError(f"`{above.command_path}` has no commands of its own.", above)
        _, member, _ = command.resolve_command(above, [word])
        assert member is not None
        above = click.Context(member, parent=above, info_name=member.name, **cli.context_settings)
        command = member
    echo_text(command.get_help(above))
    return Exit.OK


@click.command("version", hidden=True)
def _version_() -> int:
    """Print the version."""
    _print_version()
    return Exit.OK


# Words for options.
_WORDS = {"help": _help, "version": _version_}

_EPILOG = """\b
First steps:
  unitq init              write /etc/unitq/APP.toml, then edit it
  unitq deploy            install the units and start the workers
  unitq deploy            after each change of the code: a rolling restart
  unitq status            what runs, and whether it runs the new code

Documentation: docs/ of the source, or `unitq COMMAND --help`.
"""


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001
    if not value or ctx.resilient_parsing:
        return
    _print_version()
    ctx.exit()


def _print_version() -> None:
    from unitq import __version__

    echo(f"unitq {__version__}")


@click.group(
    cls=LazyGroup,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@scope_options
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
    help="Print the version.",
)  # fmt: skip
def cli(app: App) -> None:
    """systemd units for queue workers, and deploys that lose no job."""


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits."""
    if arguments is None and os.path.basename(sys.argv[0]) == "supervisorctl":
        # A symlink for scripts that call Supervisor's.
        sys.argv[1:1] = ["ctl"]
    words = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in words
    output.begin()
    failed: Exception | KeyboardInterrupt | None = None
    changes.forget()
    try:
        code = cli.main(args=words, prog_name="unitq", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        echo_text(error.format_message())
        code = Exit.USAGE
    except click.ClickException as error:
        _show_usage(error)
        code, failed = Exit.USAGE, error
    except (click.Abort, KeyboardInterrupt) as error:
        # A second Ctrl-C would spoil the message and the exit code.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        left = "part of it may be done: `unitq status` shows what runs"
        echo(f"unitq: interrupted; {left if changes.begun() else 'nothing was changed'}", err=True)
        code, failed = Exit.INTERRUPTED, error
    except UnitqError as error:
        if debug:
            raise
        show(error)
        code, failed = error.exit, error
    except BrokenPipeError:
        # The reader of our output has gone, as in `unitq status | head -1`.
        output.discard()
        code = Exit.OK
    except Exception as error:
        if debug:
            raise
        _show_internal_error(error)
        code, failed = Exit.BROKEN, error
    if failed and _wants_json(words):
        _show_as_json(failed, code)
    output.flush()
    sys.exit(_code(code))


def _code(value: Any) -> int:
    return int(value) if isinstance(value, int) else int(Exit.OK)


def show(error: UnitqError) -> None:
    """Prints an error: what is wrong, each problem, and what to do about it."""
    echo_lines([f"unitq: {error.message}", *details(error)], err=True)


def _wants_json(words: list[str]) -> bool:
    """Returns whether --json was typed, even if the rest of the command line is wrong."""
    options = words[: words.index("--")] if "--" in words else words
    return "--json" in options and words[0] != "ctl"


def _show_as_json(error: Exception | KeyboardInterrupt, code: int) -> None:
    """Prints the error as the document; without a reader it is dropped."""
    with suppress(OSError):
        if isinstance(error, UnitqError):
            output.echo_json_error(error.message, code, hint=error.hint, problems=error.problems)
        elif isinstance(error, click.ClickException):
            output.echo_json_error(error.format_message(), code)
        elif isinstance(error, click.Abort | KeyboardInterrupt):
            output.echo_json_error("interrupted", code)
        else:
            output.echo_json_error(_of_the_disk(error) or _kind(error), code)


def _show_internal_error(error: Exception) -> None:
    """Prints an error that no other handler knows: the disk's, or a bug of unitq."""
    if words := _of_the_disk(error):
        echo(f"unitq: {words}", err=True)
        echo("  systemd finishes what was begun; `unitq status` tells how things are.", err=True)
        return
    echo(f"unitq: internal error: {_kind(error)}", err=True)
    echo("  This is a bug in unitq. The same command with --debug shows where.", err=True)


def _of_the_disk(error: Exception) -> str:
    """Returns the disk's error, or an empty text for any other error."""
    if not isinstance(error, OSError) or error.errno not in _OF_THE_DISK:
        return ""
    place = error.filename2 or error.filename
    return f"{f'{place}: ' if place else ''}{error.strerror}"


def _kind(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _show_usage(error: click.ClickException) -> None:
    """Prints a usage error as click does, but makes words of the command line printable."""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        context = error.ctx
        echo_text(context.get_usage(), err=True)
        if context.command.get_help_option(context) is not None:
            option = context.help_option_names[0]
            echo(f"Try '{context.command_path} {option}' for help.", err=True)
        echo(err=True)
    echo(f"Error: {error.format_message()}", err=True)
