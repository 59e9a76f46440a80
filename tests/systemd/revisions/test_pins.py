"""A deploy that changes unit texts: what is not rolled yet keeps code and text of before.

Through a crash, a daemon-reload of somebody's and an interrupted rollout; and it is stopped as it
was started.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.systemd.conftest import wait_until
from unitq.units.text import PIN

if TYPE_CHECKING:
    from tests.systemd.conftest import Running, Site

pytestmark = pytest.mark.systemd


def _nice(site: Site) -> dict[str, int]:
    """How nice each main process is, by the kernel."""
    return {name: os.getpriority(os.PRIO_PROCESS, pid) for name, pid in site.pids("sms").items()}


def _releases(site: Site) -> dict[str, str]:
    return {
        name: os.path.basename(os.readlink(f"/proc/{pid}/cwd"))
        for name, pid in site.pids("sms").items()
    }


def _pins(site: Site) -> set[str]:
    return {
        path.name.partition("@")[2].removesuffix(".service")
        for path in Path(site.scope.unit_dir).glob(f"unitq-{site.app}-sms@?*.service")
    }


def _under_way(site: Site) -> Running:
    """A deploy of release 2 and Nice=5 that waits for sms@2 to drain: 1 is new, 3 is untouched."""
    site.config(workers={"sms": {"command": site.holding(), "instances": 3}})
    site.deploy()
    site.hold(2)
    site.switch(2)
    site.config(workers={"sms": {"command": site.holding(), "instances": 3, "nice": 5}})
    deploy = site.start("deploy")
    deploy.wait_for("sms@2  draining")
    return deploy


def test_what_crashes_before_its_turn_comes_back_as_it_was(site: Site) -> None:
    deploy = _under_way(site)
    assert _pins(site) == {"3"}
    before = site.pids("sms")["sms@3"]
    # Else unitq takes its chance: what is down costs no capacity, so it is rolled at once.
    deploy.signal(signal.SIGSTOP)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: site.pids("sms").get("sms@3", before) != before)
    assert _nice(site)["sms@3"] == 0
    assert _releases(site)["sms@3"] == "1"
    deploy.signal(signal.SIGCONT)
    site.let_go()
    result = deploy.wait()
    assert result.code == 0, result
    assert set(_nice(site).values()) == {5}
    assert set(_releases(site).values()) == {"2"}
    assert _pins(site) == set()
    assert {show["NeedDaemonReload"] for show in site.show("sms").values()} == {"no"}


def test_somebodys_daemon_reload_in_mid_rollout_changes_nothing(site: Site) -> None:
    deploy = _under_way(site)
    site.systemctl("daemon-reload")
    shown = site.systemctl("show", "--property=Nice", "--value", site.unit("sms", 3)).stdout
    assert shown.strip() == "0"
    shown = site.systemctl("show", "--property=Nice", "--value", site.unit("sms", 1)).stdout
    assert shown.strip() == "5"
    site.let_go()
    assert deploy.wait().code == 0
    assert set(_nice(site).values()) == {5}


def test_pins_outlast_a_rollout_that_was_cut_off_and_go_with_the_next(site: Site) -> None:
    deploy = _under_way(site)
    deploy.signal(signal.SIGKILL)
    deploy.wait()
    site.let_go()
    wait_until(lambda: site.active("sms") == 3)
    assert _pins(site) == {"3"}
    text = (Path(site.scope.unit_dir) / site.unit("sms", 3)).read_text()
    assert text.startswith(PIN)
    assert "Nice=" not in text
    # A restart by hand is one of the old, too.
    site.systemctl("restart", site.unit("sms", 3))
    assert (_nice(site)["sms@3"], _releases(site)["sms@3"]) == (0, "1")
    assert site.unitq("rollout", "resume").code == 0
    assert set(_nice(site).values()) == {5}
    assert set(_releases(site).values()) == {"2"}
    assert _pins(site) == set()


def test_a_rollback_leaves_the_untouched_alone_and_takes_their_pins_away(system_site: Site) -> None:
    site = system_site
    deploy = _under_way(site)
    deploy.signal(signal.SIGKILL)
    deploy.wait()
    site.let_go()
    wait_until(lambda: site.active("sms") == 3)
    untouched = site.pids("sms")["sms@3"]
    assert site.unitq("rollback").code == 0
    assert set(_nice(site).values()) == {0}
    assert set(_releases(site).values()) == {"1"}
    assert site.pids("sms")["sms@3"] == untouched
    assert _pins(site) == set()
    assert {show["NeedDaemonReload"] for show in site.show("sms").values()} == {"no"}


def test_start_by_hand_of_what_is_pinned_brings_the_new_text(system_site: Site) -> None:
    site = system_site
    deploy = _under_way(site)
    deploy.signal(signal.SIGINT)
    site.let_go()
    assert deploy.wait().code == 10
    assert _pins(site) == {"3"}
    assert site.unitq("restart", "sms@3").code == 0
    assert (_nice(site)["sms@3"], _releases(site)["sms@3"]) == (5, "2")
    assert _pins(site) == set()


def test_the_old_process_is_stopped_by_the_old_text(site: Site) -> None:
    """A worker that ignores the new signal, or would take it for something else, is not killed."""
    site.config(
        workers={
            "sms": {
                "command": site.odd("steady"),
                "instances": 2,
                "stop_signal": "SIGTERM",
                "stop_timeout": "1min",
            }
        }
    )
    site.deploy()
    site.config(
        workers={
            "sms": {
                "command": site.odd("steady"),
                "instances": 2,
                "stop_signal": "SIGQUIT",
                "stop_timeout": "2min",
            }
        }
    )
    site.deploy()
    for number in (1, 2):
        option = "--user-unit" if site.scope.user else "--unit"
        said = site.scope.journal(f"{option}={site.unit('sms', number)}")
        assert "told to stop by SIGTERM" in said
        assert "told to stop by SIGQUIT" not in said
        shown = site.systemctl("show", "--property=KillSignal", "--value", site.unit("sms", number))
        assert shown.stdout.strip() == str(int(signal.SIGQUIT))
    assert _pins(site) == set()
    # And from now on by the new one.
    assert site.unitq("restart").code == 0
    option = "--user-unit" if site.scope.user else "--unit"
    assert "told to stop by SIGQUIT" in site.scope.journal(f"{option}={site.unit('sms', 1)}")


def test_a_worker_that_goes_away_is_stopped_by_its_own_text_and_leaves_no_pin(
    system_site: Site,
) -> None:
    site = system_site
    site.config(workers={"sms": {"command": site.odd("steady"), "instances": 3}})
    site.deploy()
    site.config(
        workers={"sms": {"command": site.odd("steady"), "instances": 1, "stop_signal": "SIGTERM"}}
    )
    site.deploy()
    assert site.active("sms") == 1
    assert _pins(site) == set()
    said = site.scope.journal(f"--unit={site.unit('sms', 3)}")
    assert "told to stop by SIGQUIT" in said
    assert "told to stop by SIGTERM" not in said
