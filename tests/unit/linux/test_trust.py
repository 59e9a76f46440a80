"""Who decides what a path leads to. Needs root, as it makes files of others."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from unitq.linux.read_as import authors
from unitq.linux.trust import ANYONE, Control, Why, deciding, resolve

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes files of other accounts")

DEPLOY = 4711
OTHER = 4712


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory below which only the test decides."""
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    return root


def controls(path: Path | str, below: Path) -> list[Control]:
    """What is not the business of pytest's own folders."""
    with resolve(path) as found:
        return [
            control._replace(path=os.path.relpath(control.path, below))
            for control in found.controls
            if control.path.startswith(f"{below}/")
        ]


def test_a_file_of_roots_is_roots(place: Path) -> None:
    (place / "a").mkdir()
    (place / "a" / "unitq.toml").write_text("x")
    assert controls(place / "a" / "unitq.toml", place) == []


@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        (lambda a: os.chown(a / "f", DEPLOY, 0), [Control(DEPLOY, "a/f", Why.OWNS)]),
        (lambda a: os.chown(a, DEPLOY, 0), [Control(DEPLOY, "a", Why.OWNS)]),
        (lambda a: (a / "f").chmod(0o666), [Control(ANYONE, "a/f", Why.MAY_WRITE)]),
        (lambda a: (a / "f").chmod(0o664), [Control(ANYONE, "a/f", Why.MAY_WRITE)]),
        (lambda a: a.chmod(0o775), [Control(ANYONE, "a", Why.MAY_WRITE)]),
        (lambda a: a.chmod(0o777), [Control(ANYONE, "a", Why.MAY_WRITE)]),
        (lambda a: a.chmod(0o1777), []),
    ],
)
def test_owners_and_modes_count(place: Path, prepare: object, expected: list[Control]) -> None:
    a = place / "a"
    a.mkdir()
    (a / "f").write_text("x")
    prepare(a)  # type: ignore[operator]
    assert controls(a / "f", place) == expected


def test_a_link_counts_and_so_does_where_it_leads(place: Path) -> None:
    (place / "his").mkdir()
    (place / "his" / "f").write_text("x")
    os.chown(place / "his", DEPLOY, 0)
    (place / "f").symlink_to("his/f")
    assert controls(place / "f", place) == [Control(DEPLOY, "his", Why.OWNS)]
    (place / "g").symlink_to(place / "f")
    os.chown(place / "g", OTHER, 0, follow_symlinks=False)
    assert controls(place / "g", place) == [
        Control(OTHER, "g", Why.OWNS),
        Control(DEPLOY, "his", Why.OWNS),
    ]


def test_dots_lead_back(place: Path) -> None:
    (place / "a" / "b").mkdir(parents=True)
    (place / "f").write_text("x")
    (place / "to").symlink_to("a/b")
    assert controls(f"{place}/to/../../f", place) == []
    with resolve(f"{place}/to/../../f") as found:
        assert found.path == str(place / "f")


def test_a_foreign_hard_link_in_a_shared_folder_counts(place: Path) -> None:
    shared = place / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (place / "secret").write_text("x")
    os.link(place / "secret", shared / "f")
    assert controls(shared / "f", place) == [Control(ANYONE, "shared/f", Why.LINKED)]
    assert controls(place / "secret", place) == []


def test_circles_end(place: Path) -> None:
    (place / "a").symlink_to("b")
    (place / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"), resolve(place / "a"):
        pass


def test_nothing_is_left_open(place: Path) -> None:
    (place / "a").symlink_to("b")
    (place / "b").write_text("x")
    before = sorted(os.listdir("/proc/self/fd"))
    with resolve(place / "a") as found:
        os.close(found.open())
    for missing in ("a/c", "c", "c/d"):
        with pytest.raises(OSError, match="directory"), resolve(place / missing):
            pass
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_what_was_looked_at_is_what_is_read(place: Path) -> None:
    (place / "f").write_text("ours")
    with resolve(place / "f") as found:
        (place / "f").rename(place / "old")
        (place / "f").write_text("theirs")
        with open(found.open()) as file:
            assert file.read() == "ours"


def test_a_pipe_does_not_block(place: Path) -> None:
    os.mkfifo(place / "f")
    with resolve(place / "f") as found:
        os.close(found.open())


def _gone(place: Path, owner: int, mode: int) -> Path:
    folder = place / "folder"
    folder.mkdir()
    folder.chmod(mode)
    os.chown(folder, owner, 0)
    return folder / "unitq.toml"


@pytest.mark.parametrize(
    ("owner", "mode", "who"),
    [
        (0, 0o755, None),
        (DEPLOY, 0o755, (DEPLOY, Why.OWNS)),
        (0, 0o1777, (ANYONE, Why.MAY_MAKE)),
        (0, 0o777, (ANYONE, Why.MAY_WRITE)),
    ],
)
def test_what_is_not_there_is_whose_who_can_make_it(
    place: Path, owner: int, mode: int, who: tuple[int, Why] | None
) -> None:
    path = _gone(place, owner, mode)
    (place / "link").symlink_to(path)  # of root's, to nothing
    for each in (path, place / "link", path / "below"):
        found = [one for one in deciding(each) if one.path.startswith(f"{place}/")]
        assert [(one.uid, one.why) for one in found][:1] == ([who] if who else [])
        # Who takes the file away for a moment still decides what it says.
        assert [one for one in authors(each) if one.path.startswith(f"{place}/")] == found


def test_links_in_a_circle_are_nobodys_word(place: Path) -> None:
    (place / "circle").symlink_to("circle")
    with pytest.raises(OSError, match="symbolic links"):
        deciding(place / "circle")
    assert authors(place / "circle")[0].uid == ANYONE
