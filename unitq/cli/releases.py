"""releases: which release directories must stay. For the clean-up of Capistrano and Deployer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from unitq.cli.output import echo, echo_json, echo_lines
from unitq.cli.scope import json_option, scope_options
from unitq.errors import ConfigError, Exit, UnitqError
from unitq.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unitq.api import App
    from unitq.archive.prune import Pruned

_KEEP = 5


@click.command(
    epilog="""\b
Examples:
  unitq releases                                        of all revisions that are kept
  unitq -a shop releases --in-use                       those that must not be deleted now
  unitq -a shop releases --prune /srv/shop/releases     delete old ones, and none of those

\b
Exit codes: 0; 1 it cannot be told, or not all were deleted; 4 no such app is installed; 5 root is
needed, and nothing was printed or deleted; 8 a deploy is at work; 13 no release is in DIR.
"""
)
@scope_options
@click.option(
    "--in-use",
    is_flag=True,
    help="Only those that a living process was started from or is in, or that the next start of "
    "an instance gets.",
)
@click.option(
    "--prune",
    metavar="DIR",
    help="Delete old release directories in DIR, and none that is in use, current, or where a "
    "rollback goes to.",
)
@click.option(
    "--keep",
    type=click.IntRange(1),
    metavar="N",
    help="With --prune: the newest N stay in any case (default: 5).",
)
@click.option("--dry-run", is_flag=True, help="With --prune: only say what would be deleted.")
@json_option
def releases(
    app: App, in_use: bool, prune: str | None, keep: int | None, dry_run: bool, as_json: bool
) -> int:
    """List the release directories that are needed, one a line.

    Without --in-use: those of all revisions that are kept, as a rollback may go to any of them.
    With it, for the clean-up of Capistrano or Deployer: what an old worker that still drains runs
    counts as well, and what an orphan does (see `unitq orphans`), which is named. It needs root, or
    --user; a list that may not be complete is not printed.

    --prune is that clean-up. The newest are told by their names where these are numbers or dates,
    else by when they were written. Nothing is deleted where one of them may be in use and nothing
    tells, or where no release of the app is in DIR. A release that another app or any other
    process of this machine uses stays as well.
    """
    if prune is None and (keep is not None or dry_run):
        raise ConfigError("--keep and --dry-run go with --prune DIR")
    if prune is not None:
        if in_use:
            raise ConfigError("--prune deletes what --in-use does not list: name one of the two")
        return _show(app.prune_releases(prune, keep or _KEEP, dry_run=dry_run), as_json=as_json)
    needed = app.releases(in_use=in_use)
    if as_json:
        echo_json(needed.to_json())
    else:
        _refuse_unprintable(needed.releases)
        echo_lines(needed.releases)
        for words in needed.uses.orphan_notes if needed.uses else ():
            echo(f"note: {words}", err=True)
    for words in needed.archive.notes:
        echo(f"note: {words}", err=True)
    return Exit.OK


def _refuse_unprintable(releases: Iterable[str]) -> None:
    """Raises UnitqError for names that would print differently: a script compares them."""
    if odd := [release for release in releases if one_line(release) != release]:
        raise UnitqError(
            f"a release has characters in its name that are not printed: {odd[0]}",
            hint="--json has every name as it is",
        )


def _show(pruned: Pruned, *, as_json: bool) -> int:
    if as_json:
        echo_json(pruned.to_json())
        return pruned.exit_code
    folder = pruned.directory
    for name in pruned.deleted:
        echo(f"{'would delete' if pruned.dry_run else 'deleted'} {folder}/{name}")
    for name, why in pruned.needed.items():
        echo(f"needed: {folder}/{name}: {why}")
    for name, why in pruned.failed.items():
        echo(f"error: {folder}/{name}: {why}: it is deleted in part or not at all", err=True)
    return pruned.exit_code
