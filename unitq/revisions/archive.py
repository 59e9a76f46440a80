"""What is on disk about one app: its revisions, and the reports of its rollouts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import click

from unitq.cli import completions
from unitq.cli.output import echo
from unitq.instances import observe
from unitq.revisions import history, state, store

if TYPE_CHECKING:
    from collections.abc import Callable

    from unitq.cli.scope import Scope
    from unitq.model.layout import AppLayout
    from unitq.model.names import InstanceName
    from unitq.revisions.model import Revision
    from unitq.systemd.manager import Systemd


class Stored(NamedTuple):
    """All that is on disk about one app."""

    scope: Scope
    place: AppLayout
    current: Revision
    revisions: tuple[Revision, ...]  # oldest first
    reports: tuple[dict[str, Any], ...]  # oldest first
    notes: list[str]  # what could not be read

    def note(self, words: str) -> None:
        """Keeps what is to be said at the end, once."""
        if words not in self.notes:
            self.notes.append(words)

    def find(self, wanted: str | None) -> Revision:
        """The revision that is meant, the current one by default. Raises NoMatchError."""
        return history.find(self.revisions, wanted, self.current.id) if wanted else self.current

    def document(self, **values: Any) -> dict[str, Any]:
        """What every command here prints as JSON."""
        head = {
            "format": 1,
            "scope": "user" if self.scope.user else "system",
            "app": self.current.app,
        }
        return head | values | {"notes": self.notes}

    def tell(self) -> None:
        """Prints what could not be read."""
        for words in self.notes:
            echo(f"note: {words}", err=True)


def stored(scope: Scope) -> Stored:
    """What is on disk about the one app that is meant. Raises NoMatchError."""
    revision = scope.installed()
    place = scope.layout.app(revision.app)
    notes: list[str] = []
    found = store.every(place, notes.append)
    told = store.reports(place, notes.append)
    return Stored(scope, place, revision, tuple(found), tuple(told), notes)


def looked(found: Stored, systemd: Systemd) -> dict[InstanceName, observe.Instance]:
    """Every instance of any revision that systemd knows, with its processes."""
    where = observe.machine(systemd, found.scope.layout)
    # Also workers that nobody wants any more: a process of one may still drain.
    workers = {worker.name for revision in found.revisions for worker in revision.workers}
    workers |= {name.worker for name in state.pinned_instances(found.place)}
    return observe.instances(systemd, where, found.current.app, workers)


def revision_argument(name: str, metavar: str, *, required: bool = False) -> Callable[..., Any]:
    """Adds an argument that names a revision; with shell completion."""
    return click.argument(
        name, metavar=metavar, required=required, shell_complete=completions.revisions
    )
