"""Files in a directory that is held. Needs root, as it makes files of others."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from unitq.linux.folder import SharedError, alone, hold, output

if TYPE_CHECKING:
    from pathlib import Path

DEPLOY, OTHER = 4711, 4712

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="makes files of other accounts")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    return root


def test_what_is_written_stays_in_the_directory_that_was_opened(place: Path) -> None:
    """Its path is another directory's by the time that something is written."""
    (place / "his").mkdir()
    (place / "ours").mkdir()
    with hold(place / "his") as folder:
        (place / "his").rename(place / "moved")
        (place / "his").symlink_to(place / "ours")
        folder.replace("a", b"text", 0o640)
        folder.symlink("b", "a")
        folder.rename("b", "c")
        folder.unlink("never there")
    assert not list((place / "ours").iterdir())
    assert {path.name for path in (place / "moved").iterdir()} == {"a", "c"}
    assert (place / "moved" / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["a", ".a.unitq-tmp"])
def test_no_link_is_followed(place: Path, name: str) -> None:
    secret = place / "secret"
    secret.write_text("before")
    folder = place / "folder"
    folder.mkdir()
    (folder / name).symlink_to(secret)
    with hold(folder) as here:
        if name == "a":
            with pytest.raises(OSError, match="Too many levels") as caught:
                here.read("a", 100)
            assert caught.value.filename == str(folder / "a")
            with pytest.raises(FileExistsError):
                here.create("a", b"x", 0o644)
        here.replace("a", b"after", 0o600)
    assert (secret.read_text(), (folder / "a").read_text()) == ("before", "after")
    assert not (folder / "a").is_symlink()


def test_only_regular_files_are_read_and_nothing_blocks(place: Path) -> None:
    os.mkfifo(place / "pipe")
    (place / "large").write_bytes(b"x" * 101)
    (place / "fits").write_bytes(b"x" * 100)
    with hold(place) as here:
        for name, number in (("pipe", errno.EINVAL), ("large", errno.EFBIG)):
            with pytest.raises(OSError, match=name) as caught:
                here.read(name, 100)
            assert caught.value.errno == number
        assert here.read("fits", 100).content == b"x" * 100


@root_only
def test_the_owner_and_the_mode_are_kept(place: Path) -> None:
    with hold(place) as here:
        here.create("a", b"x", 0o604, (DEPLOY, OTHER))
        assert here.read("a", 10) == (b"x", 0o604, (DEPLOY, OTHER))


@root_only
@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_a_directory_that_others_may_write_to_is_not_roots_alone(place: Path, mode: int) -> None:
    place.chmod(mode)
    with pytest.raises(SharedError), alone(place):
        pass
    place.chmod(0o755)
    os.chown(place, DEPLOY, 0)
    with pytest.raises(SharedError, match=r"user ID 4711"), alone(place):
        pass
    os.chown(place, 0, 0)
    with alone(place) as here:
        assert here.path == str(place)


@root_only
@pytest.mark.parametrize(
    ("link", "target", "goes"),
    [(DEPLOY, 0, False), (DEPLOY, DEPLOY, True), (DEPLOY, OTHER, False), (0, DEPLOY, True)],
)
def test_no_account_leads_to_what_is_not_its_own(
    place: Path, link: int, target: int, *, goes: bool
) -> None:
    (place / "target").mkdir()
    (place / "link").symlink_to("target")
    os.chown(place / "target", target, 0)
    os.chown(place / "link", link, 0, follow_symlinks=False)
    if not goes:
        with pytest.raises(SharedError, match="leads to"), output(place / "link"):
            pass
        return
    with output(place / "link") as here:
        here.replace("a", b"x", 0o644)
    assert (place / "target" / "a").read_bytes() == b"x"


@root_only
def test_what_is_made_belongs_to_whom_the_rest_does(place: Path) -> None:
    os.chown(place, DEPLOY, OTHER)
    with pytest.raises(FileNotFoundError), output(place / "a"):
        pass
    with output(place / "a" / "b", make=True) as here:
        here.create("c", b"", 0o644)
    found = (place / "a" / "b").stat()
    assert (found.st_uid, found.st_gid) == (DEPLOY, OTHER)
    assert (place / "a" / "b" / "c").stat().st_uid == 0
    # And again, into what is there by now.
    with output(place / "a" / "b", make=True) as here:
        here.replace("c", b"", 0o644)


@root_only
def test_nothing_else_is_given_away_in_its_place(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose directory it is renames another one of root's to the name that was just made."""
    his, secret = place / "his", place / "his" / "of-root"
    secret.mkdir(parents=True)
    secret.chmod(0o700)
    (secret / "a").write_text("x")
    os.chown(his, DEPLOY, DEPLOY)
    mkdir = os.mkdir

    def swap(name: str, *, dir_fd: int) -> None:
        mkdir(name, dir_fd=dir_fd)
        (his / "new").rename(his / "gone")
        secret.rename(his / "new")

    monkeypatch.setattr(os, "mkdir", swap)
    with pytest.raises(OSError, match="not empty"), output(his / "new", make=True):
        pass
    assert (his / "new").stat().st_uid == 0
