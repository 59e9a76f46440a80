"""Deletes old release directories, as Capistrano and Deployer do, and none that is needed."""

from __future__ import annotations

import shlex
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unitq.errors import Exit, PreflightError
from unitq.model.release_names import within
from unitq.revisions import history, state, store
from unitq.revisions.release_folder import (
    delete,
    hold,
    one_level_below,
    running_in,
    surplus,
)
from unitq.rollout import ledger_store
from unitq.rollout.app_archive import AppArchive, open_archive
from unitq.rollout.releases_in_use import uses_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from unitq.context import Scope
    from unitq.revisions.release_folder import Folder


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a clean-up has deleted, or would."""

    directory: str
    dry_run: bool
    deleted: tuple[str, ...]  # names in the directory
    failed: Mapping[str, str]  # by name, why
    needed: Mapping[str, str]  # by name, why

    @property
    def exit_code(self) -> Exit:
        """BROKEN where not all could be deleted."""
        return Exit.BROKEN if self.failed else Exit.OK

    def to_json(self) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        return {
            "format": 1,
            "directory": self.directory,
            "dry_run": self.dry_run,
            "deleted": [f"{self.directory}/{name}" for name in self.deleted],
            "failed": self._rows(self.failed),
            "needed": self._rows(self.needed),
        }

    def _rows(self, names: Mapping[str, str]) -> list[dict[str, str]]:
        return [{"release": f"{self.directory}/{name}", "why": why} for name, why in names.items()]


def prune(scope: Scope, path: str, keep: int, *, dry_run: bool) -> Pruned:
    """Deletes all but the newest `keep` releases in a directory.

    Never one that is in use, current, or where a rollback goes to. Raises PreflightError where
    none of this app's is there: then it is another directory than was meant.
    """
    app = scope.installed().app
    with hold(path) as folder, ExitStack() as locks:
        # A release may be shared: another app's must stay as well.
        sharing = [
            other
            for other in state.apps(scope.layout)
            if any(_concerns(each, folder) for each in _every_release(scope, other))
        ]
        if app not in sharing:
            raise PreflightError(
                f"{folder.path}: no release of {app} is in there; nothing was deleted",
                hint="DIR is the directory that the releases are in, such as /srv/shop/releases",
            )
        if below := one_level_below(folder, _by_worker(scope, app)):
            raise PreflightError(
                f"{folder.path}: all releases of {app} are in {below}, so what lies beside it is "
                "no release; nothing was deleted",
                hint=f"`unitq -a {app} releases --prune {shlex.quote(below)}`",
            )
        for other in sharing:
            # A deploy that begins now could take one of them.
            locks.enter_context(state.lock(scope.layout, other, state.command_name()))
        kept: dict[str, str] = {}
        for other in sharing:
            kept = {**dict(_needed(open_archive(scope.replace(app=other)), folder)), **kept}
        for name, pids in running_in(folder).items():
            kept.setdefault(name, f"process {min(pids)} is in it")
        for name, link in folder.linked.items():
            kept.setdefault(name, f"{link} leads there")
        deleted, failed = [], {}
        for name in surplus(folder, kept, keep):
            try:
                if not dry_run:
                    delete(folder, name)
                deleted.append(name)
            except OSError as error:
                failed[name] = error.strerror or f"{error}"
        needed = dict(sorted(kept.items()))
        return Pruned(folder.path, dry_run, tuple(deleted), failed, needed)


def _concerns(release: str, folder: Folder) -> bool:
    """Whether it is in there, or holds it: a command may go to a release of its own accord."""
    return bool(folder.release_of(release)) or (release != "/" and within(folder.path, release))


def _every_release(scope: Scope, app: str) -> set[str]:
    return set().union(*_by_worker(scope, app).values())


def _by_worker(scope: Scope, app: str) -> dict[str, set[str]]:
    """Every release of each worker of the app."""
    place = scope.layout.app(app)
    found: dict[str, set[str]] = {}
    for each in [*store.read_all(place, lambda _: None), state.current(place)]:
        for worker in each.workers if each else ():
            found.setdefault(worker.name, set()).add(worker.release)
    return found


def _needed(found: AppArchive, folder: Folder) -> Iterator[tuple[str, str]]:
    """The names of releases that must stay, and why."""
    app = found.current.app
    uses = uses_of(found)
    story = ledger_store.blocking(found.place)
    rows = history.entries(found.revisions, found.verdicts, None, found.current.id)
    back = history.last_stable(rows, found.current, store.complete(found.place, found.revisions))
    reasons = dict.fromkeys([*uses.pids, *uses.orphans], f"{app} runs from it")
    for release in uses.pinned:
        reasons.setdefault(release, f"the next start of {app} gets it")
    named = [(found.current, f"{app} is deployed from it")]
    named += [(back.revision, f"a rollback of {app} goes there")] if back else []
    named += [
        (revision, f"rollout {story.number} of {app} is not over")
        for revision in found.revisions
        if story and revision.id in (story.revision, story.previous, story.back_to)
    ]
    for revision, why in named:
        for worker in revision.workers:
            reasons.setdefault(worker.release, why)
    for release, why in reasons.items():
        if name := folder.release_of(release):
            yield name, why
