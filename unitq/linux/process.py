"""A process: what is read of it is of this one, and never of another that has its PID by then.

It is read through a descriptor of its folder in /proc, which stays this process's (proc(5)).
Nothing of PID, parent, start and accounts can be written by the process itself.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from unitq.linux import proc
from unitq.model.process import Process

if TYPE_CHECKING:
    from collections.abc import Iterator

PID_MAX = 1 << 22  # of Linux on 64 bits, proc(5)

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def folder(pid: int) -> Iterator[int]:
    """Holds the folder of a process in /proc. Raises OSError and ValueError: there is none."""
    descriptor = os.open(f"/proc/{pid}", _FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Status(NamedTuple):
    """What /proc/PID/status says of a process's accounts and handlers; see Process.

    Not the owner of /proc/PID: that is root for a process that may not be dumped (proc(5)).
    """

    uids: frozenset[int]
    uid: int
    caught: int


def parse_status(status: bytes) -> Status:
    """Returns it; without accounts where it is cut off."""
    users = proc.numbers(status, b"Uid")
    caught = proc.signals(status, b"SigCgt")
    return Status(frozenset(users), users[1] if users else -1, caught)


def process(pid: int, *, program: bool = False) -> Process | None:
    """Returns who has this PID now, also a zombie; None: there is none.

    `program`: with its file and its command line.
    """
    executable, words = "", tuple[str, ...]()
    try:
        with folder(pid) as here:
            if program:
                with suppress(OSError):
                    executable = os.readlink("exe", dir_fd=here).removesuffix(proc.DELETED)
                with suppress(OSError):
                    words = proc.command_line(proc.content("cmdline", here))
            stat = proc.parse_stat(proc.content("stat", here))
            status = parse_status(proc.content("status", here))
    except (OSError, ValueError, IndexError):
        return None
    return Process(pid, stat.parent, stat.ticks, stat.state, stat.group, *status, executable, words)


def alive(pid: int) -> Process | None:
    """Returns who has this PID now; None: there is none, or it is a zombie."""
    found = process(pid)
    return None if found is None or found.dead else found


def same(before: Process, now: Process | None) -> bool:
    """Whether who has a PID now is the process that had it before, of the same accounts."""
    return now is not None and (now.identity, now.uids) == (before.identity, before.uids)


def ancestry() -> frozenset[int]:
    """Returns the PIDs of this process and of all above it: the shell, sudo, sshd, PID 1."""
    found = {1, os.getpid()}
    one = alive(os.getpid())
    while one and one.parent not in found | {0}:
        found.add(one.parent)
        one = alive(one.parent)
    return frozenset(found)
