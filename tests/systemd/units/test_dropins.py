"""Drop-ins: found where systemd finds them, and named by check, plan and status."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from unitq.units.dropin_files import DropIns
from unitq.units.dropins import folders

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd


@pytest.fixture
def made() -> Iterator[list[Path]]:
    """Folders that go again."""
    paths: list[Path] = []
    yield paths
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)


def _write(made: list[Path], folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    made.append(folder)
    (folder / name).write_text(text)
    return folder / name


def test_they_are_found_where_systemd_finds_them(site: Site, made: list[Path]) -> None:
    """Every directory that counts, one name in several of them, and a mask: as DropInPaths=."""
    site.config(workers={"w": {"command": site.odd("steady"), "instances": 1}})
    site.deploy()
    unit = site.unit("w", 1)
    own = site.scope.unit_dir
    runtime = Path(f"/run/user/{site.scope.uid}/systemd/user")
    places = [own, runtime if site.scope.user else Path("/run/systemd/system")]
    for place in places:
        for index, name in enumerate(folders(unit)):
            short = "x" if place == places[0] else "y"
            _write(made, place / name, f"{short}{index}.conf", "[Service]\nNice=0\n")
            _write(made, place / name, "same.conf", f"[Service]\n# {place} {index}\nNice=0\n")
    masked = _write(made, own / folders(unit)[0], "x1.conf", "")
    masked.unlink()
    masked.symlink_to("/dev/null")
    site.systemctl("daemon-reload")
    told = site.systemctl("show", "--property=DropInPaths", "--value", unit).stdout.split()
    found = DropIns(str(own), user=site.scope.user)
    if site.scope.user:  # whose directories depend on who asks
        told = [path for path in told if not path.startswith("/run/user")]
        paths = [each.path for each in found.of([unit]) if not each.path.startswith("/run/user")]
    else:
        paths = [each.path for each in found.of([unit])]
    # One that is masked is listed by its link, and has no text.
    assert paths == [path for path in told if not path.endswith("/x1.conf")]


def test_check_plan_and_status_name_them(system_site: Site, made: list[Path]) -> None:
    site = system_site
    site.config(workers={"w": {"command": site.odd("steady"), "instances": 2}})
    site.deploy()
    before = site.unitq("status")
    assert "sets" not in before.stdout
    folder = site.scope.unit_dir / f"unitq-{site.app}-w@.service.d"
    path = _write(made, folder, "override.conf", "[Service]\nKillSignal=SIGHUP\nTimeoutStopSec=1\n")
    one = site.scope.unit_dir / f"unitq-{site.app}-w@2.service.d"
    second = _write(made, one, "b.conf", "[Service]\nRestart=no\nNice=1\n")
    site.systemctl("daemon-reload")
    for command, stream in (("check", "stdout"), ("plan", "stderr"), ("status", "stdout")):
        result = site.unitq(command)
        said = getattr(result, stream)
        assert f"{path} sets KillSignal=SIGHUP, TimeoutStopSec=1; unitq wrote" in said, result
        assert f"{second} sets Restart=no; unitq wrote Restart=always" in said
    result = site.unitq("check")
    assert "  systemd goes by the drop-in" in result.stdout
    assert f"`systemctl revert unitq-{site.app}-w@.service`" in result.stdout
    (worker,) = site.unitq("status", "--json").json["apps"][0]["workers"]
    assert [each["file"] for each in worker["drop_ins"]] == [str(path), str(second)]
    assert worker["drop_ins"][0]["sets"] == ["KillSignal=SIGHUP", "TimeoutStopSec=1"]
    shutil.rmtree(folder)
    shutil.rmtree(one)
    site.systemctl("daemon-reload")
