"""Orphans as text: a table of those that run, and the outcome of a drain."""

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


def text(orphans: OrphanList) -> list[str]:
    """Returns lines: a table with details below each row, then counts."""
    look, app = orphans.look, orphans.app
    claimed = [line for orphan in look.claimed for line in _claim(orphans, orphan)]
    if not look.orphans:
        none = f"{app}: no orphans among {plural(len(look.table.processes), 'process')}"
        return [*claimed, f"{none}{_claim_count(orphans)}"]
    rows = _outcome_rows(orphans) if orphans.drained else _rows(orphans)
    first, *lines = table(*rows)
    shown = [first]
    for line, orphan in zip(lines, look.orphans, strict=True):
        shown += [line, f"  {_command(orphan)}"]
        if orphan.process.pid in orphans.left:
            shown += [f"  {more}" for more in _details(orphans, orphan)]
    return [*shown, *claimed, f"{_count(orphans)}{_claim_count(orphans)}"]


def _rows(orphans: OrphanList) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Returns header and rows before a drain."""
    rows: list[tuple[str, ...]] = []
    for orphan in orphans.look.orphans:
        process = orphan.process
        rows.append(
            (
                str(process.pid),
                str(process.parent),
                duration(max(0.0, orphans.now - process.began)),
                account(process.uid),
                orphan.worker,
                _code(orphan),
                _release(orphan),
            )
        )
    return ("PID", "PARENT", "AGE", "USER", "WORKER", "CODE", "RELEASE"), rows


def _outcome_rows(orphans: OrphanList) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Returns header and rows after a drain, without parent and age: an ended process has none."""
    rows: list[tuple[str, ...]] = []
    for orphan in orphans.look.orphans:
        process = orphan.process
        result = orphans.drained.get(process.pid)
        rows.append(
            (
                str(process.pid),
                account(process.uid),
                orphan.worker,
                _code(orphan),
                _release(orphan),
                _outcome(result) if result else "came meanwhile",
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


def _details(orphans: OrphanList, orphan: Orphan) -> list[str]:
    lines = [f"kept by: {orphans.owners[orphan.process.pid].words}"]
    if orphan.children:
        lines.append(f"its children: {', '.join(str(child.pid) for child in orphan.children)}")
    names = queues(orphan)
    if names:
        lines.append(f"queues: {', '.join(map(short_text, names))}")
    for registration in orphan.registrations:
        lines += [f"in hand: {job_text(job, orphans.now)}" for job in registration.jobs]
    lines.append(f"known by: {', '.join(_KNOWN_BY[mark] for mark in orphan.marks)}")
    return lines


def _claim(orphans: OrphanList, orphan: Orphan) -> list[str]:
    """Returns the lines of a claimed process, with the reason why it is only claimed."""
    process = orphan.process
    age = duration(max(0.0, orphans.now - process.began))
    who, app = account(process.uid), orphans.app
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
        *(f"  {more}" for more in _details(orphans, orphan)),
    ]


def _claim_count(orphans: OrphanList) -> str:
    count = len(orphans.look.claimed)
    return f" · {plural(count, 'process')} claimed, and left alone" if count else ""


def _outcome(result: DrainResult) -> str:
    if result.killed:
        words = f"killed (PID {', '.join(map(str, result.killed))})"
        return words if result.ended else f"{words}, and not gone yet"
    if result.ended:
        return f"ended after {duration(result.seconds)}" if result.seconds is not None else "ended"
    return result.why_not or "told to end, and still there"


def _count(orphans: OrphanList) -> str:
    left = [orphan for orphan in orphans.look.orphans if orphan.process.pid in orphans.left]
    old = sum(orphan.current is False for orphan in left)
    words = f"{orphans.app}: {plural(len(left), 'orphan')}"
    if orphans.drained:
        words = f"{words} left" if left else f"{orphans.app}: no orphan is left"
    if old:
        words += f", {old} on OLD CODE"
    if orphans.drained:
        gone = [result for result in orphans.drained.values() if result.ended]
        killed = sum(bool(result.killed) for result in gone)
        words += f" · {len(gone) - killed} ended, {killed} killed"
    if orphans.others.every:
        words += f" · {_others(orphans)}"
    return words


def _others(orphans: OrphanList) -> str:
    count, old = len(orphans.others.every), len(orphans.others.stale)
    others = "another one" if count == 1 else f"{count} others"
    return f"{others} not named here{f', {old} on OLD CODE' * bool(old)}"


def next_steps(orphans: OrphanList) -> list[str]:
    """Returns the commands to type next, if any."""
    if orphans.exit_code is Exit.OK:
        return []
    lines = []
    left = [
        orphan.process.pid for orphan in orphans.look.orphans if orphan.process.pid in orphans.left
    ]
    kinds = {orphans.owners[pid].kind for pid in left}
    typed = unitq(orphans.app, user=orphans.user)
    # An owner that restarts the process must stop it first.
    if OwnerKind.SUPERVISORD in kinds:
        programs = sorted({orphans.owners[pid].program for pid in left} - {""})
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
        again = "once more " if orphans.drained else ""
        named = "".join(f" {pid}" for pid in left) if orphans.others.every else ""
        lines.append(f"`{typed} orphans --drain{named}` {again}lets them finish their jobs and end")
    if claimed := [orphan for orphan in orphans.look.claimed if orphan.claim is not Claim.SERVING]:
        pids = " ".join(str(orphan.process.pid) for orphan in claimed)
        lines.append(
            f"look whether what is claimed is yours; `{typed} orphans --drain {pids}` then ends it"
        )
    return lines
