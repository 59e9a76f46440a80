"""What workers printed, and what systemd said of them: the entries of the journal."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unitq.context import chosen
from unitq.errors import NotPermittedError
from unitq.model import names
from unitq.revisions import state
from unitq.systemd import journal
from unitq.units import dropins, unit_files
from unitq.units.dropin_files import DropIns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from unitq.context import Scope
    from unitq.revisions.model import Revision
    from unitq.systemd.journal import Entry

_LINES = 100


@dataclass(frozen=True, slots=True)
class Logs:
    """The entries of some units; journalctl finds them when they are asked for."""

    units: tuple[str, ...]
    options: tuple[str, ...]
    namespaces: Mapping[str, Sequence[str]]  # workers with a journal of their own, by its name
    user: bool

    def entries(self, reader: int | None = None) -> Iterator[list[Entry]]:
        """Yields entries as they come. `reader`: a descriptor whose reader may go away."""
        fields = ("--all", f"--output-fields={','.join(journal.FIELDS)}")
        for lines in self._lines(fields, reader):
            yield [journal.entry(line) for line in lines]

    def documents(self, reader: int | None = None) -> Iterator[list[dict[str, Any]]]:
        """Yields the journal's own JSON."""
        for lines in self._lines((), reader):
            yield [json.loads(line) for line in lines]

    def _lines(self, more: tuple[str, ...], reader: int | None) -> Iterator[list[bytes]]:
        command = journal.command(list(self.units), [*self.options, *more], user=self.user)
        return journal.stream(command, reader)


def logs(
    scope: Scope,
    targets: Sequence[str],
    *,
    follow: bool = False,
    lines: int | None = None,
    since: str | None = None,
) -> Logs:
    """Returns the entries of these targets; the last 100 where nothing else is said.

    Raises NotPermittedError where the journal may not be read.
    """
    revision = scope.installed()
    known = {*revision.instances, *state.instances_with_pin(scope.layout.app(revision.app))}
    units = [f"unitq-{revision.app}-{worker.name}@*.service" for worker in revision.workers]
    if targets:
        named = chosen(revision, targets, known)
        units = [names.unit(revision.app, instance) for instance in sorted(named)]
    if not scope.user and journal.hidden():
        raise NotPermittedError(
            "the journal may be read by root and members of the group systemd-journal only",
            hint=f"`sudo usermod --append --groups systemd-journal {state.whoami()}`, then log in "
            "again",
        )
    options = ["--no-pager", "--output=json"]
    if lines is None and since is None:
        lines = _LINES
    if lines is not None:
        options.append(f"--lines={lines}")
    if since is not None:
        options.append(f"--since={since}")
    if follow:
        options.append("--follow")
    return Logs(tuple(units), tuple(options), _namespaces(scope, revision), scope.user)


def _namespaces(scope: Scope, revision: Revision) -> dict[str, list[str]]:
    """The workers whose output goes into a journal of its own (LogNamespace=), by its name."""
    files = DropIns(str(scope.layout.unit_dir), user=scope.user)
    found: dict[str, list[str]] = {}
    for worker in revision.workers:
        template = names.template(revision.app, worker.name)
        text = unit_files.text(scope.layout.unit_dir, template)
        if space := dropins.last(text, files.of([template]), "LogNamespace"):
            found.setdefault(space, []).append(worker.name)
    return found
