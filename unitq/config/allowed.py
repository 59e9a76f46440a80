"""Findings that the operator allows by name: `allow = ["pipe"]`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.model.finding import Certainty, Finding, Level
from unitq.model.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unitq.model.app import App


def remove_allowed(findings: Iterable[Finding], app: App) -> list[Finding]:
    """Returns the findings that nobody allows, and a note for each name that silences nothing.

    A worker's `allow` is for its own findings, the app's for all.
    """
    own = {worker.name: frozenset(worker.allow) for worker in app.workers}
    every = frozenset(app.allow)
    kept: list[Finding] = []
    used: set[tuple[str, str]] = set()  # name of the worker, or none; name of the finding
    for finding in findings:
        worker = _worker(finding.place)
        if not finding.name:
            kept.append(finding)
        elif finding.name in own.get(worker, ()):
            used.add((worker, finding.name))
        elif finding.name in every:
            used.add(("", finding.name))
        else:
            kept.append(finding)
    places = {"": every, **own}
    names_said = {finding.name for finding in kept if finding.name}
    unused = [
        Finding(
            Level.NOTE,
            f"workers.{worker}.allow" if worker else "allow",
            f'"{name}" silences nothing',
            f'did you mean "{near}"?' if (near := nearest(name, names_said)) else "leave it out",
            sure=Certainty.CERTAIN,
        )
        for worker, names in places.items()
        for name in sorted(names)
        if (worker, name) not in used
    ]
    return kept + unused


def _worker(place: str) -> str:
    """Returns the worker that a place is of; empty where it is of none."""
    parts = place.split(".")
    return parts[1] if parts[0] == "workers" and len(parts) > 1 else ""
