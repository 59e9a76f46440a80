"""start, stop, restart, scale, remove: what is done to an installed app."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from unitq.cli import completions
from unitq.cli.grant.member import by_grant
from unitq.cli.output import confirm, echo, need_terminal
from unitq.cli.rollout_options import pace, waiting_options
from unitq.cli.scope import scope_options
from unitq.cli.targets import targets
from unitq.errors import Exit

if TYPE_CHECKING:
    from typing import Unpack

    from unitq.api import App, Run
    from unitq.model.settings import Share


@click.command(
    epilog="""\b
Examples:
  unitq start           everything that does not run
  unitq start sms@3
"""
)
@scope_options
@waiting_options
@targets
@by_grant("start")
def start(app: App, targets: tuple[str, ...], **run: Unpack[Run]) -> int:
    """Start what does not run, and wait until it is healthy. What runs is left alone."""
    return app.start(*targets, **run).exit_code


@click.command(
    epilog="""\b
Examples:
  unitq stop            the whole app
  unitq stop 'sms@[12]'
"""
)
@scope_options
@waiting_options
@targets
def stop(app: App, targets: tuple[str, ...], **run: Unpack[Run]) -> int:
    """Let workers finish their jobs and stop them.

    A worker that needs longer than its stop_timeout is killed, and named. Stopped workers come
    back with `unitq start`, `unitq deploy` and at the next boot.
    """
    return app.stop(*targets, **run).exit_code


@click.command(
    epilog="""\b
Examples:
  unitq restart                   rolling, as many at a time as max_unavailable says
  unitq restart sms --max-unavailable 50%
  unitq restart --all-at-once
"""
)
@scope_options
@pace
@click.option("--all-at-once", is_flag=True, help="All together: for a while, none is serving.")
@waiting_options
@targets
@by_grant("restart")
def restart(
    app: App,
    targets: tuple[str, ...],
    max_unavailable: Share | None,
    all_at_once: bool,
    **run: Unpack[Run],
) -> int:
    """Restart workers, a few at a time, each healthy before the next drains.

    With the code and environment of the current revision; new code comes with `unitq deploy`.
    """
    limit = "100%" if all_at_once else max_unavailable
    return app.restart(*targets, max_unavailable=limit, **run).exit_code


@click.command(
    epilog="""\b
Examples:
  unitq scale sms=8
  unitq scale sms=8 mail=2
"""
)
@scope_options
@waiting_options
@click.argument(
    "counts", nargs=-1, required=True, metavar="WORKER=COUNT...", shell_complete=completions.counts
)
def scale(app: App, counts: tuple[str, ...], **run: Unpack[Run]) -> int:
    """Change how many instances there are. Only those that come or go are touched.

    Until the next `unitq deploy`, which goes by unitq.toml: change `instances` there too.
    """
    return app.scale(*counts, **run).exit_code


@click.command(
    epilog="""\b
Examples:
  unitq remove          says what it would delete, and asks
  unitq -a shop remove --yes
"""
)
@scope_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@waiting_options
def remove(app: App, yes: bool, **run: Unpack[Run]) -> int:
    """Stop an app and delete all that deploy installed: units, links, revisions.

    unitq.toml and the code stay.
    """
    removal = app.removal()
    if not yes:
        need_terminal(f"remove {removal.app}")
        echo(f"This stops {removal.instances} instances and deletes:")
        for path in removal.paths:
            echo(f"  {path}")
        if not confirm("Go on?"):
            echo("not removed; nothing was changed")
            return Exit.INTERRUPTED
    return app.remove(partial(_remind_of_grants, app), **run).exit_code


def _remind_of_grants(app: App, name: str) -> None:
    """A grant stays, as unitq.toml does: a member could install the app again."""
    groups = [] if app.user else [grant.group for grant in app.replace(app=name).grants().grants]
    if groups:
        echo(
            f"note: members of {', '.join(groups)} may deploy {name} again; "
            f"`unitq grant -a {name} --revoke` takes that back",
            err=True,
        )
