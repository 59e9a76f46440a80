"""A connection to a manager, by pystemd.

To systemd's private socket where we may open it (root, or a user's own manager), as systemctl
does: half the time of the bus, and no D-Bus daemon is needed. Otherwise to the bus.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any

from unitq.errors import SystemdError
from unitq.linux import programs
from unitq.systemd.errors import no_systemd

if TYPE_CHECKING:
    from collections.abc import Iterator


def connect(*, user: bool) -> tuple[Any, bool]:
    """An open connection, and whether it is to systemd itself. Raises NoSystemdError."""
    from pystemd.dbuslib import DBus, DBusAddress

    if os.geteuid() == 0:
        # sd-bus obeys them: root would believe, and do, what another's socket says.
        for name in ("DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS"):
            os.environ.pop(name, None)
    if user:
        # Also for the bus, where the manager's own socket is not to be had.
        os.environ.update(
            {k: v for k, v in programs.own_places().items() if k == "XDG_RUNTIME_DIR"}
        )
    problem: Exception | None = None
    for socket in private_sockets(user=user):
        if not os.access(socket, os.W_OK):
            continue
        private = DBusAddress(b"unix:path=" + socket.encode(), True)
        try:
            private.open()
        except Exception as error:  # noqa: BLE001  (pystemd's classes share no public base)
            problem = error
            continue
        return private, True
    shared = DBus(user_mode=user)
    try:
        shared.open()
    except Exception as error:
        raise no_systemd(problem or error, user=user) from error
    return shared, False


def import_pystemd() -> None:
    """Loads what we need of pystemd. Raises SystemdError where it is not installed."""
    # pystemd's __init__ pulls lxml and its object layer: 30 ms that every command would pay.
    # We need dbuslib only, so the package is put in place without running its __init__.
    if "pystemd" not in sys.modules:
        spec = importlib.util.find_spec("pystemd")
        if spec is None:
            raise SystemdError("pystemd is not installed", hint="pip install pystemd")
        sys.modules["pystemd"] = importlib.util.module_from_spec(spec)


def private_sockets(*, user: bool) -> Iterator[str]:
    """The sockets of a manager itself, where there is no bus between."""
    if user:
        runtime = programs.own_places().get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
        yield f"{runtime}/systemd/private"
    else:
        yield "/run/systemd/private"
