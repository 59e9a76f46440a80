"""A process and all below it, as the kernel tells; and what a fresh one has opened."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from unitq.errors import NotPermittedError, PreflightError, UnitqError
from unitq.linux import proc
from unitq.linux.account import name_of
from unitq.linux.process import alive, ancestry, process
from unitq.linux.trust import ROOT

if TYPE_CHECKING:
    from unitq.linux.pidfd import Handle
    from unitq.model.process import Process

_WRITES = os.O_WRONLY | os.O_RDWR


def below(top: int) -> tuple[Process, ...]:
    """The process and everything below it, the top first; nothing where it is gone."""
    children: dict[int, list[int]] = {}
    for pid in proc.all_pids():
        if stat := proc.stat(pid):
            children.setdefault(stat.parent, []).append(pid)
    found = []
    waiting = [top]
    seen = set()
    while waiting:
        pid = waiting.pop(0)
        if pid in seen:
            continue
        seen.add(pid)
        if one := process(pid, program=True):
            found.append(one)
        waiting += sorted(children.get(pid, []))
    return tuple(found)


def has_begun_work(pid: int) -> bool:
    """Whether a process has a way to a queue: a connection, or a file that it writes to.

    Standard input, output and error do not count: Supervisor gave it those.
    """
    try:
        return any(_is_a_way(pid, *each) for each in proc.open_files(pid) if each[0] > 2)
    except FileNotFoundError:
        return False  # it has ended
    except PermissionError as error:
        raise NotPermittedError(
            f"PID {pid}: what it has opened cannot be seen: {error.strerror}",
            hint="run it as root (sudo)",
        ) from error


def _is_a_way(pid: int, number: int, target: str) -> bool:
    if target.startswith("socket:"):
        return True
    if not target.startswith("/") or target.startswith("/dev/"):
        return False
    try:
        flags = proc.numbers(proc.content(f"/proc/{pid}/fdinfo/{number}"), b"flags", 8)
    except FileNotFoundError:
        return False
    return bool((*flags, 0)[0] & _WRITES)


def kin(name: str, top: int) -> tuple[Process, ...]:
    """What still lives of what Supervisor has started as this process (`group:name`).

    By the variables that Supervisor sets, and by the process group that it has made.
    """
    group, _, own = name.partition(":")
    marks = {f"SUPERVISOR_GROUP_NAME={group}".encode(), f"SUPERVISOR_PROCESS_NAME={own}".encode()}
    found = []
    for pid in proc.all_pids():
        stat = proc.stat(pid)
        if pid == top or stat is None:
            continue
        if not (top and stat.group == top) and not marks <= _environment(pid):
            continue
        one = process(pid, program=True)
        if one and not one.dead:
            found.append(one)
    return tuple(found)


def _environment(pid: int) -> set[bytes]:
    try:
        return set(proc.content(f"/proc/{pid}/environ").split(b"\0"))
    except OSError:
        return set()


def belongs(pid: int, daemon: Process, accounts: frozenset[int]) -> None:
    """Raises PreflightError where a process is not a child of supervisord's, so not what it seems.

    Or where it runs as another account than the program. Who holds it (`Handle`) knows that what
    was looked at is what gets the signal.
    """
    found = alive(pid)
    if found is None:
        return
    if found.parent != daemon.pid or found.ticks < daemon.ticks or pid in ancestry():
        raise PreflightError(
            f"PID {pid} is no child of supervisord, PID {daemon.pid}: is that in a container?",
            hint="run `unitq takeover` where supervisord runs",
        )
    allowed(found, accounts)


def allowed(found: Process, accounts: frozenset[int]) -> None:
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
