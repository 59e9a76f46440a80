"""A unit file of this machine with its drop-ins, environment files and enabled instances."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from unitq.errors import ConfigError, NotPermittedError
from unitq.linux.read_as import authors
from unitq.supervisor.conf.files import read
from unitq.supervisor.importer.unit_file import Source
from unitq.supervisor.importer.unit_text import UnitText
from unitq.systemd.envfile import assignments

if TYPE_CHECKING:
    from collections.abc import Mapping

# systemd.unit(5): from the highest to the lowest.
_FOLDERS = (
    "/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system", "/lib/systemd/system",
)  # fmt: skip


def load(path: Path, text: str, given: Mapping[str, str]) -> Source:
    """Returns the unit of this file. `given`: variables whose values are given on the command line.

    Raises ConfigError, or NotPermittedError, where a part of it cannot be read.
    """
    stem, _, suffix = path.name.rpartition(".")
    if suffix != "service" and stem:
        raise ConfigError(
            f"{path}: a {suffix} unit starts no worker", hint="import the .service that it is for"
        )
    name, at, instance = (stem or path.name).partition("@")
    texts = [(str(path), text)]
    texts += [(str(file), read(file, authors(path))) for file in _drop_ins(path)]
    unit = UnitText(texts)
    from_files, missing = _variables(unit, path)
    return Source(
        name,
        unit,
        template=bool(at),
        instances=(instance,) if instance else _wanted_instances(path, name) if at else (),
        variables=from_files | dict(given),
        missing=missing,
    )


def files(source: Source) -> tuple[str, ...]:
    """Returns every file of the unit."""
    return tuple(dict.fromkeys(line.file for line in source.text.lines))


def _places(path: Path) -> tuple[str, ...]:
    """Where systemd looks for what belongs to the unit."""
    own = str(path.absolute().parent)
    return _FOLDERS if own in _FOLDERS else (own,)


def _drop_ins(path: Path) -> list[Path]:
    """In the order in which systemd reads them: by name; of one name the highest folder's."""
    files: dict[str, Path] = {}
    for folder in _places(path):
        for file in Path(folder, f"{path.name}.d").glob("*.conf"):
            files.setdefault(file.name, file)
    return [files[name] for name in sorted(files)]


def _wanted_instances(path: Path, name: str) -> tuple[str, ...]:
    """The instances of a template that some target wants."""
    links = [
        os.path.basename(link)
        for folder in _places(path)
        for link in glob.glob(f"{glob.escape(folder)}/*.wants/{glob.escape(name)}@*.service")
    ]
    names = {link.partition("@")[2].removesuffix(".service") for link in links}
    return tuple(sorted(names - {""}, key=lambda name: (not name.isdecimal(), name.zfill(9))))


def _variables(unit: UnitText, path: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """What its environment files set, and which of them are not there or not for us."""
    variables: dict[str, str] = {}
    missing = []
    for value in unit.values("Service", "EnvironmentFile"):
        file = value.removeprefix("-")
        try:
            variables |= assignments(read(Path(file), authors(path)))
        except (ConfigError, NotPermittedError):
            # The unit names it all the same: what it would set is asked for where it is needed.
            missing.append(file)
    return variables, tuple(missing)
