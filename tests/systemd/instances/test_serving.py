"""Serving means serving: what `status` and a rollout count as up, held against what people run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.systemd.conftest import TESTER, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.systemd.conftest import Result, Site

pytestmark = pytest.mark.systemd

LEAST = {"min_healthy": "2s"}
LOOP = {"restart_delay": "100ms", "start_limit": "none"}


def crash(site: Site, name: str) -> None:
    os.kill(site.pids()[name], signal.SIGKILL)


def looks(site: Site, seconds: float) -> Iterator[Result]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield site.unitq("status")


# --- crash loops ----------------------------------------------------------------------------------


def test_a_crash_loop_is_seen_in_every_look_until_it_is_healthy_again(site: Site) -> None:
    # Each crash takes longer than systemd's own states: most looks find it active.
    flaky = f"/bin/sh -c 'test ! -e bad || {{ sleep 0.5; exit 7; }}; exec {site.odd('steady')}'"
    site.config(workers={"sms": {"command": flaky, "instances": 2, **LOOP}}, rollout=LEAST)
    site.deploy()
    assert site.unitq("status").code == 0
    bad = site.release(1) / "bad"
    bad.touch()
    crash(site, "sms@1")
    loop = r"sms@1: crash loop \(\d+ restarts in [\d.]+ s, last: exited with status 7\)"
    wait_until(lambda: re.search(loop, site.unitq("status").stdout), 20.0, "a crash loop")
    states = set()
    for look in looks(site, 4.0):
        assert look.code == 3, look
        assert re.search(loop, look.stdout), look
        assert "sms: 1 of 2 serving, 1 in a crash loop" in look.stdout
        states.add(site.show()["sms@1"]["SubState"])
    assert "running" in states  # what it looks like to others
    told = site.unitq("status", "--json").json["apps"][0]["workers"][0]
    assert told["serving"] == 1
    row = told["instances"][0]
    assert row["crash_loop"]["last"] == "exited with status 7"
    assert (row["serving"], told["instances"][1]["crash_loop"]) == (False, None)
    bad.unlink()
    wait_until(lambda: site.pids().get("sms@1") is not None)
    assert site.unitq("status").code == 3  # until it has been healthy again
    wait_until(lambda: site.unitq("status").code == 0, 10.0)


def test_one_that_exits_with_0_again_and_again_does_not_serve_either(site: Site) -> None:
    once = f"/bin/sh -c 'test ! -e bad || {{ sleep 0.5; exit 0; }}; exec {site.odd('steady')}'"
    site.config(workers={"sms": {"command": once, "instances": 1, **LOOP}}, rollout=LEAST)
    site.deploy()
    (site.release(1) / "bad").touch()
    os.kill(site.pids()["sms@1"], signal.SIGTERM)
    loop = "last: exited with status 0"
    wait_until(lambda: loop in site.unitq("status").stdout, 20.0, "a crash loop")
    assert site.unitq("status").code == 3


def test_one_end_is_no_alarm_and_what_has_just_started_is_starting(site: Site) -> None:
    site.config(
        workers={"sms": {"command": site.odd("steady"), "instances": 2, **LOOP}}, rollout=LEAST
    )
    site.deploy()
    before = site.pids()["sms@1"]
    crash(site, "sms@1")
    wait_until(lambda: site.pids().get("sms@1") not in (None, before))
    look = site.unitq("status")
    assert look.code == 0, look
    assert "2 of 2 serving, 1 starting" in look.stdout
    told = site.unitq("status", "--json").json["apps"][0]["workers"][0]
    assert [row["starting"] for row in told["instances"]] == [True, False]
    wait_until(lambda: "starting" not in site.unitq("status").stdout, 10.0)


def test_a_worker_that_recycles_itself_is_in_no_loop(site: Site) -> None:
    brief = {"min_healthy": "300ms"}
    site.config(
        workers={"sms": {"command": site.odd("die-after", "1", "0"), "instances": 1, **LOOP}},
        rollout=brief,
    )
    site.deploy()
    wait_until(lambda: int(site.show()["sms@1"]["NRestarts"]) >= 4, 20.0)
    seen = list(looks(site, 3.0))
    assert not [look for look in seen if "loop" in look.stdout or "again" in look.stdout]
    assert [look.code for look in seen].count(0) > len(seen) / 2
    assert not [look for look in seen if "crashed" in look.stdout]


def test_a_worker_cannot_talk_itself_into_a_crash_loop_or_out_of_it(system_site: Site) -> None:
    """Whoever may write to the journal may write any field that does not begin with "_"."""
    site = system_site
    unit = site.unit("sms", 1)
    site.config(
        workers={"sms": {"command": site.odd("die-after", "1", "0"), "instances": 1, **LOOP}},
        rollout={"min_healthy": "300ms"},
    )
    site.deploy()
    wait_until(lambda: int(site.show()["sms@1"]["NRestarts"]) >= 3, 20.0)
    message = f"MESSAGE_ID=5eb03494b6584870a536b337290809b3\nUNIT={unit}\nMESSAGE=again\n"
    for _ in range(5):
        done = site.scope.run("sh", "-c", f"printf '{message}' | logger --journald")
        assert done.code == 0, done
    assert not [look for look in looks(site, 2.0) if "loop" in look.stdout]


def test_who_may_not_read_the_journal_is_told_that_it_is_not_known(system_site: Site) -> None:
    site = system_site
    bad = f"/bin/sh -c 'test ! -e bad || {{ sleep 1; exit 7; }}; exec {site.odd('steady')}'"
    site.config(workers={"sms": {"command": bad, "instances": 1, **LOOP}}, rollout=LEAST)
    site.deploy()
    (site.release(1) / "bad").touch()
    crash(site, "sms@1")
    wait_until(lambda: "crash loop" in site.unitq("status").stdout, 20.0)
    nobody = ("setpriv", "--reuid=www-data", "--regid=www-data", "--clear-groups", "--")
    said = ""
    for _ in range(20):
        look = site.start("-a", site.app, "status", before=nobody).wait()
        assert look.code in (3, 15), look
        said += look.stdout
    assert "which cannot be read" in said


# --- the last rollout -----------------------------------------------------------------------------


def test_a_failed_rollout_is_said_until_the_next_one(site: Site) -> None:
    sms = {"command": site.odd("crash-on", "bad"), "instances": 2, "restart_delay": "1min"}
    site.config(workers={"sms": sms}, rollout=LEAST | {"on_failure": None})
    site.deploy()
    assert "rollout" not in site.unitq("status").stdout
    (site.release(2) / "bad").touch()
    site.switch(2)
    site.deploy(code=9)
    look = site.unitq("status")
    assert look.code == 0
    assert "rollout 2 (deploy of 2) ended: rolled back" in look.stdout
    failed = site.unitq("status", "--json").json["apps"][0]["failed_rollout"]
    assert (failed["rollout"], failed["exit_code"]) == (2, 9)
    site.switch(3)
    site.deploy()
    assert "rolled back" not in site.unitq("status").stdout


# --- processes that are elsewhere -----------------------------------------------------------------


@pytest.mark.variants
@pytest.mark.parametrize(
    ("before", "where"),
    [
        (("/bin/su", "-", TESTER, "-c"), r"its process runs in session-\w+\.scope"),
        (("runuser", "-l", TESTER, "-c"), r"its process runs in session-\w+\.scope"),
        (
            ("systemd-run", "--quiet", "--wait", "--pipe", "/bin/sh", "-c"),
            "its main process is systemd-run, a client, and the worker runs elsewhere",
        ),
    ],
    ids=["su", "runuser", "systemd-run"],
)
def test_a_worker_that_leaves_its_unit_fails_the_deploy_and_does_not_serve(
    system_site: Site, before: tuple[str, ...], where: str
) -> None:
    site = system_site
    site.excuse("processes", "capacity", "killed")
    command = f'{" ".join(before)} "exec {site.odd("steady")}"'
    sms = {"command": command, "instances": 2, "kill_mode": "mixed", "stop_signal": "SIGTERM"}
    sms["allow"] = ["elsewhere"]  # check refuses it
    try:
        site.config(user="root", workers={"sms": sms}, rollout=LEAST | {"min_healthy": "500ms"})
        done = site.deploy(code=7)
        assert re.search(f"sms@1 failed: the worker left its unit: {where}", done.stderr), done
        look = site.unitq("status")
        assert look.code == 3, look
        assert "0 of 2 serving, 2 outside of their units" in look.stdout
        assert re.search(f"sms@2: the worker left its unit: {where}", look.stdout)
        rows = site.unitq("status", "--json").json["apps"][0]["workers"][0]["instances"]
        assert re.search(where, rows[0]["elsewhere"])
    finally:
        site.unitq("remove", "--yes")
        for process in site.workers():
            os.kill(process.pid, signal.SIGKILL)


# --- old code -------------------------------------------------------------------------------------


def leaving_a_child(site: Site) -> str:
    """A steady worker with a `sleep` beside it that hears nothing."""
    text = (
        "import os, signal, subprocess, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGQUIT, signal.SIG_IGN)\n"
        "subprocess.Popen(['sleep', '1000'])\n"
        f"os.execv(sys.executable, {site.odd('steady').split()!r})\n"
    )
    return script(site, text)


def drop_in(site: Site, worker: str, text: str) -> Path:
    folder = site.scope.unit_dir / f"unitq-{site.app}-{worker}@.service.d"
    folder.mkdir()
    (folder / "own.conf").write_text(text)
    site.systemctl("daemon-reload")
    return folder


def test_a_deploy_that_leaves_old_code_behind_does_not_exit_with_0(system_site: Site) -> None:
    site = system_site
    site.excuse("old code", "processes")
    sms = {"command": leaving_a_child(site), "instances": 2, "kill_mode": "mixed"}
    site.config(workers={"sms": sms})
    site.deploy()
    folder = drop_in(site, "sms", "[Service]\nKillMode=process\n")
    try:
        site.switch(2)
        done = site.unitq("deploy")
        assert done.code == 15, done
        assert re.search(
            r"^old code left: 2 of 2 on 2 .* 2 processes on old code", done.output, re.M
        )
        assert site.unitq("status").code == 15
        # A good revision all the same: a rollback may go there.
        assert re.search(r"^2 .* stable ", site.unitq("history").stdout, re.M)
        kept = site.unitq("deploy", "--json").json
        assert kept["exit_code"] in (0, 15)
    finally:
        shutil.rmtree(folder)
        site.systemctl("daemon-reload")
        for process in site.workers():
            if process.pid not in site.pids().values():
                os.kill(process.pid, signal.SIGKILL)


@pytest.mark.variants
@pytest.mark.parametrize("command", [("restart",), ("stop",), ("start",), ("scale", "sms=2")])
def test_every_command_counts_the_old_code_outside_of_units(
    site: Site, command: tuple[str, ...]
) -> None:
    site.config(workers={"sms": {"command": site.odd("steady"), "instances": 1}})
    site.deploy()
    orphan = site.scope.start(*site.odd("steady").split(), cwd=site.home / "releases" / "1")
    try:
        site.switch(2)
        assert "1 process on old code" in site.deploy().stdout
        if command == ("start",):
            site.unitq("stop")
        done = site.unitq(*command)
        assert done.code == 0, done
        assert "1 process on old code" in done.stdout, done
    finally:
        orphan.signal(signal.SIGTERM)
        orphan.wait()


# --- what ends by a signal ------------------------------------------------------------------------


@pytest.mark.variants
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_detached_rollout_that_is_killed_was_cut_off(site: Site, number: int) -> None:
    site.config(
        workers={"sms": {"command": site.holding(), "instances": 3}}, rollout={"min_healthy": "1s"}
    )
    site.deploy()
    site.switch(2)
    site.hold(2)
    assert site.unitq("deploy", "--detach").code == 0
    unit = f"unitq-rollout-{site.app}.service"
    wait_until(lambda: site.show()["sms@2"]["ActiveState"] == "deactivating")
    pid = int(site.systemctl("show", "--value", "--property=MainPID", unit).stdout)
    os.kill(pid, number)
    watched = site.unitq("rollout", "watch")
    assert watched.code == 8, watched
    assert f"was killed by {signal.Signals(number).name}" in watched.stdout, watched
    assert "cut off" in watched.stdout
    site.let_go()
    assert site.unitq("rollout", "resume").code == 0
    site.systemctl("reset-failed", unit, check=False)


# --- how old processes ended ----------------------------------------------------------------------


WITH_A_CHILD = """\
import os, signal, sys, time
child = os.fork()
if child == 0:
    signal.signal(15, signal.SIG_IGN)
    time.sleep(1000)
