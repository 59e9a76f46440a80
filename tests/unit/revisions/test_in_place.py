"""Which commit a process runs by the reflog, and which code a revision still has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.build import app, revision
from unitq.revisions.git_files import Head, Move
from unitq.revisions.in_place import overwritten_workers, restore_commands, runs_instead

if TYPE_CHECKING:
    from unitq.revisions.model import Revision

A, B, C = "a" * 40, "b" * 40, "c" * 40
ZERO = "0" * 40
LOG = (Move(100, ZERO, A), Move(200, A, B), Move(300, B, A))


def made(version: str, release: str = "/srv/app", **more: Any) -> Revision:
    one = revision(app())
    workers = tuple(
        each._replace(release=release, code_version=version, **more) for each in one.workers
    )
    return one._replace(workers=workers)


@pytest.mark.parametrize(
    ("head", "begun", "expected"),
    [
        (Head(A, LOG, 300.5), 150.0, ""),
        (Head(A, LOG, 300.5), 199.9, ""),
        (Head(A, LOG, 300.5), 201.0, B),  # HEAD is back, and it ran between
        (Head(A, LOG, 300.5), 200.4, None),  # within the second of the move: before it or after
        (Head(B, LOG[:2], 200.5), 200.9, None),
        (Head(C, (*LOG[:2], Move(200, B, C)), 200.5), 200.9, None),  # two moves in one second
        (Head(A, LOG, 300.5), 300.2, ""),  # a pull and its deploy within a second
        (Head(C, (Move(200, B, C),), 200.5), 200.2, C),  # none of the two was deployed
        (Head(A, LOG, 300.5), 301.0, ""),
        (Head(B, LOG[:2], 200.5), 150.0, ""),
        (Head(B, LOG[:2], 200.5), 201.0, B),
        (Head(B, LOG[1:2], 200.5), 150.0, ""),  # the line before has expired
        (Head(C, (Move(200, B, C),), 200.5), 150.0, None),  # and here it is not known
        (Head(A, (), 100.0), 150.0, ""),  # git keeps no reflog
        (Head(B, (), 200.0), 201.0, B),
        (Head(B, (), 200.0), 150.0, None),
        (Head(A, (), 200.0), 150.0, None),  # back, or never away: it was written since
        (Head(A, (), 100.0), None, ""),
        (Head(A, (Move(200, B, A),), 200.5), 150.0, None),  # the log begins after it
        # Away and back within the second in which it was started.
        (Head(A, (Move(100, ZERO, A), Move(200, A, B), Move(200, B, A)), 200.9), 200.5, None),
        (Head(A, (Move(100, ZERO, A), Move(200, A, B), Move(200, B, A)), 200.9), 199.9, ""),
        (Head(A, (Move(100, ZERO, A), Move(200, A, B), Move(200, B, A)), 200.9), 201.0, ""),
        # Pulled and deployed within a second; and a checkout of what is checked out.
        (Head(A, (Move(100, ZERO, C), Move(200, C, A)), 200.2), 200.7, ""),
        (Head(A, (Move(100, ZERO, A), Move(200, A, A)), 200.2), 200.7, ""),
        (Head(B, LOG[:2], 200.5), None, None),
    ],
)
def test_which_commit_runs(head: Head, begun: float | None, expected: str | None) -> None:
    (worker,) = made("commit aaaaaaaaaaaa", commit=A).workers
    assert runs_instead(worker, head, begun) == expected
    # A revision that was made before the commit was kept has it in its name.
    (older,) = made("commit aaaaaaaaaaaa").workers
    assert runs_instead(older._replace(in_place=None), head, begun) == expected


def test_a_command_to_paste_runs_nothing_else() -> None:
    (worker,) = made("commit a", "/srv/a;id", commit=A, in_place=True).workers
    assert restore_commands([worker], ["ann"]) == (
        "sudo -u ann git -C '/srv/a;id' checkout aaaaaaaaaaaa",
    )
    (plain,) = made("code as of 1", in_place=True).workers
    assert restore_commands([worker, plain], ["", ""]) == ()
    (other,) = restore_commands([worker], ["ann"], sudo=False)
    assert other.startswith("runuser -u ann -- git -C ")
    # A checkout keeps what is not committed, and of the commit that is there brings nothing back.
    assert restore_commands([worker], [""], ["/srv/a;id"]) == (
        "git -C '/srv/a;id' stash",
        "git -C '/srv/a;id' checkout aaaaaaaaaaaa",
    )


@pytest.mark.parametrize(
    ("goal", "now", "gone"),
    [
        (made("commit a", in_place=True), made("commit b", in_place=True), True),
        (made("commit a", in_place=True), made("commit a", in_place=True), False),
        (made("code as of 1", in_place=True), made("code as of 2", in_place=True), True),
        (made("code as of 1"), made("code as of 2", in_place=None), True),
        (made("release 1", "/r/1"), made("release 2", "/r/2"), False),
        (made("code as of 1", "/r/1"), made("code as of 2", "/r/1"), False),  # "always"
        (made("release 1 at a", "/r/1", commit=A), made("release 1 at b", "/r/1", commit=B), True),
        (made("v1", in_place=True), made("v2", in_place=True), True),
        (made("commit a", in_place=True), made("release 2", "/r/2"), False),  # moved to releases
    ],
)
def test_which_code_is_gone(goal: Revision, now: Revision, gone: bool) -> None:
    assert bool(overwritten_workers(goal, now)) is gone
