"""What keeps a process outside the app's units: by its ancestors and its cgroup. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from unitq.cmdline.invocation import program
from unitq.orphans.evidence import ancestors
from unitq.orphans.program_match import engine_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unitq.model.process import Process

# How container managers name their cgroups: docker-ID.scope or docker/ID, libpod-ID.scope,
# cri-containerd-ID.scope, kubepods, lxc.payload.NAME, machine.slice (systemd-nspawn, libvirt).
_CONTAINER = re.compile(
    r"/(?:(?:docker|libpod|crio|cri-containerd|containerd|buildkit)[-/][0-9a-f]{12,}|kubepods[./-]"
    r"|lxc(?:\.payload\.|/)|machine\.slice(?:/|$))"
)
# What supervisord tells every process that it starts (Supervisor's manual, "Subprocesses").
PROCESS_NAME, GROUP_NAME = "SUPERVISOR_PROCESS_NAME", "SUPERVISOR_GROUP_NAME"

_SESSION = re.compile(r"session-(?P<number>\w+)\.scope")


class OwnerKind(StrEnum):
    """The kinds of owners."""

    INIT = "init"  # its parent is gone, and PID 1 (or the user's manager) has adopted it
    SUPERVISORD = "supervisord"
    SESSION = "session"  # a login
    CONTAINER = "container"
    UNIT = "unit"  # another one of systemd's
    PROCESS = "process"  # its parent


@dataclass(frozen=True, slots=True)
class Owner:
    """What keeps a process."""

    kind: OwnerKind
    words: str
    pid: int | None = None  # of supervisord, or of the parent
    unit: str = ""  # that its cgroup is of; empty: none
    program: str = ""  # as supervisorctl calls it, sms:sms_00; empty: not known


def unit_of(cgroup: str) -> str:
    """Returns the innermost service or scope of a cgroup; empty where it is in none."""
    units = [part for part in cgroup.split("/") if part.endswith((".service", ".scope"))]
    return units[-1] if units and units[-1] != "init.scope" else ""


def owner(process: Process, table: Mapping[int, Process], mains: Mapping[str, int]) -> Owner:
    """Returns what keeps it. `table` are all processes, `mains` the main processes of units."""
    above = ancestors(table, process.pid)
    unit = unit_of(process.cgroup)
    if process.contained or _CONTAINER.search(process.cgroup):
        return Owner(OwnerKind.CONTAINER, f"a container{f' ({unit})' * bool(unit)}", None, unit)
    if line := below_supervisord((process, *above)):
        daemon = above[len(line) - 1]
        # What supervisord itself has started knows best: further down anything may be said.
        name = next(filter(None, map(_supervisors_name, reversed(line))), "")
        words = f"supervisord (PID {daemon.pid}){f', as {name}' * bool(name)}"
        return Owner(OwnerKind.SUPERVISORD, words, daemon.pid, unit, name)
    parent = above[0] if above else None
    session = _SESSION.search(process.cgroup)
    if unit and unit.endswith(".service") and not unit.startswith("user@"):
        main = mains.get(unit)
        # What PID 1 has started is its child as well as what it has adopted.
        if main in (process.pid, *(member.pid for member in above)) and main:
            return Owner(OwnerKind.UNIT, f"unit {unit}", main, unit)
    if parent is None or _is_manager(parent):
        who = "PID 1" if process.parent <= 1 else f"the user's manager (PID {process.parent})"
        return Owner(OwnerKind.INIT, f"{who} adopted it{f', in {unit}' * bool(unit)}", None, unit)
    what = f"{_program_name(parent)}, PID {parent.pid}"
    if session:
        return Owner(
            OwnerKind.SESSION, f"login session {session['number']} ({what})", parent.pid, unit
        )
    if unit:
        return Owner(OwnerKind.UNIT, f"unit {unit} ({what})", parent.pid, unit)
    return Owner(OwnerKind.PROCESS, what, parent.pid, unit)


def _is_manager(process: Process) -> bool:
    return process.pid == 1 or engine_of(process.executable) == "systemd"


def below_supervisord(processes: Sequence[Process]) -> Sequence[Process]:
    """Returns those of a process and its ancestors that are below supervisord; none: it is not."""
    for index, process in enumerate(processes):
        if index and is_supervisord(process.words):
            return processes[:index]
    return ()


def is_supervisord(words: Sequence[str]) -> bool:
    """Whether a command line is supervisord's."""
    invocation = program(words)
    # As a module too: `python -m supervisor.supervisord`.
    names = ("supervisord", "supervisor.supervisord")
    return invocation is not None and invocation.program.rpartition("/")[2] in names


def _supervisors_name(process: Process) -> str:
    """Returns what supervisorctl calls it, by its environment."""
    name = process.environment.get(PROCESS_NAME, "")
    group = process.environment.get(GROUP_NAME, "")
    return name if group in ("", name) or not name else f"{group}:{name}"


def _program_name(process: Process) -> str:
    """Returns the name of its program, as far as it is known."""
    return engine_of(process.executable) or (process.words[0] if process.words else "a process")
