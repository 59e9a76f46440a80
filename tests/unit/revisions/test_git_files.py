"""HEAD by git's files, held against git itself, and what is not believed."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from unitq.revisions.git_files import git_folder, head

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = os.environ | {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "ann",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "ann",
    "GIT_COMMITTER_EMAIL": "ann@example.org",
}


def git(place: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=place, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    place = tmp_path / "app"
    place.mkdir()
    git(place, "init", "-q", "-b", "main")
    git(place, "commit", "-q", "--allow-empty", "-m", "one")
    git(place, "commit", "-q", "--allow-empty", "-m", "two")
    return place


def agrees(place: Path) -> None:
    folder = git_folder(str(place))
    assert folder is not None
    found = head(folder)
    assert found is not None
    assert found.commit == git(place, "rev-parse", "HEAD")
    logged = git(place, "log", "-g", "--format=%H").split()
    assert [move.after for move in reversed(found.moves)] == logged


def test_a_branch_a_commit_and_packed_refs(checkout: Path) -> None:
    agrees(checkout)
    (checkout / "below").mkdir()
    agrees(checkout / "below")
    git(checkout, "checkout", "-q", "HEAD~")
    agrees(checkout)
    git(checkout, "checkout", "-q", "-b", "feature/long/name")
    git(checkout, "pack-refs", "--all")
    agrees(checkout)
    git(checkout, "commit", "-q", "--allow-empty", "-m", "three")
    agrees(checkout)


def test_a_worktree_has_its_own_head(checkout: Path) -> None:
    other = checkout.parent / "other"
    git(checkout, "worktree", "add", "-q", "--detach", str(other), "HEAD~")
    agrees(other)
    git(other, "checkout", "-q", "-b", "second")
    agrees(other)
    agrees(checkout)


def test_what_does_not_tell(checkout: Path) -> None:
    folder = checkout / ".git"
    for broken in (
        "ref: refs/heads/../../../../etc/passwd",
        "ref: refs/heads/gone",
        "",
        "x" * 9999,
    ):
        (folder / "HEAD").write_text(broken)
        assert head(str(folder)) is None
    (folder / "HEAD").unlink()
    assert head(str(folder)) is None
    for name in ("commondir", "HEAD"):
        (folder / name).write_text("a\0b")
        assert head(str(folder)) is None
    pointer = checkout / "pointer"
    pointer.mkdir()
    for text in ("gitdir: a\0b", "gitdir: /nonexistent", "gitdir: ../.git/HEAD", "else"):
        (pointer / ".git").write_text(text)
        assert head(str(pointer / ".git")) is None
    assert git_folder("/nonexistent/place") is None


def test_no_link_is_followed(checkout: Path, tmp_path: Path) -> None:
    folder = checkout / ".git"
    secret = tmp_path / "secret"
    secret.write_text("ab" * 20)
    (folder / "HEAD").unlink()
    (folder / "HEAD").symlink_to(secret)
    assert head(str(folder)) is None
    (folder / "HEAD").unlink()
    (folder / "HEAD").write_text("ref: refs/heads/stolen/key")
    (folder / "refs/heads/stolen").symlink_to(tmp_path)
    (tmp_path / "key").write_text("ab" * 20)
    assert head(str(folder)) is None


def test_a_reflog_that_ends_elsewhere_counts_for_nothing(checkout: Path) -> None:
    log = checkout / ".git/logs/HEAD"
    log.write_bytes(log.read_bytes().splitlines(keepends=True)[0])
    found = head(str(checkout / ".git"))
    assert found is not None
    assert found.moves == ()


@pytest.mark.parametrize(("seconds", "trusted"), [(-1000, False), (1000, False), (0, True)])
def test_times_that_cannot_be_true_count_for_nothing(
    checkout: Path, seconds: int, *, trusted: bool
) -> None:
    # Also what rebases and reproducible builds set, or a clock that was wrong.
    date = f"{int(time.time()) + seconds} +0000"
    subprocess.run(
        ["git", "commit", "-q", "--allow-empty", "-m", "three"],
        cwd=checkout, env=ENVIRONMENT | {"GIT_COMMITTER_DATE": date}, check=True,
    )  # fmt: skip
    found = head(str(checkout / ".git"))
    assert found is not None
    assert found.commit == git(checkout, "rev-parse", "HEAD")
    assert bool(found.moves) is trusted


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another account")
def test_what_only_another_account_may_read_is_not_told(checkout: Path) -> None:
    folder = checkout / ".git"
    (folder / "HEAD").write_text("ab" * 20)
    os.chown(folder, 12345, 12345)
    (folder / "HEAD").chmod(0o600)
    assert head(str(folder)) is None  # root's own secret, in a repository of another account
    (folder / "HEAD").chmod(0o644)
    assert head(str(folder)) is not None
