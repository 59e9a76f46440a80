"""A process and all below it, as the kernel shows them; and what a fresh one has opened."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from unitq.errors import NotPermittedError, PreflightError
from unitq.linux import proc
from unitq.linux.account import name_of
from unitq.linux.proc import alive, ancestry, process
from unitq.linux.trust import ROOT

if TYPE_CHECKING:
    from unitq.model.process import Process

_WRITES = os.O_WRONLY | os.O_RDWR


def below(top: int) -> tuple[Process, ...]:
    """Returns the process and everything below it, the top first; empty where it has ended."""
    children: dict[int, list[int]] = {}
    for pid in proc.all_pids():
        if stat := proc.stat(pid):
            children.setdefault(stat.parent, []).append(pid)
    members = []
    waiting = [top]
    seen = set()
    while waiting:
        pid = waiting.pop(0)
        if pid in seen:
            continue
        seen.add(pid)
        if member := process(pid, program=True):
            members.append(member)
        waiting += sorted(children.get(pid, []))
    return tuple(members)


def has_begun_work(pid: int) -> bool:
    """Whether a process has a way to a queue: a connection, or a file that it writes to.

    Standard input, output and error do not count: Supervisor gave it those.
    """
    try:
        return any(_is_a_way(pid, *opened) for opened in proc.open_files(pid) if opened[0] > 2)
    except FileNotFoundError:
        return False  # it has ended
    except PermissionError as error:
        raise NotPermittedError(
            f"PID {pid}: its open files cannot be read: {error.strerror}",
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


def relatives(name: str, top: int) -> tuple[Process, ...]:
    """Returns what still lives of what Supervisor has started as this process (`group:name`).

    By the variables that Supervisor sets, and by the process group that it has made.
    """
    group, _, own = name.partition(":")
    marks = {f"SUPERVISOR_GROUP_NAME={group}".encode(), f"SUPERVISOR_PROCESS_NAME={own}".encode()}
    living = []
    for pid in proc.all_pids():
        stat = proc.stat(pid)
        if pid == top or stat is None:
            continue
        if not (top and stat.group == top) and not marks <= _environment(pid):
            continue
        member = process(pid, program=True)
        if member and not member.dead:
            living.append(member)
    return tuple(living)


def _environment(pid: int) -> set[bytes]:
    try:
        return set(proc.content(f"/proc/{pid}/environ").split(b"\0"))
    except OSError:
        return set()


def check_child(pid: int, daemon: Process, accounts: frozenset[int]) -> None:
    """Raises PreflightError where a process is not a child of supervisord's, so not what it seems.

    Or where it runs as another account than the program. Who holds it (`Handle`) knows that what
    was looked at is what gets the signal.
    """
    child = alive(pid)
    if child is None:
        return
    if child.parent != daemon.pid or child.ticks < daemon.ticks or pid in ancestry():
        raise PreflightError(
            f"PID {pid} is no child of supervisord, PID {daemon.pid}: is that in a container?",
            hint="run `unitq takeover` where supervisord runs",
        )
    check_account(child, accounts)


def check_account(member: Process, accounts: frozenset[int]) -> None:
    """Raises PreflightError where this process is of an account that none of the program's is."""
    # Who is root may have started a program as anybody.
    if ROOT in accounts or member.uids <= accounts:
        return
    raise PreflightError(
        f"PID {member.pid} runs as {name_of(max(member.uids - accounts))}, and the program as "
        f"{' or '.join(map(name_of, sorted(accounts)))}: it gets no signal",
        hint="`user` of the program in Supervisor's file says what it runs as; what it starts as "
        "another account, as by sudo, has to be ended by hand",
    )
