"""An observer of its own: what systemd and the kernel say about an app's units, moment by moment.

It shares nothing with unitq, not even a process with the test: its own bus connection, its own
clock, its own reading of the cgroup files. Three accounts go into one file, and a promise must
hold in each of them:

- a sample every 50 ms, once there are units: the state of each (one D-Bus call) and the processes
  of each cgroup;
- every PropertiesChanged of a unit and every JobRemoved, so that what happens between two samples
  is seen as well;
- systemd's own timestamps in these signals (when a unit became active, when it ceased to be), so
  that an observer that was starved, or a bus that was away, does not hide anything.

    python -m tests.harness.observer --app shop --out FILE [--user]

(without an app: all of them)
prints `ready` when it is subscribed and has sampled once, and ends at SIGTERM. A test uses the
class `Observer`, which runs just that.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tests.harness.observed import Record, Summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType, TracebackType
    from typing import Self

INTERVAL = 0.05
# Where no unit is: the first one wakes it, and the other scope's observer costs a test nothing.
IDLE = 0.25

_SYSTEMD = b"org.freedesktop.systemd1"
_OBJECT = b"/org/freedesktop/systemd1"
_UNITS = b"/org/freedesktop/systemd1/unit"
_MANAGER = b"org.freedesktop.systemd1.Manager"
_UNIT = b"org.freedesktop.systemd1.Unit"
_SERVICE = b"org.freedesktop.systemd1.Service"
_PROPERTIES = b"org.freedesktop.DBus.Properties"

_KEPT = (
    *("ActiveState", "SubState", "InvocationID", "Job", "StateChangeTimestamp"),
    *("ActiveEnterTimestamp", "ActiveExitTimestamp"),
    *("MainPID", "Result", "ExecMainCode", "ExecMainStatus", "ExecMainPID", "NRestarts"),
)


class Observer:
    """Runs the observer beside a test. `summary()` may be asked for at any time.

    `command_prefix` and `environment` take it into another user's session for the user scope,
    such as `("runuser", "-u", "anna", "--")` with XDG_RUNTIME_DIR.
    """

    def __init__(
        self,
        app: str,
        out: Path,
        *,
        user: bool = False,
        interval: float = INTERVAL,
        command_prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        start_timeout: float = 15.0,
    ) -> None:
        self.app = app
        self.out = out
        self._user = user
        self._interval = interval
        self._prefix = tuple(command_prefix)
        self._environment = environment
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Return when it is subscribed and has sampled once: what happens next is seen."""
        checkout = Path(__file__).resolve().parents[2]
        # Made here and for everybody, because the observer may run as another user.
        self.out.write_text("")
        self.out.chmod(0o666)
        environment = dict(os.environ if self._environment is None else self._environment)
        environment["PYTHONPATH"] = str(checkout)
        self._process = subprocess.Popen(
            [
                *(*self._prefix, sys.executable, "-m", "tests.harness.observer"),
                *("--app", self.app, "--out", str(self.out), "--interval", str(self._interval)),
                *(("--user",) if self._user else ()),
            ],
            cwd=checkout,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], self._start_timeout)
        if not readable or self._process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the observer does not get ready: {self._end() or 'no word'}")

    def stop(self) -> None:
        """End it; one that broke off earlier is an error, as it saw nothing since."""
        if self._process is None:
            return
        process = self._process
        ended = process.poll()
        error = self._end()
        if ended is not None or not self.record().ended:
            which = f"{self.out.name}, status {ended} before, {process.returncode} after its stop"
            raise RuntimeError(f"the observer broke off ({which}): {error or 'no word'}")

    def record(self) -> Record:
        """All that it has written so far."""
        return Record(self.out)

    def summary(self, start: float | None = None, end: float | None = None) -> Summary:
        """What was seen between two unix times; by default all of it."""
        return self.record().summary(start, end)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _end(self) -> str:
        process, self._process = self._process, None
        if process is None:
            return ""
        process.terminate()
        try:
            _, error = process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # it prints where it is
            _, error = process.communicate()
        return error[-2000:]


