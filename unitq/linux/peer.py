"""Who answers at a socket of this machine, as the kernel knows it."""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from unitq.linux import proc
from unitq.linux.proc import alive, same

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from unitq.model.process import Process

_LISTENS = 0x00010000  # __SO_ACCEPTCON in the flags of /proc/net/unix
_TCP_LISTEN = "0A"
# What takes connections to this machine itself: everything, the loopback, and IPv4 in IPv6.
_HERE = frozenset(
    {"00000000", "0100007F", "0" * 32, "0" * 24 + "01000000", "0000000000000000FFFF00000100007F"}
)


class Sign(NamedTuple):
    """What shows, at each connection, that the same socket listens as before."""

    uids: frozenset[int]  # of the account that began to listen
    marks: frozenset[int]  # of a unix socket the PID that did, of TCP the inodes that listen


def of_unix(connection: socket.socket) -> Sign:
    """Returns it of a connected unix socket (SO_PEERCRED, unix(7)).

    The PID need not live any more: a daemon goes to the background after it has begun to listen.
    """
    answer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", answer)
    return Sign(frozenset({uid}), frozenset({pid}))


def of_port(port: int) -> Sign:
    """Returns it of all that listens at a port of this machine (proc_net_tcp(5))."""
    sockets = []
    for name in ("tcp", "tcp6"):
        with suppress(FileNotFoundError):
            sockets += [fields for fields in _lines(name) if _listens(fields, port)]
    return Sign(
        frozenset(int(socket_fields[7]) for socket_fields in sockets),
        frozenset(int(socket_fields[9]) for socket_fields in sockets),
    )


def _listens(fields: list[str], port: int, here: Collection[str] = _HERE) -> bool:
    address, _, number = fields[1].partition(":")
    return fields[3] == _TCP_LISTEN and address in here and int(number, 16) == port


def port_inodes(port: int, addresses: Collection[str]) -> frozenset[int]:
    """Returns the sockets that take connections to this port at any of our own addresses."""
    here = _HERE | {written for address in addresses for written in _in_hex(address)}
    inodes = set()
    for name in ("tcp", "tcp6"):
        with suppress(FileNotFoundError):
            inodes |= {int(fields[9]) for fields in _lines(name) if _listens(fields, port, here)}
    return frozenset(inodes)


def _in_hex(address: str) -> tuple[str, ...]:
    """As /proc/net/tcp and tcp6 have it: words of 32 bits, each as the processor has it."""
    if ":" in address:
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
        words = (packed[at : at + 4] for at in range(0, 16, 4))
        return ("".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words),)
    word = f"{int.from_bytes(socket.inet_aton(address), sys.byteorder):08X}"
    return word, f"0000000000000000FFFF0000{word}"


def unix_inodes(path: str) -> frozenset[int]:
    """Returns the sockets that listen under this name, or one with a number behind it.

    supervisord makes its socket as PATH.PID and then links it to PATH. The name is what the
    process has said: any process may have one of that name. Raises OSError.
    """
    inodes = set()
    for fields in _lines("unix"):
        if len(fields) > 7 and int(fields[3], 16) & _LISTENS:
            name, _, number = fields[7].rpartition(".")
            if path == fields[7] or (path == name and number.isdecimal()):
                inodes.add(int(fields[6]))
    return frozenset(inodes)


def _lines(name: str) -> Iterator[list[str]]:
    with open(f"/proc/net/{name}", encoding="utf-8", errors="surrogateescape") as file:
        next(file)
        for line in file:
            # A path may have blanks in it.
            yield line.rstrip("\n").split(maxsplit=7 if name == "unix" else -1)


def holders(inodes: Collection[int]) -> dict[int, tuple[Process, ...]]:
    """Returns by inode the processes that have this socket open, as far as we may see."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    processes: dict[int, list[Process]] = {inode: [] for inode in inodes}
    for pid in proc.all_pids() if wanted else ():
        opened: set[str] = set()
        # Who it is, before and after: a PID may be used again in between.
        before = alive(pid)
        with suppress(OSError):
            opened = {path for _, path in proc.open_files(pid) if path in wanted}
        if before and opened and same(before, alive(pid)):
            for path in opened:
                processes[wanted[path]].append(before)
    return {inode: tuple(users) for inode, users in processes.items()}


_LOOK_UP_SECONDS = 1.0  # for the look-up of a name, which knows no limit of its own
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
    thread.join(_LOOK_UP_SECONDS)
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
