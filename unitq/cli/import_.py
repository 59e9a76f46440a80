"""import: what Supervisor, foreman or honcho ran, as a unitq.toml."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unitq.cli import completions
from unitq.cli.output import echo, echo_json, echo_text
from unitq.cli.scope import current, scope_options
from unitq.errors import ConfigError, Exit
from unitq.model.app import NAME_RE
from unitq.printable import one_line

if TYPE_CHECKING:
    from unitq.context import Scope
    from unitq.model.app import App
    from unitq.supervisor.importer.recognise import Wishes
    from unitq.supervisor.importer.translate import Imported

_SECRET = 0o600
_READABLE = 0o644


def pairs(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,
    value: tuple[str, ...],
) -> dict[str, str]:
    found = {}
    for word in value:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise click.BadParameter(f'expected NAME=VALUE, got "{word}"', param=param)
        found[name] = text
    return found


def _formation(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,
    value: str | None,
) -> dict[str, int]:
    found = {}
    for word in value.split(",") if value else ():
        name, _, count = word.strip().partition("=")
        if not name or not re.fullmatch("[0-9]{1,4}", count):
            raise click.BadParameter(f'expected NAME=NUMBER, got "{word}"', param=param)
        found[name] = int(count)
    return found


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
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option(
    "--check", "checking", is_flag=True, help="Compare with the unitq.toml that is there."
)
@click.option("--explain", is_flag=True, help="Say of every option what became of it.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON; see docs/json.md.")
@click.option(
    "--directory",
    metavar="DIR",
    shell_complete=completions.folders,
    help="Where programs run that say nothing of it.",
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

    Says what has to be decided; with --explain also of each option whether it means the same, is
    said differently, or is not carried over. Without FILE it takes the one that supervisord would.
    Nothing is started or stopped.
    """
    from unitq.config.parse import parse
    from unitq.supervisor.conf import files as conf_files
    from unitq.supervisor.importer.draft import uncomment

    scope = current()
    if checking and output:
        raise ConfigError("--check writes nothing, so --output means nothing with it")
    if output and os.path.exists(output) and not force:
        raise ConfigError(f"{output} is there already", hint="--force replaces it")
    path = Path(file) if file is not None else conf_files.default()
    presets = scope.presets()
    imported, mode = _imported(scope, path, directory, variables, formation)
    _refuse_nothing(imported)
    source = output or "what is imported"
    # Comments alone are for the operator to choose from: they have to be as good.
    text = imported.text if imported.report.written else uncomment(imported.text)
    app = parse(text, source=source, presets=presets)
    if checking:
        return _check(scope, app, as_json=as_json)
    _show(imported, output, mode, explain=explain, as_json=as_json)
    return Exit.OK


def _refuse_nothing(imported: Imported) -> None:
    """Raises ConfigError where not even a comment could become a worker."""
    report = imported.report
    named = {part.section.partition(":")[0] for part in report.parts if part.workers}
    if report.written or named - {"fcgi-program"}:
        return
    if named:
        raise ConfigError(
            f"{report.source}: it has only [fcgi-program:x], of which unitq can run none",
            problems=(
                "Supervisor opens the socket and hands it over on descriptor 0; unitq opens none.",
            ),
            hint="write a .socket unit with ListenStream= and a .service with StandardInput=socket "
            "(systemd.socket(5)), or have the program open its socket itself, as php-fpm does",
        )
    echo_text(report.summary(), err=True)
    raise ConfigError(f"{report.source}: there is no program that could be a worker")


