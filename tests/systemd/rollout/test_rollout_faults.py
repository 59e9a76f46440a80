"""Rollouts in a world that does not hold still: two people at once, frozen, full disks, Ctrl-C.

Each test disturbs a rollout at a moment that it has made sure of, and then asks systemd, the kernel
and the observer: the outcome is that of an undisturbed rollout, or it is told truthfully and one
command leads out of it.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.systemd.cli.test_bad_input import mounted
from tests.systemd.conftest import Scope, wait_until
from tests.systemd.rollout.test_faults import OVER_THE_BUS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.harness.observer import Observer
    from tests.systemd.conftest import Result, Running, Site

    Observe = Callable[[Site], AbstractContextManager[Observer]]
    MakeSite = Callable[..., Site]

pytestmark = pytest.mark.systemd

FOUR = ("sms@1", "sms@2", "sms@3", "sms@4")


# --- what the tests share -------------------------------------------------------------------------


def _worker(site: Site) -> str:
    """Crashes where its release has a file `bad`; drains for as long as `hold` says."""
    return f'/bin/sh -c "test ! -e bad || exit 3; exec {site.holding()}"'


def _config(site: Site, rollout: dict[str, Any] | None = None, **worker: Any) -> None:
    """Four of them; what fails is rolled back."""
    table: dict[str, Any] = {"command": _worker(site), "instances": 4}
    site.config(
        workers={"sms": table | worker},
        rollout={"on_failure": None, "min_healthy": "300ms"} | (rollout or {}),
    )


def _deployed(site: Site, rollout: dict[str, Any] | None = None, **worker: Any) -> dict[str, int]:
    """Release 1 runs, and `current` is release 2. Returns the PIDs."""
    _config(site, rollout, **worker)
    site.deploy()
    site.switch(2)
    return site.pids("sms")


def _deployed_next(site: Site, release: int) -> dict[str, int]:
    site.switch(release)
    site.deploy()
    return site.pids("sms")


def _bad(site: Site, release: int) -> Path:
    path = site.release(release) / "bad"
    path.touch()
    return path


def _releases(site: Site) -> dict[str, str]:
    """The release that each main process works in, by the kernel."""
    found = {}
    for name, pid in site.pids("sms").items():
        with suppress(FileNotFoundError):  # it has ended in between
            found[name] = Path(os.readlink(f"/proc/{pid}/cwd")).name.removesuffix(" (deleted)")
    return found


def _all_on(site: Site, release: int) -> None:
    """Every instance works in this release, unitq agrees, and nothing is left anywhere else."""
    assert _releases(site) == dict.fromkeys(FOUR, str(release))
    status = site.unitq("status")
    assert status.code == 0, status
    assert site.outside() == ()


def _draining(site: Site, number: int, *arguments: str, by: tuple[str, ...] = ()) -> Running:
    """A deploy that has come to the draining of this instance, and stays there until `let_go`."""
    site.hold(number)
    deploy = site.start("deploy", *arguments, before=by)
    unit = f"sms@{number}"
    wait_until(
        lambda: not deploy.running or site.show("sms")[unit]["ActiveState"] == "deactivating",
        what=f"{unit} drains",
    )
    assert deploy.running, deploy.wait()
    return deploy


def _started(observer: Observer, site: Site) -> dict[str, int]:
    """How often each instance was started while the observer watched, by its main processes."""
    found: dict[str, set[int]] = {}
    for each in observer.summary().main_pids:
        if each.pid and "probe" not in each.unit:
            name = each.unit.removeprefix(f"unitq-{site.app}-").removesuffix(".service")
            found.setdefault(name, set()).add(each.pid)
    return {name: len(pids) for name, pids in sorted(found.items())}


def _moments(site: Site) -> dict[str, tuple[float, float]]:
    """When each last ceased to be active and became active, by systemd's monotonic clock (s)."""
    found = {}
    for name in FOUR:
        unit = f"unitq-{site.app}-{name}.service"
        told = site.systemctl(
            "show", "--property=ActiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic", unit
        )
        values = dict(line.split("=") for line in told.stdout.split())
        found[name] = (
            int(values["ActiveExitTimestampMonotonic"]) / 1e6,
            int(values["ActiveEnterTimestampMonotonic"]) / 1e6,
        )
    return found


def _least_between(site: Site) -> float:
    """One after the other: the shortest time that an instance had before the next was touched."""
    moments = sorted(_moments(site).values())
    return min(after[0] - before[1] for before, after in pairwise(moments))


