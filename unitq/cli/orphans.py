"""orphans: processes that work for the app and are in none of its units."""

from __future__ import annotations

import json
import os
import pwd
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from unitq.cli import orphan_look, queue_text
from unitq.cli.scope import current, scope_options
from unitq.cli.text import duration, plural, table, unitq
from unitq.core.errors import ConfigError, Exit, UnitqError
from unitq.core.keepers import Kept
from unitq.core.orphans import Mark

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.cli.orphan_drain import Drain, Drained
    from unitq.cli.orphan_look import Known, Look
    from unitq.cli.scope import Scope
    from unitq.core.keepers import Keeper
    from unitq.core.orphans import Orphan
    from unitq.core.queue import Registration
    from unitq.core.revision import Revision

_KNOWN_BY = {
    Mark.PROGRAM: "its program",
    Mark.TITLE: "its title",
    Mark.DIRECTORY: "its directory",
    Mark.ENVIRONMENT: "its environment",
    Mark.QUEUES: "the queues in its environment",
    Mark.REGISTERED: "its registration in Redis",
}
_SHOWN = 78  # characters of a command line


class Redis:
    """The app's registrations, where the configuration says how to get them. Fails once."""

    def __init__(self, scope: Scope, revision: Revision) -> None:
        from unitq.cli.queued import NoRedisError, of_installed

        self.notes: list[str] = []
        self.presets: dict[str, str] = {}  # by the id of a registration
        self._way = None
        try:
            _, self._way = of_installed(scope, revision)
        except NoRedisError:
            pass  # it need not be configured
        except UnitqError as error:
            self.notes.append(f"{error.message}: Redis is not asked")

    def registered(self) -> list[Registration] | None:
        """Every worker that Redis has; None: it is not configured, or does not answer."""
        from unitq.queues.look import look

        if self._way is None:
            return None
        try:
            samples = look(self._way.connection, self._way.sources, numbers=False, ages=False)
        except UnitqError as error:
            self.notes.append(f"{error.message}: queues and jobs in hand are not known")
            self._way = None
            return None
        found = []
        for sample in samples:
            for one in sample.registry.workers or ():
                self.presets[one.id] = sample.preset
                found.append(one)
        return found


@dataclass(frozen=True, slots=True)
class Found:
    """All that is to be said."""

    what: Known
    look: Look
    redis: Redis
    keepers: Mapping[int, Keeper]  # by PID
    drained: Mapping[int, Drained]
    code: Exit
    now: float


@click.command(
    epilog="""\b
Examples:
  unitq orphans                   who works for the app outside its units
  unitq orphans --drain           let them finish their jobs and end; ask before SIGKILL
  unitq orphans --drain --yes     the same, and kill after stop_timeout without asking
  unitq orphans --json | jq '.orphans[] | select(.current == false) | .pid'

\b
Exit codes: 0 there is none, or none is left; 3 there is one, and none is known to run old code;
6 told to end, and still at work after its time; 10 interrupted while waiting, and what was told
ends by itself; 15 one runs old code.
"""
)
@scope_options
@click.option("--json", "as_json", is_flag=True, help="A stable JSON object; see docs/json.md.")
@click.option("--drain", is_flag=True, help="Tell them to finish the job in hand, and wait.")
@click.option("--yes", is_flag=True, help="Kill what is left after stop_timeout without asking.")
def orphans(as_json: bool, drain: bool, yes: bool) -> int:
    """Show processes that work for the app and are in none of its units.

    What Supervisor, a shell or a login has left behind takes jobs with the code that it was started
    with, and no deploy reaches it. It is known by several marks together: its program and
    interpreter, its directory, its environment, its title, its registration in Redis. An editor, a
    shell in the directory or another app's worker is none.

    --drain sends each the stop signal of its worker (never to a shell around it), waits up to
    stop_timeout, and asks before it kills; without a terminal it kills only with --yes.
    """
    if yes and not drain:
        raise ConfigError("--yes answers what --drain asks", hint="add --drain")
    scope = current()
    revision = scope.installed()
    what = orphan_look.known(scope, revision)
    redis = Redis(scope, revision)
    systemd = scope.systemd()
    first = orphan_look.look(what, redis.registered())
    keepers = {each.process.pid: orphan_look.keeper(systemd, first, each) for each in first.orphans}
    drained: dict[int, Drained] = {}
    code = _code(first)
    if drain and first.orphans:
        done = _drained(what, redis, first, as_json=as_json, yes=yes)
        drained = {one.pid: one for one in done.every}
        after = orphan_look.look(what, redis.registered())
        code = _code_after(done, after)
        new = [each for each in after.orphans if each.process.pid not in drained]
        for each in new:
            keepers[each.process.pid] = orphan_look.keeper(systemd, after, each)
        # What has come meanwhile is shown with what was there.
        first = orphan_look.Look(first.table, (*first.orphans, *new), first.registered)
    found = Found(what, first, redis, keepers, drained, code, time.time())
    click.echo(json.dumps(_document(found), indent=2) if as_json else _text(found))
    if not as_json:
        for note in dict.fromkeys((*what.notes, *redis.notes)):
            click.echo(f"note: {note}", err=True)
        for line in _next(found):
            click.echo(f"  next: {line}", err=True)
    return code


