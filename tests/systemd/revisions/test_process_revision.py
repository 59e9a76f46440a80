"""Which revision a process was started from, where it does not say so itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd


def silent(site: Site, *, first: str = "") -> str:
    """A worker whose environment and standard input tell nothing, as php-resque's below a shell."""
    return f'/bin/sh -c "{first}exec env -i {site.odd("steady")} </dev/null"'


def states(site: Site) -> tuple[int, list[str]]:
    told = site.unitq("status", "--json")
    (worker,) = told.json["apps"][0]["workers"]
    return told.code, [each["code"] for each in worker["instances"]]


def test_the_pin_tells_what_a_silent_process_runs(site: Site) -> None:
    # Its mark is gone with its environment: what runs is told by the directory.
    site.config(
        workers={"w": {"command": silent(site), "instances": 3}},
        rollout={"canary": 1, "canary_soak": "100ms", "promote": "manual"},
    )
    assert "ok: 3 of 3 on 1" in site.deploy().stdout
    assert states(site) == (0, ["current"] * 3)
    site.switch(2)
    site.deploy(code=11)
    assert states(site) == (15, ["current", "old", "old"])
    done = site.unitq("rollout", "promote")
    assert (done.code, "ok: 3 of 3 on 2" in done.stdout) == (0, True), done
    assert states(site) == (0, ["current"] * 3)


def test_another_environment_in_the_same_release_is_another_revision(system_site: Site) -> None:
    site = system_site
    rollout = {"canary": 1, "canary_soak": "100ms", "promote": "manual"}
    workers = {"w": {"command": silent(site), "instances": 2}}
    site.config(workers=workers, rollout=rollout)
    site.deploy()
    site.config(workers=workers, rollout=rollout, environment={"MODE": "b"})
    site.deploy(code=11)
    assert states(site) == (15, ["current", "old"])
    assert site.unitq("rollout", "promote").code == 0


@pytest.mark.variants
@pytest.mark.parametrize(
    "first",
    [
        "",
        "sleep 0.3; ",  # the shell, which has the mark, is there when systemd says "started"
        "sleep 99 & ",  # a helper has the mark, and does not speak for the worker
        "exec 3</usr/bin/env; cd /; ",
    ],
)
def test_what_nothing_tells_is_not_healthy(system_site: Site, first: str) -> None:
    site = system_site
    site.config(
        workers={"w": {"command": silent(site, first=first), "instances": 2}},
        rollout={"min_healthy": "1s"},
    )
    folder = Path(f"/etc/systemd/system/unitq-{site.app}-w@.service.d")
    folder.mkdir()
    try:
        (folder / "away.conf").write_text(
            f"[Service]\nWorkingDirectory={site.home / 'releases/2'}\n"
        )
        failed = site.deploy(code=7)
        assert "nothing tells which code its process runs" in failed.output
        assert "StandardInput=" in failed.output
        code, found = states(site)
        assert (code, "unknown" in found) == (3, True)
        told = site.unitq("status")
        assert "of which nothing tells the code" in told.stdout
    finally:
        (folder / "away.conf").unlink()
        folder.rmdir()
        site.systemctl("daemon-reload")
