"""Recycling: a leaking or old worker drains and is replaced, one by one, and never in a rollout."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.systemd.cli.test_json import documented, shape
from tests.systemd.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.harness.observer import Observer
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd


def state(site: Site, unit: str, name: str) -> str:
    return site.systemctl("show", f"--property={name}", "--value", unit).stdout.strip()


def config(site: Site, **recycle: str) -> None:
    worker = {"command": site.odd("steady"), "instances": 3}
    site.config(workers={"sms": {**worker, "recycle": recycle} if recycle else worker})


def test_what_is_too_old_is_replaced_one_by_one(
    site: Site, observe: Callable[[Site], AbstractContextManager[Observer]]
) -> None:
    config(site, age="1s", jitter="0%")
    site.deploy()
    before = site.pids("sms")
    time.sleep(1.0)
    dry = site.unitq("recycle", "--dry-run", "--json")
    assert shape(dry.json) == shape(documented("recycle --dry-run"))
    # The oldest first; they began at one moment, in whatever order.
    due = sorted(one["instance"] for one in dry.json["due"])
    assert (dry.code, due) == (0, ["sms@1", "sms@2", "sms@3"])
    assert site.pids("sms") == before
    with observe(site) as observer:
        begun = time.time()
        result = site.unitq("recycle")
        end = time.time()
    assert result.code == 0, result
    assert "sms@1: 0 min old, and 1s is the age" in result.stdout
    assert not set(site.pids("sms").values()) & set(before.values())
    assert observer.summary(begun, end).least_active("sms") >= 2
    assert site.unitq("status").code == 0
    assert site.unitq("plan").code == 0


def test_what_is_too_large_is_replaced_and_nobody_else(site: Site) -> None:
    config(site, memory="100M")
    site.deploy()
    assert "nobody is due" in site.unitq("recycle").stdout
    assert site.unitq("recycle", "--json").json["result"] == "unchanged"
    quiet = site.unitq("recycle", "--quiet")
    assert (quiet.code, quiet.output) == (0, "")
    config(site, memory="1M")
    # A limit is not what a worker runs: nothing is restarted for it.
    before = site.pids("sms")
    assert site.deploy().code == 0
    assert site.pids("sms") == before
    time.sleep(0.2)
    result = site.unitq("recycle", "--json")
    assert result.code == 0, result
    assert {one["action"] for one in result.json["instances"]} == {"restart"}
    assert "1M is the limit" in result.json["instances"][0]["why"]


def test_the_timer_comes_and_goes_with_the_limits(site: Site) -> None:
    timer, service = f"unitq-{site.app}-recycle.timer", f"unitq-{site.app}-recycle.service"
    config(site)
    site.deploy()
    assert state(site, timer, "LoadState") == "not-found"
    config(site, age="1s", jitter="0%")
    before = site.pids("sms")
    site.deploy()
    assert (state(site, timer, "ActiveState"), state(site, timer, "UnitFileState")) == (
        "active",
        "enabled",
    )
    assert site.pids("sms") == before
    assert site.unitq("plan").code == 0
    # What it starts does the work.
    time.sleep(1.0)
    site.systemctl("start", service)
    assert state(site, service, "Result") == "success"
    assert not set(site.pids("sms").values()) & set(before.values())
    # It follows the app.
    assert site.unitq("stop").code == 0
    wait_until(lambda: state(site, timer, "ActiveState") == "inactive", 10, "the timer stopped")
    assert site.unitq("start").code == 0
    assert state(site, timer, "ActiveState") == "active"
    config(site)
    site.deploy()
    assert (state(site, timer, "LoadState"), state(site, service, "LoadState")) == (
        "not-found",
        "not-found",
    )
    assert site.unitq("plan").code == 0


def test_not_while_a_rollout_is_under_way_or_paused(site: Site) -> None:
    config(site, age="1s", jitter="0%")
    site.deploy()
    site.switch(2)
    site.config(
        rollout={"canary": 1, "canary_soak": "0s", "promote": "manual"},
        workers={
            "sms": {
                "command": site.odd("steady"),
                "instances": 3,
                "recycle": {"age": "1s", "jitter": "0%"},
            }
        },
    )
    assert site.unitq("deploy").code == 11
    time.sleep(1.0)
    before = site.pids("sms")
    result = site.unitq("recycle")
    assert result.code == 0, result
    assert "not now: rollout" in result.stderr
    assert site.pids("sms") == before


def test_nobody_is_recycled_beside_one_that_has_failed(site: Site) -> None:
    worker = {"command": site.odd("steady"), "instances": 3, "restart_delay": "4s"}
    site.config(workers={"sms": {**worker, "recycle": {"age": "1s", "jitter": "0%"}}})
    site.deploy()
    time.sleep(1.0)
    before = site.pids("sms")
    unit = site.unit("sms", 2)
    site.systemctl("kill", "--signal=KILL", unit)
    wait_until(lambda: state(site, unit, "SubState") == "auto-restart", 3, "it died")
    result = site.unitq("recycle")
    assert "sms: nobody is recycled: sms@2 is activating (auto-restart)" in result.stderr, result
    site.systemctl("stop", unit)
    assert site.pids("sms") == {name: pid for name, pid in before.items() if name != "sms@2"}
    # What an operator has stopped stays down, and holds nobody back.
    result = site.unitq("recycle")
    assert result.code == 0, result
    assert "sms@1: 0 min old" in result.stdout
    assert state(site, unit, "ActiveState") == "inactive"
    assert not set(site.pids("sms").values()) & set(before.values())
