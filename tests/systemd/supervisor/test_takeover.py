"""unitq takeover: from a real supervisord to a real systemd, with jobs flowing.

None is lost, none is run twice, and never are there more workers than before.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness import leftovers
from tests.harness.load import Load
from tests.systemd.cli.test_json import documented, shape
from tests.systemd.conftest import WORKERS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        """Starts supervisord, and waits for its socket."""
        # The kernel has the start in hundredths of a second: it has to come after the files.
        time.sleep(0.05)
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

    def clear(self) -> None:
        """Ends what supervisord leaves, as it ends shells and not what is below them."""
        for each in tuple(leftovers.every()):
            if each.mark == self.site.app and "SUPERVISOR_ENABLED" in each.environment:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each.pid, signal.SIGKILL)

    def imported(self) -> None:
        done = self.site.unitq("-a", self.site.app, "import", str(self.conf), "-o", "unitq.toml")
        assert done.code == 0, str(done)
        assert 'preset = "php-resque"' in self.site.toml.read_text(), str(done)

    @property
    def gate(self) -> Path:
        """While it is there, jobs of `Load.enqueue_held` are not done."""
        return self.site.out / "gate"

    def let_go(self) -> None:
        """Held jobs come to their end."""
        self.gate.unlink(missing_ok=True)

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
        made.let_go()
        made.stop()
        made.clear()


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
    assert ("Supervisor stops PID" in dry.stdout) == (name == "stop"), str(dry)
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


def back(said: str) -> list[str]:
    """The commands that it says lead back."""
    _, _, rest = said.partition("to go back:\n")
    return [line.strip() for line in rest.splitlines() if line.startswith("  ")]


def test_a_unit_that_fails_stops_it_and_leads_back_or_on(host: Host) -> None:
    site = host.site
    host.program("mail", "autorestart=true", count=1)
    host.program("sms", "autorestart=true", command=SHELL)
    host.start()
    host.running(4)
    host.imported()
    before = (host.folder / "sms.conf").read_text()
    drop_in = Path(f"/etc/systemd/system/{site.unit('sms', 2)}.d/fail.conf")
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nExecStartPre=/bin/false\n")
    try:
        with Load(host.redis.client, ["sms", "mail"], rate=15, seconds=(0.05, 0.3)) as load:
            wait_until(lambda: load.tally().finished > 5, 20, "jobs flow")
            done = site.unitq("takeover", str(host.conf), "--yes")
            assert done.code == 7, str(done)
            assert "sms@2 failed: " in done.stderr
            assert "Supervisor still runs sms:sms_02 of sms" in done.stderr
            states = {"mail": "STOPPED", "sms:sms_00": "STOPPED", "sms:sms_01": "STOPPED"}
            told = {name.removesuffix(":mail_00"): s for name, s in host.states().items()}
            assert told == {**states, "sms:sms_02": "RUNNING"}
            assert site.active("mail") == 1

            # Back: sms is Supervisor's again, and mail, which is done, stays.
            commands = back(done.stderr)
            assert len(commands) == 3, commands
            for command in commands:
                went = site.scope.run("/bin/sh", "-ec", command, cwd=site.home)
                assert went.code == 0, f"{command}: {went}"
            host.running(3)
            assert (host.folder / "sms.conf").read_text() == before
            assert "autostart=false" in (host.folder / "mail.conf").read_text()
            assert site.pids().keys() == {"mail@1"}

            # And on, with the fault mended in the middle.
            done = site.unitq("takeover", str(host.conf), "--yes", "--json")
            assert done.code == 7, str(done)
            assert done.json["failure"].startswith("sms@2 failed: ")
            assert done.json["back"] == back(done.stderr)
            example = documented("takeover")
            found = {**done.json, "left": [], "staying": []}
            found["programs"] = found["programs"][-1:]  # mail has nothing left to tell
            assert shape(found) == shape({**example, "left": [], "staying": []})
            drop_in.unlink()
            site.systemctl("daemon-reload")
            done = site.unitq("takeover", str(host.conf), "--yes")
            assert done.code == 0, str(done)
    finally:
        shutil.rmtree(drop_in.parent)
        site.systemctl("daemon-reload")
    none_lost(load)
    assert set(host.states().values()) == {"STOPPED"}
    assert site.active() == 4


def test_the_first_program_leads_back_to_nothing_installed(host: Host) -> None:
    site = host.site
    host.program("sms", "autorestart=true", count=2)
    host.start()
    host.running(2)
    host.imported()
    before = (host.folder / "sms.conf").read_text()
    drop_in = Path(f"/etc/systemd/system/{site.unit('sms', 1)}.d/fail.conf")
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nExecStartPre=/bin/false\n")
    try:
        done = site.unitq("takeover", str(host.conf), "--yes")
        assert done.code == 7, str(done)
        for command in back(done.stderr):
            went = site.scope.run("/bin/sh", "-ec", command, cwd=site.home)
            assert went.code == 0, f"{command}: {went}"
    finally:
        shutil.rmtree(drop_in.parent)
        site.systemctl("daemon-reload")
    host.running(2)
    assert (host.folder / "sms.conf").read_text() == before
    assert not site.files()


@contextlib.contextmanager
def failing(site: Site, worker: str, instance: int) -> Iterator[None]:
    """A unit that does not start, for as long as the context lasts."""
    drop_in = Path(f"/etc/systemd/system/{site.unit(worker, instance)}.d/fail.conf")
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nExecStartPre=/bin/false\n")
    try:
        yield
    finally:
        shutil.rmtree(drop_in.parent)
        site.systemctl("daemon-reload")


@pytest.mark.variants
@pytest.mark.parametrize("program", ["mail", "sms"])
def test_what_is_typed_leads_back_where_one_file_has_both(host: Host, program: str) -> None:
    """The program that failed is Supervisor's again, at a boot as well; nothing else changes."""
    site = host.site
    for name in ("mail", "sms"):
        host.program(name, "autorestart=true", count=2)
    files = [host.folder / "mail.conf", host.folder / "sms.conf"]
    whole = host.folder / "all.conf"
    before = "".join(file.read_text() for file in files)
    whole.write_text(before)
    for file in files:
        file.unlink()
    host.start()
    host.running(4)
    host.imported()
    moved = {"mail@1", "mail@2"} if program == "sms" else set()
    with Load(host.redis.client, ["sms", "mail"], rate=15, seconds=(0.05, 0.3)) as load:
        with failing(site, program, 2):
            done = site.unitq("takeover", str(host.conf), "--yes")
            assert done.code == 7, str(done)
            assert f"{program}@2 failed: " in done.stderr
            commands = back(done.stderr)
            assert len(commands) == 3, commands
            for command in commands:
                assert not command.startswith("#"), "nobody can type that"
                went = site.scope.run("/bin/sh", "-ec", command, cwd=site.home)
                assert went.code == 0, f"{command}: {went}"
        host.running(4 - len(moved))
        states = {name: state for name, state in host.states().items() if program in name}
        assert set(states.values()) == {"RUNNING"}
        assert site.pids().keys() == moved
        assert not site.files() or moved, "nothing was installed before"
    none_lost(load)
    # But for what was moved before, the file is what it was.
    header = "[program:mail] ; of the shop\n"
    after = before.replace(header, f"{header}autostart=false\n") if moved else before
    assert whole.read_text() == after
    host.stop()
    host.start()
    host.running(4 - len(moved))
    assert site.pids().keys() == moved