def _ledgers(site: Site) -> list[list[dict[str, Any]]]:
    """The records of all rollouts."""
    folder = site.scope.state_dir / site.app / "rollouts"
    paths = sorted(folder.iterdir(), key=lambda path: int(path.name))
    return [
        [
            json.loads(line)
            for line in (path / "ledger.jsonl").read_bytes().partition(b"\0")[0].splitlines()
        ]
        for path in paths
    ]


# --- several at once ------------------------------------------------------------------------------


def test_of_deploys_and_rollbacks_that_begin_together_one_works_and_the_others_are_refused(
    system_site: Site, observe: Observe
) -> None:
    site = system_site
    _deployed(site)
    site.deploy()
    site.switch(3)
    site.hold(1, 2, 3, 4)
    with observe(site) as observer:
        words = ["deploy", "rollback"] * 3
        commands = [site.start(word) for word in words]
        wait_until(lambda: sum(each.running for each in commands) == 1, what="one is left")
        winner = next(each for each in commands if each.running)
        # The others were refused before it had done anything.
        for each in commands:
            if each is not winner:
                done = each.wait()
                assert done.code == 8, done
                assert f"PID {winner.pid}" in done.stderr or "just begun" in done.stderr
        site.let_go()
        done = winner.wait()
        assert done.code == 0, done
    _all_on(site, 3 if words[commands.index(winner)] == "deploy" else 1)
    assert _started(observer, site) == dict.fromkeys(FOUR, 1)
    assert observer.summary().least_active("sms") == 3
    ledgers = _ledgers(site)
    assert len(ledgers) == 3
    assert [each["pid"] for each in ledgers[-1] if "pid" in each] == [winner.pid]


def test_of_several_that_resume_one_goes_on(user_site: Site, observe: Observe) -> None:
    site = user_site
    _deployed(site)
    with observe(site) as observer:
        deploy = _draining(site, 2)
        deploy.signal(signal.SIGKILL)
        deploy.wait()
        commands = [site.start("rollout", "resume") for _ in range(4)]
        wait_until(lambda: sum(each.running for each in commands) == 1, what="one is left")
        site.let_go()
        codes = sorted(each.wait().code for each in commands)
        assert codes == [0, 8, 8, 8]
    _all_on(site, 2)
    assert _started(observer, site) == dict.fromkeys(FOUR, 1)
    assert observer.summary().least_active("sms") == 3
    (_, records) = _ledgers(site)
    assert [each["what"] for each in records].count("resume") == 1


# --- time -----------------------------------------------------------------------------------------


def test_unitq_frozen_longer_than_any_deadline_of_its_own(
    system_site: Site, observe: Observe
) -> None:
    site = system_site
    rollout = {"min_healthy": "600ms", "healthy_deadline": "1500ms", "start_timeout": "1500ms"}
    before = _deployed(site, rollout)
    with observe(site) as observer:
        site.hold(3)
        deploy = site.start("deploy")
        wait_until(lambda: site.pids("sms").get("sms@1", 0) not in (0, before["sms@1"]))
        # Settling: what it hears of that in three seconds' time is old news.
        deploy.signal(signal.SIGSTOP)
        time.sleep(3)
        assert {name: site.pids("sms")[name] for name in FOUR[1:]} == {
            name: before[name] for name in FOUR[1:]
        }
        deploy.signal(signal.SIGCONT)
        wait_until(lambda: site.show("sms")["sms@3"]["ActiveState"] == "deactivating")
        deploy.signal(signal.SIGSTOP)
        site.let_go()
        time.sleep(3)
        deploy.signal(signal.SIGCONT)
        done = deploy.wait()
        assert done.code == 0, done
    _all_on(site, 2)
    assert observer.summary().least_active("sms") == 3
    assert _started(observer, site) == dict.fromkeys(FOUR, 1)
    assert _least_between(site) >= 0.6


# The host's own clock is nobody's to move, and no namespace has one of its own; so it is only
# unitq that sees it move. systemd keeps time by the monotonic clock anyway.
CLOCK = """
import os, time
real = time.time
def moved():
    try:
        with open(os.environ["CLOCK_OFF_BY"]) as file:
            return real() + float(file.read() or 0)
    except OSError:
        return real()
time.time = moved
"""


def _stepping(site: Site, folder: Path, seconds: int) -> dict[str, str]:
    """The environment of a unitq whose wall clock is off by so much, from now on."""
    (folder / "sitecustomize.py").write_text(CLOCK)
    off_by = folder / "off-by"
    off_by.write_text(str(seconds))
    paths = f"{folder}:{site.scope.environment['PYTHONPATH']}"
    return {"PYTHONPATH": paths, "CLOCK_OFF_BY": str(off_by)}


