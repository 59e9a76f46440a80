"""logs: what workers printed, in the journal's order."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from unitq.cli.output import STDOUT, echo, echo_in_colour, echo_json
from unitq.cli.scope import scope_options
from unitq.cli.targets import targets
from unitq.errors import Exit
from unitq.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unitq.api import App
    from unitq.systemd.journal import Entry

_INTERRUPTED = 130  # what a shell says of a program that Ctrl-C has ended
# By the priorities of syslog(3), as journalctl has them: errors, warnings, notices, debugging.
_COLOURS = {0: "31", 1: "31", 2: "31", 3: "31", 4: "33", 5: "1", 7: "2"}


@click.command(
    epilog="""\b
Examples:
  unitq logs                      the last 100 lines of the whole app
  unitq logs -f sms               follow one worker
  unitq logs sms@3 --since '10 min ago'
  unitq logs --json -n 1000 | jq .MESSAGE
"""
)
@scope_options
@click.option("-f", "--follow", is_flag=True, help="Go on showing new lines.")
@click.option("-n", "--lines", type=click.IntRange(0), help="How many lines.  [default: 100]")
@click.option("--since", metavar="TIME", help="As journalctl takes it: 'today', '10 min ago'.")
@click.option("--json", "as_json", is_flag=True, help="The journal's own JSON, an object a line.")
@targets
def logs(
    app: App,
    targets: tuple[str, ...],
    follow: bool,
    lines: int | None,
    since: str | None,
    as_json: bool,
) -> int:
    """Show what workers printed, and what systemd said of them."""
    log = app.logs(*targets, follow=follow, lines=lines, since=since)
    for space, workers in log.namespaces.items():
        echo(f"-- {', '.join(workers)}: journal namespace {space} (LogNamespace=) --", err=True)
    boots: list[str] = []
    try:
        if as_json:
            for documents in log.documents(STDOUT):
                for document in documents:
                    echo_json(document, indent=None)
            return Exit.OK
        for entries in log.entries(STDOUT):
            echo_in_colour(part for entry in entries for part in _lines(entry, boots))
    except KeyboardInterrupt:
        return _INTERRUPTED
    if not boots:
        echo("-- No entries --")
    return Exit.OK


def _lines(entry: Entry, boots: list[str]) -> Iterator[tuple[str, str]]:
    """Lines with their colours, as `journalctl --output=short` has them.

    journalctl itself lets a line feed in an identifier begin a line that looks like another entry.
    """
    if boots and boots[-1] != entry.boot:
        yield f"-- Boot {entry.boot} --", ""
    boots[:] = [entry.boot]
    when = time.strftime("%b %d %H:%M:%S", time.localtime(entry.time))
    pid = f"[{entry.pid}]" if entry.pid else ""
    head = f"{when} {one_line(entry.host)} {one_line(entry.identifier)}{pid}: "
    colour = _COLOURS.get(entry.priority, "")
    for line in entry.message.split("\n"):
        yield f"{head}{line}", colour
        head = " " * len(head)
