"""Runs work in a child process with the rights of an account, and nothing of ours.

The child has a session of its own, so no terminal; it reads nothing, and no descriptor of ours is
open in it. What it may use of the machine is limited, and so is the time: then its process group
ends.
"""

from __future__ import annotations

import errno
import io
import os
import resource
import select
import signal
import socket
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

# prctl(2)
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38

_MEMORY = 1 << 30  # bytes of address space
_PART = 1 << 16
_KEPT = 3  # the descriptor that a child may keep
_ERROR_BYTES = 16  # the number of an error
_BROKEN = 127  # exit status where the work could not begin


class Rights(NamedTuple):
    """Whose rights: user, group and the groups besides."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


class ChildResult(NamedTuple):
    """What became of it."""

    status: int | None  # exit status; None: a signal, too much output, or no end in time
    output: bytes  # what it wrote to standard output


def rights_of(uid: int) -> Rights:
    """The account with its groups, as at a login. One without a name has only `nogroup`."""
    import pwd

    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Rights(uid, 65534)
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return Rights(uid, entry.pw_gid, tuple(groups))


def run(
    work: Callable[[], bytes],
    rights: Rights | None,
    *,
    seconds: float,
    most: int,
    folder: int,
    keep: int | None = None,
) -> ChildResult:
    """Does `work` in a child, in the directory of that descriptor; what it returns is written.

    `rights` None: ours. `most` are the bytes of output, with more it is ended. `keep` is a
    descriptor of ours that the child has as its number 3. Raises OSError where no process can be
    made.
    """
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
    except OSError:
        os.close(read)
        os.close(write)
        raise
    if pid == 0:
        _child(work, rights, folder, write, keep, prctl)
    os.close(write)
    try:
        return _wait(pid, read, monotonic() + seconds, most)
    finally:
        os.close(read)


def _child(
    work: Callable[[], bytes],
    rights: Rights | None,
    folder: int,
    write: int,
    keep: int | None,
    prctl: Callable[..., int],
) -> NoReturn:
    """Never returns: neither handlers nor buffers of the parent may run here."""
    status = _BROKEN
    try:
        os.setsid()
        os.fchdir(folder)
        os.dup2(write, 1)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 2)
        if keep is not None:
            os.dup2(keep, _KEPT)
        os.closerange(_KEPT if keep is None else _KEPT + 1, 1 << 20)
        _take(rights)
        prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)  # once the account is changed
        os.umask(0o077)
        _limit()
        pipe = io.FileIO(1, "wb", closefd=False)
        left = memoryview(work())
        while left:
            left = left[pipe.write(left) :]
        status = 0
    finally:
        os._exit(status)


def _take(rights: Rights | None) -> None:
    if rights is not None:
        os.setgroups(rights.groups)
        os.setresgid(rights.gid, rights.gid, rights.gid)
        os.setresuid(rights.uid, rights.uid, rights.uid)


def _limit() -> None:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and exec keeps that
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # It starts no process, and no thread: whatever it is told to run, it cannot. The kernel does
    # not count root's.
    for kind, most in (
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_AS, _MEMORY),
    ):
        resource.setrlimit(kind, (most, most))


def _wait(pid: int, read: int, until: float, most: int) -> ChildResult:
    pidfd = os.pidfd_open(pid)
    output = b""
    in_time = True
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.register(read, select.POLLIN)
        gone = False
        while not gone and len(output) <= most:
            ready = {
                descriptor for descriptor, _ in poll.poll(max(0.0, until - monotonic()) * 1000)
            }
            if not ready:
                in_time = False
                break
            gone = pidfd in ready
            if read in ready and (part := os.read(read, _PART)):
                output += part
                gone = False  # all that it wrote comes first
            elif read in ready:
                poll.unregister(read)
    finally:
        # Until it is reaped nobody else has its number, nor that of its group.
        for end in (os.kill, os.killpg):
            with suppress(ProcessLookupError):
                end(pid, signal.SIGKILL)
        os.close(pidfd)
        _, wait_status = os.waitpid(pid, 0)
    whole = in_time and len(output) <= most and os.WIFEXITED(wait_status)
    return ChildResult(os.WEXITSTATUS(wait_status) if whole else None, output[:most])


def connect(path: str, uid: int, *, seconds: float) -> socket.socket:
    """Returns a connection that a child with the rights of the account has made. Raises OSError.

    Who listens there is told that it is the account and not root (SO_PEERCRED, unix(7)).
    """

    def work() -> bytes:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
                made.settimeout(seconds)
                made.connect(path)
                with socket.socket(fileno=_KEPT) as way:
                    socket.send_fds(way, [b"+"], [made.fileno()])
            return b"0"
        except OSError as error:
            return str(error.errno or errno.EIO).encode()

    ours, theirs = socket.socketpair()
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        rights = rights_of(uid)
        ended = run(
            work, rights, seconds=seconds, most=_ERROR_BYTES, folder=root, keep=theirs.fileno()
        )
        if ended.status != 0 or not ended.output.isdigit():
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), path)
        if number := int(ended.output):
            raise OSError(number, os.strerror(number), path)
        ours.setblocking(False)
        _, (descriptor,), _, _ = socket.recv_fds(ours, 1, 1)
        return socket.socket(fileno=descriptor)
    finally:
        os.close(root)
        ours.close()
        theirs.close()