def test_a_step_of_the_clock_makes_nobody_older(system_site: Site, tmp_path: Path) -> None:
    site = system_site
    _config(site, {"min_healthy": "3s"})
    site.deploy()
    before = site.pids("sms")["sms@1"]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: site.pids("sms").get("sms@1", before) != before)
    # It is up again for a moment, which says nothing: it may crash in a loop.
    done = site.unitq("deploy", environment=_stepping(site, tmp_path, 3600))
    assert done.code == 0, done
    assert time.monotonic() - _moments(site)["sms@1"][1] >= 3


# --- systemd and the bus, at the moments that are new ---------------------------------------------


def _reexec_and_new_bus(site: Site) -> None:
    site.systemctl("daemon-reexec")
    site.systemctl("restart", "dbus.service")
    time.sleep(0.3)


def test_systemd_and_the_bus_start_again_while_a_canary_soaks(
    system_site: Site, observe: Observe
) -> None:
    site = system_site
    _deployed(site, {"canary": 1, "canary_soak": "3s", "max_unavailable": 3})
    with observe(site) as observer:
        deploy = site.start("deploy", before=OVER_THE_BUS)
        wait_until(lambda: "healthy" in deploy.output() or not deploy.running)
        _reexec_and_new_bus(site)
        assert _releases(site) == {"sms@1": "2"} | dict.fromkeys(FOUR[1:], "1")
        done = deploy.wait()
        assert (done.code, done.stderr) == (0, ""), done
    _all_on(site, 2)
    assert _started(observer, site) == dict.fromkeys(FOUR, 1)
    moments = _moments(site)
    assert min(moments[name][0] for name in FOUR[1:]) - moments["sms@1"][1] >= 3.3


def _probe(site: Site) -> tuple[dict[str, Any], Path]:
    """A probe that thinks for as long as the file is there, and then agrees."""
    thinking = site.out / "thinking"
    thinking.touch()
    script = f"while test -e {thinking}; do sleep 0.05; done"
    return {"command": f"/bin/sh -c '{script}'", "timeout": "30s"}, thinking


def _probing(site: Site, *, by: tuple[str, ...] = ()) -> Running:
    """A deploy that has asked the probe of sms@1 and waits for its answer."""
    deploy = site.start("deploy", before=by)
    pattern = f"unitq-{site.app}*probe*"
    wait_until(
        lambda: (
            "activating"
            in site.systemctl("list-units", "--all", "--plain", "--no-legend", pattern).stdout
        ),
        what="a probe runs",
    )
    return deploy


def test_systemd_and_the_bus_start_again_while_a_probe_is_asked(
    system_site: Site, observe: Observe
) -> None:
    site = system_site
    probe, thinking = _probe(site)
    thinking.unlink()
    before = _deployed(site, probe=probe)
    thinking.touch()
    with observe(site) as observer:
        deploy = _probing(site, by=OVER_THE_BUS)
        _reexec_and_new_bus(site)
        time.sleep(0.5)
        # Whatever it makes of the answer that it could not hear: the next waits.
        assert {name: site.pids("sms")[name] for name in FOUR[1:]} == {
            name: before[name] for name in FOUR[1:]
        }
        assert deploy.running
        thinking.unlink()
        done = deploy.wait()
        assert (done.code, done.stderr) == (0, ""), done
    _all_on(site, 2)
    assert _started(observer, site) == dict.fromkeys(FOUR, 1)
    assert observer.summary().least_active("sms") == 3


def _rolling_back(site: Site, *arguments: str, by: tuple[str, ...] = ()) -> Running:
    """A deploy whose release went bad once two were through, and which is on its way back.

    sms@3, which failed, is back; sms@1 drains until `let_go`; sms@2 waits for its turn.
    """
    deploy = _draining(site, 3, *arguments, by=by)
    _bad(site, 2)
    site.hold(1)
    site.let_go(3)
    wait_until(lambda: site.show("sms")["sms@1"]["ActiveState"] == "deactivating")
    return deploy


def test_systemd_and_the_bus_start_again_during_a_rollback(
    system_site: Site, observe: Observe
) -> None:
    site = system_site
    before = _deployed(site)
    with observe(site) as observer:
        deploy = _rolling_back(site, "--json", by=OVER_THE_BUS)
        _reexec_and_new_bus(site)
        site.let_go()
        done = deploy.wait()
        assert done.code == 9, done
    _all_on(site, 1)
    assert done.json["rollback"]["failed"] == []
    assert site.pids("sms")["sms@4"] == before["sms@4"]
    assert _started(observer, site).get("sms@1") == 2
    assert _started(observer, site).get("sms@2") == 2
    assert observer.summary().least_active("sms") >= 2