def test_ctrl_c_finishes_the_one_in_hand_and_the_same_command_goes_on(host: Host) -> None:
    site = host.site
    host.program("sms", "autorestart=true\nstopwaitsecs=1", count=2)
    host.start()
    host.running(2)
    host.imported()
    load = Load(host.redis.client, ["sms"])
    load.enqueue_held(2, host.gate)
    wait_until(lambda: len(load.tally().in_hand) == 2, 20, "both work")
    running = site.start("takeover", str(host.conf), "--yes")
    running.wait_for("SIGQUIT to PID")
    # Longer than Supervisor would give it.
    time.sleep(1.5)
    running.signal(signal.SIGINT)
    running.wait_for("this one is finished")
    host.let_go()
    done = running.wait()
    assert done.code == 10, str(done)
    assert sorted(host.states().values()) == ["RUNNING", "STOPPED"]
    assert site.pids().keys() == {"sms@1"}
    load.enqueue(4, 2.0)
    done = site.unitq("takeover", str(host.conf), "--yes")
    assert done.code == 0, str(done)
    assert sorted(host.states().values()) == ["STOPPED", "STOPPED"]
    assert site.active() == 2
    none_lost(load)


@pytest.mark.variants
@pytest.mark.parametrize("how", ["twice", "kill"])
def test_cut_off_while_a_shell_is_held(host: Host, how: str) -> None:
    site = host.site
    host.program("sms", "autorestart=true", command=SHELL, count=1)
    host.start()
    host.running(1)
    host.imported()
    load = Load(host.redis.client, ["sms"])
    load.enqueue_held(1, host.gate)
    wait_until(lambda: len(load.tally().in_hand) == 1, 20, "it works")
    (main,) = host.mains()
    running = site.start("takeover", str(host.conf), "--yes")
    running.wait_for("is held")
    for number in [signal.SIGINT] * 2 if how == "twice" else [signal.SIGKILL]:
        running.signal(number)
        wait_until(lambda: "interrupted" in running.output() or not running.running, 20, "heard")
    done = running.wait()
    assert done.code == (130 if how == "twice" else -signal.SIGKILL), str(done)
    shell = int(Path(f"/proc/{main}/stat").read_text().rpartition(")")[2].split()[1])
    held = Path(f"/proc/{shell}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    assert held == (how == "kill")
    load.enqueue(1, 0.1)
    host.let_go()
    done = site.unitq("takeover", str(host.conf), "--yes")
    assert done.code == 0, str(done)
    none_lost(load)
    assert set(host.states().values()) == {"STOPPED"}
    assert site.active() == 1


# Ends well at the first TERM, and tells of a second one. Its shell stays above it.
ONCE = """\
import signal, sys, time
told = []
def term(*_):
    told.append(1)
    open(sys.argv[1], "a").write("told\\n")
signal.signal(signal.SIGTERM, term)
while not told:
    time.sleep(0.05)
end = time.monotonic() + 4
while time.monotonic() < end:
    time.sleep(0.05)
"""


def test_nobody_is_told_twice(host: Host) -> None:
    """A second signal kills the job in RQ, and in Celery's INT."""
    site = host.site
    script = site.home / "once.py"
    script.write_text(ONCE)
    told = site.out / "told"
    inner = f"{sys.executable} -IS {script} {told}; true"
    more = "autorestart=true\nstopwaitsecs=60"
    host.program("once", more, command=f"/bin/bash -c {shlex.quote(inner)}", count=1)
    host.start()
    host.running(1)
    done = site.unitq("-a", site.app, "import", str(host.conf), "-o", "unitq.toml")
    assert done.code == 0, str(done)
    running = site.start("takeover", str(host.conf), "--yes")
    wait_until(told.exists, 20, "it was told")
    running.signal(signal.SIGKILL)
    running.wait()
    done = site.unitq("takeover", str(host.conf), "--yes", "--json")
    assert done.code == 0, str(done)
    assert told.read_text() == "told\n"
    assert done.json["left"] == []


def test_what_is_left_is_named_and_what_works_for_too_long_is_left_alone(host: Host) -> None:
    site = host.site
    shell = f'/bin/bash -c "setsid sleep 311 & {PHP}; true"'
    host.program("sms", "autorestart=true", command=shell, count=1)
    host.start()
    host.running(1)
    # By hand, without the shell: what it leaves would else be the unit's, too.
    site.config(
        directory=str(site.current),
        environment=site.resque_environment(host.redis, PROCESS_TITLE="0"),
        workers={
            "sms": {"command": PHP, "preset": "php-resque", "instances": 1, "stop_timeout": "2s"}
        },
    )
    load = Load(host.redis.client, ["sms"])
    load.enqueue_held(1, host.gate)
    wait_until(lambda: len(load.tally().in_hand) == 1, 20, "it works")
    done = site.unitq("takeover", str(host.conf), "--yes")
    assert done.code == 7, str(done)
    assert "still works, 2s after SIGQUIT" in done.stderr
    assert site.active() == 0
    host.let_go()
    load.wait_drained(60)
    # Supervisor starts another one, as ever, and at last it goes.
    host.running(1)
    wait_until(lambda: len(host.mains()) == 1, 20, "there is one")
    done = site.unitq("takeover", str(host.conf), "--yes", "--json")
    assert done.code == 0, str(done)
    left = done.json["left"]
    assert {each["command"] for each in left} == {"sleep 311"}
    assert {each["process"] for each in left} == {"sms:sms_00"}
    assert shape(left) == shape(documented("takeover")["left"])
    assert f"leaves PID {left[0]['pid']} behind: sleep 311" in done.stderr
    for each in left:
        os.kill(each["pid"], signal.SIGKILL)
    none_lost(load)


def test_what_nothing_tells_apart_is_not_moved_twice(host: Host) -> None:
    """Neither a symlink nor a checkout: each deploy takes that for new code."""
    site = host.site
    more = "stopsignal=QUIT\nstopwaitsecs=3600"
    host.program("first", more, count=2)
    host.program("second", more, count=1)
    first = host.folder / "first.conf"
    first.write_text(first.read_text().replace(str(site.current), str(site.home / "releases/1")))
    host.start()
    host.running(3)
    host.imported()
    done = site.unitq("takeover", str(host.conf), "--yes")
    assert done.code == 0, str(done)
    assert site.active() == 3
    assert set(host.states().values()) <= {"STOPPED", "EXITED"}
    assert len(host.mains()) == 3


def test_programs_one_by_one_in_a_group_and_an_include_that_takes_all(host: Host) -> None:
    site = host.site
    host.conf.write_text(host.conf.read_text().replace("conf.d/*.conf", "conf.d/*"))
    host.program("sms", "autorestart=true", count=1)
    host.program("mail", "autorestart=true", count=1, command=SHELL)
    (host.folder / "shop.conf").write_text("[group:shop]\nprograms=sms,mail\n")
    host.start()
    host.running(2)
    host.imported()
    assert site.unitq("takeover", str(host.conf), "nothing", "--yes").code == 4
    done = site.unitq("takeover", str(host.conf), "shop:sms", "--yes")
    assert done.code == 0, str(done)
    assert "not installed: mail" in done.stdout
    assert host.states() == {"shop:sms_00": "STOPPED", "shop:mail_00": "RUNNING"}
    assert site.pids().keys() == {"sms@1"}
    assert sorted(path.name for path in host.folder.iterdir()) == [
        ".sms.conf.before-unitq", "mail.conf", "shop.conf", "sms.conf",
    ]  # fmt: skip
    # Somebody starts it again: it runs twice, which the next one ends.
    host.ctl("start", "shop:sms_00")
    done = site.unitq("takeover", str(host.conf), "--yes", "--json")
    assert done.code == 0, str(done)
    assert set(host.states().values()) == {"STOPPED"}
    assert site.pids().keys() == {"sms@1", "mail@1"}
    assert len(host.mains()) == 2


def test_what_does_not_fit_is_refused_before_anything_changes(host: Host) -> None:
    site = host.site
    host.program("sms", "autorestart=true", count=2)
    host.imported()
    done = site.unitq("takeover", str(host.conf), "--yes")
    assert done.code == 13, str(done)
    assert "does not answer" in done.stderr
    host.start()
    host.running(2)
    text = site.toml.read_text()
    site.write(text.replace("instances = 2", "instances = 3"))
    done = site.unitq("takeover", str(host.conf), "--yes")
    assert done.code == 13, str(done)
    assert "make them equal" in done.stderr
    site.write(text + "\n[workers.more]\ncommand = '/bin/sleep 1'\ninstances = 1\n")
    host.program("more", "", count=1)
    done = site.unitq("takeover", str(host.conf), "--yes")
    assert done.code == 13, str(done)
    assert "did the file change since it was read" in done.stderr
    site.write(text)
    (host.folder / "more.conf").unlink()
    done = site.unitq("takeover", str(host.conf))
    assert done.code == 2, str(done)
    assert "--yes" in done.stderr
    assert set(host.states().values()) == {"RUNNING"}
    assert not site.files()
    assert len(list(host.folder.iterdir())) == 1


FIRST_THREE = {"sms_00", "sms_01", "sms_02"}


def told_in(output: str) -> set[str]:
    """The processes that it has a line about."""
    return {line.split(":")[1] for line in output.splitlines() if line.startswith("  sms:")}


@pytest.mark.variants
@pytest.mark.parametrize("name", ["drain", "hold", "stop"])
def test_several_at_a_time_lose_nothing(host: Host, name: str) -> None:
    """All work when they are told: so many are told before the first has ended."""
    command, more = WAYS[name]
    host.program("sms", more, command=command, count=6)
    host.start()
    host.running(6)
    host.imported()
    site = host.site
    width = ("--max-unavailable", "50%")
    dry = site.unitq("takeover", str(host.conf), "--dry-run", *width)
    assert dry.code == 12, str(dry)
    said = "at most 3 at a time: never fewer than 3 of 6 serving, never more than 6 processes"
    assert said in dry.stdout, str(dry)
    load = Load(host.redis.client, ["sms"], rate=15, seconds=(0.05, 0.3))
    load.enqueue_held(6, host.gate)
    wait_until(lambda: len(load.tally().in_hand) == 6, 20, "all work")
    with load, Counted(host) as counted:
        running = site.start("takeover", str(host.conf), "--yes", *width)
        wait_until(lambda: told_in(running.output()) == FIRST_THREE, 30, "three are told")
        host.let_go()
        done = running.wait()
    assert done.code == 0, str(done)
    none_lost(load)
    assert counted.looks > 20
    assert 3 <= counted.least < counted.most == 6, done.stdout
    assert told_in(done.stdout.partition("ended under")[0]) == FIRST_THREE, done.stdout
    assert set(host.states().values()) == {"STOPPED"}
    assert site.active("sms") == 6
    assert len(host.mains()) == 6


def test_a_slow_one_does_not_hold_the_others_up(host: Host) -> None:
    site = host.site
    host.program("sms", "autorestart=true", count=4)
    host.start()
    host.running(4)
    host.imported()
    header = "[rollout]\n"
    text = site.toml.read_text()
    assert header in text
    site.write(text.replace(header, f"{header}max_unavailable = 2\n"))
    load = Load(host.redis.client, ["sms"])
    load.enqueue_held(1, host.gate)
    wait_until(lambda: len(load.tally().in_hand) == 1, 20, "it works")
    running = site.start("takeover", str(host.conf), "--yes")
    # Whichever of the four has the long job, the window goes past it.
    wait_until(
        lambda: running.output().count("is healthy") == 3 or not running.running,
        60,
        "the others are moved",
    )
    assert running.running, running.wait()
    assert len(load.tally().in_hand) == 1, running.output()
    assert site.active("sms") == 3
    host.let_go()
    done = running.wait()
    assert done.code == 0, str(done)
    none_lost(load)
    assert site.active("sms") == 4


def test_after_a_failure_those_in_hand_are_finished_and_no_other_is_begun(host: Host) -> None:
    site = host.site
    host.program("sms", "autorestart=true", count=4, command=SHELL)
    host.start()
    host.running(4)
    host.imported()
    before = (host.folder / "sms.conf").read_text()
    load = Load(host.redis.client, ["sms"])
    load.enqueue_held(4, host.gate)
    wait_until(lambda: len(load.tally().in_hand) == 4, 20, "all work")
    with failing(site, "sms", 1):
        takeover = site.start("takeover", str(host.conf), "--yes", "--max-unavailable", "2")
        wait_until(lambda: len(told_in(takeover.output())) == 2, 30, "two are told")
        host.let_go()
        done = takeover.wait()
        # All of it in here: once it can start, systemd starts it again.
        assert done.code == 7, str(done)
        assert "sms@1 failed: " in done.stderr
        # Where sms@2 was healthy first, sms_02 was begun before sms@1 failed.
        told = host.states()
        running = [name for name, state in told.items() if state == "RUNNING"]
        assert running in (["sms:sms_02", "sms:sms_03"], ["sms:sms_03"]), told
        assert f"Supervisor still runs {', '.join(running)} of sms" in done.stderr
        moved = {"sms@2"} if len(running) == 2 else {"sms@2", "sms@3"}
        assert site.pids().keys() == moved
        for command in back(done.stderr):
            went = site.scope.run("/bin/sh", "-ec", command, cwd=site.home)
            assert went.code == 0, f"{command}: {went}"
    host.running(4)
    assert (host.folder / "sms.conf").read_text() == before
    assert not site.files()
    none_lost(load)


def test_ctrl_c_finishes_all_in_hand(host: Host) -> None:
    site = host.site
    host.program("sms", "autorestart=true", count=3)
    host.start()
    host.running(3)
    host.imported()
    load = Load(host.redis.client, ["sms"])
    load.enqueue_held(3, host.gate)
    wait_until(lambda: len(load.tally().in_hand) == 3, 20, "all work")
    running = site.start("takeover", str(host.conf), "--yes", "--max-unavailable", "2")
    wait_until(lambda: running.output().count("SIGQUIT to PID") == 2, 30, "two are told")
    running.signal(signal.SIGINT)
    running.wait_for("these 2 are finished")
    host.let_go()
    done = running.wait()
    assert done.code == 10, str(done)
    assert sorted(host.states().values()) == ["RUNNING", "STOPPED", "STOPPED"]
    assert site.pids().keys() == {"sms@1", "sms@2"}
    done = site.unitq("takeover", str(host.conf), "--yes")
    assert done.code == 0, str(done)
    none_lost(load)
    assert site.active("sms") == 3


@pytest.mark.variants
@pytest.mark.parametrize("name", ["unexpected", "hold", "stop"])
def test_the_way_back_while_jobs_are_finished(host: Host, name: str) -> None:
    """Who was told to end does so later, and Supervisor would not start it again."""
    command, more = WAYS[name]
    host.program("sms", more, command=command, count=2)
    host.start()
    host.running(2)
    host.imported()
    before = (host.folder / "sms.conf").read_text()
    site = host.site
    load = Load(host.redis.client, ["sms"])
    load.enqueue_held(2, host.gate)
    wait_until(lambda: len(load.tally().in_hand) == 2, 20, "both work")
    arguments = ("--max-unavailable", "2", "--timeout", "4s")
    done = site.unitq("takeover", str(host.conf), "--yes", *arguments)
    assert done.code == 6, str(done)
    # Some of the way is to wait for them.
    threading.Timer(2.0, host.let_go).start()
    for each in back(done.stderr):
        went = site.scope.run("/bin/sh", "-ec", each, cwd=site.home)
        assert went.code == 0, f"{each}: {went}"
    none_lost(load)
    host.running(2)
    assert (host.folder / "sms.conf").read_text() == before
    assert not site.files()
    assert len(host.mains()) == 2
