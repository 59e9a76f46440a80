"""Orphans that an operator names by PID, and what a PID is that is none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from unitq.errors import NoMatchError
from unitq.linux import proc
from unitq.orphans.evidence import Claim, in_a_unit
from unitq.orphans.find import Scan
from unitq.orphans.program_match import engine_of
from unitq.queues.registrations import instance_and_unit
from unitq.text import plural, unitq

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.orphans.find import Search


def named(found: Scan, pids: Sequence[int]) -> Scan:
    """The same, with what is only claimed among the orphans where its PID is named."""
    chosen = {
        each.identity
        for each in found.claimed
        if each.process.pid in pids and each.claim is not Claim.SERVING
    }
    more = tuple(each for each in found.claimed if each.identity in chosen)
    rest = tuple(each for each in found.claimed if each.identity not in chosen)
    every = sorted((*found.orphans, *more), key=lambda each: each.process.pid)
    return Scan(found.table, tuple(every), found.registered, rest)


def only(what: Search, found: Scan, pids: Sequence[int]) -> Scan:
    """Those of the orphans that are named. Raises NoMatchError where a PID is none's."""
    wanted = set(pids)
    orphans = tuple(each for each in found.orphans if each.process.pid in wanted)
    others = sorted(wanted - {each.process.pid for each in orphans})
    if others:
        app = what.app.name
        told = tuple(_told(what, found, pid) for pid in others)
        hint = f"`{unitq(app, user=what.scope.user)} orphans` shows those that there are"
        if len(told) == 1:
            raise NoMatchError(f"{told[0]}: nothing is done", hint=hint)
        raise NoMatchError(
            f"{plural(len(told), 'PID')} of no orphan of {app}: nothing is done",
            problems=told,
            hint=hint,
        )
    return Scan(found.table, orphans, found.registered)


def without(found: Scan, others: Scan) -> Scan:
    """Those of the first look that are not in the other."""
    out = {each.identity for each in others.every}
    sure, claimed = (
        tuple(each for each in some if each.identity not in out)
        for some in (found.orphans, found.claimed)
    )
    return Scan(found.table, sure, found.registered, claimed)


def _told(what: Search, found: Scan, pid: int) -> str:
    """What a process is that is no orphan, in words."""
    app = what.app.name
    for each in found.orphans:
        if pid in each.pids:
            return (
                f"PID {pid} is a child of the orphan {each.process.pid}, which is the one to name"
            )
    for each in found.claimed:
        if each.claim is Claim.SERVING and pid in each.pids:
            return (
                f"PID {pid} serves as {each.worker}, in a login session outside of its unit: "
                "`unitq stop` ends it"
            )
    living = proc.living(pid)
    if living is None:
        return f"there is no process {pid}: it is gone"
    began, cgroup = living
    process = found.table.processes.get(pid)
    if began is None or (process and not process.executable):
        return f"PID {pid} is another user's and may not be looked at"
    instance, unit = instance_and_unit(app, cgroup)
    if instance:
        return f"PID {pid} is no orphan but of {instance}, an instance of {app}"
    if in_a_unit(cgroup):
        return f"PID {pid} is no orphan of {app} but in a unit of unitq's, {unit or cgroup}"
    if pid == os.getpid():
        return f"PID {pid} is this command itself"
    name = f" ({engine_of(process.executable)})" if process else ""
    return f"PID {pid}{name} is no orphan: nothing says that it works for {app}"
