"""Runs unitq as a transient unit of systemd, whatever becomes of its caller."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import LockedError, SystemdError
from unitq.instances.state import EXITED
from unitq.linux import programs
from unitq.linux.trust import absolute
from unitq.model import signals
from unitq.systemd.errors import BusLostError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unitq.systemd.manager import Systemd

# What a command may depend on besides its arguments and what programs.py lets through.
_MORE = ("USER", "UNITQ_CONFIG", "SYSTEMD_BUS_TIMEOUT")

_LOOK_AGAIN = 1.0  # seconds

_FOREVER = (1 << 64) - 1  # USEC_INFINITY


def start(
    systemd: Systemd, unit: str, description: str, arguments: Sequence[str], *, user: bool
) -> None:
    """Starts `unitq` with these arguments as a unit of its own, and returns at once.

    Its directory is `/`, so no argument may be a relative path. What it prints goes to the journal.
    `systemctl stop` of the unit is a Ctrl-C: it ends at a safe point, for which it has all the time
    that it needs. Raises LockedError where it runs already.
    """
    command = [*programs.own_command(), *arguments]
    environment = _environment(user=user)
    encoded = [os.fsencode(word) for word in command]
    # One that failed stays for people to look at, until the next one.
    systemd.reset_failed(unit)
    try:
        systemd.start_transient(
            unit,
            [
                ("Description", "s", description.encode()),
                ("Type", "s", b"exec"),
                ("ExecStart", "a(sasb)", [(encoded[0], encoded, False)]),
                ("Environment", "as", [os.fsencode(pair) for pair in environment]),
                ("WorkingDirectory", "s", b"/"),
                ("TimeoutStopUSec", "t", _FOREVER),
            ],
        )
    except SystemdError as error:
        if "already" in error.message or "exists" in error.message.lower():
            raise LockedError(
                f"{unit} runs already", hint="`unitq rollout watch` waits for its end"
            ) from error
        raise


def _environment(*, user: bool) -> list[str]:
    """Returns little of the caller's: the environment of a login may hold anything."""
    if not user:
        kept = programs.environment_of_root()
    else:
        kept = programs.environment() if os.geteuid() == 0 else _of_a_user()
    environment = kept | {name: value for name in _MORE if (value := os.environ.get(name))}
    if user and (bus := os.environ.get("DBUS_SESSION_BUS_ADDRESS")):
        environment["DBUS_SESSION_BUS_ADDRESS"] = bus
    if "UNITQ_CONFIG" in environment:
        environment["UNITQ_CONFIG"] = absolute(environment["UNITQ_CONFIG"])
    return [f"{name}={value}" for name, value in sorted(environment.items())]


def _of_a_user() -> dict[str, str]:
    names = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")
    return programs.own_places() | {name: os.environ[name] for name in names if name in os.environ}


class UnitEnd(NamedTuple):
    """How a unit of unitq's own failed, as far as systemd remembers."""

    code: int  # its exit code; 0: it did not fail, or was killed
    signal: int  # what it died of; 0: it exited
    at: float  # seconds since 1970; 0: it is not known to have failed

    @property
    def words(self) -> str:
        """How it ended."""
        return (
            f"was killed by {signals.name(self.signal)}"
            if self.signal
            else f"ended with {self.code}"
        )


def failure_of(systemd: Systemd, unit: str) -> UnitEnd:
    """Returns how the unit failed. Raises SystemdError."""
    names = ("ExecMainCode", "ExecMainStatus", "ExecMainExitTimestamp")
    properties = systemd.properties(unit, *names)
    status, at = properties["ExecMainStatus"], properties["ExecMainExitTimestamp"] / 1e6
    # The status of what a signal has killed is the number of the signal (waitid(2)).
    return (
        UnitEnd(status, 0, at)
        if properties["ExecMainCode"] in (0, EXITED)
        else UnitEnd(0, status, at)
    )


def wait_for_end(systemd: Systemd, unit: str, meanwhile: Callable[[], None]) -> UnitEnd:
    """Waits until no such unit runs; calls `meanwhile` now and then, and as something happens."""
    while True:
        try:
            systemd.subscribe([unit])
            while any(
                row.job or row.active not in ("inactive", "failed") for row in systemd.units([unit])
            ):
                meanwhile()
                # The last signal may come before the last change is to be seen.
                systemd.events(_LOOK_AGAIN)
            systemd.unsubscribe()
            return failure_of(systemd, unit)
        except BusLostError:
            systemd.reconnect()