def _drained(what: Known, redis: Redis, found: Look, *, as_json: bool, yes: bool) -> Drain:
    from unitq.cli.orphan_drain import Drain

    def say(words: str) -> None:
        with suppress(OSError):
            click.echo(words, err=as_json)

    drain = Drain(what, redis.registered, say, yes)
    drain.run(found)
    return drain


def _code(found: Look) -> Exit:
    if not found.orphans:
        return Exit.OK
    return Exit.STALE if found.stale else Exit.NOT_AS_WANTED


def _code_after(done: Drain, after: Look) -> Exit:
    """The exit code of a drain, by what there is after it."""
    if done.interrupted:
        return Exit.INTERRUPTED
    at_work = {one.pid for one in done.every if one.left and one.told}
    if at_work & {each.process.pid for each in after.orphans}:
        return Exit.GAVE_UP_WAITING
    return _code(after)


# As text


def _text(found: Found) -> str:
    look, app = found.look, found.what.app.name
    if not look.orphans:
        return f"{app}: no orphans among {plural(len(look.table.processes), 'process')}"
    rows, details = [], []
    for each in look.orphans:
        process = each.process
        code = {True: "current", False: "OLD", None: "?"}[each.current]
        rows.append(
            (
                str(process.pid),
                str(process.parent),
                duration(max(0.0, found.now - process.began)),
                _user(process.uid),
                each.worker,
                code,
                _release(each),
            )
        )
        details.append(_details(found, each))
    header = ("PID", "PARENT", "AGE", "USER", "WORKER", "CODE", "RELEASE")
    first, *lines = table(header, rows).splitlines()
    shown = [first]
    for line, more in zip(lines, details, strict=True):
        shown += [line, *(f"  {text}" for text in more)]
    shown.append(_count(found))
    return "\n".join(shown)


def _release(orphan: Orphan) -> str:
    if not orphan.release:
        return "?"
    gone = orphan.process.deleted and not orphan.process.revision
    return f"{queue_text.said(orphan.release)}{' (deleted)' * gone}"


def _details(found: Found, orphan: Orphan) -> list[str]:
    process = orphan.process
    command = queue_text.said(" ".join(process.words)) or process.executable
    lines = [command if len(command) <= _SHOWN else f"{command[: _SHOWN - 1]}…"]
    lines.append(f"kept by: {queue_text.said(found.keepers[process.pid].words)}")
    if orphan.children:
        lines.append(f"its children: {', '.join(str(each.pid) for each in orphan.children)}")
    queues = _queues(orphan)
    if queues:
        lines.append(f"queues: {', '.join(map(queue_text.shown, queues))}")
    for each in orphan.registrations:
        lines += [f"in hand: {queue_text.job_text(job, found.now)}" for job in each.jobs]
    lines.append(f"known by: {', '.join(_KNOWN_BY[mark] for mark in orphan.marks)}")
    if one := found.drained.get(process.pid):
        lines.append(_outcome(one))
    return lines


