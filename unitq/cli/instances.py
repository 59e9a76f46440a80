"""start, stop, restart, scale, remove: what is done to an installed app."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from unitq.cli import completions
from unitq.cli.grant.member import by_grant
from unitq.cli.output import confirm, echo, need_terminal
from unitq.cli.presenter import operation
from unitq.cli.rollout_options import pace, waiting_options
from unitq.cli.scope import scope_options
from unitq.cli.targets import targets
from unitq.errors import Exit
from unitq.model.settings import Share
from unitq.rollout import workers

if TYPE_CHECKING:
    from unitq.context import Scope


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
def start(
    targets: tuple[str, ...], as_json: bool, timeout: float | None, fail_on_kill: bool
) -> int:
    """Start what does not run, and wait until it is healthy. What runs is left alone."""
    return workers.start(operation("start", as_json, timeout, fail_on_kill), targets)


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
def stop(targets: tuple[str, ...], as_json: bool, timeout: float | None, fail_on_kill: bool) -> int:
    """Let workers finish their jobs and stop them.

    A worker that needs longer than its stop_timeout is killed, and named. Stopped workers come
    back with `unitq start`, `unitq deploy` and at the next boot.
    """
    return workers.stop(operation("stop", as_json, timeout, fail_on_kill), targets)


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
    targets: tuple[str, ...],
    max_unavailable: Share | None,
    all_at_once: bool,
    as_json: bool,
    timeout: float | None,
    fail_on_kill: bool,
) -> int:  # fmt: skip
    """Restart workers, a few at a time, each healthy before the next drains.

    With the code and environment of the current revision; new code comes with `unitq deploy`.
    """
    limit = Share(100, percent=True) if all_at_once else max_unavailable
    return workers.restart(operation("restart", as_json, timeout, fail_on_kill), targets, limit)


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
def scale(counts: tuple[str, ...], as_json: bool, timeout: float | None, fail_on_kill: bool) -> int:
    """Change how many instances there are. Only those that come or go are touched.

    Until the next `unitq deploy`, which goes by unitq.toml: change `instances` there too.
    """
    return workers.scale(operation("scale", as_json, timeout, fail_on_kill), counts)


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
def remove(yes: bool, as_json: bool, timeout: float | None, fail_on_kill: bool) -> int:
    """Stop an app and delete all that deploy installed: units, links, revisions.

    unitq.toml and the code stay.
    """
    command = operation("remove", as_json, timeout, fail_on_kill)
    what = workers.removal(command.scope)
    if not yes:
        need_terminal(f"remove {what.app}")
        echo(f"This stops {what.instances} instances and deletes:")
        for path in what.paths:
            echo(f"  {path}")
        if not confirm("Go on?"):
            echo("not removed; nothing was changed")
            return Exit.INTERRUPTED
    return workers.remove(command, what, partial(_remind_of_grants, command.scope))


def _remind_of_grants(scope: Scope, app: str) -> None:
    """A grant stays, as unitq.toml does: a member could install the app again."""
    from unitq.grants import store

    groups = [] if scope.user else [one.group for one in store.grants() if one.app == app]
    if groups:
        echo(
            f"note: members of {', '.join(groups)} may deploy {app} again; "
            f"`unitq grant -a {app} --revoke` takes that back",
            err=True,
        )
