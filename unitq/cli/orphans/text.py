"""Orphans as text: those that are there, and what became of those that were drained."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from unitq.errors import Exit
from unitq.orphans.evidence import Claim, Mark
from unitq.orphans.orphan_list import account, queues
from unitq.orphans.ownership import OwnerKind
from unitq.printable import one_line
from unitq.queues.job_text import job_text, short_text
from unitq.text import duration, plural, table, unitq

if TYPE_CHECKING:
    from unitq.orphans.drain import DrainResult
    from unitq.orphans.evidence import Orphan
    from unitq.orphans.orphan_list import OrphanList

_KNOWN_BY = {
    Mark.PROGRAM: "its program",
    Mark.TITLE: "its title",
    Mark.DIRECTORY: "its directory",
    Mark.ENVIRONMENT: "its environment",
    Mark.QUEUES: "the queues in its environment",
    Mark.REGISTERED: "its registration in Redis",
}
_SHOWN = 78  # characters of a command line


def text(found: OrphanList) -> list[str]:
    """Lines: a table with more of each below its row, and how many there are."""
    look, app = found.look, found.app
    claimed = [line for each in look.claimed for line in _claimed(found, each)]
    if not look.orphans:
        none = f"{app}: no orphans among {plural(len(look.table.processes), 'process')}"
        return [*claimed, f"{none}{_how_many_claimed(found)}"]
    rows = _after(found) if found.drained else _rows(found)
    first, *lines = table(*rows)
    shown = [first]
    for line, each in zip(lines, look.orphans, strict=True):
        shown += [line, f"  {_command(each)}"]
        if each.process.pid in found.left:
            shown += [f"  {more}" for more in _details(found, each)]
    return [*shown, *claimed, f"{_count(found)}{_how_many_claimed(found)}"]


def _rows(found: OrphanList) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows of those that are there."""
    rows: list[tuple[str, ...]] = []
    for each in found.look.orphans:
        process = each.process
        rows.append(
            (
                str(process.pid),
                str(process.parent),
                duration(max(0.0, found.now - process.began)),
                account(process.uid),
                each.worker,
                _code(each),
                _release(each),
            )
        )
    return ("PID", "PARENT", "AGE", "USER", "WORKER", "CODE", "RELEASE"), rows


