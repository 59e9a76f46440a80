"""What checkouts say now, beside what was deployed from them."""

from __future__ import annotations

import os
from shutil import which
from typing import TYPE_CHECKING

from unitq.linux.account import name_of
from unitq.revisions import git_files
from unitq.revisions.in_place import (
    commit_of,
    restore_commands,
    runs_instead,
    updated_in_place,
    with_changes,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from unitq.model.names import InstanceName
    from unitq.revisions.git_files import Head
    from unitq.revisions.model import Revision, WorkerRevision


def heads(workers: Iterable[WorkerRevision]) -> dict[str, Head | None]:
    """Returns where HEAD is, by worker: of those that were deployed from a commit.

    None: git's files do not tell, as in a repository of the `reftable` format, or may not be read.
    One whose checkout is gone is left out.
    """
    workers = [worker for worker in workers if commit_of(worker)]
    folders = {release: git_files.git_folder(release) for release in {w.release for w in workers}}
    by_release = {release: git_files.head(git) for release, git in folders.items() if git}
    return {
        worker.name: by_release[worker.release]
        for worker in workers
        if worker.release in by_release
    }


def unreadable(workers: Iterable[WorkerRevision]) -> frozenset[str]:
    """Returns the workers of which nothing tells the commit in their directory now.

    Of those whose code is updated in place, and that were deployed from a commit.
    """
    asked = [worker for worker in workers if updated_in_place(worker) and commit_of(worker)]
    there = heads(asked)
    return frozenset(worker.name for worker in asked if worker.name not in there)


def other_commits(
    revision: Revision, begun: Mapping[InstanceName, float | None]
) -> dict[InstanceName, str | None]:
    """Returns the commit that an instance runs in place of the deployed one; None: nothing tells.

    `begun` says when each was started, in seconds since 1970. Who runs what was deployed is left
    out.
    """
    names = {name.worker for name in begun}
    workers = {worker.name: worker for worker in revision.workers if worker.name in names}
    there = heads(workers.values())
    commits = {
        name: runs_instead(workers[name.worker], head, when) if head else None
        for name, when in begun.items()
        for head in (there.get(name.worker),)
        if name.worker in there
    }
    return {name: commit for name, commit in commits.items() if commit != ""}


def how_to_restore(
    goal: Revision, workers: Sequence[WorkerRevision], now: Revision, then: str
) -> str:
    """Returns what brings the code of these workers of `goal` back; `then` is the last command.

    `now` is the revision whose files are there.
    """
    owners = [_owner(worker.release) for worker in workers]
    changed = [worker.release for worker in with_changes(now.workers)]
    commands = restore_commands(workers, owners, changed, sudo=bool(which("sudo")))
    if commands:
        lost = ", ".join(dict.fromkeys(worker.release for worker in with_changes(workers)))
        but = (
            f" (not the uncommitted changes that revision {goal.number} had in {lost}: "
            "no commit has them)"
        )
        return f"`{' && '.join((*commands, then))}`{but if lost else ''}"
    places = ", ".join(dict.fromkeys(worker.release for worker in workers))
    return f"put the files of revision {goal.number} back into {places}, then `{then}`"


def _owner(release: str) -> str:
    """Whom git obeys there, where that is not who types."""
    git = git_files.git_folder(release)
    try:
        uid = os.lstat(git).st_uid if git else os.geteuid()
    except OSError:
        return ""
    return "" if uid == os.geteuid() else name_of(uid)
