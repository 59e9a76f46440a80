"""What keeps an installed worker from starting again, found before it is told to stop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness.build import app, revision
from unitq.errors import PreflightError
from unitq.model import names
from unitq.model.layout import Layout, user
from unitq.rollout.checks import startable

if TYPE_CHECKING:
    from unitq.revisions.model import Revision

NO_PROGRAM = "there is no program php9 on the PATH that it gets"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return user(home=str(tmp_path), uid=1000, environment={})


def install(layout: Layout, folder: Path, *, environment: str = "", more: str = "") -> Revision:
    """Puts what a deploy of `env php9` leaves on disk; returns its revision."""
    (worker,) = revision(app()).workers
    made = revision(app())._replace(workers=(worker._replace(release=str(folder)),))
    place = layout.app("shop")
    home = Path(place.revisions) / worker.revision / worker.name
    home.mkdir(parents=True)
    (home / "env").write_text(environment)
    unit = Path(layout.unit_dir) / names.template("shop", worker.name)
    unit.parent.mkdir(parents=True)
    if folder.is_dir():
        (folder / "work.php").touch()
    unit.write_text(
        f"[Service]\nEnvironment=UNITQ_INSTANCE=%i\n{more}"
        f"EnvironmentFile={place.pins(worker.name)}/%i/env\nExecStart=/usr/bin/env php9 work.php\n"
    )
    return made


def problems(layout: Layout, made: Revision, path: str | None) -> str:
    try:
        startable.require(layout, made, ["sms"], path)
    except PreflightError as error:
        return "\n".join(error.problems)
    return ""


def test_what_env_looks_for_is_looked_for_on_the_path_of_the_unit(
    layout: Layout, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    made = install(layout, tmp_path, environment=f"PATH={own}\n")
    assert NO_PROGRAM in problems(layout, made, "/usr/bin")
    (own / "php9").write_text("#!/bin/sh\n")
    (own / "php9").chmod(0o755)
    assert problems(layout, made, "/usr/bin") == ""


def test_without_its_own_it_has_the_path_of_systemd(layout: Layout, tmp_path: Path) -> None:
    made = install(layout, tmp_path)
    assert NO_PROGRAM in problems(layout, made, "/usr/bin")
    assert problems(layout, made, None) == "", "the PATH is unknown"


def test_a_path_that_the_operator_has_changed_is_unknown(layout: Layout, tmp_path: Path) -> None:
    made = install(layout, tmp_path, more="PassEnvironment=PATH\n")
    assert problems(layout, made, "/usr/bin") == ""


def test_a_release_that_was_deleted(layout: Layout, tmp_path: Path) -> None:
    made = install(layout, tmp_path / "gone")
    assert f"its release {tmp_path}/gone was deleted" in problems(layout, made, None)
