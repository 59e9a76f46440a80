"""What a checkout says of instances, by real repositories; and where it says nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.build import app, revision
from tests.unit.revisions.test_git_files import git
from unitq.model.names import InstanceName
from unitq.revisions import checkout, code

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from unitq.revisions.model import Revision

NAME = InstanceName("sms", 1)
LATER = 2.0e9


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "app"
    place.mkdir()
    git(place, "init", "-q", "-b", "main")
    for number in (1, 2):
        git(place, "commit", "-q", "--allow-empty", "-m", f"{number}")
    return place


def deployed(place: Path) -> Revision:
    """As it is checked out now."""
    commit = git(place, "rev-parse", "HEAD")
    one = revision(app())
    (worker,) = one.workers
    worker = worker._replace(release=str(place), commit=commit, in_place=True)
    return one._replace(workers=(worker,))


def _reftable(place: Path) -> None:
    (place / ".git/HEAD").write_text("ref: refs/heads/.invalid\n")
    (place / ".git/refs/heads/main").unlink()
    (place / ".git/refs/heads").rmdir()
    (place / ".git/refs/heads").write_text("this repository uses the reftable format\n")


def _gone(place: Path) -> None:
    (place / ".git").rename(place / "was-git")


def _tag(place: Path) -> None:
    git(place, "tag", "v1", "HEAD~")
    git(place, "checkout", "-q", "v1")


def _annotated(place: Path) -> None:
    git(place, "tag", "-a", "-m", "x", "v1", "HEAD~")
    git(place, "checkout", "-q", "v1")
    git(place, "pack-refs", "--all")


def _packed(place: Path) -> None:
    git(place, "commit", "-q", "--allow-empty", "-m", "3")
    git(place, "pack-refs", "--all", "--prune")


def _reset(place: Path) -> None:
    git(place, "reset", "-q", "--hard", "HEAD~")


def _without_log(place: Path) -> None:
    git(place, "-c", "core.logAllRefUpdates=false", "reset", "-q", "--hard", "HEAD~")
    (place / ".git/logs/HEAD").unlink()


def _and_back(place: Path) -> None:
    git(place, "checkout", "-q", "HEAD~")
    git(place, "checkout", "-q", "main")


@pytest.mark.parametrize(
    ("move", "says"),
    [
        (lambda _: None, "as deployed"),
        (_and_back, "as deployed"),
        (_tag, "HEAD"),
        (_annotated, "HEAD"),
        (_packed, "HEAD"),
        (_reset, "HEAD"),
        (_without_log, "HEAD"),
        (_reftable, "unknown"),
        (lambda place: (place / ".git/HEAD").write_text("ref: refs/heads/gone\n"), "unknown"),
        (lambda place: (place / ".git/HEAD").unlink(), "unknown"),
        (_gone, "as deployed"),  # nothing to compare with
    ],
)
def test_what_an_instance_runs_that_was_started_after(
    place: Path, move: Callable[[Path], object], says: str
) -> None:
    one = deployed(place)
    move(place)
    found = checkout.other_commits(one, {NAME: LATER})
    if says == "HEAD":
        assert found == {NAME: git(place, "rev-parse", "HEAD")}
    else:
        assert found == ({NAME: None} if says == "unknown" else {})


def test_a_commit_of_the_worktree_it_runs_from(place: Path) -> None:
    other = place.parent / "other"
    git(place, "worktree", "add", "-q", "--detach", str(other), "HEAD")
    one = deployed(other)
    git(place, "commit", "-q", "--allow-empty", "-m", "3")
    assert checkout.other_commits(one, {NAME: LATER}) == {}
    git(other, "checkout", "-q", "HEAD~")
    assert checkout.other_commits(one, {NAME: LATER}) == {NAME: git(other, "rev-parse", "HEAD")}


@pytest.mark.parametrize(
    ("name", "changed"), [("new", True), ("ignored", False), (".gitignore", True)]
)
def test_whether_files_are_those_of_the_commit(place: Path, name: str, *, changed: bool) -> None:
    (place / ".gitignore").write_text("ignored\n")
    git(place, "add", ".gitignore")
    git(place, "commit", "-q", "-m", "3")
    (place / name).write_text("x")
    found = code.find_code(app(head=f'app = "shop"\ndirectory = "{place}"\n')).code["sms"]
    assert code.is_changed(found) is changed


@pytest.mark.parametrize("changed", [True, False])
def test_the_way_back_says_what_it_does_not_bring_back(place: Path, *, changed: bool) -> None:
    if changed:
        (place / "worker.py").write_text("by hand\n")
    found = code.find_code(app(head=f'app = "shop"\ndirectory = "{place}"\n')).code["sms"]
    (worker,) = deployed(place).workers
    made = revision(app())._replace(workers=(worker._replace(code_version=found.version),))
    said = checkout.how_to_restore(made, made.workers, made, "unitq deploy")
    assert said.startswith("`git -C ")
    assert said.partition("`")[2].partition("`")[0].endswith(" && unitq deploy")
    words = f" (not the uncommitted changes that revision {made.number} had in {place}: "
    assert (words in said) == changed
    assert said.endswith("`") == (not changed)
