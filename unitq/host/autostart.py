"""Switches the autostart of programs off in Supervisor's own files, keeping each as it was."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from unitq.core.errors import PreflightError
from unitq.core.supervisor.autostart import switched_off
from unitq.core.supervisor.ini import Ini
from unitq.core.supervisor.programs import include_patterns, read
from unitq.host import files, supervisor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from unitq.core.supervisor.programs import Read
    from unitq.core.supervisor.section import Surroundings

SUFFIX = ".before-unitq"


class Configuration(NamedTuple):
    """What supervisord's files say."""

    path: Path  # the main one
    around: Surroundings
    ini: Ini
    read: Read
    notes: tuple[str, ...]


class Kept(NamedTuple):
    """A file that was changed, and its copy from before the first change."""

    file: str
    copy: str


def load(path: Path, environment: Mapping[str, str]) -> Configuration:
    """Reads all of it. Raises ConfigError."""
    around = supervisor.surroundings(path, environment)
    ini, notes = supervisor.load(path, supervisor.read(path), around)
    return Configuration(path, around, ini, read(ini, around, str(path)), notes)


def switch_off(
    path: Path, environment: Mapping[str, str], sections: Sequence[str]
) -> tuple[Kept, ...]:
    """The files that were changed, so that supervisord starts none of these when it begins.

    The running one goes by what it has read before. Raises PreflightError, having changed nothing.
    """
    found = load(path, environment)
    texts = {file: supervisor.read(Path(file)) for file in found.ini.sources}
    changed = switched_off(texts, found.ini, sections)
    kept = []
    for file, text in changed.items():
        # What a link leads to is changed, and the link stays.
        target, copy = Path(os.path.realpath(file)), copy_for(found, file)
        with files.nothing_changed("cannot switch autostart off"):
            if not copy.exists():
                _write(copy, target.read_bytes(), target)
            _write(target, text.encode(), target)
        kept.append(Kept(str(target), str(copy)))
    again = load(path, environment)
    on = _on(again.read, sections)
    if on or set(again.ini.sources) != set(found.ini.sources):
        for file in changed:
            target = Path(os.path.realpath(file))
            _write(target, texts[file].encode(), target)
        raise PreflightError(
            f"{path}: autostart of {', '.join(on) or 'them'} cannot be switched off: what is "
            "changed there does not count",
            hint="do so yourself, then call this again",
        )
    return tuple(kept)


def way_back(path: Path, environment: Mapping[str, str], section: str) -> list[str]:
    """What to type to have a program's autostart as it was; nothing where it is.

    The whole file is put back where nothing else in it was changed, and else this one line.
    """
    found = load(path, environment)
    if section in _on(found.read, [section]):
        return []
    own = found.ini.sections[section].get("autostart")
    file = own.file if own else found.ini.files[section]
    target, copy = Path(os.path.realpath(file)), copy_for(found, file)
    if not copy.exists():
        return []
    before = supervisor.read(copy)
    ini = Ini()
    ini.read(before, file)
    now = supervisor.read(target)
    if switched_off({file: before}, ini, [section]) == {file: now}:
        return [shlex.join(["mv", str(copy), str(target)])]
    edit = _edit(section, before, now)
    if edit is None:
        return [f"# autostart of [{section}] in {target} again as in {copy}"]
    return [shlex.join(["sed", "-i", edit, str(target)])]


def _edit(section: str, before: str, now: str) -> str | None:
    """What sed(1) does to the text as it is now, so that this section is as it was before.

    None: a person has to look. It goes by what stands there and not by the number of a line, which
    somebody else may move until it is typed.
    """
    if "\r" in before + now:
        return None
    was, there = _autostart(section, before), _autostart(section, now)
    header = f"[{section}]"
    if there is None or not there.isprintable() or not (was or "").isprintable():
        return None
    lines = now.split("\n")
    begins = [number for number, line in enumerate(lines) if line.startswith(header)]
    if len(begins) != 1:
        return None
    end = next(
        (number for number in range(begins[0] + 1, len(lines)) if lines[number].startswith("[")),
        len(lines),
    )
    if lines[begins[0] : end].count(there) != 1:
        return None
    line = _escaped(there)
    if was is None:
        what = f"/^{line}$/d"
    else:
        new = re.sub(r"([&/\\])", r"\\\1", was)
        what = f"s/^{line}$/{new}/"
    return f"/^{_escaped(header)}/,/^\\[/{{{what}}}"


def _autostart(section: str, text: str) -> str | None:
    """The line of a section's own autostart; None: it has none."""
    ini = Ini()
    ini.read(text, "")
    own = ini.sections.get(section, {}).get("autostart")
    return None if own is None else text.split("\n")[own.line - 1]


def _escaped(text: str) -> str:
    """What matches just this text in sed's basic regular expressions, between slashes."""
    return re.sub(r"([][\\/.*^$])", r"\\\1", text)


def _on(found: Read, sections: Iterable[str]) -> list[str]:
    wanted = set(sections)
    return sorted(
        {one.section for one in found.programs if one.section in wanted and one.settings.autostart}
    )


def copy_of(target: Path, patterns: Iterable[str]) -> Path:
    """Where the copy goes: beside, and with a dot before it where [include] would read it."""
    copy = target.with_name(target.name + SUFFIX)
    if any(fnmatch.fnmatch(str(copy), pattern) for pattern in patterns):
        return copy.with_name(f".{copy.name}")
    return copy


def copy_for(found: Configuration, file: str) -> Path:
    """The same for a file of this configuration."""
    return copy_of(Path(os.path.realpath(file)), _patterns(found))


def _patterns(found: Configuration) -> tuple[str, ...]:
    """The globs of [include], as whole paths; also with the folder that a link leads to."""
    base = os.path.dirname(os.path.abspath(found.path))
    every = [os.path.join(base, pattern) for pattern in include_patterns(found.ini, found.around)]
    real = [os.path.join(os.path.realpath(os.path.dirname(p)), os.path.basename(p)) for p in every]
    return tuple(dict.fromkeys([*every, *real]))


def _write(path: Path, content: bytes, like: Path) -> None:
    """Writes a file, whole or not at all, with the owner and the mode of another."""
    told = os.stat(like)
    staged = files.beside(path)
    staged.unlink(missing_ok=True)
    files.write(staged, content, told.st_mode & 0o777)
    if (told.st_uid, told.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(staged, told.st_uid, told.st_gid)
    staged.replace(path)
    files.sync(path.parent)