def _mixed(site: Site) -> list[tuple[str, str, int]]:
    """The processes that have the code of one revision and the unit text of the other."""
    found = []
    for name, pid in site.pids("sms").items():
        with suppress(FileNotFoundError, ProcessLookupError):
            release = Path(os.readlink(f"/proc/{pid}/cwd")).name
            nice = os.getpriority(os.PRIO_PROCESS, pid)
            if (release, nice) not in (("1", 0), ("2", 5)):
                found.append((name, release, nice))
    return found


@contextmanager
def _reloading(site: Site) -> Iterator[None]:
    """Somebody has systemd read its files again, all the time."""
    user = "--user " if site.scope.user else ""
    loop = f"while :; do systemctl {user}daemon-reload; sleep 0.1; done"
    running = site.scope.start("sh", "-c", loop)
    try:
        yield
    finally:
        running.end()


@pytest.mark.parametrize("where", ["system", "user"])
def test_daemon_reloads_all_the_time_do_not_mix_code_and_unit_text(
    make_site: MakeSite, where: str, observe: Observe
) -> None:
    site = make_site(Scope(where))
    _deployed(site)
    _config(site, nice=5)
    count = site.reloads()
    with observe(site) as observer, _reloading(site):
        deploy = site.start("deploy")
        while deploy.running:
            assert _mixed(site) == []
            time.sleep(0.02)
        done = deploy.wait()
        assert (done.code, done.stderr) == (0, ""), done
    assert site.reloads() - count > 12
    _all_on(site, 2)
    assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in site.pids("sms").values()} == {5}
    assert _started(observer, site) == dict.fromkeys(FOUR, 1)
    assert observer.summary().least_active("sms") == 3
    assert {show["NeedDaemonReload"] for show in site.show("sms").values()} == {"no"}


# --- Ctrl-C in each state -------------------------------------------------------------------------


def _interrupt(site: Site, command: Running, times: int) -> None:
    for _ in range(times):
        command.signal(signal.SIGINT)
        time.sleep(0.3)


def _leads_out(site: Site, release: int, *way: str) -> Result:
    site.let_go()
    done = site.unitq(*way)
    assert done.code == 0, done
    _all_on(site, release)
    return done


@pytest.mark.variants
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_while_a_canary_soaks(system_site: Site, times: int) -> None:
    site = system_site
    before = _deployed(site, {"canary": 1, "canary_soak": "4s"})
    deploy = site.start("deploy")
    deploy.wait_for("healthy")
    told = time.monotonic()
    # Nothing is in hand: the first one ends it.
    deploy.signal(signal.SIGINT)
    if times == 2:
        deploy.signal(signal.SIGINT)
    done = deploy.wait()
    assert time.monotonic() - told < 3.5  # the soak takes 4 s
    assert done.code in ((10,) if times == 1 else (10, 130)), done
    assert "3 not touched" in done.stderr
    canary = site.pids("sms")["sms@1"]
    assert _releases(site) == {"sms@1": "2"} | dict.fromkeys(FOUR[1:], "1")
    assert {name: site.pids("sms")[name] for name in FOUR[1:]} == {
        name: before[name] for name in FOUR[1:]
    }
    _leads_out(site, 2, "rollout", "resume")
    assert site.pids("sms")["sms@1"] == canary
    # Its soak was not cut short.
    moments = _moments(site)
    assert min(moments[name][0] for name in FOUR[1:]) - moments["sms@1"][1] >= 4.3


@pytest.mark.variants
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_while_a_probe_is_waited_for(user_site: Site, times: int) -> None:
    site = user_site
    probe, thinking = _probe(site)
    thinking.unlink()
    _deployed(site, probe=probe)
    thinking.touch()
    deploy = _probing(site)
    _interrupt(site, deploy, times)
    if times == 1:
        assert deploy.running
        thinking.unlink()
    done = deploy.wait(10)
    assert done.code == (10 if times == 1 else 130), done
    assert "3 not touched" in done.stderr
    assert _releases(site) == {"sms@1": "2"} | dict.fromkeys(FOUR[1:], "1")
    first = site.pids("sms")["sms@1"]
    thinking.unlink(missing_ok=True)
    _leads_out(site, 2, "rollout", "resume")
    assert site.pids("sms")["sms@1"] == first


