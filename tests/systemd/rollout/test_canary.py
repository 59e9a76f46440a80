"""Canaries, surge, probes, singletons, failure budgets, and other people's hands.

The observer and the kernel say what happened; of unitq only codes and the words users act on.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.systemd.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.harness.observer import Observer
    from tests.systemd.conftest import Site

    Observe = Callable[[Site], AbstractContextManager[Observer]]

pytestmark = pytest.mark.systemd

FOUR = ("sms@1", "sms@2", "sms@3", "sms@4")


def _config(site: Site, rollout: dict[str, Any], **worker: Any) -> None:
    sms = {"command": site.odd("crash-on", "bad"), "instances": 4} | worker
    site.config(workers={"sms": sms}, rollout={"on_failure": None} | rollout)


def _releases(site: Site) -> dict[str, str]:
    found = {}
    for name, pid in site.pids("sms").items():
        with suppress(FileNotFoundError):
            found[name] = os.path.basename(os.readlink(f"/proc/{pid}/cwd"))
    return found


def _bad(site: Site, name: int) -> None:
    (site.release(name) / "bad").touch()
    site.switch(name)


# --- surge ----------------------------------------------------------------------------------------


def test_a_surge_keeps_all_serving_and_leaves_nothing_behind(site: Site, observe: Observe) -> None:
    _config(site, {"max_unavailable": 0, "max_surge": 1})
    site.deploy()
    site.switch(2)
    with observe(site) as observer:
        done = site.deploy()
    seen = observer.summary()
    assert seen.least_active("sms") == 4
    assert seen.most_instances("sms") == 5
    assert seen.most_processes("sms") == 5
    assert _releases(site) == dict.fromkeys(FOUR, "2")
    assert "4 of 4 on 2" in done.stdout
    assert "least serving: 4 of 4" in done.stdout
    assert site.unitq("status").code == 0
    assert site.deploy().stdout.startswith("unchanged")


def test_a_bad_release_costs_a_surge_no_capacity_at_all(
    system_site: Site, observe: Observe
) -> None:
    site = system_site
    _config(site, {"max_unavailable": 0, "max_surge": 2, "min_healthy": "1s"})
    site.deploy()
    before = site.pids("sms")
    _bad(site, 2)
    with observe(site) as observer:
        site.deploy(code=9)
    assert observer.summary().least_active("sms") == 4
    assert site.pids("sms") == before
    assert site.unitq("status").code == 0


def test_a_surge_with_a_changed_unit(system_site: Site, observe: Observe) -> None:
    site = system_site
    _config(site, {"max_unavailable": 0, "max_surge": "50%"})
    site.deploy()
    _config(site, {"max_unavailable": 0, "max_surge": "50%"}, nice=5, stop_signal="SIGTERM")
    with observe(site) as observer:
        site.deploy()
    assert observer.summary().least_active("sms") == 4
    assert observer.summary().most_instances("sms") <= 6
    assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in site.pids("sms").values()} == {5}
    assert sorted(site.pids("sms")) == list(FOUR)


# --- canaries -------------------------------------------------------------------------------------


def test_a_canary_that_dies_in_its_soak_takes_nobody_with_it(site: Site) -> None:
    _config(site, {"canary": 1, "canary_soak": "3s"})
    site.deploy()
    before = site.pids("sms")
    site.switch(2)
    deploy = site.start("deploy")
    wait_until(lambda: "healthy" in deploy.output())
    # As the kernel does when memory is short.
    os.kill(site.pids("sms")["sms@1"], signal.SIGKILL)
    done = deploy.wait()
    assert done.code == 9, done
    assert "sms@1 failed: it ended after it had been healthy" in done.stderr
    now = site.pids("sms")
    assert {name for name in FOUR if now[name] != before[name]} == {"sms@1"}
    assert _releases(site) == dict.fromkeys(FOUR, "1")


def test_after_its_soak_the_others_follow_by_themselves(system_site: Site) -> None:
    site = system_site
    _config(site, {"canary": 1, "canary_soak": "1s", "max_unavailable": 4})
    site.deploy()
    site.switch(2)
    done = site.deploy("--json")
    assert done.json["seconds"] > 1
    assert _releases(site) == dict.fromkeys(FOUR, "2")


def test_a_canary_waits_for_an_operators_word(site: Site) -> None:
    _config(site, {"canary": "25%", "canary_soak": "200ms", "promote": "manual"})
    site.deploy()
    before = site.pids("sms")
    site.switch(2)
    done = site.deploy(code=11)
    assert "rollout promote" in done.stderr
    assert _releases(site) == {"sms@1": "2"} | dict.fromkeys(FOUR[1:], "1")
    assert site.unitq("rollout", "status").code == 11
    assert site.unitq("deploy").code == 8
    now = site.pids("sms")
    assert {name for name in FOUR if now[name] == before[name]} == set(FOUR[1:])
    done = site.unitq("rollout", "promote")
    assert done.code == 0, done
    assert _releases(site) == dict.fromkeys(FOUR, "2")
    # The canary was not touched a second time.
    assert site.pids("sms")["sms@1"] == now["sms@1"]


def test_options_are_for_one_rollout_and_for_who_goes_on_with_it(
    system_site: Site, observe: Observe
) -> None:
    site = system_site
    _config(site, {})
    site.deploy()
    before = site.pids("sms")
    site.switch(2)
    for wrong in (
        ["--max-unavailable", "0"],
        ["--canary", "lots"],
        ["--promote", "perhaps"],
        ["--max-failures", "-1"],
    ):
        done = site.deploy(*wrong, code=2)
        assert wrong[0] in done.stderr
    assert site.pids("sms") == before
    options = ["--canary=1", "--canary-soak=100ms", "--promote=manual", "--max-surge=1"]
    options += ["--max-unavailable=0"]
    assert "1 canary first" in site.unitq("deploy", "--dry-run", *options).stdout
    site.deploy(*options, code=11)
    # The canary, and the one more.
    assert sorted(_releases(site).values()) == ["1", "1", "1", "2", "2"]
    with observe(site) as observer:
        promoted = site.unitq("rollout", "promote")
    assert promoted.code == 0, promoted
    assert observer.summary().most_instances("sms") == 5
    assert observer.summary().least_active("sms") >= 4
    assert _releases(site) == dict.fromkeys(FOUR, "2")
    # It is about that rollout, and nothing of it is left to be deployed.
    assert site.deploy().stdout.startswith("unchanged")
    assert site.deploy("--canary=2").stdout.startswith("unchanged")


def test_a_canary_that_is_not_wanted_goes_back(system_site: Site) -> None:
    site = system_site
    _config(site, {"canary": 1, "canary_soak": "200ms", "promote": "manual"})
    site.deploy()
    before = site.pids("sms")
    site.switch(2)
    site.deploy(code=11)
    assert site.unitq("rollback").code == 0
    assert _releases(site) == dict.fromkeys(FOUR, "1")
    now = site.pids("sms")
    assert {name for name in FOUR if now[name] == before[name]} == set(FOUR[1:])


# --- probes ---------------------------------------------------------------------------------------


def test_a_probe_that_never_agrees_stops_the_release_and_is_quoted(site: Site) -> None:
    probe = {"command": "/bin/sh -c 'echo the queue is gone; test -e good'", "timeout": "5s"}
    _config(site, {"healthy_deadline": "2s"}, probe=probe)
    (site.home / "releases" / "1" / "good").touch()
    site.deploy()
    before = site.pids("sms")
    site.switch(2)
    done = site.deploy(code=9)
    assert "the queue is gone" in done.stderr
    now = site.pids("sms")
    assert {name for name in FOUR if now[name] != before[name]} == {"sms@1"}
    assert _releases(site) == dict.fromkeys(FOUR, "1")
    failed = site.systemctl("list-units", "--failed", "--plain", "--no-legend").stdout
    assert site.app not in failed
    (site.release(2) / "good").touch()
    site.deploy()
    assert _releases(site) == dict.fromkeys(FOUR, "2")


def test_a_probe_that_agrees_after_a_while_is_waited_for(system_site: Site) -> None:
    site = system_site
    count = site.out / "asked"
    # The third time it is content; each instance asks for two in a row.
    script = f"echo x >> {count}; test $(wc -l < {count}) -gt 2"
    probe = {"command": f"/bin/sh -c '{script}'", "successes": 2}
    _config(site, {"healthy_deadline": "20s"}, probe=probe, instances=1)
    done = site.deploy("--json")
    assert done.json["exit_code"] == 0
    assert count.read_text().count("x") == 4


# --- singletons, budgets, drains ------------------------------------------------------------------


def test_there_are_never_two_of_a_singleton(system_site: Site, observe: Observe) -> None:
    site = system_site
    _config(site, {"max_surge": 1, "max_unavailable": 0}, singleton=True, instances=1)
    site.deploy()
    site.switch(2)
    with observe(site) as observer:
        site.deploy()
    assert observer.summary().most_processes("sms") == 1
    assert _releases(site) == {"sms@1": "2"}
    assert site.unitq("scale", "sms=2").code == 2


def test_within_its_budget_a_failure_does_not_stop_the_others(system_site: Site) -> None:
    site = system_site
    _config(site, {"max_failures": 1, "max_unavailable": 2, "min_healthy": "1s"})
    site.deploy()
    site.switch(2)
    site.systemctl("mask", "--runtime", site.unit("sms", 1))
    try:
        done = site.deploy("--json", code=7)
    finally:
        site.systemctl("unmask", "--runtime", site.unit("sms", 1))
    assert done.json["failed"] == ["sms@1"]
    assert {name: _releases(site)[name] for name in FOUR[1:]} == dict.fromkeys(FOUR[1:], "2")


def test_a_drain_is_waited_for_as_long_as_it_takes(system_site: Site) -> None:
    site = system_site
    _config(
        site, {"on_drain_timeout": "wait"}, command=site.holding(), instances=1, stop_timeout="1s"
    )
    site.deploy()
    site.hold(1)
    site.switch(2)
    deploy = site.start("deploy", "--json")
    wait_until(lambda: site.show("sms")["sms@1"]["ActiveState"] == "deactivating")
    timeout = site.systemctl("show", "--property=TimeoutStopUSec", "--value", site.unit("sms", 1))
    assert timeout.stdout.strip() == "infinity"
    site.let_go()
    done = deploy.wait()
    assert (done.code, done.json["killed"]) == (0, [])


# --- other people's hands -------------------------------------------------------------------------


def test_somebody_elses_restart_is_named_and_stops_nothing(system_site: Site) -> None:
    site = system_site
    _config(site, {"min_healthy": "2s"}, instances=2)
    site.deploy()
    old = site.pids("sms")
    site.switch(2)
    deploy = site.start("deploy", "--json")
    wait_until(lambda: site.pids("sms").get("sms@1", old["sms@1"]) != old["sms@1"])
    site.systemctl("restart", site.unit("sms", 1))
    done = deploy.wait()
    assert done.code == 0, done
    foreign = {each["instance"]: each["foreign"] for each in done.json["instances"]}
    assert foreign == {"sms@1": ["restarted by somebody else"], "sms@2": []}
    assert _releases(site) == {"sms@1": "2", "sms@2": "2"}


def test_only_what_waits_for_promotion_is_promoted(system_site: Site) -> None:
    """A pause in the soak: nobody has judged the canaries, so nobody may skip that by the way."""
    site = system_site
    _config(site, {"canary": 1, "canary_soak": "30s", "min_healthy": "300ms"})
    site.deploy()
    site.switch(2)
    running = site.start("deploy")
    running.wait_for("healthy  [1/4]")
    assert site.unitq("rollout", "pause").code == 0
    assert running.wait().code == 11
    refused = site.unitq("rollout", "promote")
    assert refused.code == 4
    assert "is paused and does not wait for promotion" in refused.stderr
    assert "rollout resume` continues it" in refused.stderr
    assert list(_releases(site).values()).count("2") == 1
    assert site.unitq("rollout", "abort").code == 0
    # It was given up on purpose, and that needs no explanation later.
    assert site.unitq("history").stderr == ""
