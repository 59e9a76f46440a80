"""Rollouts of workers that behave and of workers that do not.

The observer's file and systemd's own timestamps are the evidence; of unitq's output only the words
and codes that users rely on are looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.systemd.conftest import Scope, sites, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.harness.observed import Summary
    from tests.harness.observer import Observer
    from tests.systemd.conftest import Result, Running, Site

    Observe = Callable[[Site], AbstractContextManager[Observer]]

pytestmark = pytest.mark.systemd


def _deployed(site: Site, command: str, instances: int = 2, **worker: Any) -> dict[str, int]:
    """Deploy one worker and return its processes."""
    site.config(workers={"sms": {"command": command, "instances": instances, **worker}})
    site.deploy()
    return site.pids("sms")


@pytest.fixture(scope="module")
def draining_for_long() -> Iterator[tuple[Site, Running]]:
    """A deploy whose only worker needs twenty seconds to drain."""
    with sites() as make:
        site = make()
        _deployed(site, site.odd("slow-drain", "20"), 1, stop_timeout="60s")
        site.switch(2)
        yield site, site.start("deploy", "--json")
        # Not another twenty for the clean-up.
        site.systemctl("kill", "--signal=KILL", site.unit("sms", 1))


# --- the window -----------------------------------------------------------------------------------


# The fixture is named here so that its twenty seconds pass while the other tests run.
@pytest.mark.usefixtures("draining_for_long")
def test_a_slow_drainer_does_not_hold_up_the_others(site: Site, observe: Observe) -> None:
    site.config(
        workers={"sms": {"command": site.holding(), "instances": 6}},
        rollout={"max_unavailable": 2, "min_healthy": "100ms"},
    )
    site.deploy()
    before = site.pids("sms")
    site.hold(1)
    site.switch(2)
    with observe(site) as observer:
        deploy = site.start("deploy")

        def others() -> dict[str, int]:
            pids = site.pids("sms")
            return {name: pids[name] for name in pids.keys() & before.keys() - {"sms@1"}}

        wait_until(
            lambda: len(others()) == 5 and not set(others().values()) & set(before.values()),
            30,
            "the five others restarted",
        )
        assert site.show("sms")["sms@1"]["ActiveState"] == "deactivating"
        assert deploy.running
        site.let_go(1)
        result = deploy.wait()
    assert result.code == 0, result
    seen = observer.summary()
    assert seen.least_active("sms") == 4
    assert seen.most_instances("sms") == 6
    assert len(set(site.revisions("sms").values())) == 1


def test_the_next_instance_drains_only_when_the_one_before_was_healthy_for_min_healthy(
    user_site: Site, observe: Observe
) -> None:
    site = user_site
    table = {"sms": {"command": site.odd("steady"), "instances": 3}}
    site.config(workers=table, rollout={"min_healthy": "1s"})
    site.deploy()
    site.switch(2)
    with observe(site) as observer:
        site.deploy()
    seen = observer.summary()
    assert seen.least_active("sms") == 2
    enters = {each: _stamps(seen, site.unit("sms", each), "ActiveEnter")[-1] for each in (1, 2, 3)}
    exits = {each: _stamps(seen, site.unit("sms", each), "ActiveExit")[-1] for each in (1, 2, 3)}
    for number in (1, 2):
        assert exits[number + 1] - enters[number] >= 1.0


def test_a_percentage_of_the_instances_may_be_unavailable(
    system_site: Site, observe: Observe
) -> None:
    site = system_site
    site.config(
        workers={"sms": {"command": site.holding(), "instances": 5}},
        rollout={"max_unavailable": "60%"},
    )
    site.deploy()
    site.hold(1, 2, 3)
    site.switch(2)
    with observe(site) as observer:
        deploy = site.start("deploy")
        wait_until(lambda: site.active("sms") == 2)
        site.let_go()
        assert deploy.wait().code == 0
    assert observer.summary().least_active("sms") == 2


def test_of_two_workers_each_has_its_own_window(system_site: Site, observe: Observe) -> None:
    site = system_site
    site.config(
        workers={
            "sms": {"command": site.holding(), "instances": 2},
            "mail": {"command": site.odd("steady"), "instances": 2},
        }
    )
    site.deploy()
    mail = site.pids("mail")
    site.hold(1)
    site.switch(2)
    with observe(site) as observer:
        deploy = site.start("deploy")
        wait_until(lambda: not set(site.pids("mail").values()) & set(mail.values()))
        site.let_go()
        assert deploy.wait().code == 0
    seen = observer.summary()
    assert (seen.least_active("sms"), seen.least_active("mail")) == (1, 1)


# --- workers that do not stop as they should ------------------------------------------------------


def test_a_worker_that_ignores_its_stop_signal_is_killed_and_named(
    site: Site, observe: Observe
) -> None:
    before = _deployed(site, site.odd("ignore-quit"), 2, stop_timeout="1s")
    site.switch(2)
    with observe(site) as observer:
        result = site.deploy("--max-unavailable", "2")
    for number in (1, 2):
        name = f"sms@{number}"
        assert f"{name} was killed" in result.stderr
        assert str(before[name]) in result.stderr
        states = observer.summary().states(site.unit("sms", number))
        assert "deactivating/stop-sigkill" in states
        exits = _stamps(observer.summary(), site.unit("sms", number), "ActiveExit")
        enters = _stamps(observer.summary(), site.unit("sms", number), "ActiveEnter")
        # Not before its time, and not long after it.
        assert 1.0 <= enters[-1] - exits[-1] < 3.0
    assert "2 killed" in result.stdout

    site.switch(3)
    result = site.unitq("deploy", "--json", "--fail-on-kill", "--max-unavailable", "2")
    assert result.code == 14, result
    assert result.json["killed"] == ["sms@1", "sms@2"]
    assert {each["ending"] for each in result.json["instances"]} == {"killed"}
    assert result.json["result"] == "killed"
    assert len(set(site.revisions("sms").values())) == 1


@pytest.mark.variants
@pytest.mark.parametrize(("where", "verb"), [("system", "deploy"), ("user", "stop")])
def test_of_a_worker_that_leaves_a_daemon_nothing_stays(
    make_site: Callable[..., Site], where: str, verb: str
) -> None:
    site = make_site(Scope(where))
    _deployed(site, site.odd("double-fork"), 2, stop_timeout="1s")
    old = {process.pid for process in site.workers()}
    assert len(old) == 4
    assert site.outside() == ()
    site.switch(2)
    result = site.unitq(verb)
    assert result.code == 0, result
    now = {process.pid for process in site.workers()}
    assert now & old == set()
    assert len(now) == (4 if verb == "deploy" else 0)
    # The daemon had to be killed, and that is not kept quiet; the worker itself had drained.
    assert "sms@1 drained; it left PID" in result.stderr
    assert "(python) behind, killed by systemd" in result.stderr
    assert "0 killed" in result.stdout


# --- workers that do not start as they should -----------------------------------------------------


def test_a_release_whose_worker_exits_at_once_stops_after_the_first_instance(
    site: Site, observe: Observe
) -> None:
    before = _deployed(site, site.odd("crash-on", "broken"), 3, restart_delay="1min")
    (site.release(2) / "broken").touch()
    site.switch(2)
    with observe(site) as observer:
        result = site.deploy(code=7)
    assert "sms@1 failed: " in result.stderr
    assert "exited with status 3" in result.stderr
    assert _log_lines(result) == ["odd crash-on broken: broken is here: exits 3"]
    assert "2 not touched" in result.stderr
    after = site.pids("sms")
    assert {name: after[name] for name in ("sms@2", "sms@3")} == {
        name: before[name] for name in ("sms@2", "sms@3")
    }
    assert observer.summary().least_active("sms") == 2
    assert site.unitq("status").code in (3, 15)

    (site.home / "releases/2/broken").unlink()
    result = site.deploy("--json")
    assert result.json["result"] == "ok"
    assert len(set(site.revisions("sms").values())) == 1


def test_the_reason_the_exit_code_and_the_log_of_a_failure_are_in_the_json(
    system_site: Site,
) -> None:
    site = system_site
    before = _deployed(site, site.odd("crash-on", "broken"), 2)
    (site.release(2) / "broken").touch()
    site.switch(2)
    result = site.deploy("--json", code=7)
    assert result.json["result"] == "failed"
    assert result.json["exit_code"] == 7
    assert result.json["failed"] == ["sms@1"]
    failed, untouched = result.json["instances"]
    assert failed["phase"] == "failed"
    assert "exited with status 3" in failed["reason"]
    assert [line for line in failed["log"] if line.startswith("odd ")] == [
        "odd crash-on broken: broken is here: exits 3"
    ]
    assert failed["pid_before"] == before["sms@1"]
    assert untouched["phase"] == "waiting"
    assert site.pids("sms")["sms@2"] == before["sms@2"]


# In user scope journald asks the process for its unit, and a busy one asks too late: its lines are
# then nobody's (systemd-journald(8)).
@pytest.mark.parametrize(
    ("where", "code", "lives"), [("system", "0", []), ("user", "3", ["1"])], ids=["system", "user"]
)
def test_a_first_deploy_of_a_worker_that_exits_at_once_fails(
    make_site: Callable[..., Site], where: str, code: str, lives: list[str]
) -> None:
    site = make_site(Scope(where))
    # With the usual pause it would run for a moment whenever one looks.
    # Longer than a busy machine needs until the process is at its end.
    site.config(
        workers={"sms": {"command": site.odd("exit", code, *lives), "restart_delay": "1min"}},
        rollout={"min_healthy": "10s"},
    )
    result = site.deploy(code=7)
    assert "sms@1 failed: " in result.stderr
    assert f"exited with status {code}" in result.stderr
    assert f"odd exit {code}: exits {code}" in _log_lines(result)
    assert site.unitq("status").code == 3


def test_a_worker_that_crashes_in_a_loop_is_given_up_as_its_start_limit_says(
    system_site: Site,
) -> None:
    site = system_site
    before = _deployed(site, site.odd("steady"), 2)
    site.config(
        workers={
            "sms": {
                "command": site.odd("die-after", "0.05"),
                "restart_delay": "10ms",
                "start_limit": "3/30s",
            }
        },
        rollout={"min_healthy": "2s"},
    )
    result = site.deploy(code=7)
    assert "sms@1 failed: " in result.stderr
    assert site.pids("sms").get("sms@2") == before["sms@2"]
    wait_until(lambda: site.show("sms")["sms@1"]["ActiveState"] == "failed")
    assert site.show("sms")["sms@1"]["NRestarts"] == "3"
    status = site.unitq("status")
    assert status.code in (3, 15)
    # The limit is forgotten for a deliberate start.
    site.config(workers={"sms": {"command": site.odd("steady"), "start_limit": "3/30s"}})
    site.deploy()
    assert site.active("sms") == 2


@pytest.mark.variants
@pytest.mark.parametrize("command", ["start", "restart", "deploy"])
def test_a_start_limit_that_was_hit_is_forgotten_for_a_deliberate_start(
    system_site: Site, command: str
) -> None:
    site = system_site
    worker = {"restart_delay": "10ms", "start_limit": "3/30min"}
    _deployed(site, site.odd("crash-on", "bad"), 2, **worker)
    unit, template = site.unit("sms", 1), site.scope.unit_dir / f"unitq-{site.app}-sms@.service"
    text = template.read_text()
    bad = site.current / "bad"
    bad.touch()
    site.excuse("killed", "capacity")
    site.systemctl("kill", "--signal=KILL", unit)
    wait_until(lambda: site.show("sms")["sms@1"]["ActiveState"] == "failed")
    bad.unlink()
    # What was wrong is mended. The limit holds all the same, for whoever starts it by systemctl.
    assert site.systemctl("start", unit, check=False).code != 0
    done = site.unitq(*command.split(), *(["sms@1"] if command == "restart" else []))
    assert done.code == 0, done
    assert site.active("sms") == 2
    # Nothing else can have made systemd forget it: the text is the same.
    assert template.read_text() == text


def test_a_worker_that_dies_within_min_healthy_is_not_healthy(
    system_site: Site, observe: Observe
) -> None:
    site = system_site
    before = _deployed(site, site.odd("steady"), 3)
    site.config(
        workers={"sms": {"command": site.odd("die-after", "0.4", "5"), "instances": 3}},
        rollout={"min_healthy": "2s"},
    )
    with observe(site) as observer:
        result = site.deploy(code=7)
    assert "sms@1 failed: it ended soon after its start" in result.stderr
    assert "exited with status 5" in result.stderr
    lines = _log_lines(result)
    assert lines[0].startswith("odd die-after 0.4 5: started, pid ")
    assert lines[1:] == ["odd die-after 0.4 5: exits 5"]
    after = site.pids("sms")
    assert {after.get("sms@2"), after.get("sms@3")} == {before["sms@2"], before["sms@3"]}
    assert observer.summary().least_active("sms") == 2


def test_one_that_dies_after_it_was_healthy_still_stops_the_rollout(system_site: Site) -> None:
    site = system_site
    _deployed(site, site.holding(), 3)
    site.hold(2)
    site.switch(2)
    deploy = site.start("deploy")
    deploy.wait_for("sms@1  drained")
    deploy.wait_for("sms@2  draining")
    third = site.pids("sms")["sms@3"]
    site.systemctl("kill", "--signal=KILL", site.unit("sms", 1))
    wait_until(lambda: site.show("sms")["sms@1"]["NRestarts"] == "1")
    site.let_go()
    result = deploy.wait()
    assert result.code == 7, result
    assert "sms@1 failed: it ended after it had been healthy" in result.stderr
    assert "died of SIGKILL" in result.stderr
    assert site.pids("sms")["sms@3"] == third


# --- only what is concerned -----------------------------------------------------------------------


def test_from_one_instance_to_eight_and_back_only_those_concerned_are_touched(
    site: Site, observe: Observe
) -> None:
    def config(count: int) -> None:
        site.config(workers={"sms": {"command": site.odd("steady"), "instances": count}})

    config(1)
    site.deploy()
    first = site.pids("sms")
    with observe(site) as observer:
        config(8)
        site.deploy()
        eight = site.pids("sms")
        assert len(eight) == 8
        assert eight["sms@1"] == first["sms@1"]
        config(1)
        site.deploy()
    assert site.pids("sms") == first
    assert len(site.workers()) == 1
    seen = observer.summary()
    assert seen.states(site.unit("sms", 1)) == ()
    assert seen.least_active("sms") == 1
    wants = site.scope.unit_dir / f"{site.target}.wants"
    assert [path.name for path in wants.iterdir()] == [site.unit("sms", 1)]


def test_a_change_of_one_worker_leaves_the_processes_of_the_other_alone(system_site: Site) -> None:
    site = system_site

    def config(**sms: Any) -> None:
        steady = {"command": site.odd("steady")}
        site.config(workers={"sms": steady | sms, "mail": steady, "sms-2": steady})

    config()
    site.deploy()
    before = site.pids()
    for change in ({"environment": {"A": "1"}}, {"nice": 5}):
        old = site.pids("sms")
        config(**change)
        site.deploy()
        assert not set(site.pids("sms").values()) & set(old.values()), change
    others = {"mail@1", "mail@2", "sms-2@1", "sms-2@2"}
    assert {name: pid for name, pid in site.pids().items() if name in others} == {
        name: pid for name, pid in before.items() if name in others
    }
    assert site.unitq("status").code == 0


def test_a_changed_unit_is_reloaded_step_by_step_and_changed_code_not_at_all(site: Site) -> None:
    _deployed(site, site.odd("steady"))
    before = site.reloads()
    site.switch(2)
    site.deploy()
    assert site.reloads() == before
    site.config(workers={"sms": {"command": site.odd("steady"), "environment": {"A": "1"}}})
    site.deploy()
    assert site.reloads() == before
    site.switch(1)
    site.config(workers={"sms": {"command": site.odd("steady"), "nice": 5}})
    site.deploy()
    # One as the new text and the pins of the two instances are there, one as each pin goes.
    assert site.reloads() == before + 3
    assert {show["NeedDaemonReload"] for show in site.show("sms").values()} == {"no"}


def test_a_second_deploy_of_the_same_changes_nothing_at_all(user_site: Site) -> None:
    site = user_site
    _deployed(site, site.odd("steady"), 3)
    processes, files, reloads = site.show("sms"), site.mtimes(), site.reloads()
    result = site.deploy()
    assert result.stdout == "unchanged: 3 of 3 on 1\n"
    assert result.stderr == ""
    assert site.deploy("--json").json["result"] == "unchanged"
    assert site.show("sms") == processes
    assert site.mtimes() == files
    assert site.reloads() == reloads


def test_a_worker_that_is_gone_from_the_configuration_is_stopped_last_and_forgotten(
    system_site: Site, observe: Observe
) -> None:
    site = system_site
    steady = {"command": site.odd("steady")}
    site.config(workers={"sms": steady, "mail": steady})
    site.deploy()
    site.switch(2)
    site.config(workers={"sms": steady})
    with observe(site) as observer:
        result = site.deploy()
    assert "2 stopped" in result.stdout
    assert site.active("mail") == 0
    assert {process.revision for process in site.workers()} == set(site.revisions("sms").values())
    seen = observer.summary()
    started = max(_stamps(seen, site.unit("sms", each), "ActiveEnter")[-1] for each in (1, 2))
    stopped = min(_stamps(seen, site.unit("mail", each), "ActiveExit")[-1] for each in (1, 2))
    assert stopped > started
    assert not [
        path for path in site.files() if "mail" in path.name and "revisions" not in str(path)
    ]


# --- a release that does not stay up --------------------------------------------------------------


def _run_script(site: Site, release: int, command: str) -> None:
    script = site.release(release) / "run"
    script.write_text(f"#!/bin/sh\nexec {command}\n")
    script.chmod(0o755)


def test_deploying_a_crashing_release_again_and_again_takes_no_further_instance(
    system_site: Site,
) -> None:
    site = system_site
    _run_script(site, 1, site.odd("steady"))
    _run_script(site, 2, site.odd("die-after", "0.7", "3"))
    site.config(
        workers={"sms": {"command": "./run", "instances": 3, "restart_delay": "100ms"}},
        rollout={"min_healthy": "2500ms"},
    )
    site.deploy()
    before = site.pids("sms")
    site.switch(2)
    for _ in range(2):
        # Whether sms@1 is just up or just down: it has not stayed, so no other follows it there.
        assert "sms@1 failed" in site.deploy(code=7).stderr
        now = site.pids("sms")
        assert {name: now[name] for name in ("sms@2", "sms@3")} == {
            name: before[name] for name in ("sms@2", "sms@3")
        }
    _run_script(site, 3, site.odd("steady"))
    site.switch(3)
    site.deploy()
    assert site.active("sms") == 3


def test_a_healthy_worker_that_exits_0_after_so_many_jobs_is_no_failure(system_site: Site) -> None:
    site = system_site
    _run_script(site, 1, site.odd("slow-drain", "2"))
    _run_script(site, 2, site.odd("die-after", "1", "0"))
    site.config(
        workers={"sms": {"command": "./run", "instances": 2, "restart_delay": "100ms"}},
        rollout={"min_healthy": "300ms"},
    )
    site.deploy()
    site.switch(2)
    # While sms@2 drains for two seconds, sms@1 exits 0 and is started again.
    done = site.deploy()
    assert "2 on 2" in done.stdout
    assert int(site.show("sms")["sms@1"]["NRestarts"]) >= 1


def test_a_worker_that_needs_twenty_seconds_is_given_twenty_seconds(
    draining_for_long: tuple[Site, Running],
) -> None:
    site, deploy = draining_for_long
    result = deploy.wait()
    assert result.code == 0, result
    (instance,) = result.json["instances"]
    assert instance["ending"] == "drained"
    assert 20 <= instance["drain_seconds"] < 23
    assert result.json["killed"] == []
    wanted = "ActiveExitTimestampMonotonic", "InactiveEnterTimestampMonotonic"
    exited, ended = (
        int(site.systemctl("show", f"-P{name}", site.unit("sms", 1)).stdout) for name in wanted
    )
    assert 20e6 <= ended - exited < 23e6
    assert "odd slow-drain 20: drained" in site.scope.journal("-u", site.unit("sms", 1))


# --- helpers --------------------------------------------------------------------------------------


def _stamps(seen: Summary, unit: str, which: str) -> list[float]:
    """When a unit became active, or ceased to be: systemd's own clock, from its signals."""
    found = {
        change.properties[f"{which}Timestamp"] / 1e6
        for change in seen.changes
        if change.unit == unit and change.properties.get(f"{which}Timestamp")
    }
    return sorted(found)


