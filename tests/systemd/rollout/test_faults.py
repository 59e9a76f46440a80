"""What goes wrong in mid-rollout: unitq dies, systemd and the bus go away, people meddle.

Whatever happens, `status` tells the truth afterwards, the same command again gets the app to where
it should be, capacity is kept, and no job is lost or run twice.
"""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness import leftovers
from tests.harness.load import Load
from tests.systemd.conftest import Scope, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.harness.observer import Observer
    from tests.harness.redis_server import RedisServer
    from tests.systemd.conftest import Running, Site

    Observe = Callable[[Site], AbstractContextManager[Observer]]

pytestmark = pytest.mark.systemd

THREE = ("sms@1", "sms@2", "sms@3")

# systemctl and unitq as root use systemd's private socket. Without it they go by the bus, as an
# ordinary user's do.
HIDE = """
for socket in /run/systemd/private /run/user/*/systemd/private; do
  mount --bind /dev/null "$socket"
done
exec "$@"
"""
OVER_THE_BUS = ("unshare", "--mount", "--propagation", "private", "sh", "-ec", HIDE, "sh")


def _deployed(site: Site, **rollout: Any) -> dict[str, int]:
    """Three workers on release 1; the next deploy is to bring release 2. Returns their PIDs."""
    site.config(workers={"sms": {"command": site.holding(), "instances": 3}}, rollout=rollout)
    site.deploy()
    site.switch(2)
    return site.pids("sms")


def _draining(site: Site, number: int, *, by: tuple[str, ...] = ()) -> Running:
    """A deploy in the background that has come to the draining of this instance, and stays there.

    Those before it run the new code, those after it the old.
    """
    site.hold(number)
    deploy = site.start("deploy", before=by)
    deploy.wait_for(f"sms@{number}  draining")
    assert site.show("sms")[f"sms@{number}"]["ActiveState"] == "deactivating"
    return deploy


def _settling(site: Site, before: dict[str, int]) -> Running:
    """A deploy in the background whose first instance is started and not yet healthy."""
    deploy = site.start("deploy")
    wait_until(lambda: site.pids("sms").get("sms@1", before["sms@1"]) != before["sms@1"])
    assert deploy.running
    return deploy


def _status_tells_the_truth(site: Site, wanted: str) -> dict[str, Any]:
    """What `status` says of each instance, after a comparison with systemd and the kernel."""
    status = site.unitq("status", "--json")
    ((worker,),) = [app["workers"] for app in status.json["apps"]]
    told = {each["instance"]: each for each in worker["instances"]}
    shown = site.show("sms")
    revisions = {process.pid: process.revision for process in site.workers()}
    assert worker["revision"] == wanted
    assert set(told) == set(shown)
    for name, properties in shown.items():
        each = told[name]
        assert each["active"] == properties["ActiveState"]
        assert each["main_pid"] == (int(properties["MainPID"]) or None)
        assert each["revision"] == revisions.get(int(properties["MainPID"]))
        assert each["fresh"] is (each["revision"] == wanted)
    stale = any(each["fresh"] is False for each in told.values())
    up = all(each["active"] == "active" for each in told.values())
    assert status.code == (15 if stale else 0 if up else 3), status
    return told


def _wanted(site: Site) -> str:
    """The revision that is wanted now, from disk."""
    return (site.scope.state_dir / site.app / "current").readlink().name


def _each_restarted_once(site: Site, before: dict[str, int]) -> None:
    """By systemd's journal: every instance was started by the first deploy and once since."""
    option = "--user-unit" if site.scope.user else "--unit"
    for number in (1, 2, 3):
        unit = site.unit("sms", number)
        lines = site.scope.journal(f"{option}={unit}").splitlines()
        assert sum(line.startswith(f"Started {unit}") for line in lines) == 2, lines
    assert not set(site.pids("sms").values()) & set(before.values())
    assert {show["NRestarts"] for show in site.show("sms").values()} == {"0"}