@pytest.mark.variants
@pytest.mark.parametrize(("times", "way"), [(1, "resume"), (2, "rollback"), (2, "deploy")])
def test_ctrl_c_while_there_are_more_than_usual(
    system_site: Site, observe: Observe, times: int, way: str
) -> None:
    site = system_site
    rollout = {"max_unavailable": 0, "max_surge": 2, "min_healthy": "1500ms"}
    before = _deployed(site, rollout)
    with observe(site) as observer:
        deploy = site.start("deploy")
        wait_until(lambda: "sms@6" in site.pids("sms"), what="the surge is up")
        _interrupt(site, deploy, times)
        done = deploy.wait()
        assert done.code == (10 if times == 1 else 130), done
        now = site.pids("sms")
        assert {name: now[name] for name in FOUR} == before
        # Stopped where there was time for it; else the next command does.
        assert sorted(now) == sorted((*FOUR, *(("sms@5", "sms@6") if times == 2 else ())))
        words = {"resume": ("rollout", "resume")}.get(way, (way,))
        _leads_out(site, 1 if way == "rollback" else 2, *words)
    assert site.active("sms") == 4
    assert [path.name for path in site.files() if "sms@5" in path.name] == []
    seen = observer.summary()
    assert seen.least_active("sms") == 4
    assert seen.most_instances("sms") == 6
    assert _started(observer, site).get("sms@4", 0) == (way != "rollback")


@pytest.mark.variants
@pytest.mark.parametrize(("times", "way"), [(1, "resume"), (1, "rollback"), (2, "resume")])
def test_ctrl_c_during_a_rollback(system_site: Site, times: int, way: str) -> None:
    site = system_site
    before = _deployed(site)
    deploy = _rolling_back(site)
    _interrupt(site, deploy, times)
    if times == 1:
        assert deploy.running
        site.let_go()
    done = deploy.wait(20)
    assert done.code == (7 if times == 1 else 130), done
    site.let_go()
    wait_until(lambda: site.show("sms")["sms@1"]["ActiveState"] == "active")
    # Half way, and nobody says otherwise.
    assert _releases(site) == {"sms@1": "1", "sms@2": "2", "sms@3": "1", "sms@4": "1"}
    assert "rolled back:" not in done.stdout
    if times == 1:
        assert "rollout resume" in done.stderr
    assert site.unitq("status").code == 15
    words = {"resume": ("rollout", "resume")}.get(way, (way,))
    _leads_out(site, 1, *words)
    assert site.pids("sms")["sms@4"] == before["sms@4"]


@pytest.mark.variants
@pytest.mark.parametrize("kind", ["by hand", "by itself"])
def test_a_rollback_that_is_resumed_is_not_rolled_back_either(system_site: Site, kind: str) -> None:
    site = system_site
    # Far back there is a release that always worked: nobody has asked for that one.
    _config(site)
    site.switch(9)
    site.deploy()
    before = _deployed_next(site, 1)
    if kind == "by hand":
        _deployed_next(site, 2)
        site.hold(1)
        way = site.start("rollback")
        wait_until(lambda: site.show("sms")["sms@1"]["ActiveState"] == "deactivating")
    else:
        site.switch(2)
        way = _rolling_back(site)
    way.signal(signal.SIGKILL)
    way.wait()
    _bad(site, 1)
    site.let_go()
    done = site.unitq("rollout", "resume")
    assert done.code == 7, done
    assert "9" not in _releases(site).values()
    assert "rolling back" not in done.stdout
    if kind == "by itself":
        assert site.pids("sms")["sms@4"] == before["sms@4"]


# --- the disk -------------------------------------------------------------------------------------


@contextmanager
def _small_disk(site: Site) -> Iterator[None]:
    """A disk of its own for unitq's state; the app is removed while it is still there."""
    with mounted(site, site.scope.state_dir):
        try:
            yield
        finally:
            (site.scope.state_dir / "filled-up").unlink(missing_ok=True)
            site.let_go()
            done = site.unitq("-a", site.app, "remove", "--yes")
        assert done.code == 0, done


def _fill(folder: Path) -> Path:
    """Fills the file system to its last byte."""
    path = folder / "filled-up"
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    assert shutil.disk_usage(folder).free == 0
    return path


def test_a_disk_that_is_full_before_a_deploy(system_site: Site) -> None:
    site = system_site
    state = site.scope.state_dir
    with _small_disk(site):
        before = _deployed(site)
        filler = _fill(state)
        files = site.files()
        done = site.deploy(code=13)
        assert "No space left on device" in done.stderr
        assert "nothing was changed" in done.stderr
        assert site.pids("sms") == before
        assert site.files() == files
        filler.unlink()
        site.deploy()
        _all_on(site, 2)


