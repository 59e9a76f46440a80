"""What is compared: Supervisor, set up in several ways as its documentation has them, and unitq."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from bench.watching import Home, look
from tests.harness import leftovers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

USER = "www-data"
WORKERS = 4

PHP = "php resque.php"
# As in the incident: bash is asked for more than one command, and stays as php's parent. With one
# simple command it would replace itself by php; a redirection is enough to keep it.
BASH = f"bash -c '{PHP}; exit $?'"
# The remedy within the shell: whatever comes before, the last command takes bash's place.
BASH_EXEC = f"bash -c 'umask 022; exec {PHP}'"

_BESIDE = Path(sys.executable).parent
_TIMEOUT = 300.0
_START_TIMEOUT = 60.0


def end(process: subprocess.Popen[bytes]) -> None:
    """Sends SIGTERM, and SIGKILL to one that takes too long."""
    process.terminate()
    try:
        process.wait(_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Setup(NamedTuple):
    """One row of the table. `manager` is "supervisor" or "unitq"."""

    name: str
    title: str
    manager: str
    command: str
    options: tuple[str, ...] = ()
    """Lines of Supervisor's [program:x] beyond what it takes to run the worker at all."""
    one_by_one: bool = False
    """Restart each process by a supervisorctl of its own, one after the other."""


# Checked against docs/configuration.rst, docs/running.rst and docs/subprocess.rst of Supervisor
# 4.3.0. What is not named has its documented default: stopsignal=TERM, stopwaitsecs=10,
# stopasgroup=false, killasgroup=false, startsecs=1, autorestart=unexpected. `restart sms:*` is
# "restart all processes in a group", and a program with numprocs is one.
SETUPS = (
    Setup("defaults", "Supervisor, defaults", "supervisor", PHP),
    Setup("bash", "Supervisor, defaults, `bash -c`: the incident", "supervisor", BASH),
    # stopasgroup: "send the stop signal to the whole process group and implies killasgroup is true.
    # This is useful for programs […] that do not propagate stop signals to their children, leaving
    # them orphaned." bash is such a program: this is the documentation's own answer to it.
    Setup(
        "group",
        "Supervisor, `bash -c`, `stopasgroup=true`, `killasgroup=true`",
        "supervisor",
        BASH,
        ("stopasgroup=true", "killasgroup=true"),
    ),
    # "supervisord can only kill a process which it creates itself": so let the worker be that one.
    Setup("exec", "Supervisor, `bash -c` with `exec`", "supervisor", BASH_EXEC),
    # stopsignal: "normally one of: TERM, HUP, INT, QUIT, KILL, USR1, or USR2"; with QUIT php-resque
    # finishes its job. stopwaitsecs: seconds until "a final SIGKILL", here more than the longest
    # job. This is Supervisor at its best for this worker.
    Setup(
        "quit",
        "Supervisor, `exec`, `stopsignal=QUIT`, `stopwaitsecs=60`",
        "supervisor",
        BASH_EXEC,
        ("stopsignal=QUIT", "stopwaitsecs=60"),
    ),
    # "restart <name>: restart a process", in a loop. For that docs/plugins.rst lists a plugin by
    # others, supervisor-serialrestart.
    Setup(
        "loop",
        "the same, a `supervisorctl restart` for each process in turn",
        "supervisor",
        BASH_EXEC,
        ("stopsignal=QUIT", "stopwaitsecs=60"),
        one_by_one=True,
    ),
    Setup("unitq-bash", "unitq, `bash -c`", "unitq", BASH),
    Setup("unitq", "unitq", "unitq", PHP),
)


class Manager(Protocol):
    """What starts, restarts and stops the workers of one directory."""

    def start(self) -> Home:
        """Start them; tells where its processes are to be found."""

    def restart(self) -> int:
        """Restart them all as an operator would, and return the command's exit status."""

    def stop(self) -> None:
        """Stop what it can find."""


def make(setup: Setup, root: Path, environment: Mapping[str, str]) -> Manager:
    """The manager of this setup, for workers in `root`/current."""
    kind = Supervisor if setup.manager == "supervisor" else Unitq
    return kind(setup, root, environment)


