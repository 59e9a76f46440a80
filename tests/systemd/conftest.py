"""An app of its own for every test against a real systemd, in either scope.

    def test_it_runs(site):                    # once in system scope, once in user scope
        site.config(workers={"sms": {"command": site.odd("steady"), "instances": 3}})
        assert site.unitq("deploy").code == 0
        assert len(site.pids("sms")) == 3

What a test needs of this file:

- `site` (both scopes), `system_site`, `user_site`: a `Site`. Its app has a unique name, and a
  directory with releases/1, releases/2 and the symlink `current`. After the test `unitq remove
  --yes` is run, and whatever it leaves behind (unit files, links, state, processes) fails the test.
  `make_site` makes further ones: `make_site()`, `make_site(scope, name="shop-x")`.
- `scope`: a `Scope`, "system" (as root) or "user" (as user `tester`, systemctl --user).
- `redis`: a RedisServer, emptied before the test. `observe`: `with observe(site) as observer:`.

What unitq says is one thing, what is true is another: `Site.pids`, `Site.show`, `Site.processes`,
`Site.files` and the observer ask systemd, the kernel and the disk, never unitq.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness import leftovers
from tests.harness.daily import SCOPES
from tests.harness.forked import run_forked
from tests.harness.observed import Record
from tests.harness.observer import Observer
from tests.harness.redis_server import RedisServer
from tests.harness.witness import Meddled, Story, Told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

REPO = Path(__file__).resolve().parents[2]
WORKERS = REPO / "tests" / "workers"
TESTER = "tester"

# No test waits longer for one command; one that hangs must not hold up the suite.
TIMEOUT = 90.0

# Quick, so that a test of a rollout takes a second and not ten. What a failure leaves behind stays
# to be looked at; test_rollback.py goes by the default.
ROLLOUT = {
    "max_unavailable": 1,
    "min_healthy": "150ms",
    "start_timeout": "20s",
    "on_failure": "pause",
}
_ONLY_READ = frozenset(
    {"show", "cat", "status", "is-active", "is-enabled", "is-failed", "list-units"}
)
# What systemctl says where systemd hangs up on it.
_AWAY = (
    "disconnected from message bus",
    "Transport endpoint is not connected",
    "Connection reset by peer",
)
WORKER: dict[str, Any] = {"instances": 2, "stop_timeout": "20s", "restart_delay": "100ms"}


@dataclass(frozen=True)
class Result:
    """What a command did. `code` is negative for a death by a signal, as in subprocess."""

    code: int
    stdout: str
    stderr: str
    seconds: float = 0.0

    @property
    def json(self) -> Any:
        """Standard output, parsed."""
        return json.loads(self.stdout)

    @property
    def output(self) -> str:
        """Both streams, for "is it said anywhere"."""
        return self.stdout + self.stderr

    def __str__(self) -> str:
        return f"exit {self.code}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


class Running:
    """A command in the background. Its output goes to files, so that it never blocks on a pipe."""

    def __init__(self, argv: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> None:
        self._begun = time.monotonic()
        self.begun = self.ended = time.time()
        self._out = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed by wait)
        self._err = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            # Ctrl-C in the terminal of whoever runs the tests is not for it.
            start_new_session=True,
        )
        self._result: Result | None = None
        # A test may ask long after it has ended.
        descriptor = os.pidfd_open(self._process.pid)  # here: nobody can have waited for it yet
        self._watcher = threading.Thread(target=self._note_end, args=(descriptor,), daemon=True)
        self._watcher.start()

    def _note_end(self, descriptor: int) -> None:
        select.select([descriptor], [], [])
        self.ended = time.time()
        os.close(descriptor)

    @property
    def pid(self) -> int:
        """The process itself: no wrapper stands in between."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._result is None and self._process.poll() is None

    def output(self) -> str:
        """Standard output so far."""
        return os.pread(self._out.fileno(), 1 << 20, 0).decode(errors="replace")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait_for(self, text: str, timeout: float = 30.0) -> None:
        """Wait until it has printed the text."""
        wait_until(lambda: text in self.output() or not self.running, timeout, f"{text!r} printed")
        assert text in self.output(), f"it ended without printing {text!r}: {self.wait()}"

    def wait(self, timeout: float = TIMEOUT) -> Result:
        """Wait for its end; one that takes longer is killed and fails the test."""
        if self._result is None:
            hung = False
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                hung = True
                self._process.kill()
                self._process.wait()
            self._watcher.join()
            error = os.pread(self._err.fileno(), 1 << 20, 0).decode(errors="replace")
            output = self.output()
            self._out.close()
            self._err.close()
            seconds = time.monotonic() - self._begun
            self._result = Result(self._process.returncode, output, error, seconds)
            assert not hung, f"no end after {timeout:g} s: {self._result}"
        return self._result

    @property
    def result(self) -> Result | None:
        """What it did; None: nobody has waited for its end."""
        return self._result

    def end(self) -> None:
        """Kill it if it still runs; for clean-up."""
        if self.running:
            self._process.kill()
        self.wait()