def test_a_disk_that_fills_up_in_mid_rollout(system_site: Site, observe: Observe) -> None:
    site = system_site
    state = site.scope.state_dir
    with _small_disk(site):
        _deployed(site)
        with observe(site) as observer:
            deploy = _draining(site, 2, "--json")
            filler = _fill(state)
            site.let_go()
            done = deploy.wait()
        assert done.code == 0, done
        _all_on(site, 2)
        assert observer.summary().least_active("sms") == 3
        assert done.stderr == ""
        assert done.json["result"] == "ok"
        # It has ended, and its ledger says so.
        assert [each["what"] for each in _ledgers(site)[-1]][-1] == "end"
        assert site.unitq("rollout", "status").code == 0
        assert site.deploy().stdout.startswith("unchanged")
        filler.unlink()
        # What was rolled out on a full disk is a revision to go back to.
        _bad(site, 3)
        site.switch(3)
        site.deploy(code=9)
        _all_on(site, 2)


def test_a_full_disk_keeps_nobody_from_going_back(system_site: Site, observe: Observe) -> None:
    site = system_site
    state = site.scope.state_dir
    with _small_disk(site):
        before = _deployed(site)
        with observe(site) as observer:
            deploy = _draining(site, 2, "--json")
            _bad(site, 2)
            filler = _fill(state)
            site.let_go()
            done = deploy.wait()
        assert done.code == 9, done
        assert done.stderr == ""
        assert observer.summary().least_active("sms") == 3
        now = site.pids("sms")
        assert {name: now[name] for name in FOUR[2:]} == {name: before[name] for name in FOUR[2:]}
        _all_on(site, 1)
        filler.unlink()
        # By hand as well, of a release that is well.
        site.switch(4)
        site.deploy()
        filler = _fill(state)
        done = site.unitq("rollback")
        assert done.code == 0, done
        _all_on(site, 1)
        # But then no deploy begins that could not be undone.
        site.switch(4)
        done = site.deploy(code=13)
        assert "No space left on device" in done.stderr
        assert "nothing was changed" in done.stderr
        filler.unlink()
        site.deploy()
        _all_on(site, 4)


def test_no_room_for_a_rollback_is_told_and_leaves_what_serves_alone(
    system_site: Site, observe: Observe
) -> None:
    site = system_site
    state = site.scope.state_dir
    with _small_disk(site):
        before = _deployed(site)
        with observe(site) as observer:
            deploy = _draining(site, 2, "--json")
            _bad(site, 2)
            # Somebody took what was held for it.
            (state / site.app / ".way-back").unlink()
            filler = _fill(state)
            site.let_go()
            done = deploy.wait()
        assert done.code == 7, done
        assert "internal error" not in done.stderr
        assert "nothing was changed" not in done.stderr
        assert "No space left on device" in done.stderr
        assert "roll" in done.stderr
        report = done.json
        assert (report["result"], report["failed"]) == ("failed", ["sms@2"])
        assert report["rollback"] is None
        assert observer.summary().least_active("sms") == 3
        now = site.pids("sms")
        assert {name: now[name] for name in FOUR[2:]} == {name: before[name] for name in FOUR[2:]}
        assert _releases(site)["sms@1"] == "2"
        told = site.unitq("rollout", "status", "--json")
        assert (told.code, told.json["exit_code"], told.json["rolled_back_to"]) == (0, 7, None)
        # Still no room: each way out says so, and changes nothing.
        files, pids = site.files(), site.pids("sms")
        for way in (["rollback"], ["rollout", "resume"]):
            again = site.unitq(*way)
            assert again.code == 13, again
            assert "No space left on device" in again.stderr
        assert (site.files(), site.pids("sms")) == (files, pids)
        filler.unlink()
        _leads_out(site, 1, "rollback")
        assert {name: site.pids("sms")[name] for name in FOUR[2:]} == {
            name: before[name] for name in FOUR[2:]
        }


# All by which unitq changes a file. Sockets and streams are written to by others.
_CHANGES = (
    "fdatasync,fsync,pwrite64,ftruncate,fallocate,rename,renameat,renameat2,symlink,symlinkat,"
    "unlink,unlinkat,mkdir,mkdirat,rmdir,fchmod,chmod"
)


@contextmanager
def _read_only(running: Running) -> Iterator[None]:
    """From one moment to the next the kernel refuses this process every change of a file."""
    by = ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(running.pid)]
    by += ["-e", f"trace={_CHANGES}", "-e", f"inject={_CHANGES}:error=EROFS"]
    tracer = subprocess.Popen(by, stdin=subprocess.DEVNULL)
    try:
        status = Path(f"/proc/{running.pid}/status")
        wait_until(lambda: f"TracerPid:\t{tracer.pid}" in status.read_text(), what="traced")
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)