def _converges(site: Site, untouched: dict[str, int], *way: str) -> None:
    """A deploy, or another `way`, gets all to the new code, and leaves those alone that have it."""
    site.let_go()
    wait_until(lambda: site.active("sms") == 3)
    done = site.unitq(*(way or ("deploy",)))
    assert done.code == 0, str(done)
    assert set(site.revisions("sms").values()) == {_wanted(site)}
    now = site.pids("sms")
    assert {name: now[name] for name in untouched} == untouched
    assert site.unitq("status").code == 0
    assert site.outside() == ()


# --- unitq dies -----------------------------------------------------------------------------------


def test_after_kill_9_status_tells_the_truth_and_systemd_brings_the_instance_in_hand_back(
    site: Site, observe: Observe
) -> None:
    before = _deployed(site)
    with observe(site) as observer:
        deploy = _draining(site, 2)
        deploy.signal(signal.SIGKILL)
        assert deploy.wait().code == -signal.SIGKILL
        told = _status_tells_the_truth(site, _wanted(site))
        assert [told[name]["fresh"] for name in THREE] == [True, False, False]
        assert told["sms@2"]["active"] == "deactivating"

        # Nobody is there any more to start it; the order that systemd has includes that.
        site.let_go()
        wait_until(lambda: site.active("sms") == 3)
        told = _status_tells_the_truth(site, _wanted(site))
        assert [told[name]["fresh"] for name in THREE] == [True, True, False]
        now = site.pids("sms")
        assert now["sms@3"] == before["sms@3"]

        kept = {name: now[name] for name in ("sms@1", "sms@2")}
        _converges(site, kept, "rollout", "resume")
        _each_restarted_once(site, before)
    assert observer.summary().least_active("sms") == 2
    assert (site.scope.state_dir / site.app / "current").readlink().name.startswith("2-")


@pytest.mark.variants
@pytest.mark.parametrize(
    ("where", "moment"),
    [("system", "unit written"), ("user", "installed"), ("system", "settling"), ("user", "drains")],
)
def test_kill_9_under_load_at_any_moment_and_resume_lose_no_job(
    where: str,
    moment: str,
    make_site: Callable[..., Site],
    redis: RedisServer,
    observe: Observe,
) -> None:
    site = make_site(Scope(where))

    def config(**table: Any) -> None:
        sms = {"command": f'/bin/bash -c "{site.php()}; exit $$?"', "instances": 3}
        site.config(environment=site.resque_environment(redis), workers={"sms": sms | table})

    config()
    site.deploy()
    before = site.pids("sms")
    unit = site.scope.unit_dir / f"unitq-{site.app}-sms@.service"
    old_link, old_text = _wanted(site), unit.read_text()
    site.switch(2)
    config(nice=5)
    moments: dict[str, Callable[[], bool]] = {
        "unit written": lambda: unit.read_text() != old_text,
        "installed": lambda: _wanted(site) != old_link,
        "settling": lambda: site.pids("sms").get("sms@1", 0) not in (0, before["sms@1"]),
        "drains": lambda: "sms@2  draining" in deploy.output(),
    }
    with observe(site) as observer:
        began = time.time()
        with Load(redis.client, rate=12, seconds=(0.1, 0.3)) as load:
            deploy = site.start("deploy")
            wait_until(moments[moment], interval=0.002)
            deploy.signal(signal.SIGKILL)
            assert deploy.wait().code == -signal.SIGKILL
            # What systemd was told goes on; then nothing moves any more.
            wait_until(lambda: site.active("sms") == 3)
            _status_tells_the_truth(site, _wanted(site))
            done = site.unitq("rollout", "resume")
            assert done.code == 0, str(done)
            ended = time.time()
            assert set(site.revisions("sms").values()) == {_wanted(site)}
            wait_until(lambda: any(run.begun > ended for run in load.tally().runs))
        count = load.wait_drained(30)
    assert count.finished == count.enqueued > 0, count
    assert (count.lost, count.twice, count.failed) == ((), (), ()), count
    assert count.stale_after(ended, "text 2") == ()
    assert observer.summary(began, ended).least_active("sms") >= 2
    assert {show["NeedDaemonReload"] for show in site.show("sms").values()} == {"no"}
    assert "Nice=5" in unit.read_text()
    assert site.deploy().stdout.startswith("unchanged")
    assert not [path for path in site.files() if ".tmp" in path.name]


