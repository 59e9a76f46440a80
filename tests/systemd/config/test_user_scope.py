"""`--user` without a session: cron, CI and su have no XDG_RUNTIME_DIR."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd


@pytest.mark.parametrize("given", [None, "/run/user/0"])
def test_the_runtime_directory_is_found(user_site: Site, given: str | None) -> None:
    """As in cron (none), and below `su` (the caller's)."""
    site = user_site
    site.config(workers={"w": {"command": site.odd("steady"), "instances": 1}})
    Path("/run/user/0").mkdir(mode=0o700, parents=True, exist_ok=True)
    word = (
        ["env", "-u", "XDG_RUNTIME_DIR"] if given is None else ["env", f"XDG_RUNTIME_DIR={given}"]
    )
    for command, code in (("check", 0), ("plan", 12), ("deploy", 0), ("status", 0)):
        result = site.scope.run(*word, "unitq", "--user", "-c", str(site.toml), command)
        assert result.code == code, (command, result)
    assert site.pids("w")


def test_where_no_manager_runs_the_way_is_said(user_site: Site) -> None:
    site = user_site
    site.config(workers={"w": {"command": "/bin/sleep 1000"}})
    # An account that is not logged in and does not linger.
    python = (f"{name}={site.scope.environment[name]}" for name in ("PATH", "PYTHONPATH"))
    done = subprocess.run(
        ["setpriv", "--reuid=games", "--regid=games", "--clear-groups", "env", "-i", *python,
         "HOME=/nonexistent", "unitq", "--user", "-c", str(site.toml), "plan"],
        capture_output=True, text=True, timeout=60, cwd="/",
    )  # fmt: skip
    assert done.returncode == 1, done
    assert "no user manager to talk to" in done.stderr
    assert "`sudo loginctl enable-linger games`" in done.stderr


def test_who_does_not_linger_is_told(user_site: Site) -> None:
    site = user_site
    site.config(workers={"w": {"command": site.odd("steady"), "instances": 1}})
    lingers = Path("/var/lib/systemd/linger/tester")
    was_there = lingers.exists()
    assert ("no-linger" in site.unitq("check").stdout) is not was_there
    if was_there:
        lingers.unlink()
    else:
        lingers.parent.mkdir(parents=True, exist_ok=True)
        lingers.touch()
    try:
        assert ("no-linger" in site.unitq("check").stdout) is was_there
    finally:
        lingers.touch() if was_there else lingers.unlink()