@pytest.mark.variants
@pytest.mark.parametrize("text", [{}, {"nice": 5}, {"stop_timeout": "31s"}])
@pytest.mark.parametrize("bad", [False, True])
def test_a_file_system_that_becomes_read_only(
    system_site: Site, text: dict[str, Any], bad: bool
) -> None:
    site = system_site
    before = _deployed(site)
    if text:
        _config(site, **text)
    deploy = _draining(site, 2, "--json")
    if bad:
        _bad(site, 2)
    with _read_only(deploy):
        site.let_go()
        done = deploy.wait()
    assert done.code == 7, done
    assert "internal error" not in done.stdout + done.stderr
    assert "nothing was changed" not in done.stderr
    report = done.json
    assert report["result"] == "failed"
    told = [report["error"], report["no_rollback"], *(row["reason"] for row in report["instances"])]
    assert any("Read-only file system" in (each or "") for each in told), told
    # What was not written down is not done, and what is as it was is counted as that.
    now = site.pids("sms")
    untouched = [name for name in FOUR if now.get(name) == before[name]]
    assert untouched[-2:] == ["sms@3", "sms@4"]
    assert report["next"].startswith(f"{len(untouched)} not touched; ")
    assert report["rollback"] is None
    # The ledger has no end: a deploy is refused, and the report says what is not.
    assert site.unitq("rollout", "status").code == 8
    assert "deploy" not in report["next"]
    assert site.deploy(code=8).stdout == ""
    if bad:
        _leads_out(site, 1, "rollback")
    else:
        _leads_out(site, 2, "rollout", "resume")


@pytest.mark.variants
@pytest.mark.parametrize("error", ["EIO", "EROFS"])
def test_a_ledger_that_can_no_longer_be_written(system_site: Site, error: str) -> None:
    """As on a disk that dies, or is made read-only by its file system."""
    site = system_site
    before = _deployed(site)
    # begin, install, order of sms@1, order of sms@2
    inject = f"inject=fdatasync:error={error}:when=4+"
    by = ("strace", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", inject)
    done = site.start("deploy", before=by).wait()
    assert done.code == 7, done
    assert "internal error" not in done.stderr
    assert os.strerror(getattr(errno, error)) in done.stderr
    assert "ledger" in done.stderr
    assert "failed: 1 of 4 on 2" in done.stdout
    # What was not written down is not done.
    now = site.pids("sms")
    assert {name: now[name] for name in FOUR[1:]} == {name: before[name] for name in FOUR[1:]}
    assert site.unitq("rollout", "status").code == 8
    _leads_out(site, 2, "rollout", "resume")


# --- releases come and go -------------------------------------------------------------------------


def test_the_old_release_is_deleted_below_its_workers(system_site: Site, observe: Observe) -> None:
    site = system_site
    before = _deployed(site)
    with observe(site) as observer:
        deploy = _draining(site, 2)
        shutil.rmtree(site.home / "releases" / "1")
        # It cannot come back by itself any more: its directory is gone.
        os.kill(before["sms@4"], signal.SIGKILL)
        wait_until(lambda: _releases(site).get("sms@4") == "2", what="sms@4 is on release 2")
        site.let_go()
        done = deploy.wait()
        assert done.code == 0, done
    _all_on(site, 2)
    # Two at a time were away: the one in hand and the one that was killed.
    assert observer.summary().least_active("sms") == 2
    pids, files = site.pids("sms"), site.mtimes()
    for words in (["rollback"], ["rollback", "1"]):
        done = site.unitq(*words)
        assert done.code == 13, done
    assert "releases/1 is gone" in done.stderr
    assert (site.pids("sms"), site.mtimes()) == (pids, files)


def test_current_moves_on_in_the_middle_of_a_deploy(user_site: Site) -> None:
    site = user_site
    _deployed(site)
    seen: set[str] = set()
    deploy = _draining(site, 1)
    site.switch(3)
    site.let_go()
    while deploy.running:
        seen.update(_releases(site).values())
        time.sleep(0.02)
    assert deploy.wait().code == 0
    _all_on(site, 2)
    assert seen == {"1", "2"}
    # A crash does not take anybody there either; the next deploy does.
    os.kill(site.pids("sms")["sms@1"], signal.SIGKILL)
    wait_until(lambda: site.active("sms") == 4)
    assert _releases(site) == dict.fromkeys(FOUR, "2")
    site.deploy()
    _all_on(site, 3)


# --- a host with much else to do ------------------------------------------------------------------


@contextmanager
def _other_units(count: int) -> Iterator[None]:
    """So many services of somebody else's, with a process each."""
    name = f"others-of-test-{os.getpid()}"
    scope = Scope("system")
    script = (
        f"for i in $(seq {count}); do systemd-run --quiet --collect --no-block "
        f"--unit={name}-$i sleep 1000 || exit 1; done"
    )
    try:
        assert scope.run("sh", "-c", script).code == 0
        wait_until(
            lambda: scope.systemctl(
                "list-units", "--plain", "--no-legend", "--state=active", f"{name}-*"
            ).stdout.count(name) >= count,
            what="the others are up",
        )  # fmt: skip
        yield
    finally:
        scope.systemctl("stop", f"{name}-*.service", check=False)


def test_a_deploy_with_pins_among_three_hundred_other_units(
    system_site: Site, observe: Observe
) -> None:
    site = system_site
    _deployed(site, {"max_unavailable": 2})
    with _other_units(300):
        _config(site, {"max_unavailable": 2}, nice=5)
        count = site.reloads()
        with observe(site) as observer:
            done = site.deploy()
        # One for the templates, one for each wave of two.
        assert 1 < site.reloads() - count <= 5
        assert done.stderr == ""
        assert observer.summary().least_active("sms") == 2
        assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in site.pids("sms").values()} == {5}
        _all_on(site, 2)
        count = site.reloads()
        site.switch(3)
        site.deploy()
        assert site.reloads() == count
        _all_on(site, 3)


