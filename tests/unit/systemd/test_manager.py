"""What is said twice to systemd where the connection broke, and what is not: a bus that breaks."""

from __future__ import annotations

import errno
import select
from signal import SIGTERM
from typing import Any

import pytest

from unitq.errors import NoSystemdError
from unitq.systemd import bus, manager
from unitq.systemd.errors import BusLostError
from unitq.systemd.manager import Systemd


class Lost(Exception):  # noqa: N818  (as pystemd has it)
    """sd-bus: the peer is gone. Whether the call arrived, nobody knows."""

    errno = -errno.ENOTCONN


class Answer:
    """What a call returns."""

    body = b"/job/1"


class Bus:
    """Notes the calls; the first of each method breaks after it has arrived."""

    def __init__(self, called: list[str], breaks: set[str]) -> None:
        self._called, self._breaks = called, breaks

    def call_method(self, _service: bytes, _path: bytes, _interface: bytes, method: bytes,
                    _arguments: object) -> Answer:  # fmt: skip
        self._called.append(method.decode())
        if method.decode() in self._breaks:
            self._breaks.discard(method.decode())
            raise Lost
        return Answer()

    def get_property(self, *_: object) -> bytes:
        return b"252"

    def match_signal(self, *_: object) -> None:
        pass


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    breaks = {"KillUnit", "StopUnit", "ResetFailedUnit", "RestartUnit"}
    monkeypatch.setattr(bus, "import_pystemd", lambda: None)
    monkeypatch.setattr(bus, "connect", lambda **_: (Bus(calls, breaks), True))
    return calls


@pytest.fixture
def systemd(called: list[str], monkeypatch: pytest.MonkeyPatch) -> Systemd:
    import sys
    from types import ModuleType

    library: Any = ModuleType("pystemd.dbuslib")
    library.apply_signature = lambda _, values: values
    monkeypatch.setitem(sys.modules, "pystemd", ModuleType("pystemd"))
    monkeypatch.setitem(sys.modules, "pystemd.dbuslib", library)
    return Systemd()


def test_a_signal_is_sent_once(systemd: Systemd, called: list[str]) -> None:
    # The second SIGTERM is RQ's "now": it kills the job.
    with pytest.raises(BusLostError):
        systemd.kill("a.service", "main", SIGTERM)
    assert called == ["KillUnit"]


def test_what_may_be_said_twice_is(systemd: Systemd, called: list[str]) -> None:
    systemd.stop("a.service")
    assert called == ["StopUnit", "StopUnit"]


def test_who_listens_is_told_that_something_was_missed(systemd: Systemd, called: list[str]) -> None:
    systemd.subscribe(["a.service"])
    called.clear()
    # An order may have arrived: whether it did, only a look at the state can tell.
    with pytest.raises(BusLostError):
        systemd.restart("a.service")
    assert called == ["RestartUnit"]
    systemd.reconnect()
    # It keeps listening.
    assert called == ["RestartUnit", "Subscribe"]
    systemd.unsubscribe()
    systemd.stop("a.service")
    assert called[2:] == ["StopUnit", "StopUnit"]


@pytest.mark.parametrize(("interrupted", "seconds"), [(False, 60), (True, 5)])
def test_who_was_told_to_end_does_not_wait_long_for_a_systemd_that_has_gone(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch, interrupted: bool, seconds: int
) -> None:
    # At the end of a shutdown all processes get SIGTERM, and nobody answers any more.
    clock = [0.0]

    def gone(**_: object) -> None:
        raise NoSystemdError("no systemd to talk to")

    def sleep(*_: object) -> None:
        clock[0] += 0.5

    monkeypatch.setattr(bus, "connect", gone)
    monkeypatch.setattr(manager, "monotonic", lambda: clock[0])
    monkeypatch.setattr(select, "select", sleep)
    with pytest.raises(NoSystemdError):
        systemd.reconnect(lambda: interrupted)
    assert clock[0] == seconds + 0.5


class Signal:
    """PropertiesChanged of a unit, as pystemd hands it over."""

    def __init__(self, unit: str, interface: bytes, changes: object) -> None:
        self.body = [interface, changes, []]
        self._path = manager._UNIT_PATH + manager._escape(unit)

    def get_path(self) -> bytes:
        return self._path

    def process_reply(self, _headers: bool) -> None:
        pass


def test_two_signals_of_one_change_are_one_event(systemd: Systemd) -> None:
    """The service's own properties first, then the unit's; a state in passing stays an event."""
    systemd.subscribe(["a.service", "b.service"])
    changed = systemd._callbacks[0]
    service, unit = b"org.freedesktop.systemd1.Service", b"org.freedesktop.systemd1.Unit"
    for signal in (
        Signal("a.service", service, {b"MainPID": 0, b"ExecMainCode": 1}),
        Signal("a.service", unit, {b"ActiveState": b"inactive"}),
        Signal("a.service", unit, {b"ActiveState": b"activating"}),
        Signal("a.service", service, {b"MainPID": 7}),
        Signal("b.service", unit, {b"ActiveState": b"active"}),
        Signal("c.service", unit, {b"ActiveState": b"failed"}),
        Signal("b.service", service, []),  # it only invalidates
    ):
        changed(signal)
    assert systemd._take_pending() == [
        manager.Changed("a.service", {"MainPID": 0, "ExecMainCode": 1, "ActiveState": "inactive"}),
        manager.Changed("a.service", {"ActiveState": "activating"}),
        manager.Changed("a.service", {"MainPID": 7}),
        manager.Changed("b.service", {"ActiveState": "active"}),
    ]
