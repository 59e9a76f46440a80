"""Whether workers could start again, asked before any of them is told to stop.

deploy checks what it is about to install. restart, scale and recycle start what was installed
before: meanwhile a clean-up may have deleted the release, or an upgrade the interpreter.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from unitq.core import names
from unitq.core.commandline import executable
from unitq.core.errors import PreflightError
from unitq.core.unittext import told
from unitq.host import checks, unitfiles

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unitq.core.layout import Layout
    from unitq.core.revision import Revision, WorkerRevision

_SECONDS = 10.0
_YES, _NO = b"+", b"-"


def require(layout: Layout, revision: Revision, workers: Iterable[str]) -> None:
    """Raises PreflightError where one of these workers could not start: nothing was changed."""
    problems: list[str] = []
    for name in sorted(set(workers)):
        worker = revision.worker(name)
        if worker is not None:
            problems += _problems(layout, revision, worker)
    if problems:
        typed = f"unitq {'--user ' * layout.user}-a {revision.app}"
        raise PreflightError(
            f"{revision.app}: what ends now could not start again; nothing was touched",
            problems=tuple(problems),
            hint=f"put it back, or deploy what is there; `{typed} status` shows what runs",
        )


def _problems(layout: Layout, revision: Revision, worker: WorkerRevision) -> list[str]:
    place = f"workers.{worker.name}"
    try:
        os.stat(worker.release)
    except (FileNotFoundError, NotADirectoryError):
        return [f"{place}: its release {worker.release} was deleted"]
    except OSError:
        return []  # not for us to see
    text = unitfiles.text(layout.unit_dir, names.template(revision.app, worker.name))
    unit = told(text, str(layout.app(revision.app).pins(worker.name)))
    if unit is None:
        return []
    found = checks.of_command(
        unit.command, worker.release, place, frozenset(re.findall(r"(?m)^([A-Za-z]+)=", text))
    )
    if found or layout.user or not unit.user or unit.dynamic:
        return [finding.line for finding in found]
    program = executable(unit.command)
    path = os.path.join(worker.release, program) if "/" in program else worker.release
    path = os.path.normpath(path)
    if "%" in path or "$" in path or _may_use(path, unit.user):
        return []
    return [f"{place}.user: {unit.user} may not execute {path}, or not look into its directory"]


def _may_use(path: str, user: str) -> bool:
    """Whether the account may execute a file, or enter a directory; True where nobody can tell."""
    from unitq.linux import confined
    from unitq.linux.account import account

    if os.geteuid() != 0:
        return True
    try:
        uid = account(user).uid
    except LookupError:
        return False
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        ended = confined.run(
            lambda: _YES if os.access(path, os.X_OK) else _NO,
            confined.account(uid), seconds=_SECONDS, most=2, folder=root,
        )  # fmt: skip
    except OSError:
        return True
    finally:
        os.close(root)
    return ended.output != _NO