# --- Ctrl-C, time-outs, terminals -----------------------------------------------------------------


@pytest.mark.parametrize(("where", "number"), [("system", signal.SIGINT), ("user", signal.SIGTERM)])
def test_ctrl_c_finishes_the_instance_in_hand_and_the_same_command_goes_on(
    make_site: Callable[..., Site], where: str, number: signal.Signals
) -> None:
    site = make_site(Scope(where))
    before = _deployed(site)
    deploy = _draining(site, 1)
    deploy.signal(number)
    time.sleep(0.5)
    assert deploy.running
    site.let_go()
    result = deploy.wait()
    assert result.code == 10, result
    assert "2 not touched" in result.stderr
    now = site.pids("sms")
    assert now["sms@1"] != before["sms@1"]
    assert {name: now[name] for name in ("sms@2", "sms@3")} == {
        name: before[name] for name in ("sms@2", "sms@3")
    }
    told = _status_tells_the_truth(site, _wanted(site))
    assert [told[name]["fresh"] for name in THREE] == [True, False, False]
    _converges(site, {"sms@1": now["sms@1"]})


def test_a_second_ctrl_c_detaches_at_once_and_systemd_finishes_what_was_begun(
    user_site: Site,
) -> None:
    site = user_site
    before = _deployed(site)
    deploy = _draining(site, 1)
    deploy.signal(signal.SIGINT)
    time.sleep(0.2)
    deploy.signal(signal.SIGINT)
    result = deploy.wait(10)  # what drains may take 20 s
    assert result.code == 130, result
    assert site.show("sms")["sms@1"]["ActiveState"] == "deactivating"
    site.let_go()
    wait_until(lambda: site.active("sms") == 3)
    now = site.pids("sms")
    assert now["sms@1"] != before["sms@1"]
    _converges(site, {"sms@1": now["sms@1"]})


def test_a_timeout_ends_the_wait_and_not_the_work(system_site: Site) -> None:
    site = system_site
    before = _deployed(site)
    site.hold(1)
    result = site.deploy("--timeout", "1s", code=6)
    assert 1.0 <= result.seconds < 15  # what drains may take 20 s
    assert "systemd finishes what was ordered" in result.stderr
    assert site.show("sms")["sms@1"]["ActiveState"] == "deactivating"
    site.let_go()
    wait_until(lambda: site.active("sms") == 3)
    now = site.pids("sms")
    assert now["sms@1"] != before["sms@1"]
    _converges(site, {"sms@1": now["sms@1"]})


def test_sighup_does_not_stop_a_rollout(system_site: Site) -> None:
    site = system_site
    _deployed(site)
    deploy = _draining(site, 2)
    deploy.signal(signal.SIGHUP)
    site.let_go()
    result = deploy.wait()
    assert result.code == 0, result
    assert set(site.revisions("sms").values()) == {_wanted(site)}


