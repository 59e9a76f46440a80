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
from unitq.supervisor.conf import convert
from unitq.supervisor.conf import files as conf_files
from unitq.supervisor.conf.ini import Ini
from unitq.supervisor.conf.programs import include_patterns, read
from unitq.supervisor.takeover.autostart_edit import OPTION
from unitq.supervisor.takeover.autostart_edit import switch_off as edit

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
    conf = load(path, environment)
    texts = {file: conf_files.read(Path(file)) for file in conf.ini.sources}
    changed = edit(texts, conf.ini, sections)
    kept = []
    for file, text in changed.items():
        with _as_preflight(file, sections), _place(file) as (folder, name):
            there = folder.read(name, conf_files.FILE_MAX)
            if there.content.decode() != texts[file]:
                raise ConfigError(f"{file} has just been changed", hint="call this again")
            copy = copy_for(conf, file)
            if not folder.exists(copy.name):
                folder.replace(copy.name, there.content, there.mode, there.owner)
            folder.replace(name, text.encode(), there.mode, there.owner)
        kept.append(Kept(str(copy.with_name(name)), str(copy)))
    again = load(path, environment)
    on = _on(again.read, sections)
    if on or set(again.ini.sources) != set(conf.ini.sources):
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
    with resolve(file) as walk:
        path = walk.path
        controls = (control for control in walk.controls if control.path != path)
        control = next(controls, None)
        if os.geteuid() == ROOT and control:
            raise SharedError(control, path)
    with alone(os.path.dirname(path)) as folder:
        yield folder, os.path.basename(path)


def refusals(conf: Configuration, sections: Sequence[str]) -> tuple[str, ...]:
    """Returns why autostart of these is not switched off here, and what to type; empty: it can be.

    Raises NotPermittedError and PreflightError where a file cannot be looked at.
    """
    wrong: dict[str, None] = {}
    for section in sections:
        file = _file(conf, section)
        with files.preflight_errors("cannot switch autostart off"):
            try:
                with _place(file):
                    continue
            except SharedError as error:
                wrong |= dict.fromkeys(_by_hand(file, [section], error))
    return tuple(wrong)


def _file(conf: Configuration, section: str) -> str:
    """The file that has a section's autostart, or would get it."""
    own = conf.ini.sections[section].get("autostart")
    return own.file if own else conf.ini.files[section]


def _by_hand(file: str, sections: Sequence[str], error: SharedError) -> tuple[str, str]:
    who, names = words(error.control), ", ".join(f"[{section}]" for section in sections)
    why = f"{file}: root does not switch autostart off there: {error.control.path} {who}"
    return (
        f"{why}, who could lead what root writes to another file",
        f"type autostart=false into {names} there, as its owner; then the same command continues",
    )


@contextmanager
def _as_preflight(file: str, sections: Sequence[str]) -> Iterator[None]:
    with files.preflight_errors("cannot switch autostart off"):
        try:
            yield
        except SharedError as error:
            why, hint = _by_hand(file, sections, error)
            raise PreflightError(why, hint=hint) from error


def way_back(path: Path, environment: Mapping[str, str], section: str) -> list[str]:
    """Returns what to type to have a program's autostart as it was; nothing where it is.

    sed(1) goes by what stands there and not by the number of a line, which somebody else may move.
    """
    conf = load(path, environment)
    file = _file(conf, section)
    target, copy = Path(os.path.realpath(file)), copy_for(conf, file)
    if _on(conf.read, [section]):
        return []
    if refusals(conf, [section]):
        # Another account could have put something in the copy's place: nothing there is typed.
        return [f"# autostart of [{section}] in {target} again as it was"]
    if not os.path.exists(copy):
        return []
    before = Ini()
    before.read(conf_files.read(copy), file)
    was = before.sections.get(section, {}).get(OPTION)
    if was and was.value.lower() in convert.FALSE:
        return []
    if was and not was.value.isprintable():
        return [f"# autostart of [{section}] in {target} again as it was"]
    if was:
        value = re.sub(r"([&/\\])", r"\\\1", was.value)
        command = rf"s/^(\s*{OPTION}\s*[=:]\s*)false/\1{value}/I"
    else:
        command = rf"/^\s*{OPTION}=false\s*$/d"
    header = re.sub(r"([][\\/.*+?^$(){}|])", r"\\\1", f"[{section}]")
    script = rf"/^\s*{header}/,/^\s*\[/{{{command}}}"
    return [shlex.join(["sed", "-Ei", script, str(target)])]


def _on(read_in: Read, sections: Iterable[str]) -> list[str]:
    wanted = set(sections)
    return sorted(
        {
            program.section
            for program in read_in.programs
            if program.section in wanted and program.settings.autostart
        }
    )


def copy_of(target: Path, patterns: Iterable[str]) -> Path:
    """Where the copy goes: beside, and with a dot before it where [include] would read it."""
    copy = target.with_name(target.name + SUFFIX)
    if any(fnmatch.fnmatch(str(copy), pattern) for pattern in patterns):
        return copy.with_name(f".{copy.name}")
    return copy


def copy_for(conf: Configuration, file: str) -> Path:
    """The same for a file of this configuration."""
    return copy_of(Path(os.path.realpath(file)), _patterns(conf))


def _patterns(conf: Configuration) -> tuple[str, ...]:
    """The globs of [include], as whole paths; also with the folder that a link leads to."""
    base = os.path.dirname(os.path.abspath(conf.path))
    whole = [os.path.join(base, pattern) for pattern in include_patterns(conf.ini, conf.around)]
    real = [os.path.join(os.path.realpath(os.path.dirname(p)), os.path.basename(p)) for p in whole]
    return tuple(dict.fromkeys([*whole, *real]))
