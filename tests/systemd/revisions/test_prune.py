"""`unitq releases --prune`, and what leads around the pin: nothing that is needed is deleted."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd

SHELL = """\
trap 'exit 0' QUIT
while :; do sleep 0.1; done
"""


def there(site: Site) -> set[str]:
    return {path.name for path in (site.home / "releases").iterdir()}


def deployed(site: Site, *releases: int, **worker: Any) -> None:
    for number in releases:
        site.switch(number)
        site.config(workers={"w": {"command": site.odd("steady"), "instances": 1} | worker})
        site.deploy()


def prune(site: Site, *arguments: str, code: int = 0, folder: Path | None = None) -> Any:
    done = site.unitq("releases", "--prune", str(folder or site.home / "releases"), *arguments)
    assert done.code == code, done
    return done


def test_the_newest_stay_and_what_is_needed(system_site: Site) -> None:
    site = system_site
    deployed(site, 1, 8, 9, 10)
    for number in (2, 3, 4):
        site.release(number)
    (site.home / "releases/notes.txt").write_text("no release")
    (site.home / "next").symlink_to("releases/3")  # what a deploy prepares
    shell = subprocess.Popen(["sleep", "60"], cwd=site.home / "releases/4")
    try:
        told = prune(site, "--keep", "1", "--dry-run")
        assert "would delete" in told.stdout
        before = there(site)
        site.switch(8)  # moved back, and not deployed yet
        told = prune(site, "--keep", "1")
    finally:
        shell.kill()
        shell.wait()
    # 10 is current (and the newest), 9 a rollback's, 8 what the link leads to, 4 has a shell.
    assert there(site) == {"notes.txt", "3", "4", "8", "9", "10"}
    assert before - there(site) == {"1", "2"}
    assert site.unitq("rollback").code == 0


def test_ten_comes_after_nine(system_site: Site) -> None:
    site = system_site
    deployed(site, 7)
    for number in (2, 9, 10, 11):
        site.release(number)
    prune(site, "--keep", "2")
    assert there(site) == {"7", "10", "11"}


@pytest.mark.variants
@pytest.mark.parametrize("way", ["link", "dot", "relative"])
def test_a_way_through_a_link_is_the_same_directory(system_site: Site, way: str) -> None:
    # The script that the docs printed deleted the release in use.
    site = system_site
    deployed(site, 1, 2)
    for number in range(3, 9):
        site.release(number)
    link = site.home.parent / f"{site.home.name}-link"
    link.symlink_to(site.home)
    try:
        paths = {
            "link": link / "releases",
            "dot": site.home / "out/../releases/.",
            "relative": "releases/",
        }
        prune(site, "--keep", "2", folder=paths[way])  # type: ignore[arg-type]
    finally:
        link.unlink()
    assert there(site) == {"1", "2", "7", "8"}
    assert site.unitq("status").code == 0


def test_another_directory_is_refused(system_site: Site) -> None:
    site = system_site
    deployed(site, 1)
    (site.home / "precious/a").mkdir(parents=True)
    for folder in (site.home / "precious", site.home / "gone"):
        assert "nothing was deleted" in prune(site, code=13, folder=folder).stderr
    assert (site.home / "precious/a").exists()
    # A variable of a script that was never set is not "here".
    empty = site.unitq("releases", "--prune", "", "--keep", "1")
    assert (empty.code, "is empty" in empty.stderr) == (13, True), empty
    # One directory too high: uploads and the repository lie beside the releases.
    deployed(site, 2)
    high = prune(site, "--keep", "1", code=13, folder=site.home)
    assert f"--prune {site.home}/releases`" in high.stderr
    assert (site.home / "precious/a").exists()
    assert prune(site, "--keep", "0", code=2)
    assert site.unitq("releases", "--keep", "3").code == 2


def test_where_another_account_points_root_to(system_site: Site) -> None:
    site = system_site
    deployed(site, 1)
    theirs = site.home / "theirs"
    theirs.mkdir()
    os.chown(theirs, 12345, 12345)
    (theirs / "releases").symlink_to(site.home / "releases")
    for number in range(2, 9):
        site.release(number)
    told = prune(site, "--keep", "1", code=13, folder=theirs / "releases")
    assert "nothing was deleted" in told.stderr
    assert len(there(site)) == 8


def test_a_second_app_of_the_same_releases_keeps_its_own(system_site: Site, make_site: Any) -> None:
    site, other = system_site, make_site(system_site.scope)
    deployed(site, 1, 2, 3)
    other.config(
        workers={"w": {"command": other.odd("steady"), "instances": 1}},
        directory=str(site.home / "releases/1"),
    )
    other.deploy()
    prune(site, "--keep", "1")
    assert {"1", "2", "3"} <= there(site)
    assert other.unitq("status").code == 0
    # Its process is in the first one's directory, which is cleared up before.
    assert other.unitq("remove", "--yes").code == 0


def test_a_way_around_the_pin_is_named_and_in_use(system_site: Site) -> None:
    site = system_site
    for number in (1, 2):
        (site.release(number) / "w.sh").write_text(SHELL)
    site.config(
        workers={"w": {"command": "/bin/sh current/w.sh", "instances": 2}}, directory=str(site.home)
    )
    check = site.unitq("check")
    assert f"current/w.sh goes through {site.home}/current" in check.stdout
    assert f'`directory = "{site.home}/current"`, and write ./w.sh in the command' in check.stdout
    site.deploy()
    site.switch(2)
    in_use = site.unitq("releases", "--in-use")
    # A shell has its script open, so the kernel tells what it came to before the link was moved.
    assert str(site.home / "releases/1") in in_use.stdout.splitlines(), in_use
    for number in range(3, 9):
        site.release(number)
    prune(site, "--keep", "1")
    assert {"1", "2"} <= there(site)


def test_what_nothing_tells_has_nothing_deleted(system_site: Site) -> None:
    site = system_site
    for number in (1, 2):
        (site.release(number) / "w.py").write_text("import signal\nwhile 1: signal.pause()\n")
    command = f"{sys.executable} -IS current/w.py"
    site.config(workers={"w": {"command": command, "instances": 1}}, directory=str(site.home))
    site.deploy()
    site.switch(2)
    refused = site.unitq("releases", "--in-use")
    assert (refused.code, refused.stdout) == (1, ""), refused
    assert f"through {site.home}/current, which was moved since" in refused.stderr
    assert site.unitq("releases", "--prune", str(site.home / "releases")).code != 0
    assert {"1", "2"} <= there(site)
    site.unitq("restart")
    assert str(site.home / "releases/2") in site.unitq("releases", "--in-use").stdout.splitlines()


def test_check_names_a_first_line_through_the_link(system_site: Site) -> None:
    site = system_site
    bin_ = site.switch(1) / "bin"
    (bin_).mkdir()
    (bin_ / "python").symlink_to(sys.executable)
    script = bin_ / "worker"
    script.write_text(f"#!{site.current}/bin/python\nimport signal\nsignal.pause()\n")
    script.chmod(0o755)
    site.config(workers={"w": {"command": "bin/worker", "instances": 1}})
    told = site.unitq("check").stdout
    assert f"the first line of bin/worker names {site.current}/bin/python" in told, told
    assert '`command = "bin/python bin/worker' in told
    site.config(workers={"w": {"command": f"{site.current}/bin/worker", "instances": 1}})
    assert "write bin/worker, which is relative to `directory`" in site.unitq("check").stdout


def test_check_names_values_through_the_link(system_site: Site) -> None:
    site = system_site
    (site.switch(1) / "venv").mkdir()
    file = site.home / "sms.env"
    file.write_text(f"PYTHONPATH={site.current}/venv\n")
    venv, worker = f"{site.current}/venv", {"command": site.odd("steady"), "instances": 1}
    more = {
        "environment": {"PATH": f"{venv}:/usr/bin"},
        "environment_file": str(file),
        "service": {"ExecSearchPath": f"{venv}:/usr/bin"},
    }
    site.config(workers={"w": worker | more})
    check = site.unitq("check").stdout
    assert f"workers.w.environment.PATH: {venv} goes through {site.current}" in check, check
    assert f"workers.w.environment_file[0]: PYTHONPATH: {venv} goes through" in check, check
    pinned = f"/var/lib/unitq/{site.app}/pins/w/%i/release/venv"
    assert f"write {pinned}" in check, check
    # What it says to write is right: nothing is named any more, and the worker starts.
    file.write_text("PYTHONPATH=venv\n")
    better = {"environment": {"PATH": "venv:/usr/bin"}, "service": {"ExecSearchPath": pinned}}
    site.config(workers={"w": worker | more | better})
    assert "goes through" not in site.unitq("check").stdout
    site.deploy()