def test_a_terminal_that_goes_away_does_not_stop_a_rollout(system_site: Site) -> None:
    site = system_site
    before = _deployed(site)
    site.hold(2)
    master, slave = pty.openpty()
    deploy = subprocess.Popen(
        ["setsid", "--ctty", sys.executable, "-m", "unitq", "deploy"],
        cwd=site.home,
        env=site.scope.environment | {"TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    try:
        wait_until(lambda: site.show("sms")["sms@2"]["ActiveState"] == "deactivating")
        os.close(master)
        time.sleep(0.2)
        site.let_go()
        code = deploy.wait(30)
    finally:
        deploy.kill()
        deploy.wait()
    assert code == 0
    assert set(site.revisions("sms").values()) == {_wanted(site)}
    assert not set(site.pids("sms").values()) & set(before.values())


def test_a_reader_that_goes_away_does_not_stop_a_deploy(system_site: Site) -> None:
    site = system_site
    _deployed(site)
    reader, writer = os.pipe()
    os.close(reader)
    # As in `unitq deploy 2>&1 | head -1`.
    deploy = subprocess.run(
        [sys.executable, "-m", "unitq", "deploy"],
        cwd=site.home,
        env=site.scope.environment,
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=writer,
        timeout=60,
    )
    os.close(writer)
    assert deploy.returncode == 0
    assert set(site.revisions("sms").values()) == {_wanted(site)}
    assert _wanted(site).startswith("2-")


def test_a_second_deploy_is_refused_and_told_who_is_at_work(user_site: Site) -> None:
    site = user_site
    _deployed(site)
    deploy = _draining(site, 1)
    second = site.unitq("deploy")
    assert second.code == 8, second
    assert str(deploy.pid) in second.stderr
    assert "`unitq --user deploy`" in second.stderr
    assert second.stdout == ""
    for verb in (["restart"], ["stop"], ["scale", "sms=1"], ["remove", "--yes"]):
        assert site.unitq(*verb).code == 8
    # Looking is allowed.
    assert site.unitq("status").code == 15
    site.let_go()
    assert deploy.wait().code == 0
    assert site.deploy().stdout.startswith("unchanged")


# --- systemd and the bus go away ------------------------------------------------------------------


@pytest.mark.variants
@pytest.mark.parametrize(
    ("where", "moment"), [("system", "draining"), ("user", "draining"), ("system", "settling")]
)
def test_a_daemon_reexec_in_mid_rollout_changes_nothing(
    make_site: Callable[..., Site], where: str, moment: str, observe: Observe
) -> None:
    site = make_site(Scope(where))
    before = _deployed(site, min_healthy="150ms" if moment == "draining" else "800ms")
    with observe(site) as observer:
        deploy = _draining(site, 2) if moment == "draining" else _settling(site, before)
        site.systemctl("daemon-reexec")
        site.let_go()
        result = deploy.wait()
        assert result.code == 0, result
        _each_restarted_once(site, before)
    assert observer.summary().least_active("sms") == 2
    assert set(site.revisions("sms").values()) == {_wanted(site)}
    # How each ended was not missed either.
    assert "did not drain" not in result.stderr


@pytest.mark.variants
@pytest.mark.parametrize(
    ("where", "by"),
    [("system", ()), ("system", OVER_THE_BUS), ("user", OVER_THE_BUS)],
    ids=["private-socket-system", "over-the-bus-system", "over-the-bus-user"],
)
def test_a_restart_of_dbus_in_mid_rollout_changes_nothing(
    make_site: Callable[..., Site], where: str, by: tuple[str, ...], observe: Observe
) -> None:
    site = make_site(Scope(where))
    before = _deployed(site)
    with observe(site) as observer:
        deploy = _draining(site, 2, by=by)
        site.systemctl("restart", "dbus.service")
        time.sleep(0.3)
        site.let_go()
        result = deploy.wait()
        assert result.code == 0, result
        _each_restarted_once(site, before)
    assert observer.summary().least_active("sms") == 2
    assert "did not drain" not in result.stderr


def test_a_daemon_reexec_while_unitq_is_connected_over_the_bus_changes_nothing(
    system_site: Site, observe: Observe
) -> None:
    site = system_site
    before = _deployed(site)
    with observe(site) as observer:
        deploy = _draining(site, 2, by=OVER_THE_BUS)
        site.systemctl("daemon-reexec")
        site.let_go()
        result = deploy.wait()
        assert result.code == 0, result
        _each_restarted_once(site, before)
    assert observer.summary().least_active("sms") == 2


def test_status_goes_on_watching_through_a_daemon_reexec(system_site: Site) -> None:
    site = system_site
    _deployed(site)
    watch = site.start("status", "--watch")
    time.sleep(1)
    for _ in range(2):
        site.systemctl("daemon-reexec")
        time.sleep(0.5)
        assert watch.running
    watch.signal(signal.SIGINT)
    assert watch.wait(10).code == 0
    assert watch.wait().stderr == ""


@pytest.mark.variants
@pytest.mark.parametrize(
    ("where", "verb"),
    [("system", "daemon-reload"), ("system", "daemon-reexec"), ("user", "daemon-reexec")],
)
def test_reloads_and_reexecs_all_the_time_do_not_disturb_a_rollout(
    make_site: Callable[..., Site], where: str, verb: str, observe: Observe
) -> None:
    site = make_site(Scope(where))
    before = _deployed(site, min_healthy="400ms")
    with observe(site) as observer, _again_and_again(site, verb) as count:
        result = site.deploy()
        times = count()
    assert times > 1
    _each_restarted_once(site, before)
    assert observer.summary().least_active("sms") == 2
    assert result.stderr == ""
    assert set(site.revisions("sms").values()) == {_wanted(site)}


@contextmanager
def _again_and_again(site: Site, verb: str) -> Iterator[Callable[[], int]]:
    """Runs `systemctl VERB` in a loop with short pauses; tells how often it has."""
    stop = threading.Event()
    done: list[int] = []

    def loop() -> None:
        while not stop.is_set():
            done.append(site.systemctl(verb, check=False).code)
            stop.wait(0.3)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield lambda: len(done)
    finally:
        stop.set()
        thread.join(30)


# --- people meddle --------------------------------------------------------------------------------


def test_somebody_restarts_an_instance_that_still_waits(system_site: Site) -> None:
    site = system_site
    before = _deployed(site)
    deploy = _draining(site, 2)
    site.systemctl("restart", site.unit("sms", 3))
    wait_until(lambda: site.pids("sms").get("sms@3", before["sms@3"]) != before["sms@3"])
    site.let_go()
    done = deploy.wait()
    assert done.code == 0, str(done)
    assert set(site.revisions("sms").values()) == {_wanted(site)}


def test_somebody_stops_an_instance_that_still_waits(system_site: Site) -> None:
    site = system_site
    _deployed(site)
    deploy = _draining(site, 2)
    # Refused ("canceled") where unitq's own order comes while it is still stopping.
    site.systemctl("stop", site.unit("sms", 3), check=False)
    # It costs no capacity any more, so it need not wait for its turn.
    wait_until(lambda: site.revisions("sms").get("sms@3") == _wanted(site))
    site.let_go()
    assert deploy.wait().code == 0
    assert set(site.revisions("sms").values()) == {_wanted(site)}


def test_somebody_restarts_the_instance_that_drains(system_site: Site) -> None:
    site = system_site
    _deployed(site)
    deploy = _draining(site, 2)
    site.systemctl("restart", "--no-block", site.unit("sms", 2))
    time.sleep(0.2)
    site.let_go()
    assert deploy.wait().code == 0
    assert set(site.revisions("sms").values()) == {_wanted(site)}


def test_somebody_restarts_the_instance_that_settles_and_it_gets_a_new_chance(
    system_site: Site,
) -> None:
    site = system_site
    before = _deployed(site, min_healthy="1s")
    deploy = _settling(site, before)
    first = site.pids("sms")["sms@1"]
    site.systemctl("restart", site.unit("sms", 1))
    meddled = site.pids("sms")["sms@1"]
    assert meddled not in (first, before["sms@1"])
    result = deploy.wait()
    assert result.code == 0, result
    assert "sms@1 was restarted by somebody else" in result.stderr
    # It has the new code: nobody needs to restart it once more.
    assert site.pids("sms")["sms@1"] == meddled
    assert set(site.revisions("sms").values()) == {_wanted(site)}


def test_somebody_restarts_an_instance_that_is_healthy_already(system_site: Site) -> None:
    site = system_site
    _deployed(site)
    deploy = _draining(site, 2)
    first = site.pids("sms")["sms@1"]
    site.systemctl("restart", site.unit("sms", 1))
    meddled = site.pids("sms")["sms@1"]
    assert meddled != first
    site.let_go()
    result = deploy.wait()
    assert result.code == 0, result
    assert site.pids("sms")["sms@1"] == meddled
    assert set(site.revisions("sms").values()) == {_wanted(site)}


def test_a_masked_instance_stops_the_rollout_and_says_so(system_site: Site) -> None:
    site = system_site
    before = _deployed(site)
    unit = site.unit("sms", 2)
    site.systemctl("mask", "--runtime", unit)
    try:
        result = site.unitq("deploy")
        assert result.code in (7, 13), result
        assert "masked" in result.stderr
        assert unit in result.stderr or "sms@2" in result.stderr
        now = site.pids("sms")
        assert now["sms@3"] == before["sms@3"]
    finally:
        site.systemctl("unmask", "--runtime", unit)
    _converges(site, {})


# --- systemctl alone ------------------------------------------------------------------------------


def test_every_instance_and_the_target_start_at_boot(site: Site) -> None:
    _deployed(site)
    units = [site.target, *(site.unit("sms", number) for number in (1, 2, 3))]
    enabled = site.systemctl("is-enabled", *units)
    assert enabled.stdout.split() == ["enabled"] * 4
    wanted_by = "default.target" if site.scope.user else "multi-user.target"
    assert (site.scope.unit_dir / f"{wanted_by}.wants" / site.target).exists()


def test_the_target_stops_all_instances_and_brings_each_back_with_its_revision(site: Site) -> None:
    _deployed(site)
    # One on the new code, two on the old: what a crash or a reboot in mid-rollout finds.
    deploy = _draining(site, 1)
    deploy.signal(signal.SIGINT)
    site.let_go()
    assert deploy.wait().code == 10
    before, revisions = site.pids("sms"), site.revisions("sms")
    assert [revisions[name] == _wanted(site) for name in THREE] == [True, False, False]

    site.systemctl("stop", site.target)
    # systemctl waits for the target only, which is down before what is part of it.
    assert leftovers.wait_gone(site.workers, 10) == ()
    site.systemctl("start", site.target)
    wait_until(lambda: site.active("sms") == 3)
    assert site.revisions("sms") == revisions
    assert not set(site.pids("sms").values()) & set(before.values())
    _converges(site, {"sms@1": site.pids("sms")["sms@1"]})


def test_a_signal_breaks_off_no_call_to_systemd(scope: Scope) -> None:
    code = (
        "import os, signal, time\n"
        "from unitq.linux.interrupts import Interrupts\n"
        "from unitq.systemd.manager import Systemd\n"
        f"systemd = Systemd(user={scope.user})\n"
        "me = os.getpid()\n"
        "with Interrupts().caught() as interrupts:\n"
        "    if not (sender := os.fork()):\n"
        "        while os.getppid() == me:\n"
        "            os.kill(me, signal.SIGINT)\n"
        "            time.sleep(0.0001)\n"
        "        os._exit(0)\n"
        "    for _ in range(500):\n"
        "        systemd.stopping()\n"
        "    os.kill(sender, signal.SIGKILL)\n"
        "    os.waitpid(sender, 0)\n"
        "    assert interrupts.count > 20, interrupts.count\n"
    )
    done = scope.run(sys.executable, "-c", code)
    assert done.code == 0, str(done)
