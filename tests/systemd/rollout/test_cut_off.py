"""kill -9 after every single record of the ledger, and each of the ways out afterwards.

strace kills unitq as it is about to have the record put on disk (fdatasync(2), which nothing else
in unitq calls): the record is written then, and what it announces is not done.
"""

from __future__ import annotations

import json
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
    from tests.systemd.conftest import Result, Site

    Observe = Callable[[Site], AbstractContextManager[Observer]]

pytestmark = pytest.mark.systemd

# For a worker that crashes at once to have crashed by then.
LONG_ENOUGH = "1s"


def _killed_at(site: Site, record: int, *arguments: str) -> Result:
    kill = f"inject=fdatasync:signal=KILL:when={record}"
    by = ("strace", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", kill)
    return site.start(*arguments, before=by).wait()


def _config(site: Site, min_healthy: str = "50ms", **more: Any) -> None:
    sms = {"command": site.odd("crash-on", "bad"), "instances": 3}
    rollout = {"on_failure": None, "min_healthy": min_healthy}
    site.config(workers={"sms": sms | more}, rollout=rollout)


def _releases(site: Site) -> dict[str, str]:
    found = {}
    for name, pid in site.pids("sms").items():
        with suppress(FileNotFoundError):
            found[name] = os.path.basename(os.readlink(f"/proc/{pid}/cwd"))
    return found


def _nice(site: Site) -> set[int]:
    return {os.getpriority(os.PRIO_PROCESS, pid) for pid in site.pids("sms").values()}


def _last_record(site: Site) -> dict[str, Any]:
    rollouts = site.scope.state_dir / site.app / "rollouts"
    newest = max(rollouts.iterdir(), key=lambda path: int(path.name))
    lines = (newest / "ledger.jsonl").read_bytes().partition(b"\0")[0].splitlines()
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def _no_mix(site: Site) -> None:
    """Each process has the code and the unit text of one and the same revision."""
    for name, pid in site.pids("sms").items():
        release = os.path.basename(os.readlink(f"/proc/{pid}/cwd"))
        nice = os.getpriority(os.PRIO_PROCESS, pid)
        assert (release, nice) in (("1", 0), ("2", 5)), name


@pytest.mark.variants
@pytest.mark.parametrize("way", ["resume", "rollback", "abort"])
def test_killed_after_any_record_a_deploy_is_resumed_rolled_back_or_left(
    system_site: Site, observe: Observe, way: str
) -> None:
    site = system_site
    _config(site)
    site.deploy()
    seen: list[str] = []
    with observe(site) as observer:
        for record in range(1, 30):
            site.switch(2)
            _config(site, nice=5)
            done = _killed_at(site, record, "deploy")
            if done.code == 0:
                break
            assert done.code == -signal.SIGKILL, done
            seen.append(_last_record(site)["what"])
            wait_until(lambda: site.active("sms") == 3)
            _no_mix(site)
            told = site.unitq("rollout", "status")
            # Until its revision is written nothing is changed; with the last record all is done.
            begun = seen[-1] not in ("begin", "install", "end")
            assert told.code == (8 if begun else 0), (seen, told)
            if begun:
                assert site.unitq("deploy").code == 8
                done = site.unitq(*({"rollback": ("rollback",)}.get(way, ("rollout", way))))
                assert done.code == 0, (seen, done)
            if way != "rollback":
                site.deploy()
                assert set(_releases(site).values()) == {"2"}
                assert _nice(site) == {5}
            elif seen[-1] != "end":
                assert set(_releases(site).values()) == {"1"}
                assert _nice(site) == {0}
            assert site.unitq("status").code == 0
            assert site.outside() == ()
            # And back to where the next turn begins.
            site.switch(1)
            _config(site)
            site.deploy()
            assert set(_releases(site).values()) == {"1"}
            assert _nice(site) == {0}
    assert seen == ["begin", "install", "order", "order", "order", "end"]
    assert observer.summary().least_active("sms") >= 2


def test_start_and_restart_do_not_go_on_with_a_rollout_that_was_cut_off(
    system_site: Site,
) -> None:
    site = system_site
    _config(site)
    site.deploy()
    site.switch(2)
    # begin, install, order of sms@1, order of sms@2
    assert _killed_at(site, 4, "deploy").code == -signal.SIGKILL
    wait_until(lambda: site.active("sms") == 3)
    mixed = {"sms@1": "2", "sms@2": "1", "sms@3": "1"}
    assert _releases(site) == mixed
    for words in (["restart"], ["restart", "sms@3"], ["restart", "sms@1", "sms@2"]):
        done = site.unitq(*words)
        assert done.code == 8, done
        assert "was cut off, and restart would take sms@" in done.stderr
        assert "rollout resume` continues" in done.stderr
        assert _releases(site) == mixed
    # What changes nobody's code is done, and so is what stops.
    assert site.unitq("restart", "sms@1").code == 0
    assert site.unitq("stop", "sms@3").code == 0
    done = site.unitq("start", "sms@3", "--json")
    assert (done.code, done.json["error"]["exit_code"]) == (8, 8)
    assert site.unitq("rollout", "abort").code == 0
    # Then the operator has said that it is to stay like this.
    assert site.unitq("start", "sms@3").code == 0
    assert _releases(site) == mixed | {"sms@3": "2"}
    site.deploy()
    assert set(_releases(site).values()) == {"2"}


def test_killed_after_any_record_a_deploy_that_fails_can_be_rolled_back(
    system_site: Site, observe: Observe
) -> None:
    site = system_site
    _config(site, LONG_ENOUGH)
    site.deploy()
    (site.release(2) / "bad").touch()
    seen: list[str] = []
    with observe(site) as observer:
        for record in range(1, 30):
            site.switch(2)
            _config(site, LONG_ENOUGH, nice=5)
            done = _killed_at(site, record, "deploy")
            if done.code == 9:
                break
            assert done.code == -signal.SIGKILL, done
            seen.append(_last_record(site)["what"])
            if site.unitq("rollout", "status").code == 8:
                done = site.unitq("rollback")
                assert done.code == 0, (seen, done)
            wait_until(lambda: len(_releases(site)) == 3)
            assert set(_releases(site).values()) == {"1"}
            assert _nice(site) == {0}
            assert site.unitq("status").code == 0
            assert site.outside() == ()
    assert seen == ["begin", "install", "order", "rollback", "install", "order", "end"]
    assert observer.summary().least_active("sms") >= 2