@dataclass(frozen=True)
class Scope:
    """Where units live: PID 1's system scope, as root, or the own manager of user `tester`."""

    name: str
    """"system" or "user"."""

    @property
    def user(self) -> bool:
        return self.name == "user"

    @property
    def uid(self) -> int:
        return pwd.getpwnam(TESTER).pw_uid if self.user else 0

    @property
    def home(self) -> Path:
        """The home directory of whoever runs unitq."""
        return Path(pwd.getpwuid(self.uid).pw_dir)

    @property
    def unit_dir(self) -> Path:
        """Where unitq puts unit files."""
        below_home = self.home / ".config/systemd/user"
        return below_home if self.user else Path("/etc/systemd/system")

    @property
    def state_dir(self) -> Path:
        """Where unitq keeps its revisions and pins, one directory per app."""
        return self.home / ".local/state/unitq" if self.user else Path("/var/lib/unitq")

    @property
    def runtime_dir(self) -> Path:
        """Where the locks are."""
        return Path(f"/run/user/{self.uid}/unitq") if self.user else Path("/run/unitq")

    @property
    def prefix(self) -> tuple[str, ...]:
        """Goes before a command that is to run as this scope's user; it execs, the PID stays."""
        if not self.user:
            return ()
        return ("setpriv", f"--reuid={TESTER}", f"--regid={TESTER}", "--init-groups", "--")

    @property
    def environment(self) -> dict[str, str]:
        """What the user's shell would have; nothing of the environment that pytest runs in."""
        account = pwd.getpwuid(self.uid)
        environment = {
            "HOME": str(self.home),
            "USER": account.pw_name,
            "LOGNAME": account.pw_name,
            "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            # The tests are about this checkout, whatever is installed.
            "PYTHONPATH": str(REPO),
        }
        if self.user:
            environment["XDG_RUNTIME_DIR"] = f"/run/user/{self.uid}"
        return environment

    @property
    def cgroup(self) -> str:
        """The manager's cgroup, from the root that /proc/PID/cgroup shows; "" for PID 1."""
        return self.systemctl("show", "--property=ControlGroup", "--value").stdout.strip("/\n")

    def run(
        self,
        *argv: str,
        cwd: Path = Path("/"),
        timeout: float = TIMEOUT,
        environment: Mapping[str, str] | None = None,
    ) -> Result:
        """Run any command as this scope's user; `environment` adds to the usual one."""
        return self.start(*argv, cwd=cwd, environment=environment).wait(timeout)

    def start(
        self,
        *argv: str,
        cwd: Path = Path("/"),
        environment: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
    ) -> Running:
        """The same in the background. `before` is a command that execs the rest, run as root."""
        argv = (*before, *self.prefix, *argv)
        return Running(argv, cwd, self.environment | dict(environment or {}))

    def remove(self, app: str) -> Result:
        """Run `unitq remove --yes`, in a process that costs little: every test ends with it."""
        words = (*(("--user",) if self.user else ()), "-a", app, "remove", "--yes")
        account = TESTER if self.user else "root"
        return Result(
            *run_forked(words, user=account, environment=self.environment, timeout=TIMEOUT)
        )

    def systemctl(self, *arguments: str, check: bool = True) -> Result:
        """Run systemctl in this scope."""
        command = ("systemctl", *(("--user",) if self.user else ()), *arguments)
        result = self.run(*command)
        # A systemd that executes itself anew answers nobody meanwhile.
        for _ in range(20):
            if not (_ONLY_READ & set(arguments) and any(each in result.stderr for each in _AWAY)):
                break
            time.sleep(0.1)
            result = self.run(*command)
        assert result.code == 0 or not check, f"systemctl {' '.join(arguments)}: {result}"
        return result

    def journal(self, *arguments: str) -> str:
        """What journalctl prints, of this scope's manager and units; messages only."""
        # What was logged a moment ago may still be on its way; only root may ask for it.
        subprocess.run(["journalctl", "--sync"], timeout=30, check=True, capture_output=True)
        options = ("--user",) if self.user else ()
        told = self.run("journalctl", *options, "--quiet", "--no-pager", "--output=cat", *arguments)
        return told.stdout


