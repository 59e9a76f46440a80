"""What becomes of the directories of releases while their workers run: what is said is so."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.systemd.revisions.test_in_place import Checkout, instances

if TYPE_CHECKING:
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd


def deployed(site: Site) -> None:
    site.switch(1)
    site.config(workers={"w": {"command": site.odd("steady")}}, rollout={"on_failure": "rollback"})
    site.deploy()


def test_a_release_that_was_made_again_is_other_code(site: Site) -> None:
    """As `rm -rf releases/1` and another upload to it: CI that runs a build a second time."""
    deployed(site)
    release = site.home / "releases/1"
    shutil.rmtree(release)
    deleted = site.unitq("status")
    assert (deleted.code, "was deleted" in deleted.stdout) == (0, True), deleted
    site.release(1, "made again")
    told = site.unitq("status")
    assert told.code == 15, told
    assert f"w@1: runs {release} as it was before that was deleted or renamed" in told.stdout
    assert [each["code"] for each in instances(site).values()] == ["old", "old"]
    plan = site.unitq("plan")
    assert plan.code == 12, plan
    assert "its release was deleted or renamed, and made again" in plan.stdout
    one = site.unitq("restart", "w@1")
    assert "1 process on old code" in one.stdout, one
    before = site.pids()
    assert "ok: 2 of 2 on 1" in site.deploy().stdout
    assert {name for name, pid in site.pids().items() if before[name] != pid} == {"w@2"}
    assert site.unitq("status").code == 0
    assert "unchanged" in site.deploy().stdout


def test_a_directory_that_became_a_link_is_no_way_back(system_site: Site) -> None:
    """From an update in place to releases: the old path leads to new code from then on."""
    site = system_site
    code = Checkout(site, git=False)
    code.config(instances=2)
    site.deploy()
    kept, new = site.home / "r1", site.home / "r2"
    code.place.rename(kept)
    shutil.copytree(kept, new)
    code.place.symlink_to(new)
    plan = site.unitq("plan")
    assert "there is no way back" in plan.stdout, plan
    site.deploy()
    assert site.unitq("rollback").code == 13
    named = site.unitq("rollback", "1")
    assert (named.code, f"{code.place} is gone, or leads elsewhere" in named.stderr) == (13, True)
    assert {each["release"] for each in _releases(site)} >= {str(new)}


def _releases(site: Site) -> list[dict[str, str]]:
    found: list[dict[str, str]] = site.unitq("releases", "--in-use", "--json").json["releases"]
    return found


def test_a_release_of_another_name_by_now_is_in_use(system_site: Site) -> None:
    site = system_site
    deployed(site)
    release, renamed = site.home / "releases/1", site.home / "releases/1.old"
    release.rename(renamed)
    # Nothing else is at its path: what it runs is what was deployed.
    assert site.unitq("status").code == 0
    assert str(renamed) in site.unitq("releases", "--in-use").stdout.splitlines()
    site.release(1)
    assert {each["release"] for each in _releases(site)} == {str(release), str(renamed)}
    told = site.unitq("status")
    assert (told.code, f"w@1: runs {release} as it was" in told.stdout) == (15, True), told
    assert {each["code"] for each in instances(site).values()} == {"old"}
    site.unitq("restart")
    assert {each["release"] for each in _releases(site)} == {str(release)}
    assert site.unitq("status").code == 0


def test_a_checkout_that_tells_nothing_any_more_is_in_place(system_site: Site) -> None:
    site, code = system_site, Checkout(system_site)
    code.config(instances=1)
    site.deploy()
    assert [each["code"] for each in instances(site).values()] == ["current"]
    (code.place / ".git").rename(site.home / "kept")
    told = site.unitq("status")
    assert told.code == 0, told
    assert [each["code"] for each in instances(site).values()] == ["in place"]


def test_start_does_not_take_a_crash_loop_for_what_runs(system_site: Site) -> None:
    site = system_site
    command = f"/bin/sh -c 'test ! -e bad || {{ sleep 1; exit 7; }}; exec {site.odd('steady')}'"
    site.config(
        workers={"w": {"command": command, "instances": 1, "start_limit": "none"}},
        rollout={"min_healthy": "2s"},
    )
    site.deploy()
    (site.current.resolve() / "bad").touch()
    os.kill(site.pids()["w@1"], 9)
    started = site.unitq("start")
    assert started.code == 7, started
    assert "w@1 failed: it ended soon after its start: exited with status 7" in started.stderr
    (site.current.resolve() / "bad").unlink()
    again = site.unitq("start")
    assert again.code in (0, 7), again  # the last crash may still be ahead of it
    assert site.unitq("start").code == 0
    assert site.unitq("status").code == 0
