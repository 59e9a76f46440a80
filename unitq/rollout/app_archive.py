"""What is on disk about one app: its revisions, and the reports of its rollouts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.instances import observe
from unitq.revisions import history, state, store
from unitq.rollout.reports import stored_reports as reports

if TYPE_CHECKING:
    from unitq.context import Scope
    from unitq.model.layout import AppLayout
    from unitq.model.names import InstanceName
    from unitq.revisions.model import Revision
    from unitq.rollout.reports.stored_reports import StoredReport
    from unitq.systemd.manager import Systemd


class AppArchive(NamedTuple):
    """All that is on disk about one app."""

    scope: Scope
    place: AppLayout
    current: Revision
    revisions: tuple[Revision, ...]  # oldest first
    reports: tuple[StoredReport, ...]  # oldest first
    notes: list[str]  # what could not be read

    @property
    def verdicts(self) -> list[history.Verdict]:
        """What the reports say of revisions, oldest first."""
        return [report.verdict for report in self.reports]

    def note(self, words: str) -> None:
        """Keeps what is to be said at the end, once."""
        if words not in self.notes:
            self.notes.append(words)

    def find(self, wanted: str | None) -> Revision:
        """Returns the revision that is meant, the current one by default. Raises NoMatchError."""
        return history.find(self.revisions, wanted, self.current.id) if wanted else self.current

    def document(self, **values: Any) -> dict[str, Any]:
        """Returns what every command here prints as JSON."""
        head = {
            "format": 1,
            "scope": "user" if self.scope.user else "system",
            "app": self.current.app,
        }
        return head | values | {"notes": self.notes}


def open_archive(scope: Scope) -> AppArchive:
    """Returns what is on disk about the one app that is meant. Raises NoMatchError."""
    revision = scope.installed()
    place = scope.layout.app(revision.app)
    notes: list[str] = []
    revisions = store.read_all(place, notes.append)
    kept = reports.reports(place, notes.append)
    return AppArchive(scope, place, revision, tuple(revisions), tuple(kept), notes)


def observe_instances(
    archive: AppArchive, systemd: Systemd
) -> dict[InstanceName, observe.Instance]:
    """Returns every instance of any revision that systemd knows, with its processes."""
    where = observe.machine(systemd, archive.scope.layout)
    # Also workers that nobody wants any more: a process of one may still drain.
    workers = {worker.name for revision in archive.revisions for worker in revision.workers}
    workers |= {name.worker for name in state.instances_with_pin(archive.place)}
    return observe.instances(systemd, where, archive.current.app, workers)