def _outcome(one: Drained) -> str:
    if one.killed:
        return f"killed (PID {', '.join(map(str, one.killed))})"
    if one.ended:
        return f"ended after {duration(one.seconds)}" if one.seconds is not None else "ended"
    return one.why_not or "told to end, and still there"


def _queues(orphan: Orphan) -> list[str]:
    return list(dict.fromkeys(q for each in orphan.registrations for q in each.queues or ()))


def _count(found: Found) -> str:
    look = found.look
    count, old = len(look.orphans), len(look.stale)
    words = f"{found.what.app.name}: {plural(count, 'orphan')}"
    if old:
        words += f", {old} on OLD CODE"
    if found.drained:
        killed = sum(bool(one.killed) for one in found.drained.values())
        left = sum(one.left for one in found.drained.values())
        words += f" · {len(found.drained) - left - killed} ended, {killed} killed, {left} left"
    return words


def _next(found: Found) -> list[str]:
    """What to type now."""
    if not found.look.orphans:
        return []
    lines = []
    kinds = {found.keepers[each.process.pid].kind for each in found.look.orphans}
    typed = unitq(found.what.app.name, user=found.what.scope.user)
    if found.code is Exit.OK:
        return []
    # What has a keeper that starts it again must be ended there first.
    if Kept.SUPERVISORD in kinds:
        lines.append(
            "supervisord may start another in its place: `unitq takeover FILE` lets jobs finish, "
            "`supervisorctl stop NAME` only if its stopsignal does"
        )
    if Kept.UNIT in kinds:
        lines.append("`systemctl disable --now UNIT` first: it may start another in its place")
    if Kept.CONTAINER in kinds:
        lines.append("end the container where it is managed: it may start another in its place")
    again = "once more " if found.drained else ""
    lines.append(f"`{typed} orphans --drain` {again}lets them finish their jobs and end")
    return lines


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


# As JSON


def _document(found: Found) -> dict[str, Any]:
    scope = found.what.scope
    return {
        "format": 1,
        "scope": "user" if scope.user else "system",
        "app": found.what.app.name,
        "host": os.uname().nodename,
        "exit_code": int(found.code),
        "processes": len(found.look.table.processes),
        "orphans": [_orphan(found, each) for each in found.look.orphans],
        "notes": list(dict.fromkeys((*found.what.notes, *found.redis.notes))),
    }


def _orphan(found: Found, orphan: Orphan) -> dict[str, Any]:
    process, kept = orphan.process, found.keepers[orphan.process.pid]
    one = found.drained.get(process.pid)
    return {
        "pid": process.pid,
        "parent": process.parent,
        "children": [each.pid for each in orphan.children],
        "began": round(process.began, 3),
        "age_seconds": round(max(0.0, found.now - process.began), 3),
        "user": _user(process.uid),
        "command": " ".join(process.words),
        "worker": orphan.worker,
        "release": orphan.release or None,
        "revision": process.revision or None,
        "current": orphan.current,
        "kept_by": str(kept.kind),
        "keeper": kept.words,
        "unit": kept.unit or None,
        "known_by": [str(mark) for mark in orphan.marks],
        "queues": _queues(orphan) if orphan.registrations else None,
        "jobs": _jobs(found, orphan),
        "drain": one and _drain(found, one),
    }


def _jobs(found: Found, orphan: Orphan) -> list[dict[str, Any]] | None:
    if not orphan.registrations:
        return None
    return [
        queue_text.job_json(found.redis.presets[each.id], job)
        for each in orphan.registrations
        for job in each.jobs
    ]


def _drain(found: Found, one: Drained) -> dict[str, Any]:
    lost = None
    if one.jobs is not None:
        lost = [
            queue_text.job_json(found.redis.presets.get(job.worker or "", ""), job)
            for job in one.jobs
        ]
    return {
        "signal": one.signal or None,
        "told": list(one.told),
        "why_not": one.why_not or None,
        "ended": one.ended,
        "seconds": None if one.seconds is None else round(one.seconds, 3),
        "killed": list(one.killed),
        "lost": lost,
    }
