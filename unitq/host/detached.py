"""A unitq that runs by itself: as a transient unit of systemd's, whatever becomes of its caller."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from unitq.core.errors import LockedError, SystemdError
from unitq.host.bus_errors import BusLostError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unitq.host.systemd import Systemd

# What a command may depend on besides its arguments. Nothing else goes along: the environment of
# a login may hold anything.
_ENVIRONMENT = (
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "SUDO_USER", "UNITQ_CONFIG",
    "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS",
    "SYSTEMD_BUS_TIMEOUT",
)  # fmt: skip

_LOOK_AGAIN = 1.0  # seconds

_FOREVER = (1 << 64) - 1  # USEC_INFINITY


def start(systemd: Systemd, unit: str, description: str, arguments: Sequence[str]) -> None:
    """Starts `unitq` with these arguments as a unit of its own, and returns at once.

    What it prints goes to the journal. `systemctl stop` of the unit is a Ctrl-C: it ends at a safe
    point, for which it has all the time that it needs. Raises LockedError where it runs already.
    """
    command = [sys.executable, "-m", "unitq", *arguments]
    environment = [f"{name}={os.environ[name]}" for name in _ENVIRONMENT if name in os.environ]
    encoded = [word.encode() for word in command]
    # One that failed stays for people to look at, until the next one.
    systemd.reset_failed(unit)
    try:
        systemd.start_transient(
            unit,
            [
                ("Description", "s", description.encode()),
                ("Type", "s", b"exec"),
                ("ExecStart", "a(sasb)", [(encoded[0], encoded, False)]),
                ("Environment", "as", [pair.encode() for pair in environment]),
                ("WorkingDirectory", "s", os.getcwd().encode()),
                ("TimeoutStopUSec", "t", _FOREVER),
            ],
        )
    except SystemdError as error:
        if "already" in error.message or "exists" in error.message.lower():
            raise LockedError(
                f"{unit} runs already", hint="`unitq rollout watch` waits for its end"
            ) from error
        raise


def ended(systemd: Systemd, unit: str, meanwhile: Callable[[], None]) -> tuple[int, float]:
    """Waits until no such unit runs; calls `meanwhile` now and then, and as something happens.

    Returns the exit code of a failure that systemd remembers, and when that was, in seconds since
    1970; zeros where it remembers none.
    """
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
            found = systemd.properties(unit, "ExecMainStatus", "ExecMainExitTimestamp")
            return found["ExecMainStatus"], found["ExecMainExitTimestamp"] / 1e6
        except BusLostError:
            systemd.reconnect()
