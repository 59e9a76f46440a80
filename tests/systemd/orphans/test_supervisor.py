"""The incident itself: a real supervisord in a unit of systemd, and what it leaves behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness import leftovers
from tests.systemd.conftest import WORKERS, wait_until
from tests.systemd.orphans.test_orphans import configured, kill, orphans, parent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.redis_server import RedisServer
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd

CONF = """\
[unix_http_server]
file={home}/supervisor.sock
[supervisord]
logfile={home}/supervisord.log
pidfile={home}/supervisord.pid
environment={mark}="{app}",REDIS_BACKEND="{redis}",INTERVAL="0.05",QUEUE="sms"
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{home}/supervisor.sock
; As people write it: bash stays, as something follows the worker.
[program:legacy]
command=/bin/bash -c "php {worker}; true"
process_name=%(program_name)s_%(process_num)02d
numprocs=1
directory={current}
startsecs=1
[program:direct]
command=php {worker}
directory={current}
environment=PROCESS_TITLE="0"
startsecs=1
autostart=false
"""


@dataclass
class Supervisor:
    """A supervisord as a distribution starts it, with one program."""

    site: Site
    unit: str

    @property
    def conf(self) -> Path:
        return self.site.out / "supervisord.conf"

    def start(self) -> None:
        daemon = Path(sys.executable).with_name("supervisord")
        self.site.scope.run(
            *("systemd-run", "--quiet", f"--unit={self.unit}", "--property=KillMode=process"),
            *(str(daemon), "-n", "-c", str(self.conf)),
        )
        wait_until(lambda: "RUNNING" in self.ctl("status"), 60, "its program runs")

    def ctl(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(self.conf), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout

    @property
    def pid(self) -> int:
        shown = self.site.systemctl("show", "--property=MainPID", "--value", self.unit)
        return int(shown.stdout)

    def workers(self) -> set[int]:
        """The PHP processes that it has started, whoever has them now."""
        found = set()
        for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                executable = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
                cgroup = Path(f"/proc/{pid}/cgroup").read_text()
                if executable.startswith("php") and f"/{self.unit}" in cgroup:
                    found.add(pid)
        return found

    def clear(self) -> None:
        self.ctl("stop", "all")
        left = self.workers()
        self.site.systemctl("stop", self.unit, check=False)
        for pid in left:
            kill(pid)


@pytest.fixture
def supervisor(system_site: Site, redis: RedisServer) -> Iterator[Supervisor]:
    """The app under unitq in release 1, and beside it what was to be ended long ago."""
    configured(system_site, redis)
    system_site.deploy()
    made = Supervisor(system_site, f"supervisor-{system_site.app}.service")
    made.conf.write_text(
        CONF.format(
            home=system_site.out, mark=leftovers.MARK, app=system_site.app, redis=redis.address,
            current=system_site.current, worker=WORKERS / "resque.php",
        )
    )  # fmt: skip
    try:
        made.start()
        wait_until(lambda: redis.client.scard("resque:workers") == 3, what="all register")
        yield made
    finally:
        made.clear()


def test_one_right_below_supervisord_says_itself_what_it_is_called(supervisor: Supervisor) -> None:
    supervisor.ctl("start", "direct")
    site = supervisor.site
    wait_until(
        lambda: len(site.unitq("orphans", "--json").json["orphans"]) == 2, 60, "both are found"
    )
    found = orphans(site, code=3)
    (direct,) = (each for each in found.values() if each["parent"] == supervisor.pid)
    assert (direct["kept_by"], direct["program"]) == ("supervisord", "direct")
    assert direct["keeper"] == f"supervisord (PID {supervisor.pid}), as direct"


def test_what_supervisord_keeps_and_what_its_restart_leaves_behind(supervisor: Supervisor) -> None:
    site = supervisor.site
    first = str(site.home / "releases/1")
    (found,) = orphans(site, code=3).values()
    shell = parent(found["pid"])
    assert parent(shell) == supervisor.pid
    assert (found["kept_by"], found["unit"]) == ("supervisord", supervisor.unit)
    # The worker's title is over its environment; its shell knows.
    assert found["command"].startswith("resque-1.2: ")
    assert found["program"] == "legacy:legacy_00"
    assert found["keeper"] == f"supervisord (PID {supervisor.pid}), as legacy:legacy_00"
    assert (found["release"], found["current"]) == (first, True)
    old = found["pid"]
    text = site.unitq("orphans")
    assert "`supervisorctl stop legacy:legacy_00`" in text.stderr, text

    # As in the incident: the link moves, Supervisor restarts, its shell dies, the worker does not.
    site.switch(2)
    site.deploy()
    supervisor.ctl("restart", "legacy:*")
    wait_until(lambda: parent(old) == 1, what="PID 1 has the worker")
    wait_until(lambda: len(supervisor.workers()) == 2, 60, "another one in its place")
    wait_until(
        lambda: len(site.unitq("orphans", "--json").json["orphans"]) == 2, 60, "both are found"
    )
    every = orphans(site, code=15)
    left = every.pop(old)
    assert (left["kept_by"], left["program"]) == ("init", None)
    assert left["keeper"] == f"PID 1 adopted it, in {supervisor.unit}"
    assert (left["release"], left["current"]) == (first, False)
    (new,) = every.values()
    assert (new["kept_by"], new["program"]) == ("supervisord", "legacy:legacy_00")
    assert (new["release"], new["current"]) == (str(site.home / "releases/2"), True)
    assert first in site.unitq("releases", "--in-use").stdout.splitlines()

    drained = site.unitq("orphans", "--drain", str(old))
    assert drained.code == 0, drained
    assert not os.path.exists(f"/proc/{old}")
    # It was told what nobody starts again; the other one goes on.
    assert orphans(site, code=3).keys() == {new["pid"]}
