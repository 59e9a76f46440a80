"""Code that is updated in place: what a revision still has of it, and what a process runs. Pure.

Only behind a link that each release moves does a revision own its code. In a checkout or a plain
directory the next update replaces the files; the old code then is only in the memory of processes.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from unitq.revisions.git_files import Head
    from unitq.revisions.model import Revision, WorkerRevision

# As revisions/code.py names it; of revisions that were made before they had the commit itself.
_NAMED = re.compile(r"(?:commit |release .* at )([0-9a-f]{12})(?: with changes, .*)?")
CHANGED = " with changes, "  # in a version: the files are not those of its commit
_PLACES = ("commit ", "code as of ")
SHOWN = 12  # hexadecimal digits of a commit that people get to see


def commit_of(worker: WorkerRevision) -> str:
    """Returns the commit that was checked out, or the beginning of it; empty: not known."""
    if worker.commit or worker.in_place is not None:
        return worker.commit
    named = _NAMED.fullmatch(worker.code_version)
    return named[1] if named else ""


def updated_in_place(worker: WorkerRevision) -> bool:
    """Whether an update replaces the files that a worker runs."""
    if worker.in_place is not None:
        return worker.in_place
    return worker.code_version.startswith(_PLACES)


def nothing_to_compare(worker: WorkerRevision) -> bool:
    """Whether files are replaced in place and have no commit that says which they are."""
    return updated_in_place(worker) and not commit_of(worker)


def same_commit(one: str, other: str) -> bool:
    """Whether two commits are one; either may be the beginning only."""
    return bool(one and other) and (one.startswith(other) or other.startswith(one))


def with_changes(workers: Iterable[WorkerRevision]) -> list[WorkerRevision]:
    """Returns those that were deployed with changes that are not committed."""
    return [worker for worker in workers if CHANGED in worker.code_version]


def overwritten_workers(goal: Revision, now: Revision) -> tuple[WorkerRevision, ...]:
    """Returns the workers of `goal` whose files those of `now` have replaced.

    To start `goal` again would start the code of `now`.
    """
    return tuple(worker for worker in goal.workers if _replaced(worker, now))


def _replaced(worker: WorkerRevision, now: Revision) -> bool:
    there = [other for other in now.workers if other.release == worker.release]
    if not there or any(other.code_version == worker.code_version for other in there):
        return False
    if any(updated_in_place(other) for other in (worker, *there)):
        return True
    # A release that somebody has pulled into.
    mine, theirs = commit_of(worker), [commit_of(other) for other in there]
    return bool(mine) and all(other and not same_commit(mine, other) for other in theirs)


def directories(workers: Iterable[WorkerRevision]) -> list[str]:
    """Returns where their code is, each once."""
    return list(dict.fromkeys(worker.release for worker in workers))


def commit_at(head: Head, seconds: float | None) -> str | None:
    """Returns the commit that was checked out at that time; None: nothing tells.

    `seconds` since 1970. The reflog has whole seconds: within one, the last commit counts.
    """
    if seconds is None:
        return None
    if not head.moves:
        return head.commit if seconds >= head.changed else None
    commit = None
    for move in head.moves:
        if move.at > seconds:
            # What was before the first line that there is may have been moved to shortly before.
            return commit
        commit = move.after
    return commit


def runs_instead(worker: WorkerRevision, head: Head, begun: float | None) -> str | None:
    """Returns the commit that a process runs in place of the deployed one; empty: it runs that one.

    None: nothing tells. `begun` is when it was started, in seconds since 1970.
    """
    deployed = commit_of(worker)
    ran = commit_at(head, begun)
    if _left_within(head, deployed, begun):
        return None
    if ran is None and begun is not None:
        # Nobody wrote down where HEAD was then; what it was before the first line is all there is.
        before = head.moves[0].before if head.moves else ""
        return "" if same_commit(before, deployed) else None
    if ran is None:
        return "" if same_commit(head.commit, deployed) else None
    return "" if same_commit(ran, deployed) else ran


def _left_within(head: Head, commit: str, seconds: float | None) -> bool:
    """Whether HEAD left the commit in that second, which the reflog cannot tell apart."""
    return seconds is not None and any(
        move.at == int(seconds) and same_commit(move.before, commit) and move.after != move.before
        for move in head.moves
    )


def restore_commands(
    workers: Sequence[WorkerRevision],
    owners: Sequence[str],
    changed: Collection[str] = (),
    *,
    sudo: bool = True,
) -> tuple[str, ...]:
    """Returns the commands that check the commits of these workers out again.

    Nothing where git cannot: the files are of no commit. `owners` are the accounts to do it as, by
    worker; empty: the account that types it. Without `sudo` on this machine it is util-linux's
    runuser(1). `changed` are the directories with changes that are not committed: a checkout keeps
    them, so they are stashed first.
    """
    commands: dict[str, None] = {}
    switch = "sudo -u {} " if sudo else "runuser -u {} -- "
    for worker, owner in zip(workers, owners, strict=True):
        commit = commit_of(worker)
        if not commit:
            return ()
        account = switch.format(shlex.quote(owner)) if owner else ""
        git = f"{account}git -C {shlex.quote(worker.release)}"
        if worker.release in changed:
            commands[f"{git} stash"] = None
        commands[f"{git} checkout {commit[:SHOWN]}"] = None
    return tuple(commands)
