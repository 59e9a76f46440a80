"""The files of a Supervisor configuration, found and read as supervisord does it."""

from __future__ import annotations

import glob
import os
import platform
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

from unitq.errors import ConfigError, NotPermittedError
from unitq.linux import text_file
from unitq.linux.read_as import UnreadableError, authors
from unitq.linux.read_as import read as read_as
from unitq.supervisor.conf.ini import Ini
from unitq.supervisor.conf.programs import include_patterns
from unitq.supervisor.conf.section import Surroundings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from unitq.linux.trust import Control

FILE_MAX = 4 << 20  # bytes; a larger one is something else
_FILES_MAX = 10_000

# Where supervisord looks, in this order, beside the folder that it is installed in.
DEFAULTS = (
    "supervisord.conf",
    "etc/supervisord.conf",
    "/etc/supervisord.conf",
    "/etc/supervisor/supervisord.conf",
)


def default() -> Path:
    """Returns the file that supervisord would take here. Raises ConfigError where there is none."""
    for name in DEFAULTS:
        if os.path.isfile(name):
            return Path(name)
    raise ConfigError(
        f"no configuration of Supervisor: looked for {', '.join(DEFAULTS)}",
        hint="name the file: `unitq import FILE`; a Procfile or a systemd unit, too",
    )


def read(path: Path, named_by: Sequence[Control] = (), place: str = "") -> str:
    """Returns a file's text, read with no more rights than those have who decide which file it is.

    Raises ConfigError, or NotPermittedError, where it cannot be read as text.
    """
    try:
        return text_file.decode(read_as(path, FILE_MAX, told_by=named_by, public=True), path)
    except UnreadableError as error:
        kind = NotPermittedError if error.denied else ConfigError
        raise kind(f"{place or path}: {error.reason}", hint=error.hint) from None


def home(account: str) -> str | None:
    """Returns an account's home directory; None: it is not known here."""
    try:
        return pwd.getpwnam(account).pw_dir
    except (KeyError, ValueError):
        return None


def secret(paths: Iterable[str]) -> bool:
    """Whether not everybody may read all of these files."""
    try:
        return not all(os.stat(path).st_mode & 0o004 for path in paths)
    except OSError:
        return True


def surroundings(path: Path, environment: Mapping[str, str]) -> Surroundings:
    """Returns what the file may refer to."""
    # What is not UTF-8 cannot be written into unitq.toml: it counts as not there.
    known = {name: value for name, value in environment.items() if _is_text(name + value)}
    return Surroundings(str(path.absolute().parent), platform.node(), known)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def load(path: Path, text: str, around: Surroundings) -> tuple[Ini, tuple[str, ...]]:
    """Returns the file with all that it includes, and notes about the including."""
    ini = Ini()
    ini.read(text, str(path))
    notes = []
    base = os.path.dirname(os.path.abspath(path))
    named_by = authors(path)
    for pattern in include_patterns(ini, around):
        names = _matching(os.path.join(base, pattern))
        if not names:
            notes.append(f"[include] names {pattern}, which no file matches")
        for name in names:
            if os.path.isdir(name):
                notes.append(f"[include] matches {name}, which is a directory, and not read")
                continue
            quoted = not secret([name])
            ini.read(read(Path(name), named_by, f"[include] {name}"), name, quoted=quoted)
            ini.expand_here(os.path.dirname(os.path.abspath(name)))
    if _included_again(ini, str(path)):
        notes.append("an included file has an [include] of its own, which Supervisor ignores")
    return ini, tuple(notes)


def _included_again(ini: Ini, source: str) -> bool:
    option = ini.get("include", "files")
    return option is not None and option.file != source


def _matching(pattern: str) -> list[str]:
    if "\0" in pattern:
        raise ConfigError("[include] files: a NUL in a file's name")
    names = sorted(glob.glob(pattern))
    if len(names) > _FILES_MAX:
        raise ConfigError(f"[include] {pattern}: more than {_FILES_MAX} files")
    return names
