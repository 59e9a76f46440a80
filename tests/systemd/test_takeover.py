"""unitq takeover: from a real supervisord to a real systemd, with jobs flowing.

None is lost, none is run twice, and never are there more workers than before.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.harness import leftovers
from tests.harness.load import Load
from tests.systemd.conftest import WORKERS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.load import Tally
    from tests.harness.redis_server import RedisServer
    from tests.systemd.conftest import Site

pytestmark = pytest.mark.systemd

MAIN = """\
; the main file
[unix_http_server]
file={home}/supervisor.sock
[supervisord]
user=root
logfile={home}/supervisord.log
pidfile={home}/supervisord.pid
environment={mark}="{app}",REDIS_BACKEND="{redis}",INTERVAL="0.05",PROCESS_TITLE="0"
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{home}/supervisor.sock
[include]
files = conf.d/*.conf
"""

PROGRAM = """\
; {name}
[program:{name}] ; of the shop
command={command}
process_name=%(program_name)s_%(process_num)02d
numprocs={count} ; so many
directory={current}
user=www-data
environment=QUEUE="{name}"
startsecs=1
{more}
"""

# As in a real app, where the framework is a package; a copy of tests/workers/resque.php.
PHP = "/usr/bin/php vendor/bin/resque"
# The shell stays, as something follows the worker.
SHELL = f'/bin/bash -c "{PHP}; true"'


@dataclass
class Host:
    """A host with a supervisord and some programs."""

    site: Site
    redis: RedisServer
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def conf(self) -> Path:
        return self.site.home / "supervisord.conf"

    @property
    def folder(self) -> Path:
        return self.site.home / "conf.d"

    def program(self, name: str, more: str, *, command: str = PHP, count: int = 3) -> None:
        """Writes conf.d/NAME.conf."""
        text = PROGRAM.format(
            name=name, command=command, count=count, current=self.site.current, more=more
        )
        (self.folder / f"{name}.conf").write_text(text)

    def start(self) -> None:
        """Starts supervisord, and waits for all programs."""
        self.processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(self.conf)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
            )
        )
        wait_until(lambda: self.site.home.joinpath("supervisor.sock").is_socket(), 30, "its socket")

    def running(self, count: int) -> None:
        """Waits until so many processes have been up for long enough."""
        wait_until(
            lambda: list(self.states().values()).count("RUNNING") == count, 30, "all RUNNING"
        )

    def ctl(self, *arguments: str) -> str:
        """What the real supervisorctl prints."""
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(self.conf), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert not done.stderr, done.stderr
        return done.stdout

    def states(self) -> dict[str, str]:
        """What supervisord says, by process."""
        lines = [line.split() for line in self.ctl("status").splitlines()]
        return {words[0]: words[1] for words in lines}

    def stop(self) -> None:
        """Ends it, as init would."""
        while self.processes:
            process = self.processes.pop()
            process.terminate()
            process.wait(30)

    def imported(self) -> None:
        done = self.site.unitq("-a", self.site.app, "import", str(self.conf), "-o", "unitq.toml")
        assert done.code == 0, str(done)
        assert done.stdout.count("preset = php-resque") >= 1, str(done)

    def mains(self, queue: str | None = None) -> list[int]:
        """The workers' main processes, whoever runs them."""
        found = {
            each.pid: each
            for each in tuple(leftovers.every())
            if each.command[:2] == ("/usr/bin/php", "vendor/bin/resque")
            and each.mark == self.site.app
        }
        return [
            pid
            for pid, each in found.items()
            if each.parent not in found and queue in (None, each.environment.get("QUEUE"))
        ]


@pytest.fixture
def host(system_site: Site, redis: RedisServer) -> Iterator[Host]:
    """Its files but for the programs; supervisord is ended afterwards."""
    made = Host(system_site, redis)
    made.folder.mkdir()
    for number in (1, 2):
        script = system_site.release(number) / "vendor" / "bin" / "resque"
        script.parent.mkdir(parents=True)
        shutil.copy(WORKERS / "resque.php", script)
    made.conf.write_text(
        MAIN.format(
            home=system_site.home,
            mark=leftovers.MARK,
            app=system_site.app,
            redis=redis.address,
        )
    )
    try:
        yield made
    finally:
        made.stop()


class Counted:
    """Counts the main processes for as long as the context lasts."""

    def __init__(self, host: Host, queue: str | None = None) -> None:
        self._host = host
        self._queue = queue
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._count, daemon=True)
        self.most = 0
        self.least = 10**6
        self.looks = 0

    def _count(self) -> None:
        while not self._over.wait(0.02):
            number = len(self._host.mains(self._queue))
            self.most, self.least = max(self.most, number), min(self.least, number)
            self.looks += 1

    def __enter__(self) -> Counted:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()


def none_lost(load: Load) -> Tally:
    tally = load.wait_drained(60)
    assert not tally.lost, str(tally)
    assert not tally.twice, str(tally)
    assert tally.enqueued == tally.finished > 0
    return tally


WAYS = {
    # as many have it, and as it loses jobs at each restart
    "drain": (PHP, "autorestart=true"),
    "unexpected": (PHP, ""),
    "hold": (SHELL, "autorestart=true"),
    "hold-group": (SHELL, "autorestart=true\nstopasgroup=true"),
    "stop": (PHP, "autorestart=true\nstopsignal=QUIT\nstopwaitsecs=600"),
}


@pytest.mark.parametrize("name", WAYS)
def test_no_job_is_lost_and_none_run_twice(host: Host, name: str) -> None:
    command, more = WAYS[name]
    host.program("sms", more, command=command)
    host.start()
    host.running(3)
    host.imported()
    site = host.site
    before = (host.folder / "sms.conf").read_text()
    dry = site.unitq("takeover", str(host.conf), "--dry-run")
    assert dry.code == 12, str(dry)
    assert (host.folder / "sms.conf").read_text() == before
    with Load(host.redis.client, ["sms"], rate=15, seconds=(0.05, 0.3)) as load:
        wait_until(lambda: load.tally().finished > 5, 20, "jobs flow")
        with Counted(host) as counted:
            done = site.unitq("takeover", str(host.conf), "--yes")
        assert done.code == 0, str(done)
        now = time.time()
        wait_until(lambda: len([r for r in load.tally().runs if r.begun > now]) > 10, 20, "on")
    tally = none_lost(load)
    assert all(run.revision for run in tally.runs if run.begun > now), "units have them all"
    assert any(not run.revision for run in tally.runs)
    assert counted.looks > 20
    assert counted.most == 3, done.stdout
    assert counted.least == 2, done.stdout
    states = host.states()
    ended = {"EXITED"} if name == "unexpected" else {"STOPPED"}
    assert set(states.values()) == ended, states
    assert site.active("sms") == 3
    assert len(host.mains()) == 3
    after = (host.folder / "sms.conf").read_text()
    header = "[program:sms] ; of the shop\n"
    assert after == before.replace(header, f"{header}autostart=false\n")
    assert (host.folder / "sms.conf.before-unitq").read_text() == before

    # All is as a deploy would have made it, and again there is nothing to do.
    again = site.unitq("takeover", str(host.conf), "--yes")
    assert again.code == 0
    assert "nothing to do" in again.stdout
    assert site.unitq("status").code == 0
    wait_until(lambda: site.unitq("plan").code == 0, 20, "nothing is to be deployed")
    assert "stable" in site.unitq("history").stdout

    # A restart of supervisord, as at a boot, starts none of them.
    host.stop()
    host.start()
    assert set(host.states().values()) == {"STOPPED"}
    assert len(host.mains()) == 3