class _Bus:
    """One connection and what it heard. Made anew whenever the connection is lost."""

    def __init__(self, *, user: bool) -> None:
        from pystemd.dbuslib import DBus

        self.heard: list[tuple[bytes, bytes, Any]] = []
        self._bus = DBus(user_mode=user)
        self._bus.open()
        self._on_change = self._ear(b"PropertiesChanged")
        self._on_job = self._ear(b"JobRemoved")
        self._bus.match_signal(_SYSTEMD, None, _PROPERTIES, b"PropertiesChanged", self._on_change)
        self._bus.match_signal(_SYSTEMD, _OBJECT, _MANAGER, b"JobRemoved", self._on_job)
        self.subscribe()

    def _ear(self, member: bytes) -> Callable[..., None]:
        # A plain function that only appends, and that the object keeps: pystemd sets an attribute
        # on it, holds a bare pointer to it, and turns what it raises into a SystemError.
        heard = self.heard

        def hear(message: Any, error: object = None, userdata: object = None) -> None:
            message.process_reply(False)
            heard.append((member, message.get_path(), message.body))

        return hear

    def subscribe(self) -> None:
        """Ask systemd to send signals; it says AlreadySubscribed the second time."""
        try:
            self._call(_OBJECT, _MANAGER, b"Subscribe")
        except Exception as error:
            if "AlreadySubscribed" not in type(error).__name__ + str(error):
                raise

    def units(self, pattern: str) -> dict[str, list[str]]:
        """The units of that pattern: active state, sub-state, type of the unit job or ""."""
        from pystemd.dbuslib import apply_signature

        arguments = apply_signature(b"asas", [[], [pattern.encode()]])
        rows = self._call(_OBJECT, _MANAGER, b"ListUnitsByPatterns", arguments)
        return {
            row[0].decode(): [row[3].decode(), row[4].decode(), row[8].decode()] for row in rows
        }

    def properties(self, unit: str) -> dict[str, Any]:
        """What the signals would have told, had we listened earlier."""
        from pystemd.dbuslib import path_encode

        path = path_encode(_UNITS, unit.encode())
        wanted = (
            *((_UNIT, name, b"t") for name in (b"ActiveEnterTimestamp", b"ActiveExitTimestamp")),
            (_SERVICE, b"MainPID", b"u"),
        )
        return {
            name.decode(): self._bus.get_property(_SYSTEMD, path, interface, name, kind)
            for interface, name, kind in wanted
        }

    def control_group(self) -> str:
        """The manager's own cgroup, below which all its units live; "" is the root."""
        path = self._bus.get_property(_SYSTEMD, _OBJECT, _MANAGER, b"ControlGroup", b"s")
        text: str = path.decode()
        return text.strip("/")

    def listen(self) -> list[tuple[bytes, bytes, Any]]:
        """What was heard since the last time."""
        # process() does one step and cannot tell a step without a message from nothing to do.
        idle = 0
        while idle < 3:
            idle = idle + 1 if self._bus.process().is_empty() else 0
        heard = self.heard[:]
        self.heard.clear()
        return heard

    def descriptor(self) -> int:
        """Readable when there is something to hear."""
        number: int = self._bus.get_fd()
        return number

    def close(self) -> None:
        """Let go of the connection."""
        self._bus.close()

    def _call(self, path: bytes, interface: bytes, method: bytes, arguments: Any = ()) -> Any:
        return self._bus.call_method(_SYSTEMD, path, interface, method, arguments).body


