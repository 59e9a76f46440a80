"""trust: configurations that root obeys though another account may change them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unitq.cli.output import echo, echo_json, echo_lines
from unitq.cli.scope import json_option, scope_options
from unitq.errors import Exit
from unitq.text import table

if TYPE_CHECKING:
    from unitq.api import App

_HEADER = ("FILE", "OWNER", "WORKERS RUN AS", "APP", "OBEYED")


@click.group(
    invoke_without_command=True,
    epilog="""\b
Examples:
  unitq trust                   which files, and who may change them
  unitq trust add /srv/shop/shared/unitq.toml --owner deploy
  unitq trust add /srv/shop/shared/unitq.toml --owner deploy --run-as www-data
  unitq trust remove /srv/shop/shared/unitq.toml
""",
)
@scope_options
@json_option
@click.pass_context
def trust(context: click.Context, app: App, as_json: bool) -> int:
    """List the configurations that root obeys though another account may change them.

    Root obeys a unitq.toml that only root can change. Add another one where the account that
    deploys may decide what its workers run. They run as that account, or as one named with
    --run-as, and so do its hooks; never as root.
    """
    if context.invoked_subcommand is not None:
        return Exit.OK
    trusted = app.trusted()
    if as_json:
        echo_json({"format": 1, "trusted": [file.to_json() for file in trusted]})
    elif trusted:
        rows = (
            (
                file.entry.path, file.entry.owner, ", ".join(file.entry.accounts),
                file.app or "?", f"no: {file.why_not}" if file.why_not else "yes",
            )
            for file in trusted
        )  # fmt: skip
        echo_lines(table(_HEADER, rows))
    else:
        echo("root obeys only files that root alone can change")
    return Exit.OK


@trust.command(
    epilog="""\b
Example:
  unitq trust add /srv/shop/shared/unitq.toml --owner deploy --run-as www-data
"""
)
@scope_options
@click.option("--owner", required=True, metavar="ACCOUNT", help="Who may change the file.")
@click.option(
    "--run-as",
    multiple=True,
    metavar="ACCOUNT",
    help="Workers and hooks may run as this account too; may be repeated.",
)
@click.argument("file", type=click.Path(path_type=Path))
def add(app: App, owner: str, run_as: tuple[str, ...], file: Path) -> int:
    """Let root obey FILE although OWNER may change it.

    OWNER then decides what the app's workers and hooks run, with the rights of OWNER or of the
    accounts given by --run-as. Adding a file again replaces what was said of it.
    """
    entry = app.trust(file, owner, run_as)
    echo(
        f"root obeys {entry.path}, which {entry.owner} may change; its workers run as "
        f"{' or '.join(entry.accounts)}"
    )
    echo(f"next: unitq -c {shlex.quote(entry.path)} check")
    return Exit.OK


@trust.command(
    epilog="""\b
Example:
  unitq trust remove /srv/shop/shared/unitq.toml
"""
)
@scope_options
@click.argument("file", type=click.Path(path_type=Path))
def remove(app: App, file: Path) -> int:
    """Obey FILE no longer. What was deployed from it keeps running."""
    entry = app.distrust(file)
    echo(f"root obeys {entry.path} no longer; what was deployed from it keeps running")
    return Exit.OK
