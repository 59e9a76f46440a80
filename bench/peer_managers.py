"""The managers that bench/peers.py compares, each as its documentation has it.

circus, Supervisor and pm2 are installed into .peers at the versions that bench/install locks. What
nobody needs to set has its default.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from bench.app import UNITQ, App, run
from bench.managers import end

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.app import Took

CHECKOUT = Path(__file__).resolve().parent.parent
INSTALL = CHECKOUT / "bench" / "install"
PEERS = CHECKOUT / ".peers"
USER = "www-data"

_TIMEOUT = 600.0
_LOCKED = ("peers.txt", "package.json", "package-lock.json")

# Writes down when it began, under its PID, and is gone at once when it is told: what is measured is
# the manager. Each manager has a directory of its own.
_WORKER = """\
#!/bin/bash
echo "$EPOCHREALTIME" > "${0%/*}/up/$$"
exec sleep infinity
"""


class Peer(ABC):
    """One manager, and its workers in a directory of their own."""

    name: str
    status_command: str  # as an operator types it
    restart_command: str

    def __init__(self, instances: int) -> None:
        self.instances = instances
        self.root = Path("/srv", f"bench-{self.name.lower()}")
        self.command = f"/bin/bash {self.root}/worker.sh"
        self.log = self.root / "daemon.log"

    def prepare(self) -> None:
        """Puts the worker into its directory."""
        self.root.mkdir(exist_ok=True)
        (self.root / "worker.sh").write_text(_WORKER)
        (self.root / "up").mkdir()
        shutil.chown(self.root / "up", USER)

    @abstractmethod
    def start(self) -> None:
        """Starts the workers; they may not be up yet when it returns."""

    @abstractmethod
    def status(self) -> Took:
        """Asks for the state of every worker."""

    @abstractmethod
    def restart(self) -> Took:
        """Restarts all at once; a process may not be up yet when it returns."""

    @abstractmethod
    def stop(self) -> None:
        """Stops all, and what manages them."""

    @abstractmethod
    def daemons(self) -> list[int]:
        """The PIDs of what stays resident to manage the workers."""

    def workers(self) -> dict[int, float]:
        """The workers that live, by PID, and when each began: seconds since 1970."""
        begun = {}
        for path in (self.root / "up").iterdir():
            if not os.path.exists(f"/proc/{path.name}"):
                path.unlink()
            elif text := path.read_text():
                begun[int(path.name)] = float(text)
        return begun


class Fleet(App):
    """The app of unitq whose units systemctl is given, too."""

    def __init__(self, peer: Peer) -> None:
        super().__init__(peer.root.name, peer.instances)
        self.command = peer.command
        self.prepare = peer.prepare  # type: ignore[method-assign]


class Unitq(Peer):
    """unitq; PID 1 is what manages its workers."""

    name = "unitq"
    status_command = "unitq status --json"
    restart_command = "unitq restart --max-unavailable 100%"

    def start(self) -> None:
        self.app = Fleet(self)
        self.app.__enter__()

    def status(self) -> Took:
        return self.app.unitq("status", "--json")

    def restart(self) -> Took:
        return self.app.unitq("restart", "--max-unavailable", "100%", "--json")

    def stop(self) -> None:
        self.app.__exit__(None, None, None)

    def daemons(self) -> list[int]:
        return [1]


class Systemctl(Unitq):
    """systemctl, of units like unitq's own."""

    name = "systemctl"
    status_command = "systemctl show GLOB"
    restart_command = "systemctl restart GLOB"

    def status(self) -> Took:
        return run("systemctl", "show", self._glob)

    def restart(self) -> Took:
        return run("systemctl", "restart", self._glob)

    @property
    def _glob(self) -> str:
        return f"unitq-{self.app.name}-idle@*.service"


class _Daemon(Peer):
    """A manager that is a process of its own."""

    def serve(self, *command: str) -> None:
        """Starts the daemon."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def daemons(self) -> list[int]:
        return [self._process.pid]

    def stop(self) -> None:
        """SIGTERM: each then stops its workers."""
        end(self._process)
        shutil.rmtree(self.root)


class Supervisor(_Daemon):
    """supervisord; a process is up at once, as unitq's with min_healthy = 0."""

    name = "Supervisor"
    status_command = "supervisorctl status"
    restart_command = "supervisorctl restart all"

    def start(self) -> None:
        self._config = self.root / "supervisord.conf"
        # minfds: each process takes four descriptors, and the default is 1,024.
        self._config.write_text(
            f"[unix_http_server]\nfile={self.root}/supervisor.sock\n"
            f"[supervisord]\nlogfile={self.root}/supervisord.log\nnodaemon=true\nuser=root\n"
            f"pidfile={self.root}/supervisord.pid\nchildlogdir={self.root}\nminfds=16384\n"
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = "
            "supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[supervisorctl]\nserverurl=unix://{self.root}/supervisor.sock\n"
            f"[program:idle]\ncommand={self.command}\nuser={USER}\nnumprocs={self.instances}\n"
            "process_name=%(program_name)s_%(process_num)04d\nstartsecs=0\n"
        )
        self.serve(_python_program("supervisord"), "-c", str(self._config))

    def status(self) -> Took:
        return self._ctl("status")

    def restart(self) -> Took:
        return self._ctl("restart", "all")

    def _ctl(self, *words: str) -> Took:
        return run(_python_program("supervisorctl"), "-c", str(self._config), *words)


