"""Deploys without root, with a real polkit: what is granted works, and nothing else does."""

from __future__ import annotations

import grp
import json
import os
import pwd
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.systemd.cli.test_json import documented, shape
from tests.systemd.conftest import wait_until
from tests.systemd.security.conftest import GROUP, OTHERS, SYSTEM, Grants, as_account

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness.redis_server import RedisServer

pytestmark = pytest.mark.systemd

RECORD = Path("/etc/unitq/grants.json")
RULE = Path("/etc/polkit-1/rules.d/50-unitq.rules")
MANAGER = (
    "busctl",
    "call",
    "org.freedesktop.systemd1",
    "/org/freedesktop/systemd1",
    "org.freedesktop.systemd1.Manager",
)
REFUSED = (
    "authentication required",
    "Access denied",
    "Permission denied",
    "Operation refused",
    "not available on non-delegated",
)


def busy(grants: Grants) -> None:
    """A deploy of alice's that lasts until `let_go`."""
    grants.configure(grants.site.holding())
    assert grants.run("alice", "deploy").code == 0
    grants.site.hold(1, 2)
    grants.site.switch(2)


# --- what is granted ------------------------------------------------------------------------------


def test_a_member_deploys_restarts_and_rolls_back(grants: Grants) -> None:
    site = grants.site
    deploy = grants.run("alice", "deploy")
    assert deploy.code == 0, deploy
    assert "  started, healthy  [2/2]" in deploy.stdout
    assert site.active("sms") == 2
    first = site.pids("sms")
    restart = grants.run("bob", "restart")
    assert (restart.code, "sms@1  draining" in restart.stdout) == (0, True), restart
    assert set(site.pids("sms").values()).isdisjoint(first.values())
    site.switch(2)
    assert grants.run("alice", "deploy").code == 0
    rollback = grants.run("bob", "rollback")
    assert (rollback.code, "restores 1" in rollback.stdout) == (0, True), rollback
    SYSTEM.systemctl("stop", site.unit("sms", 2))
    site._meddled.clear()
    assert grants.run("bob", "start").code == 0
    assert site.active("sms") == 2
    # Who it was, not root.
    rows = site.unitq("history", "--json").json["revisions"]
    assert [row["deployed_by"] for row in rows] == ["bob", "alice", "alice"]
    assert "by bob" in grants.run("alice", "rollout", "status").stdout


def test_the_only_app_that_is_granted_needs_no_name(grants: Grants) -> None:
    assert grants.start("alice", "deploy", cwd=Path("/tmp")).wait().code == 0
    assert grants.site.active("sms") == 2


def test_exit_codes_and_reasons_are_those_of_the_rollout(grants: Grants) -> None:
    site = grants.site
    grants.configure(site.odd("crash-on", "bad"))
    site.config(
        workers={"sms": {"command": site.odd("crash-on", "bad"), "instances": 2}},
        rollout={"on_failure": "rollback"},
    )
    grants.place()
    assert grants.run("alice", "deploy").code == 0
    (site.release(2) / "bad").touch()
    site.switch(2)
    back = grants.run("alice", "deploy")
    assert (back.code, "rolled back" in back.stdout) == (9, True), back
    # What workers print is not the group's: it is in no line here, and in none that is kept.
    kept = "".join(path.read_text() for path in Path("/run/unitq/granted").rglob("*.out"))
    assert "rolled back" in kept
    for text in (back.stdout, back.stderr, kept):
        assert "odd crash-on" not in text
    assert "for those who may read the journal" in back.stderr
    assert "odd crash-on" in site.unitq("show", "2").output
    site.current.unlink()
    missing = grants.run("alice", "deploy")
    assert (missing.code, "No such file" in missing.stderr) == (13, True), missing
    grants.config.write_text("app = 3\n")
    assert grants.run("alice", "deploy").code == 2
    # And the next one that is well: the unit's failure is no longer what counts.
    site.switch(1)
    grants.place()
    assert grants.run("alice", "deploy").code == 0


