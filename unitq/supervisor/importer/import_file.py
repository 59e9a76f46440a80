"""Reads a configuration of Supervisor, a systemd unit or a Procfile, and writes a unitq.toml."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitq.config.parse import parse
from unitq.errors import ConfigError, Exit
from unitq.linux import files, folder
from unitq.model.app import NAME_RE
from unitq.printable import one_line
from unitq.supervisor.conf import files as conf_files
from unitq.supervisor.conf.programs import read
from unitq.supervisor.conf.section import OF_SESSION
from unitq.supervisor.importer import procfile, unit_file, unit_source, unit_text
from unitq.supervisor.importer.compare import differences
from unitq.supervisor.importer.draft import uncomment
from unitq.supervisor.importer.recognise import Wishes, recogniser
from unitq.supervisor.importer.translate import translate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unitq.context import Scope
    from unitq.model.app import App
    from unitq.supervisor.importer.translate import Imported

_SECRET = 0o600
_READABLE = 0o644


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What was read, and the unitq.toml that says the same."""

    imported: Imported
    app: App  # as that file describes it
    mode: int  # of a file with it: it may hold secrets

    def to_json(self, output: Path | None = None) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        document = self.imported.report.to_json()
        if output is not None:
            return document | {"output": str(output)}
        return document | {"output": None, "unitq_toml": self.imported.text}

    def write(self, output: str) -> Path:
        """Writes the file. Raises PreflightError."""
        target = Path(output).absolute()
        with files.preflight_errors("cannot write"), folder.output(target.parent) as place:
            place.replace(target.name, self.imported.text.encode(), self.mode)
        return target


@dataclass(frozen=True, slots=True)
class Comparison:
    """Where a unitq.toml says something else than what was read."""

    path: Path
    app: str
    differences: Sequence[str]

    @property
    def exit_code(self) -> Exit:
        """NOT_AS_WANTED where there is a difference."""
        return Exit.NOT_AS_WANTED if self.differences else Exit.OK

    def to_json(self) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        return {
            "format": 1,
            "config": str(self.path),
            "app": self.app,
            "exit_code": int(self.exit_code),
            "differences": list(self.differences),
        }


def import_file(
    scope: Scope,
    file: str | None,
    *,
    directory: str | None = None,
    variables: Mapping[str, str],
    formation: Mapping[str, int],
    source: str,
) -> ImportResult:
    """Returns what the file says, by default the one that supervisord would take.

    `source` is what messages call the unitq.toml. Raises ConfigError where there is nothing to run.
    """
    path = Path(file) if file is not None else conf_files.default()
    presets = scope.presets()
    imported, mode = _imported(scope, path, directory, dict(variables), dict(formation))
    _refuse_nothing(imported)
    # Comments alone are for the operator to choose from: they have to be as good.
    text = imported.text if imported.report.written else uncomment(imported.text)
    return ImportResult(imported, parse(text, source=source, presets=presets), mode)


def compare(scope: Scope, result: ImportResult) -> Comparison:
    """Compares it with the unitq.toml that is meant."""
    app, path = scope.replace(app=None).load()
    return Comparison(path, app.name, differences(app, result.app))


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
    raise ConfigError(
        f"{report.source}: there is no program that could be a worker",
        problems=tuple(report.summary().splitlines()),
    )


def _imported(
    scope: Scope,
    path: Path,
    directory: str | None,
    variables: dict[str, str],
    formation: dict[str, int],
) -> tuple[Imported, int]:
    """What the file says, and who may read what is written: it may hold secrets."""
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
