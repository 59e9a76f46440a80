"""The report of a rollout: on the terminal, in JSON, on disk and in `unitq show` it is the same.

What it claims is held against what the test did to the workers, and against the kernel.
"""

from __future__ import annotations

import json
import os
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.systemd.cli.test_json import documented, shape
from tests.systemd.conftest import wait_until
from unitq.rollout.ledger_store import whole

if TYPE_CHECKING:
    from tests.systemd.conftest import Result, Site

pytestmark = pytest.mark.systemd

# Longer than a worker needs to find that its release is bad, on a machine that is busy.
CRASHES = {"min_healthy": "2s"}


def block(site: Site, *wanted: str) -> list[str]:
    """The report of the last rollout about a revision, as `unitq show` prints it."""
    shown = site.unitq("show", *wanted)
    assert shown.code == 0, shown
    return shown.stdout.rstrip("\n").rpartition("\n\n")[2].splitlines()


def printed(done: Result) -> list[str]:
    """What a command has printed from its report on, whichever stream it went to."""
    head = done.stdout.rpartition("\n\n")[2]
    return sorted([*head.splitlines(), *done.stderr.splitlines()])


def head(site: Site, rollout: int, words: str) -> str:
    user = r" \(--user\)" if site.scope.user else ""
    return rf"rollout {rollout} of {site.app}{user} on {os.uname().nodename}: {words}"


def told(site: Site, rollout: int) -> dict[str, Any]:
    """The report as it lies on disk."""
    folder = site.scope.state_dir / site.app / "rollouts" / str(rollout)
    found = json.loads((folder / "report.json").read_text())
    assert isinstance(found, dict)
    return whole(folder, found)


def by(site: Site, command: str) -> str:
    who, user = ("tester", "--user ") if site.scope.user else ("root", "")
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    return rf"  by {who}, {when} to (\S+ )?\d\d:\d\d:\d\d \S+: unitq {user}{command}"


def holding(site: Site, instances: int = 4) -> None:
    site.config(workers={"sms": {"command": site.holding(), "instances": instances}})
    site.deploy()
    site.switch(2)


def test_success_is_one_line_that_names_the_slowest_drain_and_show_has_the_block(
    site: Site,
) -> None:
    holding(site)
    site.hold(3)
    deploy = site.start("deploy")
    deploy.wait_for("sms@3  draining")
    time.sleep(1.5)
    site.let_go(3)
    done = deploy.wait()
    assert done.code == 0, done
    assert not done.stderr
    *_, before, line = done.stdout.splitlines()
    assert before.startswith("  sms@")
    drained = re.search(r"sms@3  drained in ([\d.]+) s", done.stdout)
    assert drained
    assert re.fullmatch(
        r"ok: 4 of 4 on 2 · least serving: 3 of 4 · 0 killed · 0 processes on old code · "
        rf"slowest drain: sms@3 {drained[1]} s · [\d.]+ s",
        line,
    )
    first, second, third = block(site)
    assert re.fullmatch(
        head(site, 2, r"deploy of revision 2 \([0-9a-f]{6}, release 2\), replaces 1"), first
    )
    assert re.fullmatch(by(site, "deploy"), second)
    assert third == line
    assert float(drained[1]) >= 1.4
    kept = told(site, 2)
    assert kept["slowest_drain"]["instance"] == "sms@3"
    assert kept["slowest_drain"]["seconds"] == pytest.approx(float(drained[1]), abs=0.06)
    assert (kept["on_revision"], kept["serving"]) == (4, 4)