def test_what_is_in_the_way_of_a_hardened_unit(grants: Grants) -> None:
    # A checkout of another account's, a hook, and texts that change: all that root does elsewhere.
    site = grants.site
    code = site.home / "checkout"
    code.mkdir()
    os.chown(code, *(number := (pwd.getpwnam("tester").pw_uid, pwd.getpwnam("tester").pw_gid)))
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    for command in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "x"]):
        done = as_account("tester", "git", "-C", str(code), *command).wait()
        assert done.code == 0, (done, number)
    hook = site.out / "hook"
    site.config(
        directory=str(code),
        hooks={"before_deploy": ["/bin/sh", "-c", f"env > {hook}; touch {site.home}/by-hook"]},
        workers={"sms": {"command": site.odd("steady"), "instances": 2}},
    )
    grants.place()
    deploy = grants.run("alice", "deploy", environment={"MARK_OF_ALICE": "x"})
    assert (deploy.code, deploy.stderr) == (0, ""), deploy
    (row,) = site.unitq("history", "--json").json["revisions"]
    assert row["workers"][0]["code_version"].startswith("commit ")
    assert (site.home / "by-hook").exists()
    assert "MARK_OF_ALICE" not in hook.read_text()
    grants.config.write_text(grants.config.read_text() + "nice = 5\n")
    changed = grants.run("bob", "deploy")
    assert (changed.code, changed.stderr) == (0, ""), changed
    assert grants.run("bob", "rollback").code == 0
    assert site.unitq("status").code == 0


def test_members_pause_and_resume(grants: Grants, redis: RedisServer) -> None:
    site = grants.site
    site.config(
        environment=site.resque_environment(redis),
        workers={"sms": {"preset": "php-resque", "command": site.php(), "instances": 2}},
    )
    grants.place()
    assert grants.run("alice", "deploy").code == 0
    pause = grants.run("alice", "pause")
    assert (pause.code, "sms@1: paused" in pause.stdout) == (0, True), pause
    assert "2 paused" in site.unitq("status").stdout
    assert grants.run("bob", "resume").code == 0
    assert site.unitq("status").code == 0


def test_a_member_stops_what_another_has_begun_and_goes_on_with_it(grants: Grants) -> None:
    site = grants.site
    busy(grants)
    deploy = grants.start("alice", "-a", site.app, "deploy")
    deploy.wait_for("draining")
    second = grants.run("bob", "deploy")
    assert second.code == 8, second
    assert f"`unitq -a {site.app} deploy` by alice" in second.stderr
    pause = grants.run("bob", "rollout", "pause")
    assert pause.code == 0, pause
    site.let_go()
    assert deploy.wait().code == 11
    assert grants.run("bob", "rollout", "resume").code == 0
    assert grants.run("bob", "rollout", "promote").code == 4
    site.hold(1, 2)
    site.switch(1)
    deploy = grants.start("alice", "-a", site.app, "deploy")
    deploy.wait_for("draining")
    assert grants.run("bob", "rollout", "abort").code == 0
    site.let_go()
    assert deploy.wait().code == 10
    assert grants.run("alice", "deploy").code == 0


def test_the_same_account_twice_follows_the_one_deploy(grants: Grants) -> None:
    busy(grants)
    first = grants.start("alice", "-a", grants.site.app, "deploy")
    first.wait_for("draining")
    second = grants.start("alice", "-a", grants.site.app, "deploy")
    second.wait_for("draining")
    grants.site.let_go()
    results = first.wait(), second.wait()
    assert [one.code for one in results] == [0, 0]
    assert "runs already; this follows it" in results[1].stderr
    assert results[0].stdout == results[1].stdout


@pytest.mark.variants
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_a_caller_who_dies_ends_nothing(grants: Grants, number: signal.Signals) -> None:
    busy(grants)
    deploy = grants.start("alice", "-a", grants.site.app, "deploy")
    deploy.wait_for("draining")
    deploy.signal(number)
    assert deploy.wait().code == -number
    watch = grants.start("bob", "-a", grants.site.app, "rollout", "watch")
    watch.wait_for("draining")
    grants.site.let_go()
    seen = watch.wait()
    assert (seen.code, "[2/2]" in seen.stdout) == (0, True), seen
    assert grants.site.unitq("-c", str(grants.config), "plan").code == 0


