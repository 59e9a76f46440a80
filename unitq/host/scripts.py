"""The beginnings of the scripts that workers run, by which a framework may be recognised."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from unitq.core.envfile import assignments
from unitq.core.finding import Seen
from unitq.core.fitting import below_scripts
from unitq.core.recognise import HEAD_MAX, scripts
from unitq.linux.trust import resolved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.core.model import App
    from unitq.core.render import Code

_FILES_MAX = 20  # for one worker: a shell's script may name many
_LEVELS = 2  # a shell's script, and what it starts


def of_app(app: App, code: Mapping[str, Code]) -> dict[str, Seen]:
    """What was found of each worker. What cannot be read says nothing: it is no mistake."""
    return {
        worker.name: Seen(
            heads(worker.command, code[worker.name].release),
            {
                name: value
                for content in code[worker.name].files
                for name, value in assignments(content.decode(errors="replace")).items()
            },
        )
        for worker in app.workers
    }


def fitted(app: App, code: Mapping[str, Code]) -> App:
    """The app as its units are to be, where that depends on what scripts say."""
    return below_scripts(app, of_app(app, code))


def heads(command: str, release: str) -> dict[str, str]:
    """The beginnings of the scripts that this command runs, by their paths as written."""
    found: dict[str, str] = {}
    for _ in range(_LEVELS):
        for path in scripts(command, found)[:_FILES_MAX]:
            if path not in found:
                found[path] = _head(os.path.join(release, path))
    return {path: head for path, head in found.items() if head}


def _head(path: str) -> str:
    if "\0" in path:
        return ""
    try:
        with resolved(path) as found:
            # Looked at before it is opened: to open a device can be an order, as to a watchdog.
            if not stat.S_ISREG(os.fstat(found.descriptor).st_mode):
                return ""
            with open(found.open(), "rb", buffering=0) as file:
                content = file.read(HEAD_MAX)
    except OSError:
        return ""
    # A program in machine code is no script.
    return "" if b"\0" in content else content.decode(errors="replace")
