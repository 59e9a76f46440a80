"""Who can make unitq end a process that does not work for the app: nobody but the process itself.

Each test is an attack by an account that may write into the app's Redis, or runs its workers.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.systemd.conftest import wait_until
from tests.systemd.orphans.test_orphans import HOST, WORKER, Strays, configured, kill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.redis_server import RedisServer
    from tests.systemd.conftest import Result, Running, Site

pytestmark = pytest.mark.systemd

# A daemon of the host's that has nothing to do with the app, and would end when it is told to.
DAEMON = """<?php
pcntl_async_signals(true);
pcntl_signal(SIGQUIT, function () { exit(0); });
echo "up\n";
while (true) { usleep(50000); }
"""

TESTER = ("setpriv", "--reuid=tester", "--regid=tester", "--clear-groups", "--")
MIXED = ("setpriv", "--ruid=tester", "--euid=www-data", "--regid=www-data", "--clear-groups", "--")


class Attacked(Strays):
    """The app, and a host with other things to do."""

    def daemon(self, *before: str) -> Running:
        """The host's daemon, as root, or as `before` says."""
        script = self.site.out / "daemon.php"
        script.write_text(DAEMON)
        argv = [*before, "/usr/bin/php", str(script)]
        found = self.site.scope.start(*argv, cwd=self.site.out)
        self._started.append(found)
        found.wait_for("up")
        return found

    def claim(self, pid: int, queues: str = "sms", since: float | None = None) -> None:
        """The one record in Redis that says that this process is a worker of the app's."""
        name = f"{HOST}:{pid}:{queues}"
        began = time.strftime("%a %b %d %H:%M:%S %Z %Y", time.localtime(since or time.time()))
        self.redis.client.sadd("resque:workers", name)
        self.redis.client.set(f"resque:worker:{name}:started", began)

    def orphans(self, *arguments: str, code: int) -> tuple[dict[int, Any], dict[int, Any]]:
        """What `unitq orphans --json` says, by PID: the orphans, and what is claimed."""
        said = self.site.unitq("orphans", "--json", *arguments)
        assert said.code == code, said
        return by_pid(said, "orphans"), by_pid(said, "claimed")


def by_pid(said: Result, key: str) -> dict[int, Any]:
    return {each["pid"]: each for each in said.json.get(key, ())}


@pytest.fixture
def host(system_site: Site, redis: RedisServer) -> Iterator[Attacked]:
    configured(system_site, redis, stop_timeout="2s")
    system_site.deploy()
    found = Attacked(system_site, redis)
    wait_until(lambda: len(found.registered()) == 2, what="its own register")
    try:
        yield found
    finally:
        found.end()


@pytest.mark.parametrize(
    ("account", "claim"), [((), "account"), (TESTER, "account"), (MIXED, "account")]
)
def test_a_record_in_redis_ends_nobody_elses_process(
    host: Attacked, account: tuple[str, ...], claim: str
) -> None:
    daemon = host.daemon(*account)
    host.claim(daemon.pid)
    sure, claimed = host.orphans("--drain", "--yes", code=3)
    assert sure == {}
    assert claimed.keys() == {daemon.pid}
    assert (claimed[daemon.pid]["claim"], claimed[daemon.pid]["drain"]) == (claim, None)
    assert daemon.running
    text = host.site.unitq("orphans", "--drain", "--yes")
    assert text.code == 3, text
    assert f"claimed: PID {daemon.pid}" in text.stdout, text
    assert "no orphans among" in text.stdout, text
    assert "1 process claimed, and left alone" in text.stdout, text
    assert f"orphans --drain {daemon.pid}`" in text.stderr, text
    assert daemon.running
    # A deploy does not take it for one either.
    assert host.site.unitq("deploy", "--json").json["orphans"] == []
    # A person who knows better names it.
    sure, claimed = host.orphans("--drain", str(daemon.pid), code=0)
    assert (sure[daemon.pid]["drain"]["told"], claimed) == ([daemon.pid], {})
    assert daemon.wait().code == 0


def test_a_record_counts_for_a_process_of_the_workers_account(host: Attacked) -> None:
    worker = host.daemon(*WORKER)
    host.claim(worker.pid)
    sure, claimed = host.orphans("--drain", code=0)
    assert (list(sure), list(claimed)) == ([worker.pid], [])
    assert sure[worker.pid]["claim"] is None
    assert worker.wait().code == 0


@pytest.mark.parametrize(
    "since",
    [time.time() + 86400, time.time() + 10 * 365 * 86400, 86400.0],
    ids=["tomorrow", "in ten years", "1970"],
)
def test_a_birth_that_cannot_be_counts_for_nothing(host: Attacked, since: float) -> None:
    worker = host.daemon(*WORKER)
    host.claim(worker.pid, since=since)
    assert host.orphans("--drain", "--yes", code=0) == ({}, {})
    assert worker.running


