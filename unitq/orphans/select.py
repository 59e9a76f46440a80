"""Orphans that an operator names by PID, and what a PID is that is none."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from unitq.errors import NoMatchError
from unitq.linux import proc
from unitq.orphans.evidence import Claim, in_a_unit
from unitq.orphans.program_match import engine_of
from unitq.queues.registrations import instance_and_unit
from unitq.text import plural, unitq

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.orphans.find import Scan, Search


def include_claimed(look: Scan, pids: Sequence[int]) -> Scan:
    """Returns the same, with a claimed process among the orphans where its PID is named."""
    named = [
        orphan
        for orphan in look.claimed
        if orphan.process.pid in pids and orphan.claim is not Claim.SERVING
    ]
    orphans = sorted((*look.orphans, *named), key=lambda orphan: orphan.process.pid)
    rest = tuple(orphan for orphan in look.claimed if orphan not in named)
    return replace(look, orphans=tuple(orphans), claimed=rest)


def select(search: Search, look: Scan, pids: Sequence[int]) -> Scan:
    """Returns those of the orphans that are named. Raises NoMatchError where a PID is none's."""
    wanted = set(pids)
    orphans = tuple(orphan for orphan in look.orphans if orphan.process.pid in wanted)
    others = sorted(wanted - {orphan.process.pid for orphan in orphans})
    if others:
        app = search.app.name
        problems = tuple(_describe(search, look, pid) for pid in others)
        hint = f"`{unitq(app, user=search.scope.user)} orphans` lists the orphans"
        if len(problems) == 1:
            raise NoMatchError(f"{problems[0]}: nothing is done", hint=hint)
        raise NoMatchError(
            f"{plural(len(problems), 'PID')} of no orphan of {app}: nothing is done",
            problems=problems,
            hint=hint,
        )
    return replace(look, orphans=orphans, claimed=())


def exclude(look: Scan, others: Scan) -> Scan:
    """Returns those of the first look that are not in the other."""
    out = {orphan.identity for orphan in others.every}
    orphans, claimed = (
        tuple(orphan for orphan in part if orphan.identity not in out)
        for part in (look.orphans, look.claimed)
    )
    return replace(look, orphans=orphans, claimed=claimed)


def _describe(search: Search, look: Scan, pid: int) -> str:
    """Returns what a process is that is no orphan, in words."""
    app = search.app.name
    for orphan in look.orphans:
        if pid in orphan.pids:
            return f"PID {pid} is a child of the orphan {orphan.process.pid}: name that one"
    for orphan in look.claimed:
        if orphan.claim is Claim.SERVING and pid in orphan.pids:
            return (
                f"PID {pid} serves as {orphan.worker}, in a login session outside of its unit: "
                "`unitq stop` ends it"
            )
    living = proc.living(pid)
    if living is None:
        return f"there is no process {pid}: it is gone"
    began, cgroup = living
    process = look.table.processes.get(pid)
    if began is None or (process and not process.executable):
        return f"PID {pid} is another user's, and only root can read it"
    instance, unit = instance_and_unit(app, cgroup)
    if instance:
        return f"PID {pid} is no orphan but of {instance}, an instance of {app}"
    if in_a_unit(cgroup):
        return f"PID {pid} is no orphan of {app} but in a unit of unitq's, {unit or cgroup}"
    if pid == os.getpid():
        return f"PID {pid} is this command itself"
    name = f" ({engine_of(process.executable)})" if process else ""
    return f"PID {pid}{name} is no orphan: nothing says that it works for {app}"
