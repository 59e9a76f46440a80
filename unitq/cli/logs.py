"""logs: journalctl finds the entries."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from unitq.cli.output import STDOUT, echo, echo_coloured, echo_json
from unitq.cli.scope import current, scope_options
from unitq.cli.targets import targets
from unitq.context import chosen
from unitq.errors import Exit, NotPermittedError
from unitq.model import names
from unitq.printable import one_line
from unitq.revisions import state
from unitq.systemd import journal
from unitq.units import dropins, unit_files
from unitq.units.dropin_files import DropIns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unitq.context import Scope
    from unitq.revisions.model import Revision
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
    targets: tuple[str, ...], follow: bool, lines: int | None, since: str | None, as_json: bool
) -> int:
    """Show what workers printed, and what systemd said of them."""
    scope = current()
    revision = scope.installed()
    known = {*revision.instances, *state.instances_with_pin(scope.layout.app(revision.app))}
    if targets:
        asked = chosen(revision, targets, known)
        units = [names.unit(revision.app, instance) for instance in sorted(asked)]
    else:
        units = [f"unitq-{revision.app}-{worker.name}@*.service" for worker in revision.workers]
    if not scope.user and journal.hidden():
        raise NotPermittedError(
            "the journal may be read by root and members of the group systemd-journal only",
            hint=f"`sudo usermod --append --groups systemd-journal {state.whoami()}`, then log in "
            "again",
        )
    options = ["--no-pager", "--output=json"]
    if lines is None and since is None:
        lines = 100
    if lines is not None:
        options.append(f"--lines={lines}")
    if since is not None:
        options.append(f"--since={since}")
    if follow:
        options.append("--follow")
    if not as_json:
        options += ["--all", f"--output-fields={','.join(journal.FIELDS)}"]
    for space, workers in _namespaces(scope, revision).items():
        echo(f"-- {', '.join(workers)}: journal namespace {space} (LogNamespace=) --", err=True)
    command = journal.command(units, options, user=scope.user)
    boots: list[str] = []
    try:
        for found in journal.stream(command, STDOUT):
            if as_json:
                for line in found:
                    echo_json(json.loads(line), indent=None)
            else:
                echo_coloured(part for line in found for part in _shown(journal.entry(line), boots))
    except KeyboardInterrupt:
        return _INTERRUPTED
    if not as_json and not boots:
        echo("-- No entries --")
    return Exit.OK


def _namespaces(scope: Scope, revision: Revision) -> dict[str, list[str]]:
    """The workers whose output goes into a journal of its own, by what that is called."""
    there = DropIns(str(scope.layout.unit_dir), user=scope.user)
    found: dict[str, list[str]] = {}
    for worker in revision.workers:
        template = names.template(revision.app, worker.name)
        text = unit_files.text(scope.layout.unit_dir, template)
        if space := dropins.last(text, there.of([template]), "LogNamespace"):
            found.setdefault(space, []).append(worker.name)
    return found


def _shown(entry: Entry, boots: list[str]) -> Iterator[tuple[str, str]]:
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
