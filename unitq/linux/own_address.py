"""Whether a host's name or address is one of this machine's own."""

from __future__ import annotations

import ipaddress
import socket
import threading
from contextlib import suppress

_SECONDS = 1.0  # for the look-up of a name, which knows no limit of its own
_ANYWHERE_PORT = 9  # nothing is sent there


def own_addresses(host: str) -> tuple[str, ...]:
    """Returns the addresses of this machine that the host has; none: it is another machine.

    None either where its name is not to be found within a second.
    """
    if host in ("localhost", "localhost.localdomain", "0.0.0.0", "::"):  # noqa: S104  (compared)
        return ("127.0.0.1", "::1")
    answers: list[str] = []

    def look_up() -> None:
        with suppress(OSError, UnicodeError):
            for _, _, _, _, address in socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM):
                answers.append(str(address[0]))

    thread = threading.Thread(target=look_up, name="look-up", daemon=True)
    thread.start()
    thread.join(_SECONDS)
    return tuple(dict.fromkeys(address for address in tuple(answers) if _is_own(address)))


def _is_own(address: str) -> bool:
    if ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        return True
    # To its own addresses a machine speaks from that same address (ip-route(8), table local).
    # To bind it would tell less: net.ipv4.ip_nonlocal_bind allows any.
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((address, _ANYWHERE_PORT))
        return bool(probe.getsockname()[0] == address.partition("%")[0])
    return False
