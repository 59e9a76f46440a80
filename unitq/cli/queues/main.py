"""queues: how many jobs wait, who takes them, and how fast."""

from __future__ import annotations

import gc
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from unitq.cli.output import echo, echo_json, echo_lines, is_terminal
from unitq.cli.queues import text
from unitq.cli.queues.doctor import doctor
from unitq.cli.scope import json_option, scope_options
from unitq.errors import Exit, UnitqError
from unitq.text import duration
from unitq.toml.values import SPAN, span

if TYPE_CHECKING:
    from unitq.api import App
    from unitq.queues.queue_list import Look, QueueList


def _seconds(context: click.Context, parameter: click.Parameter, value: str) -> float:  # noqa: ARG001
    try:
        seconds = span(value).seconds
    except ValueError:
        raise click.BadParameter(f"expected {SPAN}") from None
    if seconds > 3600:
        raise click.BadParameter("at most 1 h")
    return seconds


@click.group(
    invoke_without_command=True,
    epilog="""\b
Examples:
  unitq queues                          lengths, and rates from two looks one second apart
  unitq queues --interval 10s           steadier rates
  unitq queues --interval 0             one look, no rates
  unitq queues --json | jq '.queues[] | select(.waiting > 1000)'
  unitq queues --watch
  unitq queues --watch --json           a line for each look
  unitq queues doctor                   registered workers that are dead

\b
Exit codes: 0; 1 Redis does not answer, or refuses part of it; 2 the configuration does not say
where the queues are.
""",
)
@scope_options
@json_option
@click.option("--watch", is_flag=True, help="Look again and again, until Ctrl-C.")
@click.option(
    "--interval", default="1s", show_default=True, metavar="SPAN", callback=_seconds,
    help="The time between two looks, for the rates; 0: one look.",
)  # fmt: skip
@click.pass_context
def queues(context: click.Context, app: App, as_json: bool, watch: bool, interval: float) -> int:
    """Show the queues: waiting, in-flight and failed jobs, and their rates.

    Only reads. unitq.toml says where Redis is and which frameworks use it. IN/S and OUT/S with
    a "≥" come from lengths alone: a job that came and went between two looks is not counted.
    """
    if context.invoked_subcommand is not None:
        return Exit.OK
    look = app.queue_look()
    if watch:
        if not interval:
            raise click.UsageError("--watch needs a time between two looks; --interval 0 is one")
        gc.enable()  # __main__.py switched it off
        with suppress(KeyboardInterrupt):
            if is_terminal() and not as_json:
                _redraw(look, interval)
            else:
                _print_each(look, interval, as_json=as_json)
        return Exit.OK
    queue_list = look.once(interval)
    _print(queue_list, as_json=as_json)
    for note in queue_list.notes if not as_json else ():
        echo(f"note: {note}", err=True)
    return queue_list.exit_code


def _print_each(look: Look, interval: float, *, as_json: bool) -> None:
    for queue_list in look.again(interval):
        if isinstance(queue_list, UnitqError):
            echo(f"{queue_list.message}; looking again", err=True)
        else:
            _print(queue_list, as_json=as_json)


def _redraw(look: Look, interval: float) -> None:
    from unitq.cli import screen

    caption = f"{look.redis}, every {duration(interval)}"
    with screen.Picture() as picture:
        for queue_list in look.again(interval):
            if isinstance(queue_list, UnitqError):
                picture.draw(screen.line(f"{queue_list.message}; looking again"))
            else:
                rows = text.cells(queue_list.rows, queue_list.time)
                picture.draw(screen.table(*rows, caption=caption))


def _print(queue_list: QueueList, *, as_json: bool) -> None:
    if as_json:
        echo_json(queue_list.to_json(), indent=None)
    else:
        echo_lines(text.lines(queue_list))


queues.add_command(doctor)
