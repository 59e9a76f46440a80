"""What workers print is for those who may read the journal, also where unitq keeps it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.systemd.conftest import REPO, TESTER

if TYPE_CHECKING:
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd

SECRET = "password-of-the-shop"


def as_tester(site: Site, *arguments: str, groups: str = "--init-groups") -> tuple[int, str]:
    """A unitq command about root's units as an ordinary account, with what it printed."""
    done = subprocess.run(
        ["setpriv", f"--reuid={TESTER}", f"--regid={TESTER}", groups, "--",
         sys.executable, "-m", "unitq", "-a", site.app, *arguments],
        cwd="/", env={"PYTHONPATH": str(REPO), "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_a_stack_trace_is_not_for_everybody(system_site: Site) -> None:
    site = system_site
    site.config(workers={"sms": {"command": site.odd("steady"), "instances": 1}})
    site.deploy()
    site.config(workers={"sms": {"command": f"/bin/sh -c 'echo {SECRET}; exit 1'", "instances": 1}})
    done = site.deploy(code=7)
    assert SECRET in done.output

    state = site.scope.state_dir / site.app
    found = subprocess.run(
        ["setpriv", f"--reuid={TESTER}", f"--regid={TESTER}", "--init-groups", "--",
         "grep", "-rls", "--exclude-dir=_units", SECRET, str(state)],
        capture_output=True, text=True, timeout=30,
    ).stdout  # fmt: skip
    assert found == ""

    for arguments in (("show",), ("show", "--json"), ("history",), ("history", "--json")):
        code, output = as_tester(site, *arguments)
        assert code == 0, output
        assert f"  | {SECRET}" not in output
        assert "may be read by root and the group systemd-journal only" in output
    code, output = as_tester(site, "status")
    assert "sms" in output
    assert code in (3, 7, 15), output
    code, output = as_tester(site, "rollout", "status")
    assert "failed" in output, output

    # Who may read the journal sees it, and so does root.
    code, output = as_tester(site, "show", groups="--groups=systemd-journal")
    assert (code, f"  | {SECRET}" in output) == (0, True), output
    shown = site.unitq("show")
    assert f"  | {SECRET}" in shown.stdout
    assert "not shown" not in shown.output


def test_who_may_not_read_the_journal_is_told_which_group_may(system_site: Site) -> None:
    site = system_site
    site.config(workers={"sms": {"command": f"/bin/sh -c 'echo {SECRET}; exec sleep 600'"}})
    site.deploy()
    code, output = as_tester(site, "logs")
    assert code == 5, output
    assert SECRET not in output
    assert "members of the group systemd-journal only" in output
    assert "usermod --append --groups systemd-journal tester" in output
    code, output = as_tester(site, "logs", "--json")
    assert (code, '"exit_code": 5' in output) == (5, True), output
    code, output = as_tester(site, "logs", groups="--groups=systemd-journal")
    assert (code, SECRET in output) == (0, True), output
    code, output = as_tester(site, "logs", "--no-such-option", "--json")
    assert code == 2


def test_the_progress_of_a_rollout_is_for_everybody(system_site: Site) -> None:
    site = system_site
    site.config(workers={"sms": {"command": site.odd("steady"), "instances": 2}})
    site.deploy()
    folder = site.scope.state_dir / site.app / "rollouts" / "1"
    assert "healthy" in (folder / "progress.log").read_text()
    assert (folder / "progress.log").stat().st_mode & 0o777 == 0o644
    assert (folder / "progress-jobs.log").stat().st_mode & 0o777 == 0o640
    code, output = as_tester(site, "rollout", "watch")
    assert code == 0, output
