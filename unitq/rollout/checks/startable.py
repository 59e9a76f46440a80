"""Whether workers could start again, asked before any of them drains.

deploy checks what it is about to install. restart, scale and recycle start what was installed
before: meanwhile a clean-up may have deleted the release, or an upgrade the interpreter.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from unitq.errors import PreflightError
from unitq.model import names
from unitq.model.finding import Level
from unitq.revisions import store
from unitq.rollout.checks import preflight, reachable
from unitq.units import unit_files
from unitq.units.text import read_unit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unitq.model.layout import AppLayout, Layout
    from unitq.revisions.model import Revision, WorkerRevision


def require(
    layout: Layout, revision: Revision, workers: Iterable[str], path: str | None = None
) -> None:
    """Raises PreflightError where one of these workers could not start: nothing was changed.

    `path` is the PATH that systemd gives to services, None where it is unknown.
    """
    place = layout.app(revision.app)
    problems: list[str] = []
    starts: list[reachable.Start] = []
    for name in sorted(set(workers)):
        if (worker := revision.worker(name)) is None:
            continue
        text = unit_files.text(layout.unit_dir, names.template(revision.app, name))
        unit = read_unit(text, str(place.pins(name)))
        release = _release_problem(worker)
        if release is not None:
            problems += [release] if release else []
        elif unit is None:
            continue
        elif findings := preflight.of_command(
            unit.command, worker.release, f"workers.{name}", unit.directives
        ):
            problems += [finding.text for finding in findings]
        elif not unit.dynamic:
            starts.append(
                reachable.Start(
                    f"workers.{name}",
                    (("command", unit.command),),
                    worker.release,
                    unit.user or None,
                    unit.group,
                    unit.groups,
                    unit.directives - {"DynamicUser"},
                    _path(place, worker, text, path),
                )
            )
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
            hint=f"restore it, or deploy again; `{typed} status` shows what runs",
        )


def _release_problem(worker: WorkerRevision) -> str | None:
    """Returns what is wrong with the release; empty: we may not look; None: nothing."""
    try:
        os.stat(worker.release)
    except (FileNotFoundError, NotADirectoryError):
        return f"workers.{worker.name}: its release {worker.release} was deleted"
    except OSError:
        return ""
    return None


def _path(place: AppLayout, worker: WorkerRevision, text: str, path: str | None) -> str | None:
    """Returns the PATH that the worker gets at its next start; None: unknown."""
    pins = re.escape(str(place.pins(worker.name)).replace("%", "%%"))
    # Besides these two, which every unit has, directives are the operator's.
    own = re.sub(rf"(?m)^(EnvironmentFile={pins}/.*|Environment=UNITQ_INSTANCE=%i)$", "", text)
    if re.search(r"(?m)^(Environment|EnvironmentFile|PassEnvironment|UnsetEnvironment)=", own):
        return None
    variables = store.environment(place, worker, lambda _: None)
    return None if variables is None else variables.get("PATH", path)