def test_a_failure_is_told_in_one_block_everywhere(site: Site) -> None:
    sms = {"command": site.odd("crash-on", "bad"), "instances": 2, "restart_delay": "1min"}
    site.config(workers={"sms": sms}, rollout=CRASHES | {"on_failure": None})
    site.deploy()
    (site.release(2) / "bad").touch()
    site.switch(2)
    done = site.deploy(code=9)
    # Before anything was touched.
    assert done.stdout.splitlines()[1] == "  if it fails: back to revision 1"
    lines = block(site, "2")
    assert printed(done) == sorted(lines)
    assert re.fullmatch(head(site, 2, r"deploy of revision 2 \(.*\), replaces 1"), lines[0])
    assert re.fullmatch(by(site, "deploy"), lines[1])
    # Whether it was seen to be there at all is a matter of milliseconds.
    ended = "sms@1 failed: (it ended soon after its start: )?exited with status 3"
    assert re.fullmatch(ended, lines[2])
    assert "  | odd crash-on bad: bad is here: exits 3" in lines
    failed, back, then = lines[-3:]
    # How many processes were on old code then: nobody has counted them.
    assert re.fullmatch(
        r"failed: 0 of 2 on 2 · 1 serving · least serving: 1 of 2 · 0 killed · "
        r"slowest drain: sms@1 [\d.]+ s · [\d.]+ s",
        failed,
    )
    assert back.startswith("rolled back: 2 of 2 on 3 · ")
    assert "0 processes on old code" in back
    user = "--user " if site.scope.user else ""
    assert then == f"  next: once the cause is mended, `unitq {user}-c {site.toml} deploy`"
    # What it was rolled back to has no other report.
    assert block(site, "3") == lines
    shown = site.unitq("show", "2", "--json").json
    assert shown["reports"] == [told(site, 2)]
    assert shape(told(site, 2)).keys() == shape(documented("deploy")).keys()
    # The command that it says works from everywhere.
    (site.home / "releases/2/bad").unlink()
    typed = re.findall(r"`unitq (.*?)`", then)[0].removeprefix("--user ").split()
    again = site.unitq(*typed, "--dry-run", cwd=site.home.parent)
    assert again.code == 12, again


@pytest.mark.variants
@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("first", "no earlier revision was stable and is still there"),
        ("pause", 'on_failure = "pause"'),
        ("budget", "no more have failed than max_failures (1) allows"),
        ("rollback", "this is a rollback, which is never rolled back"),
    ],
)
def test_where_nothing_is_rolled_back_it_says_why(system_site: Site, how: str, why: str) -> None:
    site = system_site
    rollout: dict[str, Any] = {"on_failure": None}
    if how == "pause":
        rollout = {"on_failure": "pause"}
    if how == "budget":
        rollout = {"on_failure": None, "max_failures": 1, "max_unavailable": 2}
    sms = {"command": site.odd("crash-on", "bad-%i"), "instances": 2}
    site.config(workers={"sms": sms}, rollout=CRASHES | rollout)
    bad = site.release(1 if how in ("first", "rollback") else 2) / "bad-1"
    if how != "first":
        site.deploy()
        site.switch(2)
    if how == "rollback":
        site.deploy()
    bad.touch()
    done = site.unitq("rollback" if how == "rollback" else "deploy")
    assert done.code == 7, done
    assert ("  if it fails, all is left as it is (on_failure)\n" in done.stdout) == (how == "pause")
    assert f"  not rolled back: {why}\n" in done.stderr
    assert "  next: " in done.stderr
    assert f"  not rolled back: {why}" in block(site)
    assert told(site, len(site.unitq("history", "--json").json["revisions"]))["no_rollback"] == why


def test_a_rollout_that_went_on_tells_of_all_its_commands(site: Site) -> None:
    holding(site)
    site.hold(1)
    old = site.pids()["sms@1"]
    deploy = site.start("deploy")
    deploy.wait_for("sms@1  draining")
    # Nobody waits for the job: it is lost, and must still be named when the rollout is over.
    assert site.unitq("rollout", "pause").code == 0
    site.systemctl("kill", "--signal=KILL", site.unit("sms", 1))
    done = deploy.wait()
    assert done.code == 11, done
    assert "3 not touched; `unitq " in done.stderr
    site.let_go()
    done = site.unitq("rollout", "resume")
    assert done.code == 0, done
    lines = block(site)
    assert re.fullmatch(head(site, 2, r"deploy of revision 2 \(.*\), replaces 1"), lines[0])
    commands = [line.rpartition("unitq ")[2] for line in lines if line.startswith("  by ")]
    user = "--user " if site.scope.user else ""
    assert commands == [f"{user}deploy", f"{user}rollout resume"]
    assert [line.split(":")[0] for line in lines if " of 4 on 2 · " in line] == ["paused", "ok"]
    (killed,) = (line for line in lines if "was killed" in line)
    assert "sms@1 was killed after " in killed
    assert f"PID {old})" in killed
    assert [each["killed"] for each in told(site, 2)["earlier"]] == [["sms@1"]]


