"""recycle: what a timer runs to replace workers that have become too large or too old."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from unitq.cli.output import echo, echo_json
from unitq.cli.presenter import operation
from unitq.cli.rollout_options import waiting_options
from unitq.cli.scope import scope_options
from unitq.errors import Exit, LockedError
from unitq.rollout.recycle import look, replace_due

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.model.recycle import Due


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
    dry_run: bool, quiet: bool, as_json: bool, timeout: float | None, fail_on_kill: bool
) -> int:
    """Replace workers that are beyond the limits of `recycle` in unitq.toml.

    A timer that deploy installs runs this every five minutes. Each drains, and its successor is
    healthy before the next one drains. While a rollout is under way, paused or cut off, nothing is
    done; nor where an instance of the worker has failed or is restarting: capacity first.
    """
    command = operation("recycle", as_json, timeout, fail_on_kill)
    found = look(command)
    revision = found.revision
    for worker, reason in found.held_back if not as_json else ():
        echo(f"{worker}: nobody is recycled: {reason}", err=True)
    if dry_run and as_json:
        rows = [{"instance": str(one.name), "why": one.why} for one in found.due]
        echo_json({"format": 1, "app": revision.app, "due": rows})
    elif not found.due and as_json:
        command.close_unchanged(revision, revision.id)
    elif not as_json:
        _told(revision.app, found.due, quiet=quiet and not dry_run)
    if dry_run or not found.due:
        return Exit.OK
    try:
        return replace_due(command, found)
    except LockedError as error:
        echo(f"{revision.app}: not now: {error.message}", err=True)
        return Exit.OK


def _told(app: str, due: Sequence[Due], *, quiet: bool) -> None:
    for one in due:
        echo(f"{one.name}: {one.why}")
    if not due and not quiet:
        echo(f"{app}: nobody is due")