# --- hooks ----------------------------------------------------------------------------------------


def _hook(site: Site, name: str, script: str) -> list[str]:
    path = site.home / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return [str(path)]


def _with_hooks(site: Site, **hooks: Any) -> None:
    site.config(
        workers={"sms": {"command": _worker(site), "instances": 4}},
        rollout={"on_failure": None},
        hooks=hooks,
    )


def test_before_deploy_says_no_and_nothing_is_changed(system_site: Site) -> None:
    site = system_site
    before = _deployed(site)
    files = site.mtimes()
    runtime = {path for path in site.scope.runtime_dir.rglob("*") if site.app in path.name}
    refuses = _hook(site, "refuses", "echo there is a freeze; exit 4")
    hangs = _hook(site, "hangs", "echo hangs; sleep 100")
    for hook, words in (
        (refuses, ("exit status 4", "there is a freeze", "nothing was changed")),
        ({"command": hangs, "timeout": "700ms"}, ("not done in time", "nothing was changed")),
    ):
        _with_hooks(site, before_deploy=hook)
        done = site.deploy(code=13)
        for word in words:
            assert word in done.stderr
        assert done.seconds < 8
        assert site.pids("sms") == before
        assert site.mtimes() == files
        now = {path for path in site.scope.runtime_dir.rglob("*") if site.app in path.name}
        assert now == runtime
    assert not [each for each in site.processes() if "sleep" in each.command]
    # It was no rollout either.
    assert len(_ledgers(site)) == 1
    _with_hooks(site)
    site.deploy()
    _all_on(site, 2)


def test_hooks_get_the_report_and_their_daemons_and_failures_change_nothing(
    user_site: Site,
) -> None:
    site = user_site
    _config(site)
    site.deploy()
    site.switch(2)
    daemon = site.out / "daemon"
    document = site.out / "document"
    after = _hook(
        site,
        "after",
        f"cat > {document}; setsid sh -c 'echo $$ > {daemon}; exec sleep 100' & exit 3",
    )
    hangs = _hook(site, "hangs", f"cat > {document}; sleep 100")
    _with_hooks(site, after_deploy=after, on_failure={"command": hangs, "timeout": "700ms"})
    try:
        done = site.deploy("--json")
        assert "hooks.after_deploy" in done.stderr
        assert "exit status 3" in done.stderr
        assert json.loads(document.read_text()) == {"hook": "after_deploy"} | done.json
        wait_until(lambda: daemon.exists() and daemon.read_text().endswith("\n"))
        os.kill(int(daemon.read_text()), 0)
        # It lives, and nothing waits for it: the app is free.
        bad = _bad(site, 3)
        site.switch(3)
        document.unlink()
        done = site.deploy("--json", code=9)
        assert "not done in time" in done.stderr
        assert done.seconds < 15
        told = json.loads(document.read_text())
        assert told == {"hook": "on_failure"} | done.json
        assert (told["result"], told["failed"]) == ("rolled back", ["sms@1"])
        os.kill(int(daemon.read_text()), 0)
        assert site.unitq("rollback", "1").code == 0
        bad.unlink()
    finally:
        with suppress(FileNotFoundError, ValueError, ProcessLookupError):
            os.kill(int(daemon.read_text()), signal.SIGKILL)
    _all_on(site, 1)
