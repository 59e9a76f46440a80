"""An argument that names a revision, with shell completion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from unitq.cli import completions
from unitq.cli.output import echo

if TYPE_CHECKING:
    from collections.abc import Callable

    from unitq.rollout.archive import AppArchive


def revision_argument(name: str, metavar: str, *, required: bool = False) -> Callable[..., Any]:
    """Adds an argument that names a revision; with shell completion."""
    return click.argument(
        name, metavar=metavar, required=required, shell_complete=completions.revisions
    )


def tell(found: AppArchive) -> None:
    """Prints what could not be read."""
    for words in found.notes:
        echo(f"note: {words}", err=True)
