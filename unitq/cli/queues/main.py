"""queues: how many jobs wait, who takes them, and how fast."""

from __future__ import annotations

import gc
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from unitq.cli.output import echo, echo_json, echo_lines, is_terminal
from unitq.cli.queues.text import cells
from unitq.cli.scope import scope_options
from unitq.errors import Exit, UnitqError
from unitq.queues.job_text import job_text, short_text
from unitq.text import duration, plural, table
from unitq.toml.values import SPAN, span

if TYPE_CHECKING:
    from unitq.api import App
    from unitq.queues.queue_list import Look, QueueList

_JOBS_SHOWN = 20


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
@click.option("--json", "as_json", is_flag=True, help="A stable JSON object; see docs/json.md.")
@click.option("--watch", is_flag=True, help="Look again and again, until Ctrl-C.")
@click.option(
    "--interval", default="1s", show_default=True, metavar="SPAN", callback=_seconds,
    help="The time between two looks, for the rates; 0: one look.",
)  # fmt: skip
@click.pass_context
def queues(context: click.Context, app: App, as_json: bool, watch: bool, interval: float) -> int:
    """Show the queues: what waits, what is in hand, what failed, and how fast it goes.

    Only reads, and takes unitq.toml for where Redis is and whose keys there are. IN/S and OUT/S
    with a "≥" come from the lengths alone: what came and went between two looks is not in it.
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
    queues = look.once(interval)
    _print(queues, as_json=as_json)
    for note in queues.notes if not as_json else ():
        echo(f"note: {note}", err=True)
    return queues.exit_code


def _print_each(look: Look, interval: float, *, as_json: bool) -> None:
    for queues in look.again(interval):
        if isinstance(queues, UnitqError):
            echo(f"{queues.message}; looking again", err=True)
        else:
            _print(queues, as_json=as_json)


def _redraw(look: Look, interval: float) -> None:
    from unitq.cli import screen

    caption = f"{look.redis}, every {duration(interval)}"
    with screen.Picture() as picture:
        for queues in look.again(interval):
            if isinstance(queues, UnitqError):
                picture.draw(screen.line(f"{queues.message}; looking again"))
            else:
                rows = cells(queues.rows, queues.time)
                picture.draw(screen.table(*rows, caption=caption))


def _print(queues: QueueList, *, as_json: bool) -> None:
    if as_json:
        echo_json(queues.to_json(), indent=None)
        return
    time, jobs = queues.time, sorted(queues.jobs, key=lambda job: job.since or queues.time)
    lines = [f"{queues.app} · {queues.redis}", *table(*cells(queues.rows, time))]
    if jobs:
        lines += ["", f"in hand: {plural(len(jobs), 'job')}"]
    for job in jobs[:_JOBS_SHOWN]:
        worker = f", {short_text(job.worker)}" if job.worker else ""
        stale = f" · {job.stale}" if job.stale else ""
        lines.append(f"  {job_text(job, time)} ({short_text(job.queue)}{worker}){stale}")
    if len(jobs) > _JOBS_SHOWN:
        lines.append(f"  and {len(jobs) - _JOBS_SHOWN} more; --json has them all")
    echo_lines(lines)


@queues.command(
    epilog="""\b
Examples:
  unitq queues doctor
  unitq queues doctor --prune           show the dead, ask, and remove them
  unitq queues doctor --prune --yes --json

\b
Exit codes: 0 nothing is stale; 1 Redis does not answer, or refuses part of it; 3 something is,
also after --prune.
"""
)
@scope_options
@click.option("--json", "as_json", is_flag=True, help="A stable JSON object; see docs/json.md.")
@click.option(
    "--prune", is_flag=True, help="Remove the dead workers of this host, their jobs marked failed."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def doctor(app: App, as_json: bool, prune: bool, yes: bool) -> int:
    """Find workers that are registered in Redis and dead, and jobs that nobody works on.

    A worker of this host is dead if its process is gone, or if its PID is another process now. One
    whose process lives outside every unit of the app is an orphan: nobody supervises it, and it may
    run old code. Workers of other hosts are listed and never touched. --prune removes the dead as
    their framework would have: a job in hand is first marked as failed where the framework can.
    """
    from unitq.cli.queues.doctor import examine

    return examine(app, as_json=as_json, prune=prune, yes=yes)
