"""A stop_timeout that changes: a longer one helps the process that runs, a shorter one waits."""

from __future__ import annotations

import re
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.systemd.conftest import wait_until

if TYPE_CHECKING:
    from tests.systemd.conftest import Running, Site

pytestmark = pytest.mark.systemd

JOB = 5.0  # seconds; longer than the short limit, shorter than the long one
SHORT, LONG = "2s", "20s"
WAIT = {"on_drain_timeout": "wait"}


def configure(site: Site, rollout: dict[str, str] | None = None, **settings: Any) -> None:
    sms = {"command": site.odd("slow-drain", str(JOB)), "instances": 1, **settings}
    site.config(workers={"sms": sms}, rollout=rollout)


def said(site: Site) -> str:
    return site.scope.journal(f"--{'user-' * site.scope.user}unit={site.unit('sms', 1)}")


@pytest.mark.variants
@pytest.mark.parametrize(
    ("settings", "rollout", "line"),
    [
        ({"stop_timeout": LONG}, None, "up to 20 s (the new stop_timeout; 2.0 s before)"),
        (
            {"stop_timeout": LONG, "stop_signal": "SIGTERM", "kill_mode": "mixed"},
            None,
            "up to 20 s (the new stop_timeout; 2.0 s before)",
        ),
        (
            {"stop_timeout": "infinity"},
            None,
            "as long as it takes (the new stop_timeout; 2.0 s before)",
        ),
        (
            {"stop_timeout": SHORT, "nice": 5},
            WAIT,
            "as long as it takes (the new stop_timeout; 2.0 s before)",
        ),
    ],
    ids=["longer", "and another signal", "infinity", "wait"],
)
def test_a_longer_one_helps_the_deploy_that_brings_it(
    site: Site, settings: dict[str, Any], rollout: dict[str, str] | None, line: str
) -> None:
    configure(site, stop_timeout=SHORT)
    site.deploy()
    configure(site, rollout, **settings)
    planned = site.unitq("plan")
    assert f"sms: drains for {line}" in planned.stdout, planned
    done = site.deploy()
    assert f"sms: drains for {line}" in done.stdout, done
    assert "0 killed" in done.stdout
    assert "SIGKILL" not in said(site)
    # By the signal that it was started with, whatever the new text says.
    assert "told to stop by SIGQUIT" in said(site)
    assert "told to stop by SIGTERM" not in said(site)
    assert not list(site.scope.unit_dir.glob(f"unitq-{site.app}-sms@?*.service"))


def test_a_shorter_one_waits_for_the_new_process(site: Site) -> None:
    configure(site, stop_timeout=LONG)
    site.deploy()
    configure(site, stop_timeout=SHORT)
    planned = site.unitq("plan", "--json").json
    limit = {"worker": "sms", "seconds": 20.0, "before": 20.0, "after": 2.0}
    assert planned["stop_timeouts"] == [limit]
    assert planned["workers"][0]["longest_seconds"] > 20.0
    done = site.deploy("--json").json
    assert (done["killed"], done["stop_timeouts"]) == ([], [limit])
    site.excuse("killed")
    assert len(re.findall(r"was killed after 2\.\d s", site.unitq("restart").stderr)) == 1


def test_a_rollback_to_a_shorter_one_does_not_cut_the_process_short(site: Site) -> None:
    configure(site, stop_timeout=SHORT)
    site.deploy()
    configure(site, stop_timeout=LONG)
    site.deploy()
    back = site.unitq("rollback")
    assert back.code == 0, back
    assert "up to 20 s (the old stop_timeout; 2.0 s once the new processes run)" in back.stdout
    assert "0 killed" in back.stdout
    limit = site.systemctl(
        "show", "--property=TimeoutStopUSec", "--value", site.unit("sms", 1)
    ).stdout.strip()
    assert limit == SHORT


def cut_off_while_it_drains(site: Site, **more: Any) -> float:
    """When sms@1 was told to stop, by a deploy of a longer limit that was killed after that."""
    sms = {"command": site.holding(), "instances": 1}
    site.config(workers={"sms": {**sms, "stop_timeout": SHORT}})
    site.deploy()
    site.hold(1)
    site.config(workers={"sms": {**sms, "stop_timeout": LONG, **more}})
    deploy: Running = site.start("deploy")
    deploy.wait_for("sms@1  draining")
    begun = time.monotonic()
    deploy.signal(signal.SIGKILL)
    deploy.wait()
    return begun


@pytest.mark.variants
@pytest.mark.parametrize("more", [{}, {"stop_signal": "SIGTERM"}], ids=["plain", "signal"])
@pytest.mark.parametrize("then", ["rollback", "resume", "deploy"])
def test_what_drains_keeps_its_limit_whatever_follows_a_cut_off(
    site: Site, then: str, more: dict[str, str]
) -> None:
    begun = cut_off_while_it_drains(site, **more)
    if then == "deploy":
        # The file says the short limit again; what drains was promised the long one.
        assert site.unitq("rollout", "abort").code == 0
        sms = {"command": site.holding(), "instances": 1, "stop_timeout": SHORT}
        site.config(workers={"sms": sms})
    words = {"rollback": ("rollback",), "resume": ("rollout", "resume"), "deploy": ("deploy",)}
    running = site.start(*words[then])
    wait_until(lambda: time.monotonic() > begun + JOB)
    assert site.show()["sms@1"]["ActiveState"] == "deactivating"
    site.let_go()
    done = running.wait()
    assert done.code == 0, done
    assert "was killed" not in done.output
    assert "SIGKILL" not in said(site)
    assert site.active("sms") == 1
    shown = site.systemctl("show", "--property=TimeoutStopUSec", "--value", site.unit("sms", 1))
    assert shown.stdout.strip() == (LONG if then == "resume" else SHORT)


@pytest.mark.variants
@pytest.mark.parametrize("command", [("stop",), ("restart",)])
def test_what_scale_has_added_has_the_same_limit(site: Site, command: tuple[str, ...]) -> None:
    configure(site, stop_timeout=SHORT)
    site.deploy()
    configure(site, stop_timeout=LONG)
    site.deploy()
    assert site.unitq("scale", "sms=2").code == 0
    done = site.unitq(*command)
    assert done.code == 0, done
    assert re.search(r"\b0 killed", done.stdout), done
