"""systemd over D-Bus: orders, properties, signals. All bytes of the bus stay in here."""

from __future__ import annotations

import os
import re
import select
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, cast

from unitq.errors import NoMatchError, SystemdError
from unitq.linux import changes
from unitq.linux.interrupts import defer
from unitq.systemd import bus
from unitq.systemd.errors import GONE, TIMEOUT, BusLostError, failure, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_SERVICE = b"org.freedesktop.systemd1"
_OBJECT = b"/org/freedesktop/systemd1"
_MANAGER = b"org.freedesktop.systemd1.Manager"
_UNIT = b"org.freedesktop.systemd1.Unit"
_UNIT_PATH = b"/org/freedesktop/systemd1/unit/"
_PROPERTIES = b"org.freedesktop.DBus.Properties"
_BUS = (b"org.freedesktop.DBus", b"/org/freedesktop/DBus", b"org.freedesktop.DBus")

# What we read of a unit: its interface and its D-Bus type (org.freedesktop.systemd1(5)).
_KINDS: dict[str, tuple[bytes, bytes]] = {
    "InvocationID": (_UNIT, b"ay"),
    "ActiveEnterTimestampMonotonic": (_UNIT, b"t"),
    "StateChangeTimestamp": (_UNIT, b"t"),
    "StateChangeTimestampMonotonic": (_UNIT, b"t"),
    "FragmentPath": (_UNIT, b"s"),
    "Id": (_UNIT, b"s"),
    "LoadState": (_UNIT, b"s"),
    "ActiveState": (_UNIT, b"s"),
    "UnitFileState": (_UNIT, b"s"),
    "After": (_UNIT, b"as"),
    "JobTimeoutUSec": (_UNIT, b"t"),
    "NeedDaemonReload": (_UNIT, b"b"),
    "MainPID": (b"org.freedesktop.systemd1.Service", b"u"),
    "NRestarts": (b"org.freedesktop.systemd1.Service", b"u"),
    "Restart": (b"org.freedesktop.systemd1.Service", b"s"),
    "Result": (b"org.freedesktop.systemd1.Service", b"s"),
    "ExecMainCode": (b"org.freedesktop.systemd1.Service", b"i"),
    "ExecMainStatus": (b"org.freedesktop.systemd1.Service", b"i"),
    "ExecMainExitTimestamp": (b"org.freedesktop.systemd1.Service", b"t"),
    "KillMode": (b"org.freedesktop.systemd1.Service", b"s"),
    "KillSignal": (b"org.freedesktop.systemd1.Service", b"i"),
    "TimeoutStopUSec": (b"org.freedesktop.systemd1.Service", b"t"),
    "ControlGroup": (b"org.freedesktop.systemd1.Service", b"s"),
    "User": (b"org.freedesktop.systemd1.Service", b"s"),
    "MemoryCurrent": (b"org.freedesktop.systemd1.Service", b"t"),
}

# What `Changed` tells of. The dozens of other properties are left where they are: a restart alone
# takes 18 signals.
_CHANGES = {
    name.encode(): name
    for name in (
        "ActiveState",
        "SubState",
        "InvocationID",
        "ActiveEnterTimestampMonotonic",
        "MainPID",
        "Result",
        "ExecMainCode",
        "ExecMainStatus",
    )
}

# sd-bus gives up on a call after 25 s; a daemon-reload may need longer. An operator's value wins.
_TIMEOUT_VALUE = "120s"

# So many questions one by one take no longer than loading what asks them all at once.
_FEW = 50

# How long PID 1 may be away while it re-executes itself.
_RECONNECT_SECONDS = 60.0

# The same once unitq itself was told to end: at the end of a shutdown all processes are
# (systemd-shutdown sends SIGTERM), and then nobody comes back.
_RECONNECT_INTERRUPTED = 5.0

_SPECIAL = re.compile(rb"^[0-9]|[^A-Za-z0-9]")


class Properties(TypedDict, total=False):
    """Properties of a unit, by systemd's own names (org.freedesktop.systemd1(5)): those asked for.

    Times are microseconds since 1970 or since the boot, but for the one that says otherwise.
    """

    InvocationID: str  # hexadecimal
    ActiveEnterTimestampMonotonic: float  # seconds
    StateChangeTimestamp: int
    StateChangeTimestampMonotonic: int
    FragmentPath: str
    Id: str
    LoadState: str
    ActiveState: str
    SubState: str
    UnitFileState: str
    After: list[str]
    JobTimeoutUSec: int
    NeedDaemonReload: bool
    MainPID: int
    NRestarts: int
    Restart: str
    Result: str
    ExecMainCode: int  # CLD_EXITED …, waitid(2)
    ExecMainStatus: int
    ExecMainExitTimestamp: int
    KillMode: str
    KillSignal: int
    TimeoutStopUSec: int
    ControlGroup: str
    User: str
    MemoryCurrent: int