def test_who_stops_reading_still_gets_the_exit_code(grants: Grants) -> None:
    assert grants.run("alice", "deploy").code == 0
    (grants.site.home / "current").unlink()
    typed = f"{grants.python} -I -m unitq -a {grants.site.app} deploy"
    script = f"set -o pipefail; {typed} 2>&1 | true"
    done = as_account("alice", "/bin/bash", "-c", script).wait()
    assert done.code == 13, done
    grants.site.switch(1)


def test_ctrl_c_ends_only_the_watching(grants: Grants) -> None:
    busy(grants)
    deploy = grants.start("alice", "-a", grants.site.app, "deploy")
    deploy.wait_for("draining")
    deploy.signal(signal.SIGINT)
    left = deploy.wait()
    assert left.code == 130
    assert "keeps running" in left.stderr
    assert grants.state(grants.unit("deploy", "alice"))["ActiveState"] == "active"
    gave_up = grants.run("alice", "deploy", "--timeout", "300ms")
    assert (gave_up.code, "rollout watch` follows it" in gave_up.stderr) == (6, True), gave_up
    grants.site.let_go()
    assert grants.run("alice", "rollout", "watch").code == 0


def test_watching_says_how_what_was_begun_and_left_ended(grants: Grants) -> None:
    assert grants.run("alice", "deploy").code == 0
    grants.site.current.unlink()
    assert grants.run("alice", "deploy", "--detach").code == 0
    watch = grants.run("alice", "rollout", "watch")
    assert (watch.code, "ended with 13" in watch.stdout) == (13, True), watch
    grants.site.switch(1)


def test_what_kills_the_unit_is_said(grants: Grants) -> None:
    busy(grants)
    unit = grants.unit("deploy", "alice")
    deploy = grants.start("alice", "-a", grants.site.app, "deploy")
    deploy.wait_for("draining")
    SYSTEM.systemctl("kill", "--signal=KILL", unit)
    ended = deploy.wait()
    assert (ended.code, "was killed by signal 9" in ended.stderr) == (1, True), ended
    grants.site.let_go()
    assert grants.run("alice", "deploy").code == 8
    assert grants.run("alice", "rollout", "resume").code == 0


def test_systemctl_stop_of_the_unit_is_a_ctrl_c_and_a_job_mode_cannot_keep_root_from_it(
    grants: Grants,
) -> None:
    busy(grants)
    unit = grants.unit("deploy", "alice")
    assert (
        as_account("alice", *MANAGER, "StartUnit", "ss", unit, "replace-irreversibly").wait().code
        == 0
    )
    follower = grants.start("alice", "-a", grants.site.app, "deploy")
    follower.wait_for("draining")
    stop = subprocess.Popen(["systemctl", "stop", unit], stderr=subprocess.PIPE)
    wait_until(lambda: grants.state(unit)["ActiveState"] == "deactivating", 10, "it is stopping")
    grants.site.let_go()
    _, error = stop.communicate(timeout=60)
    assert (stop.returncode, error) == (0, b"")
    assert follower.wait().code == 10
    assert grants.run("alice", "deploy").code == 0


def test_members_read_without_asking(grants: Grants) -> None:
    site = grants.site
    assert grants.run("alice", "deploy").code == 0
    # Only root has the key that tells whether the environment has changed.
    plan = grants.run("alice", "plan")
    assert (plan.code, "is unknown" in plan.stderr) == (5, True), plan
    assert grants.run("alice", "deploy", "--dry-run").code == 5
    for command in (
        ["status"],
        ["history"],
        ["show"],
        ["rollout", "status"],
    ):
        assert grants.run("alice", *command).code == 0, command
    site.switch(2)
    plan = grants.run("alice", "plan")
    assert (plan.code, "sms@1: restart (runs 1-" in plan.stdout) == (12, True), plan
    assert "(not root); each counts as running what was last started" in plan.stderr
    assert site.pids("sms").keys() == {"sms@1", "sms@2"}
    secret = site.home / "secret.env"
    secret.write_text("PASSWORD=hush\n")
    secret.chmod(0o600)
    grants.config.write_text(f'environment_file = "{secret}"\n' + site.toml.read_text())
    closed = grants.run("alice", "plan")
    assert (closed.code, str(secret) in closed.stderr) == (5, True), closed
    assert grants.run("alice", "deploy").code == 0
    grants.config.chmod(0o600)
    hidden = grants.run("alice", "plan")
    assert (hidden.code, f"chgrp GROUP {grants.config}" in hidden.stderr) == (5, True), hidden
    assert "hush" not in closed.output + hidden.output
    said = grants.root("grant", "--group", GROUP, "-a", site.app, "--install")
    assert f"chgrp {GROUP} {grants.config}" in said.stdout
    os.chown(grants.config, 0, grp.getgrnam(GROUP).gr_gid)
    grants.config.chmod(0o640)
    said = grants.root("grant", "--group", GROUP, "-a", site.app, "--install")
    assert "chgrp" not in said.stdout
    assert grants.run("mallory", "plan").code == 5


