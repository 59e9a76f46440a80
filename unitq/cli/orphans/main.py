"""orphans: processes that work for the app outside its units."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from unitq.cli.orphans import text
from unitq.cli.output import confirm, echo, echo_json, echo_lines
from unitq.cli.scope import json_option, scope_options
from unitq.errors import ConfigError
from unitq.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.api import App
    from unitq.orphans.drain import Drain, DrainResult

_PID_MAX = 1 << 22  # of Linux on 64 bits (proc(5))


@click.command(
    epilog="""\b
Examples:
  unitq orphans                     processes that work for the app outside its units
  unitq orphans --drain             let them finish their jobs and end; ask before SIGKILL
  unitq orphans --drain 4711 4712   only these two
  unitq orphans --drain --yes       all, and kill after stop_timeout without asking
  unitq orphans --json | jq '.orphans[] | select(.current == false) | .pid'

\b
Exit codes: 0 no orphan, or all have ended; 3 there are some, none known to run old code, or one
is claimed; 4 a PID is no orphan's, and nothing was done; 6 one still runs after its stop_timeout;
10 interrupted while waiting: those that drain still finish and end; 15 one runs old code. With
PIDs they are about these alone.
"""
)
@scope_options
@json_option
@click.option("--drain", is_flag=True, help="Tell them to finish their jobs, and wait.")
@click.option("--yes", is_flag=True, help="Kill what is left after stop_timeout without asking.")
@click.argument("pids", nargs=-1, type=click.IntRange(1, _PID_MAX), metavar="[PID]...")
def orphans(app: App, pids: tuple[int, ...], as_json: bool, drain: bool, yes: bool) -> int:
    """Show processes that work for the app and are in none of its units.

    A process that Supervisor, a shell or a login left behind takes jobs with the code that it was
    started with, and no deploy reaches it. Several marks together identify it: program and
    interpreter, directory, environment, title, registration in Redis. An editor, a shell in the
    directory or another app's worker is not an orphan.

    --drain sends each the stop signal of its worker (never to a shell around it), waits up to
    stop_timeout, and asks before it kills; without a terminal it kills only with --yes.

    With PIDs only those are shown and drained. If one is not an orphan, the command refuses and
    touches none.

    A process whose only mark is another account's word (a record in Redis, say, for a process of an
    account that no worker runs as) is shown as claimed, and drained only if its PID is named.
    """
    if yes and not drain:
        raise ConfigError("--yes answers what --drain asks", hint="add --drain")

    def say(words: str) -> None:
        with suppress(OSError):
            echo(words, err=as_json)

    def may_kill(drain: Drain, left: Sequence[DrainResult]) -> bool | None:
        if yes or not sys.stdin.isatty():
            return yes
        for line in drain.in_flight_lines(left):
            say(line)
        question = f"Kill {plural(len(left), 'orphan')} (SIGKILL)? Its jobs may be lost"
        try:
            return confirm(question, err=True)
        except click.Abort:
            return None

    orphan_list = (
        app.drain_orphans(*pids, say=say, may_kill=may_kill) if drain else app.orphans(*pids)
    )
    if as_json:
        echo_json(orphan_list.to_json())
        return orphan_list.exit_code
    echo_lines(text.text(orphan_list))
    for note in orphan_list.notes:
        echo(f"note: {note}", err=True)
    for line in text.next_steps(orphan_list):
        echo(f"  next: {line}", err=True)
    return orphan_list.exit_code