def _after(found: OrphanList) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows after a drain: parent and age of what has ended say nothing any more."""
    rows: list[tuple[str, ...]] = []
    for each in found.look.orphans:
        process = each.process
        one = found.drained.get(process.pid)
        rows.append(
            (
                str(process.pid),
                account(process.uid),
                each.worker,
                _code(each),
                _release(each),
                _outcome(one) if one else "came meanwhile",
            )
        )
    return ("PID", "USER", "WORKER", "CODE", "RELEASE", "OUTCOME"), rows


def _code(orphan: Orphan) -> str:
    return {True: "current", False: "OLD", None: "?"}[orphan.current]


def _release(orphan: Orphan) -> str:
    if not orphan.release:
        return "?"
    gone = orphan.process.deleted and not orphan.process.revision
    return f"{orphan.release}{' (deleted)' * gone}"


def _command(orphan: Orphan) -> str:
    process = orphan.process
    command = one_line(" ".join(process.words)) or process.executable
    return command if len(command) <= _SHOWN else f"{command[: _SHOWN - 1]}…"


def _details(found: OrphanList, orphan: Orphan) -> list[str]:
    lines = [f"kept by: {found.owners[orphan.process.pid].words}"]
    if orphan.children:
        lines.append(f"its children: {', '.join(str(each.pid) for each in orphan.children)}")
    names = queues(orphan)
    if names:
        lines.append(f"queues: {', '.join(map(short_text, names))}")
    for each in orphan.registrations:
        lines += [f"in hand: {job_text(job, found.now)}" for job in each.jobs]
    lines.append(f"known by: {', '.join(_KNOWN_BY[mark] for mark in orphan.marks)}")
    return lines


def _claimed(found: OrphanList, orphan: Orphan) -> list[str]:
    """One of which it is not certain, in words."""
    process = orphan.process
    age = duration(max(0.0, found.now - process.began))
    who, app = account(process.uid), found.app
    assert orphan.claim is not None
    why = {
        Claim.ACCOUNT: f"only Redis says that it works for {app}, and no worker runs as {who}",
        Claim.ROOT: f"only Redis says that it works for {app}, and it is root's",
        Claim.SESSION: f"only Redis says that it works for {app}, and it is in a login session",
        Claim.SERVING: f"it is a running instance of {app} that has left its unit, as `su -` makes "
        "it: write `user = …` in its place",
    }[orphan.claim]
    return [
        f"claimed: PID {process.pid}, {who}, for {age}, as {orphan.worker}",
        f"  {_command(orphan)}",
        f"  {why}",
        *(f"  {more}" for more in _details(found, orphan)),
    ]


def _how_many_claimed(found: OrphanList) -> str:
    count = len(found.look.claimed)
    return f" · {plural(count, 'process')} claimed, and left alone" if count else ""


def _outcome(one: DrainResult) -> str:
    if one.killed:
        words = f"killed (PID {', '.join(map(str, one.killed))})"
        return words if one.ended else f"{words}, and not gone yet"
    if one.ended:
        return f"ended after {duration(one.seconds)}" if one.seconds is not None else "ended"
    return one.why_not or "told to end, and still there"


def _count(found: OrphanList) -> str:
    left = [each for each in found.look.orphans if each.process.pid in found.left]
    old = sum(each.current is False for each in left)
    words = f"{found.app}: {plural(len(left), 'orphan')}"
    if found.drained:
        words = f"{words} left" if left else f"{found.app}: no orphan is left"
    if old:
        words += f", {old} on OLD CODE"
    if found.drained:
        gone = [one for one in found.drained.values() if one.ended]
        killed = sum(bool(one.killed) for one in gone)
        words += f" · {len(gone) - killed} ended, {killed} killed"
    if found.others.every:
        words += f" · {_others(found)}"
    return words


def _others(found: OrphanList) -> str:
    count, old = len(found.others.every), len(found.others.stale)
    one = "another one" if count == 1 else f"{count} others"
    return f"{one} not named here{f', {old} on OLD CODE' * bool(old)}"


def next_steps(found: OrphanList) -> list[str]:
    """What to type now."""
    if found.exit_code is Exit.OK:
        return []
    lines = []
    left = [each.process.pid for each in found.look.orphans if each.process.pid in found.left]
    kinds = {found.owners[pid].kind for pid in left}
    typed = unitq(found.app, user=found.user)
    # What has a keeper that starts it again must be ended there first.
    if OwnerKind.SUPERVISORD in kinds:
        programs = sorted({found.owners[pid].program for pid in left} - {""})
        stop = shlex.join(["supervisorctl", "stop", *(programs or ("NAME",))])
        lines.append(
            "supervisord may start another in its place: `unitq takeover FILE` lets jobs finish, "
            f"`{stop}` only if its stopsignal does"
        )
    if OwnerKind.UNIT in kinds:
        lines.append("`systemctl disable --now UNIT` first: it may start another in its place")
    if OwnerKind.CONTAINER in kinds:
        lines.append("end the container where it is managed: it may start another in its place")
    if left:
        again = "once more " if found.drained else ""
        named = "".join(f" {pid}" for pid in left) if found.others.every else ""
        lines.append(f"`{typed} orphans --drain{named}` {again}lets them finish their jobs and end")
    if claimed := [each for each in found.look.claimed if each.claim is not Claim.SERVING]:
        pids = " ".join(str(each.process.pid) for each in claimed)
        lines.append(
            f"look whether what is claimed is yours; `{typed} orphans --drain {pids}` then ends it"
        )
    return lines