def test_queues_with_a_password_that_root_keeps(grants: Grants, redis: RedisServer) -> None:
    password = grants.site.home / "password"
    password.write_text("hush\n")
    password.chmod(0o600)
    table = f'\n[redis]\nurl = "redis://{redis.address}"\npreset = "php-resque"\n'
    table += f'password_file = "{password}"\n'
    grants.config.write_text(grants.site.toml.read_text() + table)
    done = grants.run("alice", "queues")
    assert (done.code, str(password) in done.stderr) == (5, True), done


# --- what is not ----------------------------------------------------------------------------------


def test_nothing_typed_reaches_root(grants: Grants) -> None:
    site = grants.site
    assert grants.run("alice", "deploy").code == 0
    before = site.pids("sms")
    for arguments, name in (
        (["deploy", "--revision", "x"], "--revision"),
        (["deploy", "--message", "x"], "--message"),
        (["deploy", "--max-unavailable", "100%"], "--max-unavailable"),
        (["deploy", "--json"], "--json"),
        (["deploy", "--canary", "1"], "--canary"),
        (["-c", "/tmp/mine.toml", "deploy"], "-c"),
        (["restart", "--all-at-once"], "--all-at-once"),
        (["restart", "sms@1"], "TARGET"),
        (["rollback", "1"], "[N]"),
        (["pause", "sms"], "TARGET"),
        (["rollout", "resume", "--max-unavailable", "2"], "--max-unavailable"),
    ):
        done = grants.run("alice", *arguments)
        assert (done.code, name in done.stderr) == (2, True), (arguments, done)
        assert f"/etc/unitq/{site.app}.toml" in done.stderr
    done = grants.run("alice", "deploy", environment={"UNITQ_CONFIG": "/tmp/mine.toml"})
    assert (done.code, "$UNITQ_CONFIG" in done.stderr) == (2, True), done
    for command in (["stop"], ["remove", "--yes"], ["scale", "sms=9"], ["signal", "KILL"]):
        done = grants.run("alice", *command)
        # A signal that costs jobs is refused before anybody asks for rights.
        assert done.code in ((13,) if command[0] == "signal" else (4, 5)), (command, done)
    assert site.pids("sms") == before


def test_no_environment_directory_or_descriptor_of_the_caller_reaches_root(grants: Grants) -> None:
    site = grants.site
    busy(grants)
    trap = site.home / "trap"
    trap.mkdir()
    for name in ("click.py", "unitq.py", "sitecustomize.py", "json.py"):
        (trap / name).write_text(f"open({str(site.out / 'pwned')!r}, 'w')\n")
    (trap / "unitq.toml").write_text(site.toml.read_text().replace("hold", "pwned"))
    hostile = {"PYTHONPATH": str(trap), "LD_PRELOAD_X": "mark", "MARK_OF_ALICE": "x", "TERM": "x"}
    deploy = grants.start("alice", "-a", site.app, "deploy", cwd=trap, environment=hostile)
    deploy.wait_for("draining")
    process = Path("/proc") / grants.state(grants.unit("deploy", "alice"))["MainPID"]
    environment = (process / "environ").read_bytes()
    assert b"MARK_OF_ALICE" not in environment
    assert b"PYTHONPATH" not in environment
    assert b"trap" not in environment + (process / "cmdline").read_bytes()
    assert os.readlink(process / "cwd") == "/"
    assert os.readlink(process / "fd/0") == "/dev/null"
    assert (process / "stat").read_text().rpartition(")")[2].split()[4] == "0"  # no terminal
    site.let_go()
    assert deploy.wait().code == 0
    assert not (site.out / "pwned").exists()
    assert "odd.py" in (Path("/proc") / str(site.pids("sms")["sms@1"]) / "cmdline").read_text()