@dataclass
class _Command:
    """A unitq command of a test, for the witness."""

    arguments: tuple[str, ...]
    running: Running
    config: Mapping[str, Any]
    strays: tuple[str, ...] = ()

    def told(self) -> Told:
        """What the witness needs to know of it."""
        result, now = self.running.result, time.time()
        over = result is not None or not self.running.running
        return Told(
            self.arguments,
            self.running.begun,
            self.running.ended if over else now,
            None if result is None else result.code,
            "" if result is None else result.output,
            self.config,
            self.strays,
        )


@dataclass
class Site:
    """One app: its directory, its unitq.toml, its unitq commands, and what is true of it."""

    scope: Scope
    app: str
    home: Path
    """Holds unitq.toml, releases/, the symlink `current`, and `out/`, which workers may write to.
    unitq commands run in here, so that ./unitq.toml is found."""
    _background: list[Running] = field(default_factory=list)
    _commands: list[_Command] = field(default_factory=list)
    _written: list[Told] = field(default_factory=list)
    _meddled: list[Meddled] = field(default_factory=list)
    _excused: set[str] = field(default_factory=set)
    _offset: int = 0

    # What a user has: code and unitq.toml

    @property
    def current(self) -> Path:
        """The symlink that `directory` names."""
        return self.home / "current"

    @property
    def out(self) -> Path:
        """A directory that workers of any user may write to."""
        return self.home / "out"

    @property
    def toml(self) -> Path:
        """The configuration file."""
        return self.home / "unitq.toml"

    def release(self, name: int | str, template: str | None = None) -> Path:
        """Make releases/NAME, with a template.php that returns `template` ("text NAME")."""
        path = self.home / "releases" / str(name)
        path.mkdir(parents=True, exist_ok=True)
        text = f"text {name}" if template is None else template
        (path / "template.php").write_text(f"<?php return {json.dumps(text)};\n")
        return path

    def switch(self, name: int | str) -> Path:
        """Point `current` at releases/NAME, which is made if it is not there; atomically."""
        path = self.home / "releases" / str(name)
        if not path.exists():
            self.release(name)
        staged = self.home / ".current.new"
        staged.unlink(missing_ok=True)
        staged.symlink_to(path)
        staged.replace(self.current)
        return path

    def config(
        self,
        *,
        workers: Mapping[str, Mapping[str, Any]],
        rollout: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        **top: Any,
    ) -> None:
        """Write unitq.toml. What a test leaves out is quick and sensible: see ROLLOUT and WORKER.

        `user` is www-data in system scope. `top` are further keys of the app; None leaves a
        default out: `config(user=None, workers=…)`.
        """
        account = None if self.scope.user else "www-data"
        document = {"app": self.app, "directory": str(self.current), "user": account, **top}
        document["environment"] = {leftovers.MARK: self.app, **(environment or {})}
        document["rollout"] = ROLLOUT | dict(rollout or {})
        document["workers"] = {name: WORKER | dict(table) for name, table in workers.items()}
        self.write(toml_text(document))

    def write(self, text: str) -> None:
        """Write unitq.toml as it stands. It should set TEST_MARK_OF_UNITQ to the app's name."""
        self.toml.write_text(text)
        self.toml.chmod(0o644)
        # It may be deployed by something else than `start`, such as a supervisorctl of ours.
        self._written.append(Told(("write",), time.time(), time.time(), 0, "", self._configured()))

    def odd(self, *arguments: str) -> str:
        """The command line of tests/workers/odd.py, or odd.sh: `site.odd("slow-drain", "2")`."""
        if arguments[:1] == ("exit",):
            return " ".join(["/bin/sh", str(WORKERS / "odd.sh"), *arguments])
        if arguments[:1] == ("crash-on",):
            return " ".join(["/bin/sh", str(WORKERS / "odd.sh"), *arguments, sys.executable])
        return " ".join([sys.executable, "-IS", str(WORKERS / "odd.py"), *arguments])

    def holding(self) -> str:
        """The command line of a worker that drains for as long as a test wants: see `hold`."""
        return self.odd("hold", f"{self.out}/hold-%i")

    def hold(self, *numbers: int | str) -> None:
        """From now on these instances of `holding` do not end when they are told to stop …"""
        for number in numbers:
            (self.out / f"hold-{number}").touch()

    def let_go(self, *numbers: int) -> None:
        """… until now; without a number: any of them."""
        gates = [self.out / f"hold-{number}" for number in numbers]
        for gate in gates or self.out.glob("hold-*"):
            gate.unlink(missing_ok=True)

    def php(self) -> str:
        """The command line of tests/workers/resque.php; see `resque_environment` for the rest."""
        return f"/usr/bin/php {WORKERS / 'resque.php'}"

    def resque_environment(self, redis: RedisServer, **more: str) -> dict[str, str]:
        """What resque.php needs: the queue `sms` of this Redis, and a short rest when idle."""
        return {"QUEUE": "sms", "REDIS_BACKEND": redis.address, "INTERVAL": "0.05"} | more

    # What a user does

    def unitq(
        self,
        *arguments: str,
        timeout: float = TIMEOUT,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Result:
        """Run `unitq [--user] ARGUMENTS` in the app's directory and wait for its end."""
        result = self.start(*arguments, environment=environment, cwd=cwd).wait(timeout)
        # Now, and not when it is asked what happened: the test goes on and may change anything.
        self._commands[-1].strays = self._strays(self._commands[-1], result)
        return result

    def start(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        before: Sequence[str] = (),
    ) -> Running:
        """The same in the background; killed at the end of the test if it still runs then."""
        user = ("--user",) if self.scope.user else ()
        running = self.scope.start(
            *(sys.executable, "-m", "unitq", *user, *arguments),
            cwd=cwd or self.home,
            environment=environment,
            before=before,
        )
        self._background.append(running)
        self._commands.append(_Command(arguments, running, self._configured()))
        return running

    def python(self, code: str, *command: str) -> Result:
        """Runs Python in the app's directory; `command` is the unitq command that it stands for."""
        running = self.scope.start(sys.executable, "-c", code, cwd=self.home, environment=None)
        self._background.append(running)
        if command:
            self._commands.append(_Command(command, running, self._configured()))
        return running.wait(TIMEOUT)

    def deploy(self, *arguments: str, code: int = 0, timeout: float = TIMEOUT) -> Result:
        """`unitq deploy`, which must exit with `code`."""
        result = self.unitq("deploy", *arguments, timeout=timeout)
        assert result.code == code, f"expected exit {code}: {result}"
        return result

    # What is true, from systemd and the kernel

    @property
    def target(self) -> str:
        """The app's target."""
        return f"unitq-{self.app}.target"

    def unit(self, worker: str, number: int) -> str:
        """The unit of an instance."""
        return f"unitq-{self.app}-{worker}@{number}.service"

    def systemctl(self, *arguments: str, check: bool = True) -> Result:
        """Run systemctl in this scope; what changes anything is noted for the witness."""
        begun = time.time()
        try:
            return self.scope.systemctl(*arguments, check=check)
        finally:
            if not _ONLY_READ & set(arguments):
                self._meddled.append(Meddled(begun, time.time(), arguments))

    def show(self, worker: str = "*") -> dict[str, dict[str, str]]:
        """What systemd says of every loaded instance of the worker, by `worker@number`."""
        listed = self.systemctl(
            "list-units", "--all", "--plain", "--no-legend", f"unitq-{self.app}-{worker}@*.service"
        )
        units = [line.split()[0] for line in listed.stdout.splitlines()]
        if not units:
            return {}
        wanted = (
            "Id,MainPID,ActiveState,SubState,Result,InvocationID,NRestarts,"
            "ControlGroup,UnitFileState,NeedDaemonReload,ExecMainStatus"
        )
        told = self.systemctl("show", f"--property={wanted}", *units).stdout
        found = {}
        for block in told.strip().split("\n\n"):
            properties = dict(line.partition("=")[::2] for line in block.splitlines())
            name = properties["Id"].removeprefix(f"unitq-{self.app}-").removesuffix(".service")
            found[name] = properties
        return dict(sorted(found.items()))

    def pids(self, worker: str = "*") -> dict[str, int]:
        """The main processes of the instances that are active, by `worker@number`."""
        return {
            name: int(properties["MainPID"])
            for name, properties in self.show(worker).items()
            if properties["ActiveState"] == "active"
        }

    def active(self, worker: str = "*") -> int:
        """How many instances are active."""
        return len(self.pids(worker))

    @property
    def cgroup(self) -> str:
        """The cgroup of the app's slice."""
        return leftovers.slice_path(self.app, self.scope.cgroup).lstrip("/")

    def processes(self) -> tuple[leftovers.Process, ...]:
        """Every process that comes from this app by any mark, wherever it lives now."""
        return leftovers.find(mark=self.app, cgroup=self.cgroup, directory=self.home)

    def workers(self) -> tuple[leftovers.Process, ...]:
        """The same, without unitq commands that a test has in the background, and their helpers.

        Those are in the cgroup that the tests are in, where systemd puts nothing.
        """
        own = leftovers.own_cgroup()
        return tuple(each for each in self.processes() if each.cgroup != own or own == "/")

    def outside(self) -> tuple[leftovers.Process, ...]:
        """Those of them that live outside the app's cgroups."""
        return leftovers.outside(self.workers(), self.cgroup)

    def revisions(self, worker: str = "*") -> dict[str, str]:
        """The revision in the environment of each active main process, by `worker@number`."""
        by_pid = {process.pid: process.revision for process in leftovers.every()}
        return {name: by_pid.get(pid, "") for name, pid in self.pids(worker).items()}

    def files(self) -> list[Path]:
        """Every file and link of this app in the folders of systemd and of unitq."""
        found = [
            path
            for path in self.scope.unit_dir.rglob("*")
            if self.app in path.name or self.app in str(path.parent.name)
        ]
        # rglob does not follow a broken link, and lists it all the same.
        state = self.scope.state_dir / self.app
        return sorted({*found, *([state, *state.rglob("*")] if state.exists() else [])})

    def mtimes(self) -> dict[str, int]:
        """When each of these was written (ns), to see that nothing is."""
        return {str(path): path.lstat().st_mtime_ns for path in self.files()}

    def reloads(self) -> int:
        """How many daemon-reloads this scope's manager has done, by its own journal."""
        match = ["_PID=1"]
        if self.scope.user:
            manager = self.scope.run("pgrep", "-xu", str(self.scope.uid), "systemd").stdout
            match = [f"_PID={manager.split()[0]}"]
        lines = self.scope.journal("--boot", *match).splitlines()
        # 252 says "Reloading.", later ones add who asked for it, or say "Reloading..." .
        return sum(line.startswith("Reloading") for line in lines)

    # The witness

    def excuse(self, *rules: str) -> None:
        """What this test does on purpose breaks these rules of tests/harness/witness.py."""
        self._excused.update(rules)

    def broken(self) -> list[str]:
        """The rules of every rollout that were broken in this test, by the witness."""
        if not self._commands:
            return []
        record = Record(_witness(self.scope).out, self.app, self._offset)
        told = [*self._written, *(command.told() for command in self._commands)]
        return Story(record.summary(), told, self._meddled, frozenset(self._excused)).broken()

    def _configured(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self.toml.read_text())
        except (OSError, ValueError):
            return {}  # bad input is what some tests are about

    def _strays(self, command: _Command, result: Result) -> tuple[str, ...]:
        if result.code != 0 or not {"deploy", "rollback", "resume"} & set(command.arguments):
            return ()
        if "--detach" in command.arguments:
            return ()
        pins = self.scope.state_dir / self.app / "pins"
        found = []
        # Not by systemctl: a test may be about a systemd that does not answer.
        for process in self.workers():
            named = re.search(rf"/unitq-{self.app}-([^/]*)@(\d+)\.service", process.cgroup)
            works_in = Path(process.directory)
            if named is None or not works_in.is_relative_to(self.home / "releases"):
                continue
            pinned = (pins / named[1] / named[2] / "release").resolve()
            if works_in != pinned:
                found.append(f"{named[1]}@{named[2]} in {works_in}, pinned to {pinned}")
        return tuple(found)

    # The end

    def clean_up(self) -> list[str]:
        """Remove the app as a user would; returns what is left behind, having cleared that too."""
        for running in self._background:
            running.end()
        self.let_go()
        problems = []
        if (self.scope.state_dir / self.app / "current").is_symlink():
            result = self.scope.remove(self.app)
            if result.code != 0:
                problems.append(f"unitq remove: {result}")
        stay = leftovers.wait_gone(self.workers, 5.0)
        problems += [f"left behind: {process}" for process in stay]
        problems += [f"left behind: {path}" for path in self.files()]
        loaded = self.systemctl(
            "list-units", "--all", "--plain", "--no-legend", f"unitq-{self.app}-*@*.service"
        ).stdout
        problems += [f"still loaded: {line}" for line in loaded.splitlines()]
        for running in self._background:
            running.end()
        if problems:
            self._clear(stay)
        shutil.rmtree(self.home, ignore_errors=True)
        return problems

    def _clear(self, processes: Sequence[leftovers.Process]) -> None:
        # The next test must not suffer for it.
        units = [f"unitq-{self.app}*"]
        self.systemctl("kill", "--signal=KILL", *units, check=False)
        self.systemctl("stop", *units, check=False)
        for process in processes:
            try:
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        shutil.rmtree(self.scope.state_dir / self.app, ignore_errors=True)
        for path in reversed(self.files()):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        self.systemctl("daemon-reload", check=False)
        self.systemctl("reset-failed", *units, check=False)


# --- helpers --------------------------------------------------------------------------------------


def wait_until(
    met: Callable[[], object], timeout: float = 20.0, what: str = "", interval: float = 0.05
) -> None:
    """Wait until the condition holds; fail the test if it does not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not met():
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what or met}"
        time.sleep(interval)


def toml_text(document: Mapping[str, Any]) -> str:
    """TOML of nested mappings; None leaves a key out."""
    return "\n".join(_toml_table(document, ())) + "\n"


def _toml_table(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    if path:
        yield f"\n[{'.'.join(_toml_string(part) for part in path)}]"
    inner = {key: value for key, value in table.items() if isinstance(value, dict)}
    for key, value in table.items():
        if key not in inner and value is not None:
            yield f"{_toml_string(key)} = {_toml_value(value)}"
    for key, value in inner.items():
        yield from _toml_table(value, (*path, key))


def _toml_value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml_value(each) for each in value)}]"
    return _toml_string(value) if isinstance(value, str) else json.dumps(value)


def _toml_string(text: str) -> str:
    # JSON's escapes are TOML's; but TOML wants characters outside the BMP as they are.
    return json.dumps(text, ensure_ascii=False)


# --- fixtures -------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _sandbox() -> Iterator[None]:
    """Only in the sandbox: these tests write to /etc/systemd and restart what they find."""
    if "UNITQ_SANDBOX" not in os.environ:
        pytest.fail("needs the systemd that script/sandbox boots: `script/test systemd`")
    yield
    for witness in _WITNESSES.values():
        witness.stop()


# An observer per scope that sees all apps: one for each test would cost more than the tests.
_WITNESSES: dict[Scope, Observer] = {}


def _witness(scope: Scope) -> Observer:
    if scope not in _WITNESSES:
        out = Path("/srv") / f"unitq-witness-{scope.name}.jsonl"
        _WITNESSES[scope] = Observer(
            "", out, user=scope.user, command_prefix=scope.prefix, environment=scope.environment
        )
        _WITNESSES[scope].start()
    return _WITNESSES[scope]


@pytest.fixture(params=SCOPES)
def scope(request: pytest.FixtureRequest) -> Scope:
    """Every test that uses it runs in both scopes."""
    return Scope(request.param)


@contextmanager
def sites() -> Iterator[Callable[..., Site]]:
    """Makes apps; all are removed at the end, and one that leaves something behind is an error.

    For a fixture of a wider scope than one test: a deployed app that many tests only look at.
    """
    made: list[Site] = []

    def make(scope: Scope | None = None, name: str | None = None) -> Site:
        # With a "-", as many names in real life: it is special in the names of slices.
        app = name or f"shop-{secrets.token_hex(3)}"
        home = Path("/srv") / f"unitq-test-{app}"
        home.mkdir(mode=0o755)
        where = scope or Scope("system")
        site = Site(where, app, home, _offset=_witness(where).out.stat().st_size)
        made.append(site)
        site.out.mkdir()
        site.out.chmod(0o1777)
        site.release(2)
        site.switch(1)
        return site

    try:
        yield make
    finally:
        problems = [problem for site in made for problem in site.broken()]
        problems += [problem for site in made for problem in site.clean_up()]
    assert not problems, "\n".join(problems)


@pytest.fixture
def make_site() -> Iterator[Callable[..., Site]]:
    """Makes apps: `make_site(scope=system, name=unique)`. All are removed after the test."""
    with sites() as make:
        yield make


@pytest.fixture
def site(make_site: Callable[..., Site], scope: Scope) -> Site:
    """An app, in both scopes: the test runs twice."""
    return make_site(scope)


@pytest.fixture
def system_site(make_site: Callable[..., Site]) -> Site:
    """An app in system scope only."""
    return make_site(Scope("system"))


@pytest.fixture
def user_site(make_site: Callable[..., Site]) -> Site:
    """An app in user scope only."""
    return make_site(Scope("user"))


@pytest.fixture(scope="session")
def _redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis(_redis: RedisServer) -> RedisServer:
    """A Redis that workers of any user reach; empty."""
    _redis.client.flushall()
    return _redis


@pytest.fixture
def observe(tmp_path: Path) -> Callable[[Site], AbstractContextManager[Observer]]:
    """`with observe(site) as observer:` watches the app's units; ask it after the block, or in it.

    The evidence: a process of its own that samples every 50 ms and listens to systemd.
    """

    @contextmanager
    def watch(site: Site) -> Iterator[Observer]:
        # Not in tmp_path, which is closed to other users.
        out = site.home / f"observed-{secrets.token_hex(3)}.jsonl"
        observer = Observer(
            site.app,
            out,
            user=site.scope.user,
            command_prefix=site.scope.prefix,
            environment=site.scope.environment,
        )
        with observer:
            yield observer

    return watch