def stop(*_):
    os.kill(child, 9)
    os.wait()
    sys.exit(0)
signal.signal(15, stop)
signal.signal(10, lambda *_: os._exit(1))
while True:
    time.sleep(1)
"""


def script(site: Site, text: str) -> str:
    (site.home / "own.py").write_text(text)
    return f"/usr/bin/python3 -IS {site.home}/own.py"


def test_a_crash_whose_child_systemd_cleans_up_is_no_kill(site: Site) -> None:
    mixed = {"kill_mode": "mixed", "stop_signal": "SIGTERM", "restart_delay": "100ms"}
    site.config(
        workers={"sms": {"command": script(site, WITH_A_CHILD), "instances": 3, **mixed}},
        rollout=LEAST,
    )
    site.deploy()
    site.switch(2)
    deploy = site.start("deploy", "--fail-on-kill")
    deploy.wait_for("[1/3]")
    os.kill(site.pids()["sms@3"], signal.SIGUSR1)
    done = deploy.wait()
    assert done.code == 0, done
    assert "kill" not in done.stderr.lower(), done
    assert "0 killed" in done.stdout


def restart(site: Site, sms: dict[str, Any], **more: Any) -> tuple[Result, dict[str, Any]]:
    """What a restart says, and its row about sms@1 in a second one."""
    common = {"instances": 1, "stop_signal": "SIGTERM", "stop_timeout": "3s"}
    site.config(workers={"sms": common | sms}, **more)
    site.deploy()
    done = site.unitq("restart")
    assert done.code == 0, done
    told = site.unitq("restart", "--json").json
    return done, told["instances"][0]


def test_a_kill_at_stop_timeout_is_told_with_its_pid(site: Site) -> None:
    site.config(
        workers={
            "sms": {
                "command": site.odd("ignore-quit"), "instances": 1, "stop_timeout": "1s",
            }
        }
    )  # fmt: skip
    site.deploy()
    pid = site.pids()["sms@1"]
    site.switch(2)
    done = site.deploy()
    assert re.search(
        rf"sms@1 was killed after .*\(SIGKILL at stop_timeout, PID {pid}\)", done.stderr
    )
    # A bare "ok" would be all that is read.
    assert "\nok, but jobs may be lost: 1 of 1 on 2" in done.stdout
    assert "1 killed" in done.stdout


@pytest.mark.parametrize("kill_mode", ["mixed", "control-group"])
def test_a_background_child_of_a_job_is_named_as_what_it_is(site: Site, kill_mode: str) -> None:
    command = leaving_a_child(site)
    done, row = restart(site, {"command": command, "kill_mode": kill_mode})
    assert re.search(
        r"sms@1 drained; it left PID \d+ \(sleep\) behind, killed by systemd", done.stderr
    ), done
    assert "0 killed" in done.stdout
    assert row["ending"] == "drained"
    assert "(sleep)" in row["ending_detail"]


def test_a_keeper_that_kills_its_child_is_no_drain(site: Site) -> None:
    command = f'/usr/bin/script -qefc "{site.odd("slow-drain", "30")}" /dev/null'
    done, row = restart(site, {"command": command, "kill_mode": "mixed", "allow": ["wrapper"]})
    # In mixed mode systemd may be faster than the keeper.
    said = "sms@1 did not drain: script ended the worker below it", "when script above it had ended"
    assert any(words in done.stderr for words in said), done
    assert row["ending"] in ("unknown", "killed")


def test_a_loop_script_that_ends_by_the_signal_after_its_job_drains(site: Site) -> None:
    loop = f'/bin/bash -c "while true; do {site.odd("slow-drain", "1")}; sleep 1; done"'
    done, row = restart(site, {"command": loop, "kill_mode": "control-group", "allow": ["loop"]})
    assert not done.stderr, done
    assert re.search(r"sms@1  drained in [1-9]", done.stdout), done
    assert row["ending"] == "drained"


def test_a_loop_script_whose_worker_dies_of_the_signal_does_not_drain(site: Site) -> None:
    loop = '/bin/bash -c "while true; do tail -f /dev/null; sleep 1; done"'
    done, row = restart(site, {"command": loop, "kill_mode": "control-group", "allow": ["loop"]})
    assert "sms@1 did not drain: died of SIGTERM" in done.stderr, done
    assert row["ending"] == "died"


# --- before anything drains -----------------------------------------------------------------------


@pytest.mark.variants
@pytest.mark.parametrize(
    "command", [("restart",), ("restart", "sms@1"), ("scale", "sms=3"), ("recycle",)]
)
def test_a_deleted_release_is_met_before_a_worker_drains(
    site: Site, command: tuple[str, ...]
) -> None:
    more = {"recycle": {"age": "1s"}} if command == ("recycle",) else {}
    site.config(workers={"sms": {"command": site.odd("steady"), "instances": 2, **more}})
    site.deploy()
    time.sleep(1.2 if more else 0.0)
    before = site.pids()
    shutil.rmtree(site.home / "releases" / "1")
    look = site.unitq("status")
    assert look.code == 0
    assert f"its release {site.home}/releases/1 was deleted" in look.stdout
    done = site.unitq(*command)
    assert done.code == 13, done
    assert "nothing was touched" in done.stderr
    assert f"{site.home}/releases/1 was deleted" in done.stderr
    assert site.pids() == before
    told = site.unitq("status", "--json").json["apps"][0]["workers"][0]
    assert (told["release_deleted"], told["wanted"]) == (True, 2)
    site.release(1)
    assert site.unitq(*command).code == 0


@pytest.mark.variants
@pytest.mark.parametrize("how", ["gone", "not executable", "not for that account"])
def test_a_program_that_cannot_be_started_any_more(system_site: Site, how: str) -> None:
    site = system_site
    for number in (1, 2):
        program = site.release(number) / "work"
        program.write_text(f"#!/bin/sh\nexec {site.odd('steady')}\n")
        program.chmod(0o755)
    site.config(workers={"sms": {"command": "./work", "instances": 2}})
    site.deploy()
    before = site.pids()
    program = site.home / "releases" / "1" / "work"
    if how == "gone":
        program.unlink()
    else:
        program.chmod(0o644 if how == "not executable" else 0o700)
    done = site.unitq("restart")
    assert done.code == 13, done
    assert str(program) in done.stderr
    assert site.pids() == before
    site.switch(2)
    site.deploy()


# --- words ----------------------------------------------------------------------------------------


def test_an_app_that_was_renamed_still_runs_and_plan_says_so(site: Site) -> None:
    site.config(workers={"sms": {"command": site.odd("steady"), "instances": 1}})
    site.deploy()
    text = site.toml.read_text()
    new = f"re{site.app}"
    site.write(text.replace(f'"{site.app}"', f'"{new}"', 1))
    user = "--user " * site.scope.user
    words = f"app {site.app} was deployed from this file too"
    try:
        plan = site.unitq("plan")
        assert plan.code == 12
        assert words in plan.stderr
        assert f"`unitq {user}-a {site.app} remove` ends it" in plan.stderr, plan
        done = site.unitq("deploy")
        assert done.code == 0, done
        assert words in done.stderr
    finally:
        site.unitq("-a", new, "remove", "--yes")
        site.write(text)


def test_a_masked_unit_says_how_to_unmask_it(site: Site) -> None:
    site.config(workers={"sms": {"command": site.odd("steady"), "instances": 1}})
    site.deploy()
    unit = site.unit("sms", 1)
    site.systemctl("stop", unit)
    site.systemctl("mask", "--runtime", unit)
    try:
        done = site.unitq("start")
        assert done.code == 7, done
        user = "--user " * site.scope.user
        assert f"{unit} is masked: `systemctl {user}unmask {unit}`" in done.stderr, done
    finally:
        site.systemctl("unmask", "--runtime", unit)


def test_the_same_log_of_several_failures_is_printed_once(site: Site) -> None:
    sms = {"command": site.odd("crash-on", "bad"), "instances": 3, "restart_delay": "1min"}
    site.config(workers={"sms": sms}, rollout=LEAST | {"max_failures": 5})
    (site.release(1) / "bad").touch()
    done = site.deploy(code=7)
    assert done.stderr.count("exited with status 3") == 3
    assert "  | odd crash-on bad: bad is here: exits 3" in done.stderr
    assert done.stderr.count("bad is here") == 1, done


def test_a_status_of_systemds_own_has_words(site: Site) -> None:
    sms = {
        "command": site.odd("steady"), "instances": 1,
        "service": {"StandardOutput": "append:/nowhere/at/all"},
    }  # fmt: skip
    site.config(workers={"sms": sms})
    done = site.unitq("deploy")
    assert done.code == 7, done
    assert "the standard output cannot be opened (209/STDOUT)" in done.output