def _imported(
    scope: Scope,
    path: Path,
    directory: str | None,
    variables: dict[str, str],
    formation: dict[str, int],
) -> tuple[Imported, int]:
    """What the file says, and who may read what is written: it may hold secrets."""
    from unitq.supervisor.conf import files as conf_files
    from unitq.supervisor.conf.programs import read
    from unitq.supervisor.conf.section import OF_SESSION
    from unitq.supervisor.importer import procfile, unit_file, unit_source, unit_text
    from unitq.supervisor.importer.recognise import Wishes, recogniser
    from unitq.supervisor.importer.translate import translate

    if scope.app is not None and not NAME_RE.fullmatch(scope.app):
        raise ConfigError(f"not a name for an app: {scope.app}", hint="letters, digits, - and _")
    if directory is not None:
        directory = os.path.abspath(directory)
    text = conf_files.read(path)
    wishes = Wishes(one_line(str(path)), scope.app, directory, scope.user, conf_files.home)
    if not unit_text.looks_like_unit(path.name, text) and procfile.looks_like(path.name, text):
        mode = _SECRET if conf_files.secret([str(path)]) else _READABLE
        return _procfile(scope, path, text, wishes, formation), mode
    if formation:
        raise ConfigError("--formation is for a Procfile; numprocs says it here")
    if unit_text.looks_like_unit(path.name, text):
        unit = unit_source.load(path, text, variables)
        mode = _SECRET if conf_files.secret(unit_source.files(unit)) else _READABLE
        return unit_file.translate(unit, wishes, recogniser(scope.presets())), mode
    own = {name: value for name, value in os.environ.items() if name not in OF_SESSION}
    environment = own | variables
    around = conf_files.surroundings(path, environment)
    ini, notes = conf_files.load(path, text, around)
    found = read(ini, around, str(path))
    imported = translate(ini, found, wishes, recogniser(scope.presets()))
    imported.report.notes[:0] = notes
    hidden = found.from_outside or conf_files.secret(ini.sources)
    return imported, _SECRET if hidden else _READABLE


def _procfile(
    scope: Scope, path: Path, text: str, wishes: Wishes, formation: dict[str, int]
) -> Imported:
    from unitq.supervisor.importer import procfile
    from unitq.supervisor.importer.recognise import recogniser

    folder = path.absolute().parent
    env = folder / ".env"
    return procfile.read(
        text,
        wishes,
        recogniser(scope.presets()),
        directory=wishes.directory or os.path.normpath(folder),
        env_file=os.path.normpath(env) if os.path.isfile(env) else None,
        formation=formation,
    )


_BESIDES = "every unit also gets a PATH, a umask, a read-only /etc and more: docs/your-worker.md"


def _show(
    imported: Imported, output: str | None, mode: int, *, explain: bool, as_json: bool
) -> None:
    from unitq.linux import files, folder

    report = imported.report
    document = report.to_json()
    account = report.text() if explain else report.summary()
    next_step = (
        "look at it with `unitq check` and `unitq plan`"
        if report.written
        else "take the # away from what is to run, then `unitq check`"
    )
    if output is not None:
        target = Path(output).absolute()
        with files.preflight_errors("cannot write"), folder.output(target.parent) as place:
            place.replace(target.name, imported.text.encode(), mode)
        if as_json:
            echo_json(document | {"output": str(target)})
        else:
            echo_text(account)
            echo(_BESIDES)
            echo()
            echo(f"wrote {output}: {next_step}")
    elif as_json:
        more = {"output": None, "unitq_toml": imported.text}
        echo_json(document | more)
    else:
        echo_text(imported.text)
        echo_text(account, err=True)
        echo(_BESIDES, err=True)


def _check(scope: Scope, imported: App, *, as_json: bool) -> int:
    from unitq.supervisor.importer.compare import differences

    ours, path = scope.replace(app=None).load()
    found = differences(ours, imported)
    code = Exit.NOT_AS_WANTED if found else Exit.OK
    if as_json:
        document = {
            "format": 1,
            "config": str(path),
            "app": ours.name,
            "exit_code": int(code),
            "differences": list(found),
        }
        echo_json(document)
        return code
    for line in found:
        echo(line)
    if not found:
        echo(f"{path} says the same")
    return code
