"""rollback: an earlier revision rolled out again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from unitq.cli import completions
from unitq.cli.grant.member import by_grant
from unitq.cli.rollout_options import message_option, pace, waiting_options
from unitq.cli.scope import scope_options

if TYPE_CHECKING:
    from typing import Unpack

    from unitq.api import App, Run
    from unitq.model.settings import Share


@click.command(
    epilog="""\b
Examples:
  unitq rollback          to the last stable revision before this one
  unitq rollback 41       to that one; `unitq history` lists them
  unitq rollback --max-unavailable 50%
"""
)
@scope_options
@pace
@message_option
@waiting_options
@click.argument("revision", required=False, metavar="[N]", shell_complete=completions.revisions)
@by_grant("rollback")
def rollback(
    app: App,
    revision: str | None,
    max_unavailable: Share | None,
    message: str,
    **run: Unpack[Run],
) -> int:
    """Roll an earlier revision out again: its code, its environment, its units.

    As a new revision: history only goes forward, so a second rollback goes further back and not
    forth again. Also a way out of a rollout that was cut off or is paused. A rollback that fails
    is not rolled back.

    Where the code is updated in place (a git checkout, a plain directory) only settings and
    environment could come back: to another version of the code it is refused, and says what to
    type first.
    """
    return app.rollback(revision, message=message, max_unavailable=max_unavailable, **run).exit_code
