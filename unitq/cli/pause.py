"""pause and resume: workers that take no new jobs, by the framework's own signals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from unitq.cli.grant.member import by_grant
from unitq.cli.output import echo, echo_json
from unitq.cli.scope import json_option, scope_options
from unitq.cli.targets import targets

if TYPE_CHECKING:
    from unitq.api import App
    from unitq.instances.pause import PauseResult


@click.command(
    epilog="""\b
Examples:
  unitq pause sms          while the gateway is down
  unitq pause 'sms@[12]'   two of them

\b
Exit codes: 0 paused, or was already; 2 the framework has no such signal, and nothing was done;
3 an instance does not run, or would die of the signal.
"""
)
@scope_options
@json_option
@targets
@by_grant("pause")
def pause(app: App, targets: tuple[str, ...], as_json: bool) -> int:
    """Let workers finish their jobs and take no other, until `unitq resume`.

    They keep running. It holds for the processes that run now: a restart, a deploy or a crash puts
    one in their place that takes jobs, and `unitq deploy` says so. The signal is the preset's, and
    goes to no process that has no handler for it.
    """
    return _show(app.pause(*targets), as_json=as_json)


@click.command(
    epilog="""\b
Examples:
  unitq resume sms
  unitq resume             every worker of the app

\b
Exit codes: 0 they take jobs; 2 the framework has no such signal; 3 an instance does not run.
"""
)
@scope_options
@json_option
@targets
@by_grant("resume")
def resume(app: App, targets: tuple[str, ...], as_json: bool) -> int:
    """Let paused workers take jobs again. Others are left alone."""
    return _show(app.resume(*targets), as_json=as_json)


def _show(result: PauseResult, *, as_json: bool) -> int:
    if as_json:
        echo_json(result.to_json())
    else:
        for row in result.instances:
            pids = f" (PID {', '.join(map(str, row.pids))})" if row.pids else ""
            echo(f"{row.instance}: {row.state}{pids}", err=not row.as_asked)
    return result.exit_code
