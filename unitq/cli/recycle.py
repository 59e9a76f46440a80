"""recycle: replaces workers that are too large or too old; a timer runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from unitq.cli.output import echo, echo_json
from unitq.cli.presenter import Json, Screen
from unitq.cli.rollout_options import waiting_options
from unitq.cli.scope import scope_options
from unitq.errors import Exit, LockedError

if TYPE_CHECKING:
    from unitq.api import App


@click.command(
    epilog="""\b
Examples:
  unitq recycle --dry-run     who is due, and why
  unitq recycle               drain and replace them now, one by one
  systemctl list-timers 'unitq-*-recycle.timer'     when it is looked next

\b
Exit codes: those of restart. 0 as well where nobody is due, or a rollout is under way.
"""
)
@scope_options
@click.option("--dry-run", is_flag=True, help="Only say who is due.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing where nobody is due.")
@waiting_options
def recycle(
    app: App,
    dry_run: bool,
    quiet: bool,
    presenter: Screen,
    timeout: float | None,
    fail_on_kill: bool,
) -> int:
    """Replace workers that are beyond the limits of `recycle` in unitq.toml.

    A timer that deploy installs runs this every five minutes. Each drains, and its successor is
    healthy before the next one drains. While a rollout is under way, paused or cut off, nothing is
    done; nor where an instance of the worker has failed or is restarting: capacity first.
    """
    due, as_json = app.recycle_due(), isinstance(presenter, Json)
    name = due.revision.app
    for worker, reason in due.held_back if not as_json else ():
        echo(f"{worker}: nobody is recycled: {reason}", err=True)
    if as_json and dry_run:
        echo_json(due.to_json())
    elif not as_json:
        for instance in due.due:
            echo(f"{instance.name}: {instance.why}")
        if not due.due and (dry_run or not quiet):
            echo(f"{name}: nobody is due")
    if dry_run or not (due.due or as_json):
        return Exit.OK
    try:
        return app.recycle(
            due, presenter=presenter, timeout=timeout, fail_on_kill=fail_on_kill
        ).exit_code
    except LockedError as error:
        echo(f"{name}: not now: {error.message}", err=True)
        return Exit.OK