class _Watch:
    """Samples and listens until told to stop."""

    def __init__(self, app: str, out: IO[str], *, user: bool, interval: float) -> None:
        self._prefix = f"unitq-{app}-" if app else "unitq-"
        self._user = user
        self._interval = interval
        self._out = out
        self._bus: _Bus | None = None
        self._slice: Path | None = None
        # "-" in the name of a slice means nesting, so systemd-escape(1) makes this of it.
        below = f"unitq-{app.replace('-', chr(92) + 'x2d')}.slice" if app else ""
        self._below = Path("unitq.slice", below)
        self._last_units: dict[str, list[str]] | None = None
        self._last_cgroups: dict[str, list[int]] | None = None
        self._sampled = 0.0
        self._ready = False
        self._stopped = False
        self._write("start", app=app, user=user)

    def stop(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """Sample once more and end."""
        self._stopped = True

    def run(self) -> None:
        """Go on until stop()."""
        due = time.monotonic()
        while True:
            last = self._stopped
            self._sample()
            if last:
                break
            # Late samples are not made up for: a burst of them would say nothing new.
            idle = self._last_units == {} and not self._last_cgroups
            now = time.monotonic()
            # Nor is one that came early, as something happened, made up for by a longer wait.
            due = max(min(due, now) + (IDLE if idle else self._interval), now)
            self._listen_until(due)
        self._write("end")

    def _sample(self) -> None:
        self._sampled = time.monotonic()
        units = self._units()
        cgroups = self._cgroups()
        news: dict[str, Any] = {}
        if units != self._last_units or not self._ready:
            news["units"] = units
        if cgroups != self._last_cgroups:
            news["cgroups"] = cgroups
        self._last_units, self._last_cgroups = units, cgroups
        self._write("sample", clock=round(time.monotonic(), 6), **news)
        if units is not None and not self._ready:
            self._ready = True
            print("ready", flush=True)

    def _units(self) -> dict[str, list[str]] | None:
        known = self._last_units or {}
        try:
            if self._bus is None:
                self._connect()
            assert self._bus is not None
            self._note(self._bus.listen())
            units = self._bus.units(f"{self._prefix}*@*.service")
            for unit in units.keys() - known.keys():
                self._write("seen", unit=unit, properties=self._bus.properties(unit))
            self._note(self._bus.listen())
        except Exception as error:  # noqa: BLE001  (whatever the bus does, we go on observing)
            self._lost(error)
            return None
        return units

    def _connect(self) -> None:
        bus = _Bus(user=self._user)
        self._bus = bus
        self._slice = _cgroup_mount() / bus.control_group() / self._below
        self._write("bus", up=True)

    def _lost(self, error: Exception) -> None:
        # pystemd wraps what goes wrong inside a callback.
        cause = error.__cause__ or error
        if self._last_units is not None or not self._ready:
            self._write("bus", up=False, why=f"{type(cause).__name__}: {cause}")
        if self._bus is not None:
            # Anything but a healthy connection is replaced; subscribing again costs nothing.
            self._bus.close()
            self._bus = None

    def _listen_until(self, due: float) -> None:
        while (left := due - time.monotonic()) > 0 and not self._stopped:
            if self._bus is None:
                time.sleep(left)
                continue
            readable, _, _ = select.select([self._bus.descriptor()], [], [], left)
            if readable:
                try:
                    heard = self._bus.listen()
                    self._note(heard)
                except Exception as error:  # noqa: BLE001  (as above)
                    self._lost(error)
                    continue
                if heard:
                    due = min(due, self._sampled + self._interval)

    def _note(self, heard: list[tuple[bytes, bytes, Any]]) -> None:
        from pystemd.dbuslib import path_decode

        for member, path, body in heard:
            if member == b"JobRemoved":
                _, _, unit, result = body
                if self._mine(unit.decode()):
                    self._write("job", unit=unit.decode(), result=result.decode())
                continue
            unit = path_decode(path, _UNITS).decode()
            if self._mine(unit) and isinstance(body[1], dict):
                properties = {
                    name.decode(): _plain(value)
                    for name, value in body[1].items()
                    if name.decode() in _KEPT
                }
                if properties:
                    self._write("signal", unit=unit, properties=properties)

    def _mine(self, unit: str) -> bool:
        return unit.startswith(self._prefix) and "@" in unit and unit.endswith(".service")

    def _cgroups(self) -> dict[str, list[int]]:
        if self._slice is None:
            return {}
        return dict(_processes_below(str(self._slice), ""))

    def _write(self, kind: str, **what: Any) -> None:
        line = {"kind": kind, "at": round(time.time(), 6), **what}
        # One write for each line, so that whoever reads meanwhile sees whole lines.
        self._out.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._out.flush()


def _processes_below(directory: str, name: str) -> Iterator[tuple[str, list[int]]]:
    children: list[str] = []
    try:
        with open(f"{directory}/cgroup.procs") as file:
            pids = sorted(int(line) for line in file)
        # A directory has one link more for each child; most have none, and their forty files need
        # not be listed twenty times a second.
        if os.stat(directory).st_nlink > 2:
            with os.scandir(directory) as entries:
                children = sorted(entry.name for entry in entries if entry.is_dir())
    except OSError:
        # It went while we looked: no process is in it.
        return
    if pids:
        yield name, pids
    for child in children:
        yield from _processes_below(f"{directory}/{child}", f"{name}/{child}" if name else child)


def _cgroup_mount() -> Path:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(mount)
    raise RuntimeError("no cgroup2 file system is mounted")


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def main() -> None:
    """Observe until SIGTERM."""
    arguments = argparse.ArgumentParser(prog="observer", description=__doc__)
    arguments.add_argument("--app", default="")
    arguments.add_argument("--out", required=True)
    arguments.add_argument("--user", action="store_true")
    arguments.add_argument("--interval", type=float, default=INTERVAL)
    chosen = arguments.parse_args()
    faulthandler.enable()
    # A call that is not answered, as in a daemon-reexec, must not blind us for the usual 25 s.
    os.environ.setdefault("SYSTEMD_BUS_TIMEOUT", "5s")
    with contextlib.suppress(PermissionError):
        # The load of a test is for the workers to bear.
        os.nice(-10)
    with open(chosen.out, "a") as out:
        watch = _Watch(chosen.app, out, user=chosen.user, interval=chosen.interval)
        signal.signal(signal.SIGTERM, watch.stop)
        # Ctrl-C is for the test, which stops us.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        watch.run()


if __name__ == "__main__":
    main()
