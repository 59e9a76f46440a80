"""Who answers at supervisord's address: it itself, proven by the kernel, or nothing is sent there.

Its socket may be gone, in a directory that others write to, or its port taken by another process.
That one would get the password, and whatever PID it names.
"""

from __future__ import annotations

import os
import pwd
import socket
import stat
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import ConfigError, PreflightError
from unitq.linux import peer
from unitq.linux.account import name_of
from unitq.linux.proc import alive, process, same
from unitq.orphans.ownership import is_supervisord
from unitq.orphans.program_match import engine_of
from unitq.supervisor.conf.server import pidfile

if TYPE_CHECKING:
    from unitq.linux.peer import Sign
    from unitq.model.process import Process
    from unitq.supervisor.conf.server import Address
    from unitq.supervisor.takeover.autostart import Configuration

_PIDFILE_MAX = 64  # bytes


class Expected(NamedTuple):
    """Who may answer."""

    conf: str  # Supervisor's main file, which says so
    uids: frozenset[int]  # the accounts that supervisord may run as
    pidfile: str = ""  # an absolute path; empty: none is known


def expected_daemon(conf: Configuration) -> Expected:
    """Returns who supervisord of this configuration is. Raises ConfigError, as for no such user."""
    user = conf.read.daemon.user
    runs_as = os.geteuid() if user is None else _uid(user, "[supervisord] user")
    uids = {0, runs_as}
    return Expected(str(conf.path), frozenset(uids), pidfile(conf.ini, conf.around))


def accounts(user: str | None, daemon: Process) -> frozenset[int]:
    """The accounts that a program's processes run as. Raises ConfigError for an unknown user."""
    return daemon.uids if user is None else frozenset({_uid(user, "user")})


def _uid(user: str, where: str) -> int:
    """As supervisord takes it: a number or a name."""
    try:
        return int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{where} = {user}: this host has no such account") from error


class Guard:
    """Lets nobody but one and the same supervisord answer at an address."""

    def __init__(self, address: Address, expected: Expected) -> None:
        self._address = address
        self._expected = expected
        self._sign: Sign | None = None
        self._daemon: Process | None = None

    @property
    def daemon(self) -> Process:
        """The process that answers."""
        assert self._daemon is not None, "nothing is known before it has been asked"
        return self._daemon

    def check(self, connection: socket.socket) -> None:
        """Looks who is at the other end. Raises PreflightError where it is not supervisord."""
        sign = self._peer_sign(connection)
        known = self._daemon
        if known and sign == self._sign and same(known, alive(known.pid)):
            return
        daemon = self._prove(sign)
        # What was proven is of now; the connection is of before.
        if self._peer_sign(connection) != sign:
            raise self._refusal("who listens there has just changed")
        if known and not same(known, daemon):
            raise self._refusal(f"another supervisord, PID {daemon.pid}, has come meanwhile")
        self._sign, self._daemon = sign, daemon

    def says(self, pid: object) -> None:
        """Takes what it says its PID is. Raises PreflightError where the kernel knows better."""
        if type(pid) is not int or pid != self.daemon.pid:
            raise self._refusal(
                f"PID {self.daemon.pid} answers there, and says that it has another",
                hint="is it in a container? Run `unitq takeover` where it runs",
            )

    def _peer_sign(self, connection: socket.socket) -> Sign:
        if connection.family == socket.AF_UNIX:
            return peer.of_unix(connection)
        return peer.of_port(self._address.port)

    def _prove(self, sign: Sign) -> Process:
        allowed = self._expected.uids
        if strangers := sorted(sign.uids - allowed):
            raise self._refusal(f"{name_of(strangers[0])} answers there")
        unix = bool(self._address.path)
        inodes = peer.unix_inodes(self._address.path) if unix else sign.marks
        candidates: dict[int, Process] = {}
        for holders in peer.holders(inodes).values():
            ours = {holder.pid: holder for holder in holders if holder.uids <= allowed}
            others = [holder for holder in holders if holder.pid not in ours]
            # Of a unix socket the kernel has said who listens; by name there may be another one.
            if others and (ours or not unix):
                who = name_of(max(others[0].uids - allowed))
                raise self._refusal(f"PID {others[0].pid} of {who} has that socket open")
            candidates |= ours
        # A copy that is about to become a program has the socket for a moment as well.
        daemons = [
            process
            for process in candidates.values()
            if _runs_supervisord(process.pid) and process.parent not in candidates
        ]
        if len(daemons) != 1:
            what = "no process of that account" if not daemons else "more than one process"
            raise self._refusal(
                f"{what} that is supervisord listens there, as far as can be seen",
                hint="run it as root, on the host and in the container where supervisord runs",
            )
        self._compare_pidfile(daemons[0])
        return daemons[0]

    def _compare_pidfile(self, daemon: Process) -> None:
        path = self._expected.pidfile
        written = _pid_in(path) if path else None
        if written not in (None, daemon.pid):
            raise self._refusal(
                f"PID {daemon.pid} answers there, and {path} says {written}",
                hint=f"is that of another supervisord? `pidfile` in {self._expected.conf} has to "
                "be the one's that runs",
            )

    def _refusal(self, what: str, *, hint: str = "") -> PreflightError:
        names = " or ".join(map(name_of, sorted(self._expected.uids)))
        return PreflightError(
            f"{self._address}: {what}: that is not proven to be supervisord of "
            f"{self._expected.conf}, which runs as {names}",
            problems=("nothing was sent there, no password and no signal",),
            hint=hint
            or f"start supervisord; where it runs as another account, `user` in [supervisord] of "
            f"{self._expected.conf} has to say so",
        )


def _runs_supervisord(pid: int) -> bool:
    """Whether the program that a process runs is supervisord."""
    holder = process(pid, program=True)
    return (
        holder is not None
        and engine_of(holder.executable) in ("python", "supervisord")
        and is_supervisord(holder.words)
    )


def _pid_in(path: str) -> int | None:
    """The PID in a file; None: there is none. Never blocks, and follows no link."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        descriptor = os.open(path, flags)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        text = os.read(descriptor, _PIDFILE_MAX).strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(descriptor)