def _lives_on(site: Site, name: str) -> bool:
    first = site.pids("sms").get(name)
    time.sleep(0.4)
    return first is not None and site.pids("sms").get(name) == first


def test_a_way_back_that_went_on_leaves_the_report_of_what_had_failed(system_site: Site) -> None:
    site = system_site
    sms = {"command": site.odd("crash-on", "bad-%i"), "instances": 2}
    site.config(workers={"sms": sms}, rollout=CRASHES | {"on_failure": None})
    site.deploy()
    (site.release(2) / "bad-1").touch()
    (site.release(1) / "bad-1").touch()
    site.switch(2)
    done = site.deploy(code=7)
    assert "`unitq -a " in done.stderr
    (site.home / "releases/1/bad-1").unlink()
    # The last one that began before may still be about to crash.
    wait_until(lambda: _lives_on(site, "sms@1"))
    resumed = site.unitq("rollout", "resume")
    assert resumed.code == 0, resumed
    assert {each["revision"][:2]: each["state"] for each in site.unitq("history", "--json").json[
        "revisions"
    ]} == {"3-": "stable", "2-": "failed", "1-": "stable"}  # fmt: skip
    lines = block(site, "2")
    assert lines == block(site, "3")
    ended = "sms@1 failed: (it ended soon after its start|exited with status 3)"
    assert sum(bool(re.match(ended, line)) for line in lines) == 2
    assert lines[-1].startswith("ok: 2 of 2 on 3 · ")


def test_what_has_no_ledger_says_as_much(system_site: Site) -> None:
    site = system_site
    sms = {"command": site.odd("crash-on", "bad"), "instances": 2}
    site.config(workers={"sms": sms}, rollout=CRASHES)
    site.deploy()
    (site.release(1) / "bad").touch()
    done = site.unitq("restart")
    assert done.code == 7, done
    assert re.search(
        rf"^restart of {site.app} on \S+: revision 1 \(\S+, release 1\)$", done.stdout, re.MULTILINE
    )
    assert "the same command continues from here" in done.stderr
    assert "not rolled back" not in done.stderr


def test_an_interrupted_rollback_goes_on_to_where_it_went(system_site: Site) -> None:
    site = system_site
    holding(site, 2)
    site.deploy()
    site.switch(3)
    site.deploy()
    site.hold(1)
    way = site.start("rollback")
    way.wait_for("sms@1  draining")
    assert site.unitq("rollout", "abort").code == 0
    site.let_go()
    done = way.wait()
    assert done.code == 10, done
    # `rollback` once more would go to the first one.
    (typed,) = re.findall(r"`unitq -a \S+ (.*?)`", done.stderr)
    again = site.unitq(*typed.split())
    assert again.code == 0, again
    wait_until(lambda: site.active() == 2)
    found = {os.path.basename(os.readlink(f"/proc/{pid}/cwd")) for pid in site.pids().values()}
    assert found == {"2"}


def test_a_damaged_report_costs_only_itself(system_site: Site) -> None:
    site = system_site
    site.config(workers={"sms": {"command": site.odd("steady"), "instances": 1}})
    site.deploy()
    path = site.scope.state_dir / site.app / "rollouts/1/report.json"
    path.write_text(json.dumps(told(site, 1) | {"instances": [1], "summary": None}))
    shown = site.unitq("show")
    assert shown.code == 0, shown
    assert "the report of rollout 1 is damaged" in shown.stderr
    assert f"{site.app}: revision 1-" in shown.stdout
