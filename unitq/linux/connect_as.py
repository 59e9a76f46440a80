"""Connects to a unix socket that another account names, as that account."""

from __future__ import annotations

import errno
import os
import socket

from unitq.linux import confined

_KEPT = 3  # see confined.run
_MOST = 16  # bytes: the number of an error


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
        rights = confined.account(uid)
        ended = confined.run(
            work, rights, seconds=seconds, most=_MOST, folder=root, keep=theirs.fileno()
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
