"""signal: sends a signal to workers, unless it is known to lose jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from unitq.cli import completions
from unitq.cli.output import echo, echo_json
from unitq.cli.scope import json_option, scope_options
from unitq.cli.targets import targets

if TYPE_CHECKING:
    from unitq.api import App


@click.command(
    "signal",
    epilog="""\b
Examples:
  unitq signal USR2 sms        pause php-resque workers
  unitq signal CONT sms        and let them take jobs again
  unitq signal HUP sms@3 --all-processes
  unitq signal KILL sms@3 --force

\b
Exit codes: 0 sent; 3 none of the instances runs; 13 refused, and nothing was sent.
"""
)  # fmt: skip
@scope_options
@click.option("--all-processes", is_flag=True, help="Not only the main process of each.")
@click.option("--force", is_flag=True, help="Send it although it may end workers and lose jobs.")
@json_option
@click.argument("signal_name", metavar="SIGNAL", shell_complete=completions.signals)
@targets
def send_signal(
    app: App,
    signal_name: str,
    targets: tuple[str, ...],
    all_processes: bool,
    force: bool,
    as_json: bool,
) -> int:
    """Send a signal to the main process of workers that run.

    Refused, and sent to none of them, is a signal that the worker's preset says kills or loses
    jobs, or does so as the second one to a worker that drains, and one that a process has no
    handler for and would die of. `unitq presets NAME` says what each signal does. `unitq stop` and
    `unitq restart` let jobs finish.
    """
    sent = app.signal(signal_name, *targets, all_processes=all_processes, force=force)
    if as_json:
        echo_json(sent.to_json())
        return sent.exit_code
    for instance, pids in sent.pids:
        if not pids:
            echo(f"{instance}: not running", err=True)
    for instance, pids in sent.pids:
        if pids:
            echo(f"{instance}: {signal_name.upper()} to PID {', '.join(map(str, pids))}")
    return sent.exit_code
