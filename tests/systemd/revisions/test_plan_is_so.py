"""What `plan` and `render` say before is what a deploy does."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.systemd.conftest import wait_until

if TYPE_CHECKING:
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd


def config(site: Site, count: int = 3, **worker: Any) -> None:
    site.config(
        workers={"w": {"command": site.odd("crash-on", "bad"), "instances": count} | worker}
    )


def test_daemon_reloads_are_counted(system_site: Site) -> None:
    site = system_site
    config(site)
    site.deploy()
    for change in ({"stop_timeout": "21s"}, {"nice": 5}, {"count": 4}, {"count": 2}):
        config(site, **change)
        told = site.unitq("plan", "--json").json["daemon_reloads"]
        before = site.reloads()
        site.deploy()
        assert site.reloads() - before == told, change
    site.switch(2)
    assert "no daemon-reload" in site.unitq("plan").stdout
    config(site, stop_timeout="25s")
    assert "2 restart; 3 daemon-reloads" in site.unitq("plan").stdout


def test_what_serves_is_counted_now(system_site: Site) -> None:
    site = system_site
    config(site, restart_delay="30s")
    site.deploy()
    (site.current / "bad").touch()
    site.excuse("killed", "capacity")
    for number in (1, 2, 3):
        site.systemctl("kill", "--signal=KILL", site.unit("w", number))
    wait_until(lambda: site.active("w") == 0)
    site.switch(2)
    told = site.unitq("plan").stdout
    assert "never fewer than 0 of 3 serving (0 now)" in told, told
    (worker,) = site.unitq("plan", "--json").json["workers"]
    assert (worker["serving"], worker["least_serving"]) == (0, 0)


def test_render_shows_what_is_installed(system_site: Site) -> None:
    site = system_site
    for name in ("a.env", "b.env"):
        (site.home / name).write_text("A=secret\n")
    files = [str(site.home / name) for name in ("a.env", "b.env")]
    config(site, environment_file=files)
    site.deploy()
    site.unitq("render", "--output", str(site.home / "rendered"))
    rendered = {each.name: each.read_text() for each in (site.home / "rendered").iterdir()}
    assert rendered
    for name, text in rendered.items():
        assert (site.scope.unit_dir / name).read_text() == text
    assert "env.2" in rendered[f"unitq-{site.app}-w@.service"]
    # Without the code, too; and no value is shown.
    site.current.unlink()
    told = site.unitq("render")
    assert told.code == 0, told
    assert "env.2" in told.stdout
    assert "secret" not in told.stdout
    site.switch(1)


def test_through_the_link_the_next_release_is_read(system_site: Site) -> None:
    # unitq.toml in the release: `cd current && unitq deploy` must not tie the app to that release.
    site = system_site
    for number, count in ((1, 1), (2, 2)):
        config(site, count)
        site.toml.rename(site.release(number) / "unitq.toml")
    site.switch(1)
    assert site.unitq("deploy", cwd=site.current.resolve()).code == 0
    assert site.active("w") == 1
    site.switch(2)
    done = subprocess.run(
        [sys.executable, "-m", "unitq", "-a", site.app, "ctl", "update"],
        env=site.scope.environment, cwd="/", capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done
    assert site.active("w") == 2
    assert set(site.revisions("w").values()) == {site.unitq("status", "--json", cwd=site.current)
                                                 .json["apps"][0]["revision"]}  # fmt: skip