def test_systemd_refuses_all_else(
    grants: Grants, make_grants: Callable[[], Grants], tmp_path: Path
) -> None:
    site, other = grants.site, make_grants()
    busy(grants)
    deploy = grants.start("alice", "-a", site.app, "deploy")
    deploy.wait_for("draining")
    mine = grants.unit("deploy", "alice")
    worker = site.unit("sms", 1)
    before = site.pids("sms"), grants.state(mine)
    evil = site.out / "evil.service"
    evil.write_text("[Service]\nExecStart=/usr/bin/touch /run/pwned\n")
    no = "--no-ask-password"
    transient = ("1", "ExecStart", "a(sasb)", "1", "/bin/true", "1", "/bin/true", "false", "0")
    attacks: list[tuple[str, ...]] = [
        ("systemctl", no, "start", grants.unit("deploy", "alice", other.site.app)),
        ("systemctl", no, "start", grants.unit("deploy", "bob")),
        ("systemctl", no, "start", grants.unit("deploy", "root")),
        ("systemctl", no, "start", f"unitq-deploy@{site.app}.service"),
        ("systemctl", no, "start", f"unitq-deploy@{site.app}:.service"),
        ("systemctl", no, "start", f"unitq-deploy@{site.app}:alice:x.service"),
        ("systemctl", no, "start", f"unitq-deploy@../{site.app}:alice.service"),
        ("systemctl", no, "start", f"unitq-stop@{site.app}:alice.service"),
        ("systemctl", no, "start", f"unitq-remove@{site.app}:alice.service"),
        ("systemctl", no, "start", worker),
        ("systemctl", no, "start", site.target),
        ("systemctl", no, "start", "debug-shell.service"),
        *(
            ("systemctl", no, verb, mine)
            for verb in (
                "stop", "restart", "try-restart", "reload", "reload-or-restart", "kill",
                "reset-failed", "isolate", "freeze", "clean", "enable", "disable", "mask",
                "preset", "revert",
            )
        ),
        ("systemctl", no, "--runtime", "enable", mine),
        ("systemctl", no, "--runtime", "mask", mine),
        ("systemctl", no, "link", str(evil)),
        ("systemctl", no, "set-property", mine, "CPUQuota=1%"),
        ("systemctl", no, "--runtime", "set-property", mine, "CPUQuota=1%"),
        ("systemctl", no, "set-property", worker, "CPUQuota=1%"),
        ("systemctl", no, "set-environment", "PYTHONPATH=/tmp"),
        ("systemctl", no, "import-environment", "PATH"),
        ("systemctl", no, "daemon-reload"),
        ("systemctl", no, "daemon-reexec"),
        ("systemctl", no, "cancel"),
        ("systemctl", no, "poweroff"),
        ("systemd-run", no, "/usr/bin/touch", "/run/pwned"),
        ("systemd-run", no, f"--unit={mine}", "/usr/bin/touch", "/run/pwned"),
        ("systemd-run", no, f"--unit={grants.unit('deploy', 'alice2')}", "/usr/bin/id"),
        (*MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", mine, "fail", *transient),
        (*MANAGER, "StartUnit", "ss", mine, "isolate"),
        (*MANAGER, "StopUnit", "ss", mine, "replace"),
        (*MANAGER, "RefUnit", "s", mine),
        (*MANAGER, "EnqueueUnitJob", "sss", mine, "stop", "replace"),
        (*MANAGER, "AttachProcessesToUnit", "ssau", mine, "/", "1", str(os.getpid())),
        (*MANAGER, "BindMountUnit", "sssbb", mine, "/tmp", "/etc/unitq", "false", "false"),
        (*MANAGER, "SetUnitProperties", "sba(sv)", mine, "true", "1", "CPUWeight", "t", "1"),
        ("/usr/bin/touch", f"/etc/systemd/system/{mine}.d"),
        ("/usr/bin/tee", f"/run/unitq/granted/{mine}/x"),
        ("/usr/bin/tee", str(RECORD)),
        ("/usr/bin/tee", str(grants.config)),
    ]  # fmt: skip
    for attack in attacks:
        done = as_account("alice", *attack).wait()
        assert done.code != 0, attack
        assert any(word in done.stderr for word in REFUSED) or "nvalid" in done.stderr, (
            attack,
            done,
        )
    # As written it works: what is refused above is refused for what it is.
    assert as_account("alice", *MANAGER, "StartUnit", "ss", mine, "replace").wait().code == 0
    own = grants.unit("deploy", "mallory")
    for attack in (("systemctl", no, "start", own), (*MANAGER, "StartUnit", "ss", own, "replace")):
        done = as_account("mallory", *attack).wait()
        assert (done.code != 0, "authentication required" in done.stderr) == (True, True), done
    assert (site.pids("sms"), grants.state(mine)) == before
    assert other.site.active("sms") == 0
    assert not Path("/run/pwned").exists()
    site.let_go()
    assert deploy.wait().code == 0


def test_who_is_no_member_gets_nowhere(grants: Grants) -> None:
    assert grants.run("alice", "deploy").code == 0
    before = grants.site.pids("sms")
    for command in (["deploy"], ["restart"], ["rollback"], ["rollout", "abort"], ["start"]):
        done = grants.run("mallory", *command)
        assert done.code == 5, (command, done)
    for path in Path("/run/unitq/granted").glob("*/*"):
        done = as_account("mallory", "/usr/bin/cat", str(path)).wait()
        assert "Permission denied" in done.stderr, path
    assert grants.site.pids("sms") == before


def test_the_groups_of_an_old_login_do_not_count(grants: Grants) -> None:
    number = grp.getgrnam(GROUP).gr_gid
    unit = grants.unit("deploy", "bob")
    subprocess.run(["gpasswd", "--delete", "bob", GROUP], check=True, capture_output=True)
    try:
        # A process that still has the group, as a login from before has.
        old = (f"--groups={number}",)
        done = as_account("bob", *MANAGER, "StartUnit", "ss", unit, "replace", groups=old).wait()
        assert "authentication required" in done.stderr, done
        assert grants.run("bob", "deploy", groups=old).code == 5
        # polkit left out: the unit looks once more.
        SYSTEM.systemctl("start", unit)
        wait_until(lambda: grants.state(unit)["ActiveState"] == "failed", 20, "it refuses")
        assert "is not granted to bob" in SYSTEM.journal("-u", unit)
    finally:
        SYSTEM.systemctl("reset-failed", unit, check=False)
        subprocess.run(["gpasswd", "--add", "bob", GROUP], check=True, capture_output=True)
    assert grants.site.active("sms") == 0
    # And one who has just become a member need not log in again.
    deploy = grants.run("bob", "deploy", groups=("--clear-groups",))
    assert (deploy.code, "log in again" in deploy.stderr) == (0, True), deploy


def test_what_is_revoked_is_gone_at_once(grants: Grants) -> None:
    assert grants.run("alice", "deploy").code == 0
    before = grants.site.pids("sms")
    unit = grants.unit("restart", "alice")
    done = grants.root("grant", "-a", grants.site.app, "--revoke")
    assert (done.code, f"no longer granted to {GROUP}" in done.stdout) == (0, True), done
    assert grants.run("alice", "restart").code == 5
    started = as_account("alice", *MANAGER, "StartUnit", "ss", unit, "replace").wait()
    assert started.code != 0, started
    assert not list(Path("/etc/systemd/system").glob("unitq-*@.service")) or not any(
        "Grant=" in path.read_text()
        for path in Path("/etc/systemd/system").glob("unitq-*@.service")
    )
    assert not RECORD.exists()
    assert not RULE.exists()
    assert grants.site.pids("sms") == before
    again = grants.root("grant", "-a", grants.site.app, "--revoke")
    assert (again.code, "Granted: nothing" in again.stdout) == (0, True), again


def test_polkit_alone_does_not_grant(grants: Grants) -> None:
    # A rule that outlives its grant, such as from a backup.
    rule, units = (
        RULE.read_text(),
        {
            path: path.read_text()
            for path in Path("/etc/systemd/system").glob("unitq-*@.service")
            if "Grant=" in path.read_text()
        },
    )
    assert grants.root("grant", "--revoke").code == 0
    for path, text in units.items():
        path.write_text(text)
    RULE.write_text(rule)
    SYSTEM.systemctl("daemon-reload")
    unit = grants.unit("deploy", "alice")
    start = (*MANAGER, "StartUnit", "ss", unit, "replace")
    wait_until(lambda: as_account("alice", *start).wait().code == 0, 10, "polkit has the rule")
    wait_until(lambda: grants.state(unit)["ActiveState"] == "failed", 20, "the unit refuses")
    assert grants.site.active("sms") == 0
    SYSTEM.systemctl("reset-failed", unit)


def test_a_record_that_others_may_write_is_not_obeyed(grants: Grants) -> None:
    RECORD.chmod(0o666)
    try:
        unit = grants.unit("deploy", "alice")
        start = (*MANAGER, "StartUnit", "ss", unit, "replace")
        assert as_account("alice", *start).wait().code == 0
        wait_until(lambda: grants.state(unit)["ActiveState"] == "failed", 20, "the unit refuses")
        assert "is not obeyed" in SYSTEM.journal("-u", unit)
        assert grants.site.active("sms") == 0
    finally:
        RECORD.chmod(0o644)
        SYSTEM.systemctl("reset-failed", unit)
    assert grants.run("alice", "deploy").code == 0


def test_groups_and_apps_are_apart(make_grants: Callable[[], Grants]) -> None:
    one, two = make_grants(), make_grants()
    one.install(GROUP)
    one.install(OTHERS)
    two.install(OTHERS)
    several = two.start("olga", "deploy").wait()
    assert (several.code, two.site.app in several.stderr) == (4, True), several
    denied = one.start("alice", "-a", two.site.app, "deploy").wait()
    assert (denied.code, f"granted: {one.site.app}" in denied.stderr) == (5, True), denied
    assert two.run("olga", "deploy").code == 0
    assert one.run("olga", "deploy").code == 0
    assert one.root("grant", "--group", OTHERS, "-a", one.site.app, "--revoke").code == 0
    assert one.run("olga", "restart").code == 5
    assert two.run("olga", "restart").code == 0
    assert one.run("alice", "restart").code == 0
    listed = one.root("grant", "--json")
    assert {(row["app"], row["group"]) for row in listed.json["grants"]} == {
        (one.site.app, GROUP),
        (two.site.app, OTHERS),
    }
    assert shape(listed.json) == shape(documented("grant"))
    assert listed.code == 0


@pytest.mark.variants
@pytest.mark.parametrize("account", ["dev@corp", "a~b", "x.y-z_"])
def test_accounts_of_odd_names(grants: Grants, account: str) -> None:
    command = ["useradd", "--badname", "--no-create-home", "--groups", GROUP, account]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode in (0, 9), done.stderr
    deploy = grants.run(account, "deploy")
    assert deploy.code == 0, deploy
    (row,) = grants.site.unitq("history", "--json").json["revisions"]
    assert row["deployed_by"] == account


# --- granting -------------------------------------------------------------------------------------


def test_it_says_what_it_would_write_and_writes_just_that(
    make_grants: Callable[[], Grants],
) -> None:
    grants = make_grants()
    granting = ("grant", "--group", GROUP, "-a", grants.site.app)
    shown = grants.run("mallory", *granting[:3])
    assert (shown.code, "nothing was changed" in shown.stderr) == (0, True), shown
    assert not RECORD.exists()
    assert not RULE.exists()
    assert grants.run("mallory", *granting[:3], "--install").code == 5
    done = grants.root(*granting, "--install")
    assert done.code == 0, done
    paths = [Path(line[2:]) for line in shown.stdout.splitlines() if line.startswith("# /")]
    assert len(paths) == 12
    for path in paths:
        assert f"# {path}\n{path.read_text()}" in shown.stdout
        found = path.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (0, 0, 0o644), path
    before = {path: path.stat().st_mtime_ns for path in paths}
    again = grants.root(*granting, "--install")
    assert (again.code, "nothing had to be changed" in again.stdout) == (0, True), again
    assert {path: path.stat().st_mtime_ns for path in paths} == before
    state = grants.state(grants.unit("deploy", "alice"))
    assert (state["LoadState"], state["ActiveState"]) == ("loaded", "inactive")
    # Somebody changes one: it is said, and mended.
    RULE.write_text(RULE.read_text().replace(GROUP, "everybody"))
    listed = grants.root("grant")
    assert (listed.code, f"{RULE}: changed" in listed.stderr) == (3, True), listed
    assert grants.root("grant", "--install").code == 0
    assert grants.root("grant").code == 0


def test_what_must_not_be_granted_is_refused(make_grants: Callable[[], Grants]) -> None:
    grants = make_grants()
    app = grants.site.app

    def granting(group: str = GROUP, name: str = app) -> tuple[int, str]:
        done = grants.root("grant", "--group", group, "-a", name, "--install")
        assert not RECORD.exists()
        return done.code, done.stderr

    code, error = granting(group="no-such-group")
    assert (code, "groupadd no-such-group" in error) == (4, True), error
    for name in ("a b", 'x"); }', "$(id)", "..", "a" * 99):
        assert granting(group=name)[0] == 2, name
    for name in ("../x", "a/b", "a:b", "a b", "@"):
        assert granting(name=name)[0] == 2, name
    code, error = granting(name="not-there")
    assert (code, "/etc/unitq/not-there.toml" in error) == (4, True), error
    (own := Path("/etc/unitq/not-there.toml")).write_text(grants.config.read_text())
    try:
        code, error = granting(name="not-there")
        assert (code, f"is about app {app}" in error) == (2, True), error
    finally:
        own.unlink()
    alice = 12345
    for path, change, back in (
        (grants.config, lambda p: os.chown(p, alice, 0), lambda p: os.chown(p, 0, 0)),
        (grants.config, lambda p: p.chmod(0o666), lambda p: p.chmod(0o644)),
        (grants.config.parent, lambda p: os.chown(p, alice, 0), lambda p: os.chown(p, 0, 0)),
        (grants.config.parent, lambda p: p.chmod(0o777), lambda p: p.chmod(0o755)),
        (grants.python.parents[1], lambda p: os.chown(p, alice, 0), lambda p: os.chown(p, 0, 0)),
        (
            next(grants.python.parents[1].glob("lib/*/site-packages/click/core.py")),
            lambda p: os.chown(p, alice, 0),
            lambda p: os.chown(p, 0, 0),
        ),
    ):
        change(path)
        try:
            code, error = granting()
            assert (code, str(path) in error) == (13, True), error
        finally:
            back(path)
    foreign = Path("/etc/systemd/system/unitq-deploy@.service")
    foreign.write_text("[Service]\nExecStart=/bin/true\n")
    try:
        code, error = granting()
        assert (code, "unitq did not write it" in error) == (13, True), error
        assert foreign.read_text() == "[Service]\nExecStart=/bin/true\n"
    finally:
        foreign.unlink()
    was = RULE.parent.stat()
    RULE.parent.rmdir()
    try:
        code, error = granting()
        assert (code, "apt install polkitd" in error) == (13, True), error
    finally:
        RULE.parent.mkdir(was.st_mode)
        os.chown(RULE.parent, was.st_uid, was.st_gid)
        SYSTEM.systemctl("try-restart", "polkit.service")  # it watched the one that is gone
    assert not list(Path("/etc/systemd/system").glob("unitq-deploy*"))


def test_the_unit_is_hardened(grants: Grants) -> None:
    unit = grants.unit("deploy", "alice")
    done = SYSTEM.run("systemd-analyze", "security", "--no-pager", "--json=short", unit)
    found = {row["name"]: row["exposure"] for row in json.loads(done.stdout)}
    assert found
    shown = SYSTEM.run("systemd-analyze", "security", "--no-pager", unit).stdout
    exposure = float(shown.split("Overall exposure level for", 1)[1].split(": ", 1)[1].split()[0])
    assert exposure <= 4.0, shown


def test_remove_says_that_a_grant_stays(grants: Grants) -> None:
    assert grants.run("alice", "deploy").code == 0
    done = grants.site.unitq("remove", "--yes")
    assert (done.code, "--revoke" in done.stderr) == (0, True), done
