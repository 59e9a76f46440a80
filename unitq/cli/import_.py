"""import: what Supervisor, foreman or honcho ran, as a unitq.toml."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import click

from unitq.cli import completions
from unitq.cli.output import echo, echo_json, echo_text
from unitq.cli.presenter import presenter
from unitq.cli.scope import json_option, scope_options
from unitq.errors import ConfigError, Exit

if TYPE_CHECKING:
    from unitq.api import App
    from unitq.supervisor.importer.import_file import ImportResult

_BESIDES = "every unit also gets a PATH, a umask, a read-only /etc and more: docs/your-worker.md"


def pairs(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,
    value: tuple[str, ...],
) -> dict[str, str]:
    variables = {}
    for word in value:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise click.BadParameter(f'expected NAME=VALUE, got "{word}"', param=param)
        variables[name] = text
    return variables


def _formation(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,
    value: str | None,
) -> dict[str, int]:
    counts = {}
    for word in value.split(",") if value else ():
        name, _, count = word.strip().partition("=")
        if not name or not re.fullmatch("[0-9]{1,4}", count):
            raise click.BadParameter(f'expected NAME=NUMBER, got "{word}"', param=param)
        counts[name] = int(count)
    return counts


@click.command(
    "import",
    epilog="""\b
Examples:
  unitq import /etc/supervisor/supervisord.conf          look at both, write nothing
  unitq import supervisord.conf --output unitq.toml
  unitq import supervisord.conf --check                  does unitq.toml still say the same?
  unitq import Procfile --formation worker=4 -o unitq.toml
""",
)
@scope_options
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    shell_complete=completions.files,
    help="Write there, and not to the standard output.",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--check", "checking", is_flag=True, help="Compare with the existing unitq.toml.")
@click.option("--explain", is_flag=True, help="Show the fate of every option.")
@json_option
@click.option(
    "--directory",
    metavar="DIR",
    shell_complete=completions.folders,
    help="Where programs run that name no directory.",
)
@click.option(
    "--env", "variables", multiple=True, metavar="NAME=VALUE", callback=pairs,
    help="What %(ENV_NAME)s stands for; else this command's environment (not PATH, HOME, USER …).",
)  # fmt: skip
@click.option(
    "--formation", metavar="NAME=N,…", callback=_formation, help="How many, for a Procfile."
)
@click.argument("file", required=False, shell_complete=completions.files)
def import_(
    app: App,
    output: str | None,
    force: bool,
    checking: bool,
    explain: bool,
    as_json: bool,
    directory: str | None,
    variables: dict[str, str],
    formation: dict[str, int],
    file: str | None,
) -> int:
    """Write a unitq.toml from a configuration of Supervisor, a systemd unit, or a Procfile.

    Lists the decisions that you must make; --explain also lists each option: same meaning, other
    spelling, or not carried over. Without FILE it takes the one that supervisord would.
    Nothing is started or stopped.
    """
    if checking and output:
        raise ConfigError("--check writes nothing, so --output means nothing with it")
    if output and os.path.exists(output) and not force:
        raise ConfigError(f"{output} is there already", hint="--force replaces it")
    result = app.import_file(
        file, directory=directory, variables=variables, formation=formation,
        source=output or "what is imported",
    )  # fmt: skip
    if checking:
        return presenter(as_json=as_json).show(
            app.compare(result),
            lambda compared: compared.differences or [f"{compared.path} says the same"],
        )
    _show(result, output, explain=explain, as_json=as_json)
    return Exit.OK


def _show(result: ImportResult, output: str | None, *, explain: bool, as_json: bool) -> None:
    imported, target = result.imported, result.write(output) if output is not None else None
    if as_json:
        echo_json(result.to_json(target))
        return
    report = imported.report
    account = report.text() if explain else report.summary()
    if target is None:
        echo_text(imported.text)
        echo_text(account, err=True)
        echo(_BESIDES, err=True)
        return
    next_step = (
        "look at it with `unitq check` and `unitq plan`"
        if report.written
        else "take the # away from what is to run, then `unitq check`"
    )
    echo_text(account)
    echo(_BESIDES)
    echo()
    echo(f"wrote {output}: {next_step}")
