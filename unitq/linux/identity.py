"""Who a process is, as the kernel says it: nothing of this can be written by the process itself."""

from __future__ import annotations

import os
from typing import NamedTuple

PID_MAX = 1 << 22  # of Linux on 64 bits, proc(5)


class Identity(NamedTuple):
    """A living process."""

    pid: int
    parent: int
    began: int  # clock ticks since the boot: with the PID it is this process and no other
    uids: frozenset[int]  # real, effective, saved and of the file system (credentials(7))


def identity(pid: int) -> Identity | None:
    """Returns who has this PID now; None: there is none, or it is a zombie."""
    try:
        folder = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        # What follows the name, which may hold anything: state, parent, …; starttime is field 22.
        fields = content("stat", folder).rpartition(b")")[2].split()
        found = user_ids(content("status", folder))
        if fields[0] in (b"Z", b"X"):
            return None
        return Identity(pid, int(fields[1]), int(fields[19]), frozenset(found))
    except (OSError, ValueError, IndexError):
        return None
    finally:
        os.close(folder)


def user_ids(status: bytes) -> tuple[int, ...]:
    """Returns those of a process by its /proc/PID/status, in the order real, effective, saved, fs.

    Not the owner of /proc/PID: that is root for a process that may not be dumped (proc(5)).
    """
    for line in status.splitlines():
        if line.startswith(b"Uid:"):
            return tuple(map(int, line.split()[1:]))
    return ()


def own_line() -> frozenset[int]:
    """Returns the PIDs of this process and of all above it: the shell, sudo, sshd, PID 1."""
    found = {1, os.getpid()}
    one = identity(os.getpid())
    while one and one.parent not in found | {0}:
        found.add(one.parent)
        one = identity(one.parent)
    return frozenset(found)


def content(name: str, folder: int) -> bytes:
    """Returns a file of /proc in a directory that is held by a descriptor. Raises OSError."""
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        parts = [os.read(descriptor, 65536)]
        # The kernel hands such files out a page at a time: much less than a page was the last.
        while len(parts[-1]) > 2048:
            parts.append(os.read(descriptor, 65536))
        return b"".join(parts)
    finally:
        os.close(descriptor)


def control_group(pid: int) -> str | None:
    """Returns the cgroup of a process in systemd's own hierarchy, from its root.

    None: it is gone. Empty: it is not to be found out.
    """
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    # Where there are several hierarchies (cgroups(7)), version 2 may be there and unused.
    for prefix in ("0::", "1:name=systemd:"):
        for line in lines:
            if line.startswith(prefix) and (line != "0::/" or len(lines) == 1):
                return line.removeprefix(prefix)
    return ""
