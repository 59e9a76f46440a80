"""A process and all below it, as the kernel tells; and what a fresh one has opened."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from unitq.errors import NotPermittedError, PreflightError, UnitqError
from unitq.linux import changes
from unitq.linux.account import name_of
from unitq.linux.identity import identity, own_line
from unitq.linux.trust import ROOT
from unitq.supervisor.takeover.strategy import Member

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unitq.linux.identity import Identity

_WRITES = os.O_WRONLY | os.O_RDWR


def below(top: int, number: int) -> tuple[Member, ...]:
    """The process and everything below it, the top first; nothing where it is gone.

    `number` is the signal that `Member.catches` is about.
    """
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and (fields := _stat(int(entry))):
            children.setdefault(int(fields[1]), []).append(int(entry))
    found = []
    waiting = [top]
    seen = set()
    while waiting:
        pid = waiting.pop(0)
        if pid in seen:
            continue
        seen.add(pid)
        if one := member(pid, number):
            found.append(one)
        waiting += sorted(children.get(pid, []))
    return tuple(found)


def member(pid: int, number: int) -> Member | None:
    """One process; None: there is none."""
    fields = _stat(pid)
    if not fields:
        return None
    caught = False
    with suppress(OSError, KeyError, ValueError):
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
        said = dict(line.partition(":\t")[::2] for line in lines)
        caught = bool(int(said["SigCgt"], 16) >> (number - 1) & 1)
    return Member(
        pid=pid,
        parent=int(fields[1]),
        state=fields[0],
        begun=int(fields[19]),
        words=words(pid),
        program=_program(pid),
        catches=caught,
    )


def _stat(pid: int) -> list[str]:
    """The fields behind the name (proc(5)): state, parent, …; none where it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def words(pid: int) -> tuple[str, ...]:
    """Its command line; nothing where it has none any more."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ()
    return tuple(text.rstrip("\0").split("\0")) if text else ()


def _program(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
    except OSError:
        return ""


def has_begun_work(pid: int) -> bool:
    """Whether a process has a way to a queue: a connection, or a file that it writes to.

    Standard input, output and error do not count: Supervisor gave it those.
    """
    return any(_is_a_way(pid, number) for number in _opened(pid))


def _opened(pid: int) -> Iterator[int]:
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except FileNotFoundError:
        return  # it has ended
    except PermissionError as error:
        raise NotPermittedError(
            f"PID {pid}: what it has opened cannot be seen: {error.strerror}",
            hint="run it as root (sudo)",
        ) from error
    yield from (number for number in map(int, names) if number > 2)


def _is_a_way(pid: int, number: int) -> bool:
    try:
        target = os.readlink(f"/proc/{pid}/fd/{number}")
        lines = Path(f"/proc/{pid}/fdinfo/{number}").read_text().splitlines()
    except FileNotFoundError:
        return False
    if target.startswith("socket:"):
        return True
    if not target.startswith("/") or target.startswith("/dev/"):
        return False
    flags = next((line.split()[1] for line in lines if line.startswith("flags:")), "0")
    return bool(int(flags, 8) & _WRITES)


class Handle:
    """A process that is this one and no other, for as long as we hold it (pidfd_open(2))."""

    def __init__(self, pid: int) -> None:
        """Raises ProcessLookupError where it is gone."""
        self.pid = pid
        self.descriptor = os.pidfd_open(pid)

    def send(self, number: int) -> bool:
        """Sends it a signal; False where it has ended. Raises NotPermittedError."""
        changes.note()
        try:
            signal.pidfd_send_signal(self.descriptor, number)
        except ProcessLookupError:
            return False
        except PermissionError as error:
            raise NotPermittedError(
                f"PID {self.pid}: {error.strerror}", hint="run it as root (sudo)"
            ) from error
        return True

    def close(self) -> None:
        """Lets go of it."""
        os.close(self.descriptor)


def kin(process: str, top: int) -> tuple[Member, ...]:
    """What still lives of what Supervisor has started as this process (`group:name`).

    By the variables that Supervisor sets, and by the process group that it has made.
    """
    group, _, name = process.partition(":")
    marks = {f"SUPERVISOR_GROUP_NAME={group}".encode(), f"SUPERVISOR_PROCESS_NAME={name}".encode()}
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdecimal() or int(entry) == top:
            continue
        pid = int(entry)
        fields = _stat(pid)
        own = top and fields and int(fields[2]) == top
        if not fields or (not own and not marks <= _environment(pid)):
            continue
        one = member(pid, signal.SIGTERM)
        if one and not one.dead:
            found.append(one)
    return tuple(found)


def _environment(pid: int) -> set[bytes]:
    try:
        return set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:
        return set()


def belongs(pid: int, daemon: Identity, accounts: frozenset[int]) -> None:
    """Raises PreflightError where a process is not a child of supervisord's, so not what it seems.

    Or where it runs as another account than the program. Who holds it (`Handle`) knows that what
    was looked at is what gets the signal.
    """
    found = identity(pid)
    if found is None:
        return
    if found.parent != daemon.pid or found.began < daemon.began or pid in own_line():
        raise PreflightError(
            f"PID {pid} is no child of supervisord, PID {daemon.pid}: is that in a container?",
            hint="run `unitq takeover` where supervisord runs",
        )
    allowed(found, accounts)


def allowed(found: Identity, accounts: frozenset[int]) -> None:
    """Raises PreflightError where this process is of an account that none of the program's is."""
    # Who is root may have started a program as anybody.
    if ROOT in accounts or found.uids <= accounts:
        return
    raise PreflightError(
        f"PID {found.pid} runs as {name_of(max(found.uids - accounts))}, and the program as "
        f"{' or '.join(map(name_of, sorted(accounts)))}: it gets no signal",
        hint="`user` of the program in Supervisor's file says what it runs as; what it starts as "
        "another account, as by sudo, has to be ended by hand",
    )


class Hold:
    """A process that is held."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._over = False

    def let_go(self) -> None:
        """It goes on."""
        if not self._over:
            self._over = True
            with suppress(UnitqError):
                self._handle.send(signal.SIGCONT)

    def end(self) -> None:
        """It has nothing in hand, and Supervisor has been told to stop it."""
        self._over = True
        self._handle.send(signal.SIGKILL)
