"""status: what runs. On the fast path: it imports only what it uses."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from unitq.cli.output import echo, echo_json, echo_lines, is_terminal
from unitq.cli.scope import json_option, scope_options
from unitq.cli.status import text
from unitq.cli.targets import targets
from unitq.errors import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from unitq.api import App
    from unitq.status.app_status import StatusList


@click.command(
    epilog="""\b
Examples:
  unitq status                  the app of ./unitq.toml, or all that are installed
  unitq -a shop status sms
  unitq status --json | jq '.apps[].workers[] | {worker, serving, stale}'
  unitq status --watch
  unitq status --queues -v      how much waits, and the in-flight job of each instance
  unitq status -q && echo all is well
  unitq status --check          for Nagios, Icinga, Checkmk and their like

\b
Exit codes: 0 everything that should run does; 3 something does not, or its code is unknown; 15
a process runs old code, or a commit that is not deployed; 4 no such app, worker or instance. With
--check those of the monitoring plug-ins: 0 OK, 1 WARNING, 2 CRITICAL (a worker has no instance
that serves), 3 UNKNOWN.
"""
)
@scope_options
@json_option
@click.option(
    "--watch", is_flag=True,
    help="Look again at each change, and every 2 s, until Ctrl-C. A terminal is redrawn; a pipe or "
    "a file gets each look, with --json one document a line.",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Print nothing: the exit code tells.")
@click.option("--check", is_flag=True, help="One line in the form of the monitoring plug-ins.")
@click.option("--queues", is_flag=True, help="Also how much waits in each worker's queues.")
@click.option("-v", "--verbose", is_flag=True, help="Also the in-flight job of each instance.")
@targets
def status(
    app: App,
    targets: tuple[str, ...],
    as_json: bool,
    watch: bool,
    quiet: bool,
    check: bool,
    queues: bool,
    verbose: bool,
) -> int:
    """Show what runs, and whether it runs the wanted code.

    Reads systemd and the processes themselves, not records; needs no configuration file. FRESH:
    whether every process of an instance was started from the wanted revision. REVISION: the one
    that its main process was started from; "5 (= 3)" where that was 3 and 5 rolled back to it.
    "MOVED": HEAD of its checkout had moved between the deploy and its start, so it runs another
    commit. "in place": a directory whose files change without a version, so there is nothing to
    compare. "?": unknown; without root, processes of other users cannot be read. On a narrow
    terminal MEMORY, PROCESSES and RESTARTS are left out first.

    --queues and -v ask Redis, for a second at most; the configuration file says where it is. Redis
    does not affect the exit code.
    """
    if sum((quiet, check, as_json or watch or queues or verbose)) > 1:
        raise click.UsageError(
            "-q, --check, and the options for the display (--json, --watch, --queues, -v) exclude "
            "each other"
        )
    if check:
        from unitq.cli.status.check import answer

        state, line = answer(lambda: app.status_list(targets))
        echo(line)
        return state
    if watch:
        return _watch(app.watch(targets, queues=queues, jobs=verbose), as_json=as_json)
    statuses = app.status_list(targets, queues=queues, jobs=verbose)
    if not quiet:
        _print(statuses, as_json=as_json)
    return statuses.exit_code


def _print(statuses: StatusList, *, as_json: bool) -> None:
    if as_json:
        # Not indented: that would take json's encoder in Python, 100 ms for 1,000 instances.
        echo_json(statuses.to_json(), indent=None)
        return
    if is_terminal():
        from unitq.cli import screen

        screen.show(text.parts(statuses))
    else:
        echo_lines(text.lines(statuses))
    for app in statuses.apps:
        for note in app.queued.notes if app.queued else ():
            echo(f"note: {app.app}: {note}", err=True)


def _watch(looks: Iterator[StatusList], *, as_json: bool) -> int:
    code = Exit.OK
    with _show(as_json=as_json) as show:
        try:
            for statuses in looks:
                code = statuses.exit_code
                show(statuses)
        except KeyboardInterrupt:
            pass
    return code


@contextmanager
def _show(*, as_json: bool) -> Iterator[Callable[[StatusList], None]]:
    """Yields what prints a look: redrawn on a terminal, appended elsewhere."""
    if as_json or not is_terminal():
        first = True

        def below(statuses: StatusList) -> None:
            nonlocal first
            if not as_json:
                echo_lines([""] * (not first) + [time.strftime("%Y-%m-%d %H:%M:%S")])
            _print(statuses, as_json=as_json)
            first = False

        yield below
        return
    from unitq.cli.screen import Picture

    with Picture() as picture:
        yield lambda statuses: picture.draw(*text.parts(statuses))
