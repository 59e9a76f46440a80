"""The beginnings of the scripts that workers run, by which a framework may be recognised."""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

from unitq.cmdline.invocation import HEAD_MAX, main_process, scripts
from unitq.config.apply_preset import below_scripts
from unitq.config.option_lint import settings_files
from unitq.linux.links import changes_in_place
from unitq.linux.trust import resolve
from unitq.model.finding import WorkerFacts
from unitq.systemd.envfile import assignments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.model.app import App
    from unitq.presets.model import Preset
    from unitq.units.render import Code

_FILES_MAX = 20  # for one worker: a shell's script may name many
_LEVELS = 2  # a shell's script, and what it starts


def of_app(
    app: App, code: Mapping[str, Code], presets: Mapping[str, Preset] | None = None
) -> dict[str, WorkerFacts]:
    """What was found of each worker. What cannot be read says nothing: it is no mistake.

    With `presets`, the settings of its framework, too.
    """
    seen = {}
    for worker in app.workers:
        release = code[worker.name].release
        below = heads(worker.command, release)
        preset = presets.get(worker.preset) if presets and worker.preset else None
        paths = settings_files(worker, preset, below) if preset else []
        seen[worker.name] = WorkerFacts(
            below,
            {
                name: value
                for content in code[worker.name].files
                for name, value in assignments(content.decode(errors="replace")).items()
            },
            {path: text for path in paths if (text := _head(os.path.join(release, path)))},
            changes_in_place(worker.directory),
        )
    return seen


def adapt(app: App, code: Mapping[str, Code]) -> App:
    """The app as its units are to be, where that depends on what scripts say."""
    return below_scripts(app, of_app(app, code))


def heads(command: str, release: str) -> dict[str, str]:
    """The beginnings of the scripts that this command runs, by their paths as written."""
    texts: dict[str, str] = {}
    for _ in range(_LEVELS):
        for path in scripts(command, texts)[:_FILES_MAX]:
            if path not in texts:
                texts[path] = _head(os.path.join(release, path))
    return {path: head for path, head in texts.items() if head}


def unread(command: str, release: str, seen: Mapping[str, str]) -> tuple[str, ...]:
    """The main process's program, where it may be a shell's script, and could not be looked at."""
    paths = [
        program.script
        for program in main_process(command, seen)
        if program.script
        and program.interpreter in ("", "sh")
        and program.script not in seen
        # What a shell puts in is not known here.
        and "$" not in program.script
    ]
    return tuple(path for path in paths if not is_machine_code(os.path.join(release, path)))


def real_name(interpreter: str, folder: str) -> str:
    """What the kernel calls a program that a script's first line names: links followed."""
    if "/" in interpreter:
        path = os.path.join(folder, interpreter)
    else:
        path = shutil.which(interpreter) or interpreter
    return os.path.basename(os.path.realpath(path))


def is_machine_code(path: str) -> bool:
    """Whether it is a program that the kernel runs without another one (elf(5))."""
    return _beginning(path, 4) == b"\x7fELF"


def _head(path: str) -> str:
    content = _beginning(path, HEAD_MAX)
    # A program in machine code is no script.
    return "" if b"\0" in content else content.decode(errors="replace")


def _beginning(path: str, count: int) -> bytes:
    """So many bytes of a file; none where there is none, or it cannot be read."""
    if "\0" in path:
        return b""
    try:
        with resolve(path) as place:
            # Looked at before it is opened: to open a device can be an order, as to a watchdog.
            # The kernel's own files, in /proc, have no size, and some are changed by being read.
            status = os.fstat(place.descriptor)
            if not stat.S_ISREG(status.st_mode) or not status.st_size:
                return b""
            with open(place.open(), "rb", buffering=0) as file:
                return file.read(count) or b""
    except OSError:
        return b""
