"""docs/runbook.md, one test for each code that exists: what a script or a CI job relies on."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.systemd.conftest import wait_until
from unitq.errors import Exit

if TYPE_CHECKING:
    from pathlib import Path

    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd


@pytest.fixture
def app(system_site: Site) -> Site:
    """Two instances whose drain a test can hold up."""
    system_site.config(workers={"sms": {"command": system_site.holding(), "instances": 2}})
    system_site.deploy()
    return system_site


def test_0_as_asked_and_also_unchanged(app: Site) -> None:
    for command in ("deploy", "status", "plan", "check", "start", "restart"):
        assert app.unitq(command).code == Exit.OK, command


def test_1_unitq_failed(app: Site) -> None:
    # Not a mistake of the user's: a revision that a newer unitq wrote.
    path = app.scope.state_dir / app.app / "current" / "revision.json"
    whole = path.read_text()
    try:
        path.write_text(whole.replace('"format": 1', '"format": 99'))
        done = app.unitq("status")
        assert done.code == Exit.BROKEN
        assert "written by a later unitq" in done.stderr
    finally:
        path.write_text(whole)


def test_2_a_mistake_on_the_command_line_or_in_the_file(app: Site) -> None:
    before = app.pids()
    assert app.unitq("deploy", "--no-such-option").code == Exit.USAGE
    app.write(app.toml.read_text() + '\n"instences" = 3\n')
    done = app.unitq("deploy")
    assert done.code == Exit.USAGE
    assert "unknown key" in done.stderr
    assert app.pids() == before


def test_3_something_that_should_run_does_not(app: Site) -> None:
    app.systemctl("stop", app.unit("sms", 2))
    assert app.unitq("status").code == Exit.NOT_AS_WANTED
    assert app.unitq("status", "sms@1").code == Exit.OK


def test_4_nothing_of_that_name(app: Site) -> None:
    assert app.unitq("status", "mail").code == Exit.NO_MATCH
    assert app.unitq("stop", "sms@9").code == Exit.NO_MATCH
    assert app.unitq("-a", "no-such-app", "restart").code == Exit.NO_MATCH


def test_5_not_permitted(app: Site) -> None:
    before = app.pids()
    done = app.start("restart", before=("runuser", "-u", "nobody", "--")).wait()
    assert done.code == Exit.NOT_PERMITTED, done
    assert "sudo" in done.stderr
    assert app.pids() == before


def test_6_gave_up_waiting(app: Site) -> None:
    app.hold(1)
    done = app.unitq("restart", "--timeout", "500ms")
    assert done.code == Exit.GAVE_UP_WAITING
    app.let_go(1)
    wait_until(lambda: app.active("sms") == 2, what="systemd finished what was begun")


def test_7_failed_and_left_mixed(app: Site) -> None:
    app.config(workers={"sms": {"command": app.odd("exit", "3"), "instances": 2}})
    done = app.unitq("deploy")
    assert done.code == Exit.DEGRADED
    assert "exited with status 3" in done.stderr


def test_8_another_unitq_is_at_work(app: Site) -> None:
    app.hold(1)
    first = app.start("restart")
    first.wait_for("draining")
    done = app.unitq("deploy")
    assert done.code == Exit.LOCKED
    assert str(first.pid) in done.stderr
    app.let_go(1)
    assert first.wait().code == Exit.OK


def test_9_failed_and_rolled_back(system_site: Site) -> None:
    sms = {"command": system_site.odd("crash-on", "bad"), "instances": 2}
    system_site.config(workers={"sms": sms}, rollout={"on_failure": "rollback"})
    system_site.deploy()
    (system_site.release(2) / "bad").touch()
    system_site.switch(2)
    assert system_site.unitq("deploy").code == Exit.ROLLED_BACK
    assert system_site.unitq("status").code == Exit.OK


def test_8_and_11_a_paused_rollout_is_in_the_way(app: Site) -> None:
    app.hold(1)
    app.switch(2)
    running = app.start("deploy")
    running.wait_for("draining")
    assert app.unitq("rollout", "pause").code == Exit.OK
    app.let_go(1)
    assert running.wait().code == Exit.PAUSED
    assert app.unitq("rollout", "status").code == Exit.PAUSED
    assert app.unitq("deploy").code == Exit.LOCKED
    assert app.unitq("rollout", "resume").code == Exit.OK


def test_10_interrupted_at_a_safe_point(app: Site) -> None:
    app.hold(1)
    running = app.start("restart")
    running.wait_for("draining")
    running.signal(signal.SIGINT)
    # Answered at once, during the drain.
    running.wait_for("interrupted: finishes sms@1 draining (at most ")
    running.wait_for("Ctrl-C again leaves at once")
    app.let_go(1)
    done = running.wait()
    assert done.code == Exit.INTERRUPTED
    assert "nothing was changed" not in done.stdout + done.stderr
    assert app.active("sms") == 2


def test_12_changes_are_pending(app: Site) -> None:
    app.switch(2)
    assert app.unitq("plan").code == Exit.PENDING
    assert app.unitq("deploy", "--dry-run").code == Exit.PENDING


def test_13_a_check_failed_before_anything_was_changed(app: Site) -> None:
    before = app.pids(), app.mtimes()
    app.config(workers={"sms": {"command": "no-such-program", "instances": 2}})
    assert app.unitq("deploy").code == Exit.PREFLIGHT
    assert (app.pids(), app.mtimes()) == before


def test_14_a_worker_was_killed_where_that_was_asked_to_be_an_error(system_site: Site) -> None:
    command = system_site.odd("ignore-quit")
    system_site.config(workers={"sms": {"command": command, "instances": 1, "stop_timeout": "1s"}})
    system_site.deploy()
    done = system_site.unitq("restart", "--fail-on-kill")
    assert done.code == Exit.KILLED
    assert "sms@1 was killed" in done.stderr
    assert system_site.unitq("restart").code == Exit.OK


def test_15_a_process_runs_old_code(app: Site) -> None:
    app.switch(2)
    app.hold(1)
    running = app.start("deploy")
    running.wait_for("draining")
    done = app.unitq("status")
    assert done.code == Exit.STALE
    assert "NO" in done.stdout
    app.let_go(1)
    assert running.wait().code == Exit.OK
    assert app.unitq("status").code == Exit.OK


def test_130_detached(app: Site) -> None:
    app.hold(1)
    running = app.start("restart")
    running.wait_for("draining")
    running.signal(signal.SIGINT)
    running.signal(signal.SIGTERM)
    assert running.wait(10).code == Exit.DETACHED
    app.let_go(1)
    wait_until(lambda: app.active("sms") == 2, what="systemd finished what was begun")


# From where another account has typed `su`: a folder that may not be read.
ANYWHERE = [
    "status", "status --json", "history", "show", "releases", "orphans", "queues", "logs", "check",
    "plan", "deploy", "start", "pause", "scale w=1", "ctl status", "ctl update", "rollout status",
    "init", "import", "import x", "takeover", "-c unitq.toml status", "-c x/unitq.toml plan",
    "import x -o y", "render --output z", "trust add unitq.toml --owner tester", "--user status",
]  # fmt: skip


def test_a_folder_that_may_not_be_read_is_no_bug(system_site: Site, tmp_path: Path) -> None:
    """Path.exists() raises PermissionError there, until Python 3.13."""
    folder = tmp_path / "secret"
    folder.mkdir(mode=0o700)
    (folder / "x").write_text("")
    tester = ("setpriv", "--reuid=tester", "--regid=tester", "--init-groups", "--")
    for line in ANYWHERE:
        done = system_site.scope.run(
            *tester, sys.executable, "-m", "unitq", *line.split(), cwd=folder
        )
        assert "internal error" not in done.stderr, (line, done)
        assert "Traceback" not in done.stderr, (line, done)
        # 1 is supervisorctl's for what cannot be read again, and ours where no user manager runs.
        assert done.code != 1 or "ctl" in line or "--user" in line, (line, done)
