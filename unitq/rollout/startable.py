"""Whether workers could start again, asked before any of them is told to stop.

deploy checks what it is about to install. restart, scale and recycle start what was installed
before: meanwhile a clean-up may have deleted the release, or an upgrade the interpreter.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from unitq.errors import PreflightError
from unitq.model import names
from unitq.model.finding import Level
from unitq.rollout import preflight, reachable
from unitq.units import unit_files
from unitq.units.text import read_unit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unitq.model.layout import Layout
    from unitq.revisions.model import Revision, WorkerRevision
    from unitq.units.text import WorkerUnit


def require(layout: Layout, revision: Revision, workers: Iterable[str]) -> None:
    """Raises PreflightError where one of these workers could not start: nothing was changed."""
    problems: list[str] = []
    starts: list[reachable.Start] = []
    for name in sorted(set(workers)):
        if (worker := revision.worker(name)) is None:
            continue
        unit = _unit(layout, revision, worker)
        if found := _problems(worker, unit):
            problems += found
        elif unit and not unit.dynamic:
            starts.append(_start(worker, unit))
    problems += [
        finding.text
        for finding in reachable.findings(starts, user_scope=layout.user)
        if finding.level is Level.ERROR
    ]
    if problems:
        typed = f"unitq {'--user ' * layout.user}-a {revision.app}"
        raise PreflightError(
            f"{revision.app}: what ends now could not start again; nothing was touched",
            problems=tuple(problems),
            hint=f"put it back, or deploy what is there; `{typed} status` shows what runs",
        )


def _unit(layout: Layout, revision: Revision, worker: WorkerRevision) -> WorkerUnit | None:
    text = unit_files.text(layout.unit_dir, names.template(revision.app, worker.name))
    return read_unit(text, str(layout.app(revision.app).pins(worker.name)))


def _problems(worker: WorkerRevision, unit: WorkerUnit | None) -> list[str]:
    place = f"workers.{worker.name}"
    try:
        os.stat(worker.release)
    except (FileNotFoundError, NotADirectoryError):
        return [f"{place}: its release {worker.release} was deleted"]
    except OSError:
        return []  # not for us to see
    if unit is None:
        return []
    found = preflight.of_command(unit.command, worker.release, place, unit.directives)
    return [finding.text for finding in found]


def _start(worker: WorkerRevision, unit: WorkerUnit) -> reachable.Start:
    return reachable.Start(
        f"workers.{worker.name}",
        (("command", unit.command),),
        worker.release,
        unit.user or None,
        unit.group,
        unit.groups,
        unit.directives - {"DynamicUser"},
    )
