"""takeover: from a running Supervisor to units, a few workers at a time."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import click

from unitq.cli import completions
from unitq.cli.import_ import pairs
from unitq.cli.output import confirm, echo, echo_json, echo_lines
from unitq.cli.scope import current, scope_options
from unitq.errors import Exit
from unitq.revisions import state
from unitq.rollout.execute import need_terminal, share, waiting_options
from unitq.text import plural

if TYPE_CHECKING:
    from pathlib import Path

    from unitq.context import Scope
    from unitq.model.app import App
    from unitq.model.settings import Share
    from unitq.revisions.model import Revision
    from unitq.rollout.plan import Plan
    from unitq.systemd.manager import Systemd
    from unitq.units.render import Rendered


@click.command(
    epilog="""\b
Examples:
  unitq takeover /etc/supervisor/supervisord.conf --dry-run    exactly what would happen
  unitq takeover /etc/supervisor/supervisord.conf
  unitq takeover /etc/supervisor/supervisord.conf sms          one program of several
  unitq takeover /etc/supervisor/supervisord.conf --max-unavailable 25%    faster

\b
Ctrl-C finishes the workers in hand and stops (exit 10); the same command goes on from there.
A second Ctrl-C leaves at once (exit 130); who was told to finish its job does so.
Exit codes: docs/exit-codes.md.
"""
)
@scope_options
@click.option("--dry-run", is_flag=True, help="Only say what would happen; exits as `plan` does.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--env", "variables", multiple=True, metavar="NAME=VALUE", callback=pairs,
    help="What %(ENV_NAME)s stands for; otherwise this command's environment.",
)  # fmt: skip
@click.option(
    "--max-unavailable",
    metavar="N|N%",
    callback=share,
    help="How many of a program's processes are moved at a time; otherwise as [rollout] says.",
)
@waiting_options
@click.argument("file", required=False, shell_complete=completions.files)
@click.argument("programs", nargs=-1, metavar="[PROGRAM]...")
def takeover(
    file: str | None,
    programs: tuple[str, ...],
    variables: dict[str, str],
    dry_run: bool,
    yes: bool,
    max_unavailable: Share | None,
    as_json: bool,
    timeout: float | None,
    fail_on_kill: bool,
) -> int:  # fmt: skip
    """Move running workers from Supervisor to unitq, a few at a time, without losing a job.

    Needs the unitq.toml that `unitq import` has written. Each worker finishes its job under
    Supervisor and ends, its unit starts and becomes healthy, then the next one follows; as many at
    a time as `max_unavailable` allows, which is 1 if nobody says more. Never are there more of a
    program than before. In Supervisor's files autostart becomes false, and the files as they were
    stay beside as NAME.before-unitq. Without FILE it takes the one that supervisord would.
    """
    from unitq.cli.takeover.text import document, finished, nothing_to_do, text
    from unitq.linux.interrupts import Interrupts
    from unitq.supervisor.takeover.plan import environment_for, loaded, plan
    from unitq.supervisor.takeover.run import Mover

    begun = time.monotonic()
    scope = current()
    app, toml = scope.load()
    environment = environment_for(file) | variables
    loaded(file, environment)  # before all else: it may be no configuration at all
    systemd = scope.systemd()
    planned = plan(scope, systemd, app, toml, file, environment, programs, max_unavailable)
    if dry_run or planned.moved:
        code = Exit.OK if planned.moved else Exit.PENDING
        if as_json:
            echo_json(document(planned, code, dry_run=dry_run))
        else:
            echo_lines([nothing_to_do(planned)] if planned.moved else text(planned))
        return code
    if not yes:
        need_terminal(f"take over {plural(len(planned.moves), 'program')}")
        echo_lines(text(planned), err=as_json)
        if not confirm("Go on?", err=as_json):
            echo("nothing was changed", err=as_json)
            return Exit.INTERRUPTED
    with state.lock(scope.layout, app.name, state.command_name()):
        # What was shown may have changed meanwhile.
        planned = plan(scope, systemd, app, toml, file, environment, programs, max_unavailable)
        deadline = None if timeout is None else begun + timeout
        told = document(planned, Exit.OK, dry_run=False) if as_json else {}
        with Interrupts().caught() as interrupts:
            mover = Mover(
                planned, systemd, interrupts, deadline, _Lines(quiet=as_json),
                partial(_prepare, scope, systemd, toml),
            )  # fmt: skip
            code = mover.run(fail_on_kill=fail_on_kill)
    if as_json:
        echo_json(finished(told, mover.done(), code))
    return code


class _Lines:
    """Prints each line as it comes; a reader that has gone away is no reason to stop."""

    def __init__(self, *, quiet: bool) -> None:
        """`quiet`: no progress, as a document follows."""
        self._quiet = quiet

    def say(self, line: str) -> None:
        """On standard output."""
        if not self._quiet:
            with suppress(OSError):
                echo(line)

    def warn(self, line: str) -> None:
        """On standard error."""
        with suppress(OSError):
            echo(line, err=True)


def _prepare(
    scope: Scope,
    systemd: Systemd,
    path: Path,
    app: App,
    installed: Revision | None,
    message: str,
    *,
    warn: bool,
) -> tuple[Plan, Rendered]:
    from unitq.cli.deploy import prepare

    prepared = prepare(
        scope, systemd, app, path, None, message=message, beside=installed, warn=warn
    )
    return prepared.plan, prepared.rendered