def versions() -> dict[str, str]:
    """What is compared, and what it runs."""
    php = subprocess.run(["php", "-r", "echo PHP_VERSION;"], check=True, capture_output=True)
    return {
        "supervisor": version("supervisor"),
        "unitq": version("unitq"),
        "php": php.stdout.decode(),
    }


_SUPERVISORD_CONF = """\
; The sections that `echo_supervisord_conf` shows.
[unix_http_server]
file={root}/supervisor.sock

[supervisord]
logfile={root}/supervisord.log
pidfile={root}/supervisord.pid
childlogdir={root}
user=root
nodaemon=true

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{root}/supervisor.sock

[program:sms]
command={command}
process_name=%(program_name)s_%(process_num)02d
numprocs={workers}
directory={root}/current
user={user}
environment={environment}
{options}
"""


class Supervisor:
    """A supervisord of its own."""

    def __init__(self, setup: Setup, root: Path, environment: Mapping[str, str]) -> None:
        self._setup = setup
        self._root = root
        self._config = root / "supervisord.conf"
        self._config.write_text(
            _SUPERVISORD_CONF.format(
                root=root,
                command=setup.command,
                workers=WORKERS,
                user=USER,
                environment=",".join(f'{name}="{value}"' for name, value in environment.items()),
                options="\n".join(setup.options),
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Home:
        """Start supervisord, which starts the workers."""
        self._process = subprocess.Popen(
            [str(_BESIDE / "supervisord"), "--configuration", str(self._config)],
            cwd="/",
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return Home(supervisord=self._process.pid)

    def restart(self) -> int:
        """`supervisorctl restart sms:*`, or one by one."""
        which = (
            [f"sms:sms_{n:02d}" for n in range(WORKERS)] if self._setup.one_by_one else ["sms:*"]
        )
        ctl = [str(_BESIDE / "supervisorctl"), "--configuration", str(self._config), "restart"]
        return max(_run([*ctl, each]) for each in which)

    def stop(self) -> None:
        """End supervisord, which stops what is below it."""
        if self._process is not None:
            end(self._process)


_UNITQ_TOML = """\
app = "{app}"
user = "{user}"
directory = "{root}/current"

[rollout]
min_healthy = "1s"                   # as startsecs, or the seconds could not be compared

[workers.sms]
preset = "php-resque"
command = {command}
queues = ["sms"]
instances = {workers}

[workers.sms.environment]
{environment}
"""


class Unitq:
    """An app of its own."""

    def __init__(self, setup: Setup, root: Path, environment: Mapping[str, str]) -> None:
        self._app = root.name
        self._config = root / "unitq.toml"
        self._config.write_text(
            _UNITQ_TOML.format(
                app=self._app,
                user=USER,
                root=root,
                # In systemd's syntax, where a dollar sign is doubled.
                command=f'"{setup.command.replace("$", "$$")}"',
                workers=WORKERS,
                environment="\n".join(
                    # `queues` says it.
                    f'{name} = "{value}"'
                    for name, value in environment.items()
                    if name != "QUEUE"
                ),
            )
        )

    def start(self) -> Home:
        """The first deploy."""
        status = self._unitq("deploy")
        if status != 0:
            raise RuntimeError(f"the first unitq deploy of {self._app}: exit {status}")
        return Home(slice=leftovers.slice_path(self._app))

    def restart(self) -> int:
        """`unitq deploy`, as after every change of the code."""
        return self._unitq("deploy")

    def stop(self) -> None:
        """`unitq remove`."""
        self._unitq("remove", "--yes")

    def _unitq(self, *arguments: str) -> int:
        return _run([str(_BESIDE / "unitq"), "-c", str(self._config), *arguments])


def end_all(root: Path, home: Home) -> None:
    """End the setup's processes one by one, whoever their parents are by now."""
    until = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < until:
        seen = look(root, home)
        if not seen.managed | seen.orphans:
            return
        for pid in seen.managed | seen.orphans:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        time.sleep(0.05)


def _environment() -> dict[str, str]:
    """What a shell would have; nothing that is about this benchmark."""
    return {"HOME": "/root", "PATH": f"{_BESIDE}:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


def _run(command: Sequence[str]) -> int:
    done = subprocess.run(
        command,
        cwd="/",
        env=_environment(),
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
    )
    if done.returncode != 0:
        print(
            f"# {' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}", flush=True
        )
    return done.returncode