def _log_lines(result: Result) -> list[str]:
    """The worker's own lines among those that unitq shows of a failed start."""
    shown = [line[4:] for line in result.stderr.splitlines() if line.startswith("  | ")]
    return [line for line in shown if line.startswith("odd ")]


def _invocations(site: Site) -> dict[str, str]:
    return {
        name: show["InvocationID"] for name, show in site.show().items() if show["MainPID"] != "0"
    }


@pytest.mark.variants
@pytest.mark.parametrize(
    "rollout",
    [
        {},
        {"max_surge": 1},
        {"canary": 1, "canary_soak": "300ms"},
        {"max_surge": "50%", "max_unavailable": "100%", "canary": 1, "canary_soak": "300ms"},
    ],
)
def test_a_plan_says_exactly_what_a_deploy_then_does(
    system_site: Site, observe: Observe, rollout: dict[str, Any]
) -> None:
    site = system_site
    worker = {"command": site.odd("steady"), "instances": 2}
    site.config(workers={"kept": worker, "changed": worker, "gone": worker}, rollout=rollout)
    site.deploy()
    site.systemctl("stop", site.unit("kept", 2))
    site.config(
        workers={
            "kept": {**worker, "instances": 3},
            "changed": {**worker, "nice": 5},
            "new": {**worker, "instances": 1},
        },
        rollout=rollout,
    )
    before = _invocations(site)
    planned = {
        row["instance"]: row["action"] for row in site.unitq("plan", "--json").json["instances"]
    }
    with observe(site) as observer:
        assert site.deploy().code == 0
    after = _invocations(site)
    lived = {
        each.unit.removeprefix(f"unitq-{site.app}-").removesuffix(".service")
        for each in observer.summary().transitions
        if each.active == "active"
    }
    done = {}
    for name in before.keys() | after.keys() | lived:
        if name not in before:
            done[name] = "start" if name in after else "surge"
        elif name not in after:
            done[name] = "stop"
        else:
            done[name] = "keep" if before[name] == after[name] else "restart"
    assert planned == done
    surge = {"surge"} if "max_surge" in rollout else set()
    assert set(done.values()) == {"keep", "restart", "start", "stop"} | surge
    assert site.unitq("plan").code == 0
