"""The files of a Supervisor configuration, found and read as supervisord does it."""

from __future__ import annotations

import glob
import os
import platform
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from unitq.core.errors import ConfigError, NotPermittedError
from unitq.core.supervisor.ini import Ini
from unitq.core.supervisor.programs import include_patterns
from unitq.core.supervisor.section import Surroundings
from unitq.host import files
from unitq.linux.folder import account
from unitq.linux.trust import ANYONE, ROOT, resolved

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

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
    """The file that supervisord would take here. Raises ConfigError where there is none."""
    for name in DEFAULTS:
        if Path(name).is_file():
            return Path(name)
    raise ConfigError(
        f"no configuration of Supervisor: looked for {', '.join(DEFAULTS)}",
        hint="name the file: `unitq import FILE`; a Procfile, too",
    )


def read(path: Path) -> str:
    """A file's text. Raises ConfigError, or NotPermittedError, where it cannot be read as text."""
    if uids := anothers(path, itself=False):
        return _shown(uids, str(path))
    try:
        return files.text(path, FILE_MAX, "configuration")
    except PermissionError as error:
        raise NotPermittedError(
            f"{path}: {error.strerror}", hint="run it as root (sudo)"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ValueError as error:  # a NUL in the name
        raise ConfigError(f"{str(path)!r}: {error}") from error


def secret(paths: Iterable[str]) -> bool:
    """Whether not everybody may read all of these files."""
    try:
        return not all(os.stat(path).st_mode & 0o004 for path in paths)
    except OSError:
        return True


def surroundings(path: Path, environment: Mapping[str, str]) -> Surroundings:
    """What the file may refer to."""
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
    """The file with all that it includes, and what is to be said about the including."""
    ini = Ini()
    ini.read(text, str(path))
    uids = anothers(path)
    notes = []
    base = os.path.dirname(os.path.abspath(path))
    for pattern in include_patterns(ini, around):
        found = list(_matching(os.path.join(base, pattern)))
        if not found:
            notes.append(f"[include] names {pattern}, which no file matches")
        for name in found:
            if os.path.isdir(name):
                notes.append(f"[include] matches {name}, which is a directory, and not read")
                continue
            ini.read(_shown(uids, name) if uids else read(Path(name)), name)
            ini.expand_here(os.path.dirname(os.path.abspath(name)))
    if _included_again(ini, str(path)):
        notes.append("an included file has an [include] of its own, which Supervisor ignores")
    return ini, tuple(notes)


def anothers(path: Path, *, itself: bool = True) -> frozenset[int]:
    """The accounts beside root that decide what stands in this file; asked as root only.

    Without `itself` those that decide which file it is.
    """
    if os.geteuid() != ROOT:
        return frozenset()
    try:
        with resolved(path) as found:
            every = found.controls
            return frozenset(one.uid for one in every if itself or one.path != found.path)
    except (OSError, ValueError):
        return frozenset()  # it is about to be read, which says why it cannot be


def _shown(uids: frozenset[int], name: str) -> str:
    """The text of a file that these accounts have root read. Raises ConfigError.

    They must not get by it what they may not read themselves: passwords in it would be sent to
    where they want, and messages quote lines.
    """
    try:
        with resolved(name) as found:
            seen = os.fstat(found.descriptor)
            if not stat.S_ISREG(seen.st_mode):
                raise ConfigError(f"{name}: not a regular file")
            above = map(os.stat, Path(found.path).parents)
            theirs = seen.st_mode & stat.S_IROTH or seen.st_uid in uids
            if not theirs or not all(
                one.st_mode & stat.S_IXOTH or one.st_uid in uids for one in above
            ):
                who = "others than root" if ANYONE in uids else account(min(uids))
                raise ConfigError(
                    f"{name}: not read: {who} made root look there, and not everybody may read it",
                    hint="keep Supervisor's files where root alone can write, or let everybody "
                    "read what they include",
                )
            # By way of the descriptor: what was looked at is what is read.
            return files.text(Path(f"/proc/self/fd/{found.descriptor}"), FILE_MAX, "configuration")
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from error


def _included_again(ini: Ini, source: str) -> bool:
    option = ini.get("include", "files")
    return option is not None and option.file != source


def _matching(pattern: str) -> Iterator[str]:
    if "\0" in pattern:
        raise ConfigError("[include] files: a NUL in a file's name")
    names = sorted(glob.glob(pattern))
    if len(names) > _FILES_MAX:
        raise ConfigError(f"[include] {pattern}: more than {_FILES_MAX} files")
    yield from names
