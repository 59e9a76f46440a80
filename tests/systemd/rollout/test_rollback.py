"""Back to what worked: by itself after a failure, by hand, and out of a rollout that was cut off.

The evidence is systemd's and the kernel's; of unitq only codes and the words that users act on.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.systemd.conftest import wait_until
from unitq.rollout.ledger_store import whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.harness.observer import Observer
    from tests.systemd.conftest import Result, Running, Site

    Observe = Callable[[Site], AbstractContextManager[Observer]]

pytestmark = pytest.mark.systemd

# None leaves a key out.
BY_DEFAULT = {"on_failure": None}

FOUR = ("sms@1", "sms@2", "sms@3", "sms@4")


def _deployed(site: Site, releases: int = 1, **more: Any) -> dict[str, int]:
    """Four workers that crash where their release is bad, on the last of so many releases."""
    sms = {"command": site.odd("crash-on", "bad"), "instances": 4}
    site.config(workers={"sms": sms}, rollout=BY_DEFAULT, **more)
    for number in range(1, releases + 1):
        site.switch(number)
        site.deploy()
    return site.pids("sms")


def _bad(site: Site, name: int) -> None:
    (site.release(name) / "bad").touch()
    site.switch(name)


def _releases(site: Site) -> dict[str, str]:
    """The release that each main process works in, by the kernel."""
    found = {}
    for name, pid in site.pids("sms").items():
        with suppress(FileNotFoundError):  # it has ended in between
            found[name] = os.path.basename(os.readlink(f"/proc/{pid}/cwd"))
    return found


def _invocations(site: Site) -> dict[str, str]:
    return {name: show["InvocationID"] for name, show in site.show("sms").items()}


# --- by itself ------------------------------------------------------------------------------------


def test_a_bad_release_is_taken_back_by_itself(site: Site, observe: Observe) -> None:
    before = _deployed(site)
    invocations = _invocations(site)
    _bad(site, 2)
    with observe(site) as observer:
        done = site.deploy("--json", code=9)
    assert done.json["result"] == "rolled back"
    assert done.json["failed"] == ["sms@1"]
    assert done.json["rollback"]["restores"] == 1
    assert done.json["rollback"]["failed"] == []
    assert done.json["old_code"] == []
    assert _releases(site) == dict.fromkeys(FOUR, "1")
    # What was not touched by the failure is not touched by the way back.
    now = _invocations(site)
    assert {name for name in FOUR if now[name] != invocations[name]} == {"sms@1"}
    assert {name: pid for name, pid in site.pids("sms").items() if name != "sms@1"} == {
        name: pid for name, pid in before.items() if name != "sms@1"
    }
    assert observer.summary().least_active("sms") == 3
    assert site.unitq("status").code == 0
    # And a repaired release goes through.
    site.switch(3)
    site.deploy()
    assert _releases(site) == dict.fromkeys(FOUR, "3")


def test_what_was_rolled_is_rolled_back_and_the_report_says_so(site: Site) -> None:
    _deployed(site)
    site.release(2)
    site.switch(2)
    # The first two get through; then the release goes bad, as a full disk or a lost database does.
    deploy = site.start("deploy", "--max-unavailable", "1")
    wait_until(lambda: sum(name == "2" for name in _releases(site).values()) >= 2)
    (site.home / "releases" / "2" / "bad").touch()
    done = deploy.wait()
    assert done.code == 9, done
    assert "rolling back to revision 1, as 3" in done.stdout
    assert re.search(r"^failed: ", done.stdout, re.MULTILINE)
    assert re.search(r"^rolled back: 4 of 4 on 3", done.stdout, re.MULTILINE)
    assert "exited with status 3" in done.stderr
    assert _releases(site) == dict.fromkeys(FOUR, "1")


def test_a_first_deploy_that_fails_has_nowhere_to_go_back_to(system_site: Site) -> None:
    site = system_site
    _bad(site, 1)
    sms = {"command": site.odd("crash-on", "bad"), "instances": 2}
    site.config(workers={"sms": sms}, rollout=BY_DEFAULT)
    done = site.deploy("--json", code=7)
    assert done.json["rollback"] is None


def test_a_release_that_is_gone_is_no_way_back(system_site: Site) -> None:
    site = system_site
    _deployed(site)
    _bad(site, 2)
    shutil.rmtree(site.home / "releases" / "1")
    done = site.deploy("--json", code=7)
    assert done.json["rollback"] is None
    assert done.json["failed"] == ["sms@1"]


def test_a_rollback_that_fails_is_not_rolled_back(system_site: Site) -> None:
    site = system_site
    _deployed(site, releases=2)
    # The release to go back to is there, and has gone bad meanwhile.
    (site.home / "releases" / "1" / "bad").touch()
    done = site.unitq("rollback", "--json")
    assert done.code == 7, done
    assert done.json["rollback"] is None
    assert done.json["failed"] == ["sms@1"]
    # It is started again and again, and is there for a moment now and then.
    others = {name: found for name, found in _releases(site).items() if name != "sms@1"}
    assert others == dict.fromkeys(FOUR[1:], "2")
    assert site.unitq("status").code in (3, 15)
    (site.home / "releases" / "1" / "bad").unlink()
    site.deploy()
    assert _releases(site) == dict.fromkeys(FOUR, "2")


# --- by hand --------------------------------------------------------------------------------------


def test_rollback_goes_back_and_never_forth_again(site: Site) -> None:
    _deployed(site, releases=3)
    reloads = site.reloads()
    done = site.unitq("rollback")
    assert done.code == 0, done
    assert _releases(site) == dict.fromkeys(FOUR, "2")
    done = site.unitq("rollback", "--json")
    assert done.code == 0, done
    assert _releases(site) == dict.fromkeys(FOUR, "1")
    # Under the number that the report has: a new revision with what an old one had.
    status = site.unitq("status")
    assert status.stdout.count("5 (= 1)") == 4 + 1, status
    assert "4 of 4 serving · revision 5 (= 1), " in status.stdout, status
    (app,) = site.unitq("status", "--json").json["apps"]
    (worker,) = app["workers"]
    told = [worker, *worker["instances"]]
    assert app["revision"].startswith("5-")
    assert {each["revision"].partition("-")[0] for each in told} == {"1"}
    assert {each["same_as"] for each in told} == {app["revision"]}
    # Code moves with symlinks only.
    assert site.reloads() == reloads
    done = site.unitq("rollback")
    assert done.code == 13, done
    assert "no stable revision before" in done.stderr
    done = site.unitq("rollback", "3")
    assert done.code == 0, done
    assert _releases(site) == dict.fromkeys(FOUR, "3")
    assert site.unitq("rollback", "99").code == 4


def test_rollback_leaves_alone_what_runs_the_old_revision_still(system_site: Site) -> None:
    site = system_site
    site.config(workers={"sms": {"command": site.holding(), "instances": 4}})
    site.deploy()
    before = site.pids("sms")
    site.hold(2)
    site.switch(2)
    deploy = site.start("deploy")
    deploy.wait_for("sms@2  draining")
    deploy.signal(signal.SIGINT)
    site.let_go(2)
    assert deploy.wait().code == 10
    done = site.unitq("rollback")
    assert done.code == 0, done
    now = site.pids("sms")
    assert _releases(site) == dict.fromkeys(FOUR, "1")
    assert {name for name in FOUR if now[name] == before[name]} == {"sms@3", "sms@4"}


def test_rollback_to_a_release_that_is_gone_changes_nothing(system_site: Site) -> None:
    site = system_site
    before = _deployed(site, releases=2)
    shutil.rmtree(site.home / "releases" / "1")
    files = site.mtimes()
    done = site.unitq("rollback", "1")
    assert done.code == 13, done
    assert "releases/1 is gone" in done.stderr
    assert site.pids("sms") == before
    assert site.mtimes() == files


# --- cut off --------------------------------------------------------------------------------------


def _cut_off(site: Site) -> dict[str, int]:
    """A deploy that was killed while sms@2 drained. Returns the PIDs of before."""
    site.config(workers={"sms": {"command": site.holding(), "instances": 4}})
    site.deploy()
    before = site.pids("sms")
    site.hold(2)
    site.switch(2)
    deploy = site.start("deploy")
    deploy.wait_for("sms@2  draining")
    deploy.signal(signal.SIGKILL)
    deploy.wait()
    site.let_go(2)
    wait_until(lambda: site.active("sms") == 4)
    return before


def _refused(site: Site) -> Result:
    done = site.unitq("deploy")
    assert done.code == 8, done
    for way in ("rollout resume", "rollback", "rollout abort"):
        assert f"-a {site.app} {way}`" in done.stderr
    return done


def test_after_a_kill_deploy_refuses_and_resume_goes_on(site: Site) -> None:
    before = _cut_off(site)
    told = site.unitq("rollout", "status", "--json")
    assert told.code == 8
    assert told.json["state"] == "cut off"
    _refused(site)
    done = site.unitq("rollout", "resume")
    assert done.code == 0, done
    assert _releases(site) == dict.fromkeys(FOUR, "2")
    assert not set(site.pids("sms").values()) & set(before.values())
    assert site.unitq("rollout", "status").code == 0
    done = site.unitq("rollout", "resume")
    assert done.code == 4, done
    assert site.deploy().stdout.startswith("unchanged")


def test_after_a_kill_rollback_goes_back(site: Site) -> None:
    before = _cut_off(site)
    done = site.unitq("rollback")
    assert done.code == 0, done
    assert _releases(site) == dict.fromkeys(FOUR, "1")
    now = site.pids("sms")
    assert {name for name in FOUR if now[name] == before[name]} == {"sms@3", "sms@4"}
    site.deploy()
    assert _releases(site) == dict.fromkeys(FOUR, "2")


def test_after_a_kill_abort_leaves_everything_as_it_is(site: Site) -> None:
    _cut_off(site)
    pids, releases = site.pids("sms"), _releases(site)
    assert set(releases.values()) == {"1", "2"}
    done = site.unitq("rollout", "abort")
    assert done.code == 0, done
    assert site.pids("sms") == pids
    assert site.unitq("status").code == 15
    site.deploy()
    assert _releases(site) == dict.fromkeys(FOUR, "2")


def test_a_scale_does_not_run_into_a_rollout_that_was_cut_off(system_site: Site) -> None:
    _cut_off(system_site)
    assert system_site.unitq("scale", "sms=5").code == 8
    assert system_site.unitq("rollback").code == 0
    assert system_site.unitq("scale", "sms=5").code == 0
    assert system_site.active("sms") == 5


# --- paused ---------------------------------------------------------------------------------------


def _at_work(site: Site) -> Running:
    site.config(workers={"sms": {"command": site.holding(), "instances": 4}})
    site.deploy()
    site.hold(2)
    site.switch(2)
    deploy = site.start("deploy")
    deploy.wait_for("sms@2  draining")
    return deploy


def test_pause_finishes_what_is_in_hand_and_resume_goes_on(site: Site) -> None:
    deploy = _at_work(site)
    told = site.unitq("rollout", "status", "--json")
    assert (told.code, told.json["state"], told.json["pid"]) == (0, "at work", deploy.pid)
    done = site.unitq("rollout", "pause")
    assert done.code == 0, done
    site.let_go(2)
    done = deploy.wait()
    assert done.code == 11, done
    assert set(_releases(site).values()) == {"1", "2"}
    assert _releases(site)["sms@2"] == "2"
    assert site.unitq("rollout", "status").code == 11
    _refused(site)
    done = site.unitq("rollout", "resume")
    assert done.code == 0, done
    assert _releases(site) == dict.fromkeys(FOUR, "2")


def test_abort_stops_one_at_work_at_a_safe_point(system_site: Site) -> None:
    site = system_site
    deploy = _at_work(site)
    assert site.unitq("rollout", "abort").code == 0
    site.let_go(2)
    assert deploy.wait().code == 10
    assert site.active("sms") == 4


def test_there_is_nothing_to_pause_or_to_resume(system_site: Site) -> None:
    site = system_site
    _deployed(site)
    assert site.unitq("rollout", "pause").code == 4
    assert site.unitq("rollout", "resume").code == 4
    assert site.unitq("rollout", "abort").code == 4
    assert site.unitq("rollout", "status").code == 0


# --- by itself, away from the terminal ------------------------------------------------------------


def test_a_detached_deploy_goes_on_without_its_caller(site: Site) -> None:
    site.config(workers={"sms": {"command": site.holding(), "instances": 4}})
    site.deploy()
    site.hold(2)
    site.switch(2)
    done = site.unitq("deploy", "--detach")
    assert done.code == 0, done
    unit = f"unitq-rollout-{site.app}.service"
    assert unit in done.stdout
    wait_until(lambda: site.show("sms")["sms@2"]["ActiveState"] == "deactivating")
    assert site.unitq("deploy", "--detach").code == 8
    watch = site.start("rollout", "watch")
    # What has been printed before comes first, what follows as it comes.
    watch.wait_for("sms@2  draining (PID ")
    assert "sms@1  drained in " in watch.output()
    assert "sms@2  drained in " not in watch.output()
    site.let_go(2)
    done = watch.wait()
    assert done.code == 0, done
    assert "healthy  [4/4]\n" in done.stdout, done
    assert done.stdout.count("draining") == 4, done
    assert re.search(r"rollout 2 \(deploy of 2\): ok$", done.stdout.strip()), done
    assert _releases(site) == dict.fromkeys(FOUR, "2")
    wait_until(lambda: site.systemctl("is-active", unit, check=False).stdout.strip() == "inactive")


def test_watch_shows_what_the_deploy_in_another_terminal_prints(site: Site) -> None:
    sms = {"command": site.holding(), "instances": 3}
    site.config(workers={"sms": sms}, rollout=BY_DEFAULT)
    site.deploy()
    assert site.unitq("rollout", "watch").stdout.count("\n") == 1, "of what has ended only how"
    site.hold(2)
    site.switch(2)
    deploy = site.start("deploy")
    deploy.wait_for("sms@2  draining")
    watch = site.start("rollout", "watch")
    watch.wait_for("sms@2  draining")
    site.let_go(2)
    shown, told = watch.wait(), deploy.wait()
    assert (shown.code, told.code) == (0, 0), (shown, told)
    lines = [line for line in told.stdout.splitlines() if line.startswith("  sms@")]
    assert shown.stdout.splitlines()[:-1] == lines
    # One that prints no lines of its own, and what follows a failure.
    for number in (1, 2, 3):
        site.hold(number)
    (site.release(3) / "bad").touch()
    site.switch(3)
    sms["command"] = site.odd("crash-on", "bad")
    site.config(workers={"sms": sms}, rollout=BY_DEFAULT)
    deploy = site.start("deploy", "--json")
    wait_until(lambda: site.show("sms")["sms@1"]["ActiveState"] == "deactivating")
    watch = site.start("rollout", "watch")
    watch.wait_for("sms@1  draining")
    site.let_go()
    shown = watch.wait()
    assert (shown.code, deploy.wait().code) == (9, 9), shown
    assert "sms@1  FAILED: " in shown.stdout, shown
    assert f"{site.app}: rolling back to revision 2, as 4" in shown.stdout, shown


def test_a_detached_deploy_says_at_once_what_is_wrong_with_the_file(system_site: Site) -> None:
    site = system_site
    _deployed(site)
    site.config(workers={"sms": {"command": "/no/such/worker"}})
    done = site.unitq("deploy", "--detach")
    assert done.code == 13, done


def test_the_end_of_a_detached_deploy_that_fails_is_told(system_site: Site) -> None:
    site = system_site
    _deployed(site)
    _bad(site, 2)
    assert site.unitq("deploy", "--detach").code == 0
    done = site.unitq("rollout", "watch")
    assert done.code == 9, done
    assert "rolled back" in done.stdout
    assert _releases(site) == dict.fromkeys(FOUR, "1")
    # What systemd remembers of it is not in the way of the next one.
    site.switch(3)
    assert site.unitq("deploy", "--detach").code == 0
    assert site.unitq("rollout", "watch").code == 0
    assert _releases(site) == dict.fromkeys(FOUR, "3")


# --- the report is kept ---------------------------------------------------------------------------


def test_the_report_is_kept_with_the_rollout(system_site: Site) -> None:
    site = system_site
    _deployed(site)
    _bad(site, 2)
    done = site.deploy("--json", code=9)
    folder = site.scope.state_dir / site.app / "rollouts" / "2"
    kept = whole(folder, json.loads((folder / "report.json").read_text()))
    assert kept.items() >= done.json.items()
    assert kept["began"] <= kept["ended"]
    entry, before = site.unitq("history", "--json").json["revisions"][0], kept["revision"]
    # The way back proved stable, and what failed did not.
    assert (entry["restores"], entry["state"]) == (1, "stable")
    states = {
        each["revision"]: each["state"]
        for each in site.unitq("history", "--json").json["revisions"]
    }
    assert states[before] == "failed"
    ledger = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    assert [line["what"] for line in ledger if line["what"] != "order"] == [
        "begin", "install", "rollback", "install", "end",
    ]  # fmt: skip
    orders = [line["instance"] for line in ledger if line["what"] == "order"]
    assert orders == ["sms@1", "sms@1"]


def test_what_somebody_stopped_takes_no_release_back(system_site: Site) -> None:
    site = system_site
    site.config(workers={"sms": {"command": site.holding(), "instances": 4}}, rollout=BY_DEFAULT)
    site.deploy()
    site.hold(2)
    site.switch(2)
    deploy = site.start("deploy")
    deploy.wait_for("sms@2  draining")
    site.systemctl("stop", site.unit("sms", 1))
    site.let_go(2)
    done = deploy.wait()
    assert done.code == 7, done
    assert "sms@1 failed: somebody else stopped it" in done.stderr
    assert "rolling back" not in done.stdout
    assert "1" not in {_releases(site)[name] for name in ("sms@2",)}
    site.deploy()
    assert _releases(site) == dict.fromkeys(FOUR, "2")


def test_two_rollbacks_never_go_forth_again(system_site: Site) -> None:
    site = system_site
    _deployed(site)
    for number in (2, 1, 2):
        site.switch(number)
        site.deploy()
    assert site.unitq("rollback").code == 0
    assert set(_releases(site).values()) == {"1"}
    again = site.unitq("rollback")
    assert again.code == 13, again
    assert set(_releases(site).values()) == {"1"}
