"""takeover: from a running Supervisor to units, a few workers at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from unitq.cli import completions
from unitq.cli.import_ import pairs
from unitq.cli.output import confirm, echo, echo_json, echo_lines, need_terminal
from unitq.cli.presenter import Json, Screen
from unitq.cli.rollout_options import share, waiting_options
from unitq.cli.scope import scope_options
from unitq.errors import Exit
from unitq.text import plural

if TYPE_CHECKING:
    from unitq.api import App
    from unitq.model.settings import Share


@click.command(
    epilog="""\b
Examples:
  unitq takeover /etc/supervisor/supervisord.conf --dry-run    exactly what would happen
  unitq takeover /etc/supervisor/supervisord.conf
  unitq takeover /etc/supervisor/supervisord.conf sms          one program of several
  unitq takeover /etc/supervisor/supervisord.conf --max-unavailable 25%    faster

\b
Ctrl-C finishes the workers under way and stops (exit 10); the same command resumes.
A second Ctrl-C leaves at once (exit 130); workers that drain still finish their jobs.
Exit codes: docs/runbook.md.
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
    app: App,
    file: str | None,
    programs: tuple[str, ...],
    variables: dict[str, str],
    dry_run: bool,
    yes: bool,
    max_unavailable: Share | None,
    presenter: Screen,
    timeout: float | None,
    fail_on_kill: bool,
) -> int:
    """Move running workers from Supervisor to unitq, a few at a time, without losing a job.

    Needs the unitq.toml that `unitq import` has written. Each worker finishes its job under
    Supervisor and ends, its unit starts and becomes healthy, then the next one follows; as many at
    a time as `max_unavailable` allows, which is 1 unless set. There are never more of a
    program than before. In Supervisor's files autostart becomes false, and the files as they were
    stay beside as NAME.before-unitq. Without FILE it takes the one that supervisord would.
    """
    from unitq.cli.takeover.text import nothing_to_do, text

    as_json = isinstance(presenter, Json)
    operation = app.takeover(file, variables, programs, max_unavailable)
    summary = operation.plan(dry_run=dry_run)
    planned = summary.planned
    if dry_run or planned.moved:
        return presenter.show(
            summary, lambda _: [nothing_to_do(planned)] if planned.moved else text(planned)
        )
    if not yes:
        need_terminal(f"take over {plural(len(planned.moves), 'program')}")
        echo_lines(text(planned), err=as_json)
        if not confirm("Go on?", err=as_json):
            echo("nothing was changed", err=as_json)
            return Exit.INTERRUPTED
    done = operation.run(presenter, timeout=timeout, fail_on_kill=fail_on_kill)
    if as_json:
        echo_json(done.to_json())
    return done.exit_code