def test_where_workers_run_as_root_redis_says_nothing_of_a_daemon(host: Attacked) -> None:
    site = host.site
    text = site.toml.read_text()
    site.write(text.replace('"www-data"', '"root"'))
    site.deploy()
    daemon = host.daemon()
    host.claim(daemon.pid)
    sure, claimed = host.orphans("--drain", "--yes", code=3)
    assert (sure, claimed[daemon.pid]["claim"]) == ({}, "root")
    assert daemon.running


def test_a_record_ends_nobody_in_a_login_session(host: Attacked) -> None:
    unit = f"--unit=session-{host.site.app}.scope"
    shell = host.daemon("systemd-run", "--scope", "--quiet", unit.replace("shop-", "c"), *WORKER)
    host.claim(shell.pid)
    sure, claimed = host.orphans("--drain", "--yes", code=3)
    assert (sure, claimed[shell.pid]["claim"]) == ({}, "session")
    assert shell.running


@pytest.mark.parametrize("pid", ["1", "2", str(2**22), str(2**40), str(2**70), "-1", "0"])
def test_pids_that_cannot_be(host: Attacked, pid: str) -> None:
    """PID 1, a kernel thread's, and such as there is none: nobody is told, and nothing breaks."""
    host.redis.client.sadd("resque:workers", f"{HOST}:{pid}:sms")
    sure, claimed = host.orphans("--drain", "--yes", code=0)
    assert (sure, claimed) == ({}, {})


def test_unitq_ends_neither_itself_nor_what_it_runs_below(host: Attacked) -> None:
    """All that run it, up to PID 1, are claimed; and one of them even is an orphan."""
    site = host.site
    here = os.getpid()
    for pid in (1, here, os.getppid()):
        host.claim(pid)
    sure, _ = host.orphans("--drain", "--yes", code=0)
    assert sure == {}
    (site.home / "releases/1/worker.py").write_text(BELOW)
    site.config(workers={"sms": {"command": f"{sys.executable} worker.py", "instances": 1}})
    site.deploy()
    said = site.out / "said"
    environment = {"SAID": str(said), "APP": site.app}
    above = host.start(sys.executable, "worker.py", environment=environment)
    wait_until(said.exists, 60, "it has called unitq")
    above.wait_for("done")
    told = said.read_text()
    assert "not told: this command runs below it" in told, told
    assert above.running


BELOW = """
import os, signal, subprocess, sys
signal.signal(signal.SIGQUIT, lambda *_: sys.exit(0))
if "UNITQ_INSTANCE" not in os.environ:
    argv = [sys.executable, "-m", "unitq", "-a", os.environ["APP"], "orphans", "--drain", "--yes"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd="/")
    with open(os.environ["SAID"] + ".new", "w") as file:
        file.write(done.stdout + done.stderr)
    os.rename(os.environ["SAID"] + ".new", os.environ["SAID"])
    print("done", flush=True)
while True:
    signal.pause()
"""

# What an orphan of the workers' account has started as root: by sudo, say.
SUDO = """
import os, signal, sys
by_hand = "UNITQ_INSTANCE" not in os.environ
signal.signal(signal.SIGQUIT, (lambda *_: None) if by_hand else (lambda *_: sys.exit(0)))
if by_hand and os.getuid() == 0:
    child = os.fork()
    if not child:
        print("child", os.getpid(), flush=True)
        os.execv("/bin/sleep", ["sleep", "600"])
    os.setgroups([])
    os.setgid(33)
    os.setuid(33)
    os.execv(sys.executable, [sys.executable, "worker.py"])
while True:
    signal.pause()
"""


def test_what_an_orphan_has_started_as_root_lives_on(host: Attacked) -> None:
    site = host.site
    (site.home / "releases/1/worker.py").write_text(SUDO)
    site.config(
        workers={
            "sms": {
                "command": f"{sys.executable} worker.py", "instances": 1, "stop_timeout": "1s",
            }
        }
    )  # fmt: skip
    site.deploy()
    orphan = host.start(sys.executable, "worker.py")
    orphan.wait_for("child")
    child = int(orphan.output().split()[1])
    try:
        wait_until(lambda: uid(orphan.pid) == 33, what="it is the workers' account")
        sure, _ = host.orphans("--drain", "--yes", code=0)
        drain = sure[orphan.pid]["drain"]
        assert (drain["killed"], child in drain["told"]) == ([orphan.pid], False), drain
        assert uid(child) == 0, "the root process below it was not touched"
    finally:
        kill(child)


def uid(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        line = next(line for line in file if line.startswith("Uid:"))
    return int(line.split()[2])
