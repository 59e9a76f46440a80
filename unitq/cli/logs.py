"""logs: journalctl does the work."""

from __future__ import annotations

import click

from unitq.cli.scope import chosen, current, scope_options
from unitq.cli.targets import targets
from unitq.core import names
from unitq.host import journal, state


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
) -> None:
    """Show what workers printed, and what systemd said of them."""
    scope = current()
    revision = scope.installed()
    known = {*revision.instances, *state.pinned_instances(scope.layout.app(revision.app))}
    if targets:
        asked = chosen(revision, targets, known)
        units = [names.unit(revision.app, instance) for instance in sorted(asked)]
    else:
        units = [f"unitq-{revision.app}-{worker.name}@*.service" for worker in revision.workers]
    options = ["--no-pager"]
    if lines is None and since is None:
        lines = 100
    if lines is not None:
        options.append(f"--lines={lines}")
    if since is not None:
        options.append(f"--since={since}")
    if follow:
        options.append("--follow")
    if as_json:
        options.append("--output=json")
    journal.show(journal.command(units, options, user=scope.user))
