"""The wall clock is stepped by an hour in mid-rollout, as by an NTP client or a person.

The host's own clock is nobody's to move, and no namespace has one of its own. Here it moves
for unitq and all that it starts, whoever asks for the time in there (Python, libsystemd); the
monotonic clock, by which systemd goes too, stays what it is. See harness/clock.c.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.systemd.conftest import REPO, Scope, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd

FOUR = ("sms@1", "sms@2", "sms@3", "sms@4")
SOURCE = REPO / "tests/harness/clock.c"
HOUR = 3600
MIN_HEALTHY = 0.9
# What a busy machine may add to a moment, and far less than what a step could.
SLACK = 5.0


class Clock:
    """The wall clock as a unitq with this environment sees it."""

    def __init__(self, site: Site) -> None:
        self._file = site.home / "clock"
        library = site.home / "clock.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, SOURCE], check=True, timeout=60)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_OFF_BY": str(self._file)}
        self.step(0)

    def step(self, seconds: int) -> None:
        """From now on it is off by so much."""
        staged = self._file.with_suffix(".new")
        staged.write_text(f"{seconds:+d}\n")
        staged.chmod(0o644)
        staged.replace(self._file)


def _config(site: Site) -> None:
    site.config(
        workers={"sms": {"command": site.odd("steady"), "instances": 4}},
        rollout={"min_healthy": f"{MIN_HEALTHY * 1000:.0f}ms"},
    )


def _releases(site: Site) -> set[str]:
    return {os.path.basename(os.readlink(f"/proc/{pid}/cwd")) for pid in site.pids("sms").values()}


def _proofs(site: Site) -> list[float]:
    """How long each instance had run before the next one was stopped, by systemd's clock (s)."""
    moments = []
    for name in FOUR:
        told = site.systemctl(
            *("show", "--property=ActiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic"),
            f"unitq-{site.app}-{name}.service",
        )
        values = dict(line.split("=") for line in told.stdout.split())
        moments.append(
            (
                int(values["ActiveExitTimestampMonotonic"]) / 1e6,
                int(values["ActiveEnterTimestampMonotonic"]) / 1e6,
            )
        )
    return [after[0] - before[1] for before, after in pairwise(sorted(moments))]


def _history(site: Site) -> list[dict[str, Any]]:
    told = site.unitq("history", "--json")
    assert told.code == 0, told
    found: list[dict[str, Any]] = told.json["revisions"]
    return sorted(found, key=lambda entry: int(entry["number"]))


def _records(site: Site, rollout: int) -> list[dict[str, Any]]:
    ledger = site.scope.state_dir / site.app / "rollouts" / str(rollout) / "ledger.jsonl"
    return [json.loads(line) for line in ledger.read_bytes().partition(b"\0")[0].splitlines()]


@pytest.mark.variants
@pytest.mark.parametrize(("where", "step"), [("system", HOUR), ("system", -HOUR), ("user", HOUR)])
def test_a_rollout_takes_as_long_as_it_takes_whatever_the_clock_says(
    make_site: Callable[..., Site], where: str, step: int
) -> None:
    site = make_site(Scope(where))
    clock = Clock(site)
    _config(site)
    site.deploy()
    before = site.pids("sms")
    site.switch(2)

    deploy = site.start("deploy", "--json", environment=clock.environment)
    wait_until(
        lambda: (
            site.pids("sms").get("sms@2", before["sms@2"]) != before["sms@2"] or not deploy.running
        ),
        60,
    )
    assert deploy.running, deploy.wait()
    # The second one proves itself.
    clock.step(step)
    done = deploy.wait()

    assert (done.code, done.stderr) == (0, ""), done
    assert _releases(site) == {"2"}
    assert all(MIN_HEALTHY <= proof < MIN_HEALTHY + SLACK for proof in _proofs(site)), _proofs(site)
    # `done.seconds` is by this process's own clock, with unitq's start and end in it.
    assert 4 * MIN_HEALTHY <= done.json["seconds"] <= done.seconds < 4 * MIN_HEALTHY + 4 * SLACK
    # It did step, and in mid-rollout: else all this says nothing.
    orders = {each["instance"]: each["at"] for each in _records(site, 2) if each["what"] == "order"}
    assert abs(orders["sms@2"] - orders["sms@1"]) < 60
    assert abs(orders["sms@3"] - orders["sms@2"] - step) < 60


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_the_history_goes_by_numbers_and_a_rollback_goes_one_back(
    system_site: Site, step: int
) -> None:
    site = system_site
    clock = Clock(site)
    _config(site)
    site.deploy()
    # Deployed an hour off, so that by their dates the second one is the newest, or the oldest.
    site.switch(2)
    clock.step(step)
    done = site.unitq("deploy", environment=clock.environment)
    assert done.code == 0, done
    site.switch(3)
    clock.step(0)
    done = site.unitq("deploy", environment=clock.environment)
    assert done.code == 0, done

    history = _history(site)
    assert [entry["number"] for entry in history] == [1, 2, 3]
    assert [entry["state"] for entry in history] == ["stable"] * 3
    assert [entry["current"] for entry in history] == [False, False, True]
    assert abs(history[1]["deployed_at"] - history[2]["deployed_at"] - step) < 60
    assert abs(history[2]["deployed_at"] - time.time()) < 60
    assert all(0 < entry["seconds"] < 60 for entry in history)
    assert site.unitq("history").code == site.unitq("show", "2").code == 0
    # What runs since before the step, and what since after it: each has an age.
    clock.step(step)
    told = site.unitq("status", environment=clock.environment)
    assert told.code == 0, told
    assert " -" not in told.stdout
    # Neither an hour nor 19,000 days.
    rows = [line for line in told.stdout.splitlines() if line.startswith("sms@")]
    assert rows, told.stdout
    assert all(re.search(r"\)  +(?:\d+\.\d|\d\d) s  ", line) for line in rows), told.stdout

    for goal in ("2", "1"):
        back = site.unitq("rollback")
        assert back.code == 0, back
        assert _releases(site) == {goal}
    assert site.unitq("status").code == 0
    assert site.unitq("rollout", "status").code == 0