class Circus(_Daemon):
    """circusd; `status` tells of the watcher, `list` the PIDs, `stats` takes 0.1 s a process."""

    name = "circus"
    status_command = "circusctl list idle"
    restart_command = "circusctl restart --waiting"

    def start(self) -> None:
        config = self.root / "circus.ini"
        config.write_text(
            f"[circus]\nendpoint = {self._at('ctl')}\npubsub_endpoint = {self._at('pub')}\n"
            f"[watcher:idle]\ncmd = {self.command}\nnumprocesses = {self.instances}\nuid = {USER}\n"
        )
        self.serve(_python_program("circusd"), str(config))

    def _at(self, name: str) -> str:
        return f"ipc://{self.root}/{name}.sock"

    def status(self) -> Took:
        return self._ctl("list", "idle")

    def restart(self) -> Took:
        return self._ctl("restart", "--waiting")

    def _ctl(self, *words: str) -> Took:
        ctl = _python_program("circusctl")
        return run(ctl, "--timeout", str(int(_TIMEOUT)), "--endpoint", self._at("ctl"), *words)


class Pm2(Peer):
    """pm2, in fork mode: the worker is not a program of Node.js."""

    name = "pm2"
    status_command = "pm2 jlist"
    restart_command = "pm2 restart all"

    def start(self) -> None:
        config = self.root / "ecosystem.config.json"
        worker = {
            "name": "idle",
            "script": f"{self.root}/worker.sh",
            "interpreter": "/bin/bash",
            "exec_mode": "fork",
            "instances": self.instances,
            "uid": USER,
        }
        config.write_text(json.dumps({"apps": [worker]}))
        self._pm2("start", str(config))

    def status(self) -> Took:
        return self._pm2("jlist")

    def restart(self) -> Took:
        return self._pm2("restart", "all")

    def stop(self) -> None:
        self._pm2("kill")
        shutil.rmtree(self.root)

    def daemons(self) -> list[int]:
        return [int((self.root / "pm2" / "pm2.pid").read_text())]

    def _pm2(self, *words: str) -> Took:
        home = f"PM2_HOME={self.root}/pm2"
        return run("env", home, "node", str(PEERS / "node_modules/pm2/bin/pm2"), *words)


MANAGERS: tuple[type[Peer], ...] = (Unitq, Systemctl, Supervisor, Circus, Pm2)


def install() -> dict[str, str]:
    """Installs the peers where they are not yet; returns the version of each that is there."""
    locked = b"".join((INSTALL / name).read_bytes() for name in _LOCKED)
    stamp, wanted = PEERS / ".stamp", hashlib.sha256(str(PEERS).encode() + locked).hexdigest()
    if not stamp.is_file() or stamp.read_text() != wanted:
        shutil.rmtree(PEERS, ignore_errors=True)
        PEERS.mkdir()
        done = [_install_python(), _install_node()]
        if all(done):
            stamp.write_text(wanted)
    versions = {
        "unitq": _first([UNITQ, "--version"]),
        "systemctl": _first(["systemctl", "--version"]),
    }
    for name, command in {
        "Supervisor": [_python_program("supervisord"), "--version"],
        "circus": [_python_program("circusd"), "--version"],
        "pm2": [
            "node",
            "-p",
            f"require({json.dumps(str(PEERS / 'node_modules/pm2/package.json'))}).version",
        ],
    }.items():
        versions[name] = _first(command)
    return {name: version for name, version in versions.items() if version}


def _install_python() -> bool:
    pip = ["-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--only-binary=:all:"]
    own = str(PEERS / "bin" / "python")
    return _installs(sys.executable, "-m", "venv", str(PEERS)) and _installs(
        own, *pip, "--require-hashes", "--requirement", str(INSTALL / "peers.txt")
    )


def _install_node() -> bool:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(INSTALL / name, PEERS)
    # Not `npm ci`: it wants every optional package for every platform in the lock.
    options = ("--no-save", "--ignore-scripts", "--no-audit", "--no-fund")
    return _installs("npm", "install", "--prefix", str(PEERS), *options)


def _installs(*command: str) -> bool:
    """Runs it; False, and its last words, where it fails."""
    try:
        subprocess.run(
            command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=_TIMEOUT, cwd=PEERS,
        )  # fmt: skip
    except FileNotFoundError:
        print(f"# there is no {command[0]}", file=sys.stderr, flush=True)
    except subprocess.CalledProcessError as error:
        print(f"# {' '.join(command)}:\n{error.stderr[-2000:]}", file=sys.stderr, flush=True)
    else:
        return True
    return False


def _python_program(name: str) -> str:
    return str(PEERS / "bin" / name)


def _first(command: Sequence[str]) -> str:
    """The version in the first line that a program prints; empty: it is not there."""
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        return ""
    words = done.stdout.split("\n")[0].removesuffix(")").split()
    return next((word for word in words if word[:1].isdigit()), "")


def wait_for_workers(peer: Peer, seconds: float, old: frozenset[int] = frozenset()) -> float:
    """Waits until all its workers are up, none of them an `old` one; returns when the last began.

    Seconds since 1970. Raises TimeoutError.
    """
    until = time.monotonic() + seconds
    while True:
        begun = peer.workers()
        if len(begun) == peer.instances and not old & begun.keys():
            return max(begun.values())
        if time.monotonic() > until:
            raise TimeoutError(f"{peer.name}: {len(begun)} of {peer.instances} workers are up")
        time.sleep(0.02)
