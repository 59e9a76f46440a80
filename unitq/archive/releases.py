"""What `unitq releases` answers: which release directories must stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unitq.rollout.app_archive import open_archive
from unitq.rollout.releases_in_use import uses_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.context import Scope
    from unitq.rollout.app_archive import AppArchive
    from unitq.rollout.releases_in_use import Uses


@dataclass(frozen=True, slots=True)
class ReleaseList:
    """The releases of all revisions that are kept, or those in use."""

    archive: AppArchive
    kept: Mapping[str, list[str]]  # by release, the revisions that have it
    uses: Uses | None  # None: all that are kept were asked for

    @property
    def releases(self) -> list[str]:
        """Their paths."""
        return sorted(self.kept if self.uses is None else self.uses.releases)

    def to_json(self) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        return self.archive.document(
            only_in_use=self.uses is not None,
            releases=[self._release(release) for release in self.releases],
        )

    def _release(self, release: str) -> dict[str, Any]:
        document: dict[str, Any] = {"release": release, "revisions": self.kept.get(release, [])}
        if self.uses is None:
            return document | dict.fromkeys(("pids", "pinned", "orphans"))
        return document | {
            "pids": sorted(self.uses.pids.get(release, ())),
            "pinned": [str(name) for name in sorted(self.uses.pinned.get(release, ()))],
            "orphans": sorted(self.uses.orphans.get(release, ())),
        }


def releases(scope: Scope, *, in_use: bool) -> ReleaseList:
    """Lists the releases of all kept revisions; with `in_use` those that something needs now.

    Raises NoMatchError where no such app is installed, NotPermittedError if processes are hidden.
    """
    archive = open_archive(scope)
    kept: dict[str, list[str]] = {}
    for revision in archive.revisions:
        for release in {worker.release for worker in revision.workers}:
            kept.setdefault(release, []).append(revision.id)
    return ReleaseList(archive, kept, uses_of(archive) if in_use else None)