class UnitStatus(NamedTuple):
    """One row of ListUnits."""

    name: str
    load: str
    active: str
    sub: str
    job: bool


class Changed(NamedTuple):
    """PropertiesChanged of a unit: those of its properties that _CHANGES names."""

    unit: str
    properties: Properties


class JobDone(NamedTuple):
    """JobRemoved: the unit job is over, one way or another (`done`, `failed`, `canceled` …)."""

    unit: str
    job: str
    result: str


Event = Changed | JobDone


class Systemd:
    """One connection to the manager of one scope."""

    def __init__(self, *, user: bool = False) -> None:
        self._user = user
        self._bus: Any = None
        self._paths: dict[bytes, str] = {}
        self._pending: list[Event] = []
        self._callbacks: tuple[Any, ...] = ()
        self._private = False  # nobody but systemd is at the other end
        self._name = b""  # of systemd on the bus
        self._strangers: list[int] = []  # one for each signal that somebody else has sent
        self.calls = 0  # counted so that tests can hold us to "D-Bus calls are counted"
        os.environ.setdefault(TIMEOUT, _TIMEOUT_VALUE)
        bus.import_pystemd()
        self._open()

    # Orders

    def start(self, unit: str, mode: str = "replace") -> str:
        """Orders a start; returns the job's path."""
        return self._job(b"StartUnit", unit, mode)

    def stop(self, unit: str) -> str:
        """Orders a stop; returns the job's path."""
        return self._job(b"StopUnit", unit, "replace")

    def restart(self, unit: str) -> str:
        """Orders a restart, one job: systemd brings the unit back even if we die meanwhile."""
        return self._job(b"RestartUnit", unit, "replace")

    def reset_failed(self, unit: str) -> None:
        """Forgets a failure and the start counter, which deliberate starts would run against."""
        try:
            self._call(b"ResetFailedUnit", b"s", unit.encode())
        except NoMatchError:
            return  # not loaded: nothing to forget

    def kill(self, unit: str, whom: str, signal: int) -> None:
        """Sends a signal to the unit's processes: `whom` is "main" or "all"."""
        changes.note()
        self._call(b"KillUnit", b"ssi", unit.encode(), whom.encode(), signal, once=True)

    def reload(self) -> None:
        """daemon-reload: reads all unit files again. Slow on a large host."""
        changes.note()
        self._call(b"Reload")

    def enable(self, units: Sequence[str]) -> None:
        """Makes the units start at boot. systemd knows it after the next reload."""
        changes.note()
        self._call(b"EnableUnitFiles", b"asbb", [u.encode() for u in units], False, False)

    def disable(self, units: Sequence[str]) -> None:
        """Undoes `enable`."""
        changes.note()
        self._call(b"DisableUnitFiles", b"asb", [u.encode() for u in units], False)

    def start_transient(self, unit: str, properties: Sequence[tuple[str, str, Any]]) -> None:
        """Starts a unit that has no file: name, D-Bus type and value of each of its properties.

        org.freedesktop.systemd1(5), StartTransientUnit(); it is gone when it has ended.
        """
        from pystemd.dbuslib import apply_signature

        ended = (-1, None)
        arguments = apply_signature(b"ss", [unit.encode(), b"fail"])
        arguments.append((ord("a"), b"(sv)"))
        for name, kind, value in properties:
            arguments += [(ord("r"), b"sv"), (ord("s"), name.encode()), (ord("v"), kind.encode())]
            arguments += [*apply_signature(kind.encode(), [value]), ended, ended]
        arguments += [ended, (ord("a"), b"(sa(sv))"), ended]
        self._answer(
            lambda: (
                self._bus.call_method(
                    _SERVICE, _OBJECT, _MANAGER, b"StartTransientUnit", arguments
                ).body
            ),
            "StartTransientUnit",
            (unit.encode(),),
            once=True,
        )

    # Reading

    def units(self, patterns: Iterable[str]) -> list[UnitStatus]:
        """The loaded units whose names match any of the globs, in one call."""
        rows = self._call(b"ListUnitsByPatterns", b"asas", [], [p.encode() for p in patterns])
        return [
            UnitStatus(
                row[0].decode(), row[2].decode(), row[3].decode(), row[4].decode(), row[7] > 0
            )
            for row in rows
        ]

    def control_group(self) -> str:
        """The manager's own cgroup: "" for PID 1, a user's slice for `--user`."""
        value = self._property(_OBJECT, _MANAGER, b"ControlGroup", b"s")
        return str(_text(value)).rstrip("/")

    def version(self) -> str:
        """The version of the systemd that runs."""
        return str(_text(self._property(_OBJECT, _MANAGER, b"Version", b"s")))

    def search_path(self) -> str | None:
        """The PATH that services get where they set none (org.freedesktop.systemd1(5))."""
        block = self._property(_OBJECT, _MANAGER, b"Environment", b"as")
        texts = (str(_text(entry)) for entry in block)
        return next((t.removeprefix("PATH=") for t in texts if t.startswith("PATH=")), None)

    def stopping(self) -> bool:
        """Whether it stops everything: the machine, or the user's manager, goes down."""
        return bool(self._property(_OBJECT, _MANAGER, b"SystemState", b"s") == b"stopping")

    def properties(self, unit: str, *wanted: str) -> Properties:
        """Some properties of a unit, a call each: 50 µs, where all of them at once take 1.6 ms."""
        path = _UNIT_PATH + _escape(unit)
        values: dict[str, Any] = {}
        for name in wanted:
            interface, kind = _KINDS[name]
            values[name] = _value(name, self._property(path, interface, name.encode(), kind))
        return cast("Properties", values)

    def restarts(self, units: Sequence[str]) -> dict[str, int]:
        """NRestarts of each unit. Units that do not answer are left out."""
        if len(units) <= _FEW:
            return {unit: self.properties(unit, "NRestarts")["NRestarts"] for unit in units}
        from unitq.systemd.batch import numbers

        self.calls += len(units)
        paths = {unit: _UNIT_PATH + _escape(unit) for unit in units}
        interface, _ = _KINDS["NRestarts"]
        sockets = list(bus.private_sockets(user=self._user))
        return numbers(sockets, paths, interface, b"NRestarts", user=self._user)

    # Waiting

    def subscribe(self, units: Iterable[str]) -> None:
        """From now on `events` tells what happens to these units. Call it before acting."""
        self._paths.clear()
        self._paths.update({_UNIT_PATH + _escape(unit): unit for unit in units})
        if not self._callbacks:
            self._listen()

    def unsubscribe(self) -> None:
        """From now on nobody asks for events, so a lost connection is none of the caller's."""
        self._paths.clear()

    def events(self, timeout: float | None, wake: int | None = None) -> list[Event]:
        """What happened since the last call; waits up to `timeout` seconds (None: for ever).

        Returns early, perhaps with nothing, when the descriptor `wake` can be read.
        Raises BusLostError when the connection broke.
        """
        end = None if timeout is None else monotonic() + timeout
        while True:
            self._process()
            left = None if end is None else end - monotonic()
            if self._pending or (left is not None and left <= 0):
                return self._take_pending()
            watched = [self._descriptor(), *([] if wake is None else [wake])]
            readable, _, _ = select.select(watched, [], [], left)
            if wake in readable:
                return self._take_pending()

    def _descriptor(self) -> int:
        # sd_bus_process(3) takes the end of a connection for an event like any other: it closes
        # the descriptor and fails only when it is called again.
        number: int = self._bus.get_fd()
        if number < 0:
            raise BusLostError("the connection to systemd broke")
        return number

    def _process(self) -> None:
        try:
            while not self._bus.process().is_empty():
                pass
        except Exception as error:
            if number_of(error) in GONE:
                raise BusLostError("the connection to systemd broke") from error
            raise
        if self._strangers:
            self._strangers.clear()
            # One that has executed itself anew has another name, and some of its signals are lost.
            try:
                same = self._owner() == self._name
            except SystemdError:
                same = False
            if not same:
                raise BusLostError("systemd has left the bus, or come back to it")

    def reconnect(self, interrupted: Callable[[], bool] = lambda: False) -> None:
        """Connects again and subscribes as before. Waits for a manager that re-executes itself.

        Not for long once `interrupted` is true. Raises SystemdError where nobody answers.
        """
        began = monotonic()
        self._pending.clear()
        while True:
            try:
                self._open()
                if self._paths:
                    self._listen()
                # A connection can be accepted and dropped again by a manager on its way out.
                self._property(_OBJECT, _MANAGER, b"Version", b"s", once=True)
            except SystemdError:
                # It was there a moment ago, so whatever is said of it now, it comes back.
                patience = _RECONNECT_INTERRUPTED if interrupted() else _RECONNECT_SECONDS
                if monotonic() > began + patience:
                    raise
                # Nothing signals that the socket is back; this is rare and short.
                select.select([], [], [], 0.05)
            else:
                return

    # Below: bytes

    def _open(self) -> None:
        self._callbacks = ()
        self._bus, self._private = bus.connect(user=self._user)

    def _owner(self) -> bytes:
        """The name that systemd has on the bus for as long as it is connected."""
        from pystemd.dbuslib import apply_signature

        what = apply_signature(b"s", [_SERVICE])
        name: bytes = self._answer(
            lambda: self._bus.call_method(*_BUS, b"GetNameOwner", what).body,
            "GetNameOwner",
            (),
            once=True,
        )
        return name

    def _listen(self) -> None:
        pending, paths, strangers = self._pending, self._paths, self._strangers
        # Any account may send such signals on the bus, also straight to us, past all matches: only
        # the sender's own name cannot be made up. On the private socket nobody else is connected.
        known = self._name = b"" if self._private else self._owner()

        def foreign(message: Any) -> bool:
            if not known or message.get_sender() == known:
                return False
            strangers.append(1)
            return True

        # Plain functions: pystemd sets an attribute on them, which a method does not take. They
        # only note: an exception in here would surface as SystemError.
        def on_change(message: Any, error: Any = None, userdata: Any = None) -> None:  # noqa: ARG001
            # Of every object on the bus: what is not ours is skipped before it is parsed.
            if (unit := paths.get(message.get_path())) and not foreign(message):
                message.process_reply(False)
                # pystemd reads an empty dictionary, of a signal that only invalidates, as a list.
                interface, changes, _ = message.body
                if not isinstance(changes, dict):
                    return
                properties = _plain(changes)
                # Of one change systemd sends two signals: what is a service's own, and right behind
                # it what all units have (dbus-unit.c, send_changed_signal).
                last = pending[-1] if interface == _UNIT and pending else None
                if (
                    isinstance(last, Changed)
                    and last.unit == unit
                    and "ActiveState" not in last.properties
                ):
                    last.properties.update(properties)
                else:
                    pending.append(Changed(unit, properties))

        def on_job_removed(message: Any, error: Any = None, userdata: Any = None) -> None:  # noqa: ARG001
            if foreign(message):
                return
            message.process_reply(False)
            _, job, unit, result = message.body
            pending.append(JobDone(unit.decode(), job.decode(), result.decode()))

        # pystemd holds bare pointers; without these references the next signal crashes.
        self._callbacks = (on_change, on_job_removed)
        self._call(b"Subscribe", tolerate="AlreadySubscribed")
        sender = _SERVICE if known else None
        self._bus.match_signal(sender, None, _PROPERTIES, b"PropertiesChanged", on_change)
        self._bus.match_signal(sender, _OBJECT, _MANAGER, b"JobRemoved", on_job_removed)

    def _take_pending(self) -> list[Event]:
        events = list(self._pending)
        self._pending.clear()
        return events

    def _job(self, method: bytes, unit: str, mode: str) -> str:
        changes.note()
        return str(self._call(method, b"ss", unit.encode(), mode.encode()).decode())

    def _call(
        self,
        method: bytes,
        signature: bytes = b"",
        *values: Any,
        tolerate: str = "",
        once: bool = False,
    ) -> Any:
        from pystemd.dbuslib import apply_signature

        arguments = apply_signature(signature, list(values)) if signature else []

        def call() -> Any:
            try:
                return self._bus.call_method(_SERVICE, _OBJECT, _MANAGER, method, arguments).body
            except Exception as error:
                if tolerate and tolerate in type(error).__name__ + str(error):
                    return None
                raise

        return self._answer(call, method.decode(), values, once=once)

    def _property(
        self, path: bytes, interface: bytes, name: bytes, kind: bytes, *, once: bool = False
    ) -> Any:
        def call() -> Any:
            return self._bus.get_property(_SERVICE, path, interface, name, kind)

        return self._answer(call, f"reading {name.decode()}", (), once=once)

    def _answer(
        self, call: Callable[[], Any], what: str, values: tuple[Any, ...], *, once: bool
    ) -> Any:
        """The answer to a call. Where the connection breaks, the call is made again.

        Not so for who listens to events: he must know that he has missed some. And not with
        `once`: all else that is asked for here may as well be asked for twice.
        """
        while True:
            self.calls += 1
            try:
                with defer():
                    return call()
            except Exception as error:
                problem = failure(error, what, values, user=self._user)
                if once or self._paths or not isinstance(problem, BusLostError):
                    raise problem from error
            self.reconnect()


def _plain(changes: dict[bytes, Any]) -> Properties:
    values = {name: _value(name, changes[key]) for key, name in _CHANGES.items() if key in changes}
    return cast("Properties", values)


def _value(name: str, value: Any) -> Any:
    if name == "InvocationID":
        return bytes(value).hex()
    if name == "ActiveEnterTimestampMonotonic":
        return value / 1e6
    return _text(value)


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(item) for item in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _escape(unit: str) -> bytes:
    # sd_bus_path_encode(3): everything but letters and digits as _XX; a leading digit as well.
    return _SPECIAL.sub(lambda match: b"_%02x" % match[0][0], unit.encode())
