"""An existing unitq.toml against what an import would write."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from unitq.model.app import StartLimit
from unitq.model.settings import Duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unitq.model.app import App, Worker

# What an import never says, or what follows from the rest.
_SKIPPED = frozenset(
    {"name", "environment", "fit", "quiet", "resume", "probe", "recycle", "queues"}
)


def differences(ours: App, imported: App) -> tuple[str, ...]:
    """Returns what is otherwise in `ours`: one line each, without values of variables."""
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
    place = f"workers.{ours.name}"
    for field in dataclasses.fields(ours):
        mine, theirs = getattr(ours, field.name), getattr(imported, field.name)
        if field.name not in _SKIPPED and mine != theirs:
            yield f"{place}.{field.name}: {_text(mine)}, and the import has {_text(theirs)}"
    mine, theirs = dict(ours.environment), dict(imported.environment)
    for name in sorted(mine.keys() | theirs.keys()):
        if mine.get(name) != theirs.get(name):
            what = "is not there" if name not in mine else "is not in the import"
            what = "has another value" if name in mine and name in theirs else what
            yield f"{place}.environment.{name}: {what}"


def _text(value: object) -> str:
    match value:
        case None | ():
            return "nothing"
        case Duration():
            return str(value)
        case StartLimit():
            return f"{value.burst}/{value.interval}" if value.burst else "none"
        case (str(name), tuple(words)):
            return f"{name}={' '.join(words)}"
        case tuple():
            return ", ".join(_text(item) for item in value)
    return str(value)
