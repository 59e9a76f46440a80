"""releases: which release directories must stay. For the clean-up of Capistrano and Deployer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from unitq.cli.output import echo, echo_json, echo_lines
from unitq.cli.revision_argument import tell
from unitq.cli.scope import current, scope_options
from unitq.errors import ConfigError, Exit, UnitqError
from unitq.printable import one_line
from unitq.rollout.archive import open_archive
from unitq.rollout.releases_in_use import uses_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unitq.rollout.releases_in_use import Uses


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
@click.option("--json", "as_json", is_flag=True, help="A JSON object; see docs/json.md.")
def releases(
    in_use: bool, prune: str | None, keep: int | None, dry_run: bool, as_json: bool
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
        from unitq.cli.releases import prune as prune_releases

        if in_use:
            raise ConfigError("--prune deletes what --in-use does not list: name one of the two")
        return prune_releases.prune(
            current(), prune, keep or _KEEP, dry_run=dry_run, as_json=as_json
        )
    found = open_archive(current())
    kept: dict[str, list[str]] = {}
    for revision in found.revisions:
        for release in {worker.release for worker in revision.workers}:
            kept.setdefault(release, []).append(revision.id)
    uses = uses_of(found) if in_use else None
    shown = sorted(kept if uses is None else uses.releases)
    if as_json:
        echo_json(
            found.document(
                only_in_use=in_use,
                releases=[_release(release, kept.get(release, []), uses) for release in shown],
            )
        )
    else:
        _refuse_unprintable(shown)
        echo_lines(shown)
        for words in uses.orphan_notes if uses else ():
            echo(f"note: {words}", err=True)
    tell(found)
    return Exit.OK


def _refuse_unprintable(releases: Iterable[str]) -> None:
    """Raises UnitqError: a script would compare names with what is printed in their place."""
    if odd := [release for release in releases if one_line(release) != release]:
        raise UnitqError(
            f"a release has characters in its name that are not printed: {odd[0]}",
            hint="--json has every name as it is",
        )


def _release(release: str, kept: list[str], uses: Uses | None) -> dict[str, Any]:
    return {
        "release": release,
        "revisions": kept,
        "pids": sorted(uses.pids.get(release, ())) if uses else None,
        "pinned": [str(name) for name in sorted(uses.pinned.get(release, ()))] if uses else None,
        "orphans": sorted(uses.orphans.get(release, ())) if uses else None,
    }
