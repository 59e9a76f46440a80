"""An existing unitq.toml against what an import would write."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from unitq.model.settings import Duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unitq.model.app import App, Worker

# What an import never says, or what follows from the rest.
_SKIPPED = frozenset(
    {"name", "environment", "fit", "quiet", "resume", "probe", "recycle", "queues"}
)


def differences(ours: App, imported: App) -> tuple[str, ...]:
    """What is otherwise in `ours`: one line each; values of variables are not shown."""
    return tuple(_differences(ours, imported))


def _differences(ours: App, imported: App) -> Iterator[str]:
    for worker in imported.workers:
        mine = ours.worker(worker.name)
        if mine is None:
            yield f"workers.{worker.name}: is not there"
        else:
            yield from _of_worker(mine, worker)
    for worker in ours.workers:
        if imported.worker(worker.name) is None:
            yield f"workers.{worker.name}: Supervisor has no such program"


def _of_worker(ours: Worker, imported: Worker) -> Iterator[str]:
    for field in dataclasses.fields(ours):
        if field.name in _SKIPPED:
            continue
        mine, theirs = getattr(ours, field.name), getattr(imported, field.name)
        if mine != theirs:
            place = f"workers.{ours.name}.{field.name}"
            yield f"{place}: {_shown(mine)}, and the import has {_shown(theirs)}"
    mine, theirs = dict(ours.environment), dict(imported.environment)
    for name in sorted(mine.keys() | theirs.keys()):
        if mine.get(name) != theirs.get(name):
            what = "is not there" if name not in mine else "is not in the import"
            what = "has another value" if name in mine and name in theirs else what
            yield f"workers.{ours.name}.environment.{name}: {what}"


def _shown(value: object) -> str:
    if value is None or value == ():
        return "nothing"
    if isinstance(value, tuple) and not isinstance(value, Duration):
        return ", ".join(_pair(item) for item in value)
    burst = getattr(value, "burst", None)
    if burst is not None:
        return f"{burst}/{getattr(value, 'interval', '')}" if burst else "none"
    return str(value)


def _pair(item: object) -> str:
    if isinstance(item, tuple) and len(item) == 2:
        name, found = item
        return f"{name}={' '.join(found) if isinstance(found, tuple) else found}"
    return str(item)
