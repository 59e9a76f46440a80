"""Switches the autostart of programs off in Supervisor's own files, keeping each as it was."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import ConfigError, PreflightError
from unitq.linux import files
from unitq.linux.folder import SharedError, alone, words
from unitq.linux.trust import ROOT, resolve
from unitq.supervisor.conf import files as conf_files
from unitq.supervisor.conf.ini import Ini
from unitq.supervisor.conf.programs import include_patterns, read
from unitq.supervisor.takeover.autostart_edit import switched_off

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from unitq.linux.folder import Folder
    from unitq.supervisor.conf.programs import Read
    from unitq.supervisor.conf.section import Surroundings

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
    around = conf_files.surroundings(path, environment)
    ini, notes = conf_files.load(path, conf_files.read(path), around)
    return Configuration(path, around, ini, read(ini, around, str(path)), notes)


def switch_off(
    path: Path, environment: Mapping[str, str], sections: Sequence[str]
) -> tuple[Kept, ...]:
    """The files that were changed, so that supervisord starts none of these when it begins.

    The running one goes by what it has read before. Raises PreflightError, having changed nothing.
    """
    found = load(path, environment)
    texts = {file: conf_files.read(Path(file)) for file in found.ini.sources}
    changed = switched_off(texts, found.ini, sections)
    kept = []
    for file, text in changed.items():
        with _nothing_changed(file, sections), _place(file) as (folder, name):
            there = folder.read(name, conf_files.FILE_MAX)
            if there.content.decode() != texts[file]:
                raise ConfigError(f"{file} has just been changed", hint="call this again")
            copy = copy_for(found, file)
            if not folder.exists(copy.name):
                folder.replace(copy.name, there.content, there.mode, there.owner)
            folder.replace(name, text.encode(), there.mode, there.owner)
        kept.append(Kept(str(copy.with_name(name)), str(copy)))
    again = load(path, environment)
    on = _on(again.read, sections)
    if on or set(again.ini.sources) != set(found.ini.sources):
        for file in changed:
            with _place(file) as (folder, name):
                there = folder.read(name, conf_files.FILE_MAX)
                folder.replace(name, texts[file].encode(), there.mode, there.owner)
        raise PreflightError(
            f"{path}: autostart of {', '.join(on) or 'them'} cannot be switched off: what is "
            "changed there does not count",
            hint="do so yourself, then call this again",
        )
    return tuple(kept)


@contextmanager
def _place(file: str) -> Iterator[tuple[Folder, str]]:
    """The directory that a file of Supervisor's is in, and its name there.

    What a link leads to is changed, and the link stays. Raises SharedError where another account
    than root could put something else there. One that only owns the file itself cannot.
    """
    with resolve(file) as found:
        path = found.path
        control = next((each for each in found.controls if each.path != path), None)
        if os.geteuid() == ROOT and control:
            raise SharedError(control, path)
    with alone(os.path.dirname(path)) as folder:
        yield folder, os.path.basename(path)


def refused(found: Configuration, sections: Sequence[str]) -> tuple[str, ...]:
    """Why autostart of these is not switched off here, and what to type; nothing: it can be.

    Raises NotPermittedError and PreflightError where a file cannot be looked at.
    """
    wrong: dict[str, None] = {}
    for section in sections:
        file = _file(found, section)
        with files.preflight_errors("cannot switch autostart off"):
            try:
                with _place(file):
                    continue
            except SharedError as error:
                wrong |= dict.fromkeys(_by_hand(file, [section], error))
    return tuple(wrong)


def _file(found: Configuration, section: str) -> str:
    """The file that has a section's autostart, or would get it."""
    own = found.ini.sections[section].get("autostart")
    return own.file if own else found.ini.files[section]


def _by_hand(file: str, sections: Sequence[str], error: SharedError) -> tuple[str, str]:
    who, names = words(error.control), ", ".join(f"[{section}]" for section in sections)
    why = f"{file}: root does not switch autostart off there: {error.control.path} {who}"
    return (
        f"{why}, who could lead what root writes to another file",
        f"type autostart=false into {names} there, as its owner; then the same command goes on",
    )


@contextmanager
def _nothing_changed(file: str, sections: Sequence[str]) -> Iterator[None]:
    with files.preflight_errors("cannot switch autostart off"):
        try:
            yield
        except SharedError as error:
            why, hint = _by_hand(file, sections, error)
            raise PreflightError(why, hint=hint) from error


def way_back(path: Path, environment: Mapping[str, str], section: str) -> list[str]:
    """What to type to have a program's autostart as it was; nothing where it is.

    The whole file is put back where nothing else in it was changed, and else this one line.
    """
    found = load(path, environment)
    if section in _on(found.read, [section]):
        return []
    file = _file(found, section)
    target, copy = Path(os.path.realpath(file)), copy_for(found, file)
    if refused(found, [section]):
        # Somebody else could have put something in the copy's place: nothing there is typed.
        return [f"# autostart of [{section}] in {target} again as it was"]
    if not os.path.exists(copy):
        return []
    before = conf_files.read(copy)
    ini = Ini()
    ini.read(before, file)
    now = conf_files.read(target)
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
