"""orphans: processes that work for the app and are in none of its units."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from unitq.cli.orphans import text
from unitq.cli.output import confirm, echo, echo_json, echo_lines
from unitq.cli.queues import text as queue_text
from unitq.cli.scope import current, scope_options
from unitq.errors import ConfigError
from unitq.orphans import find
from unitq.orphans.orphan_list import OrphanList, exit_code, exit_code_after
from unitq.orphans.registered import RegistrationReader
from unitq.orphans.select import exclude, include_claimed, select
from unitq.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.orphans.drain import Drain, DrainResult
    from unitq.orphans.evidence import Orphan
    from unitq.orphans.find import Scan, Search

_PID_MAX = 1 << 22  # of Linux on 64 bits (proc(5))


@click.command(
    epilog="""\b
Examples:
  unitq orphans                     who works for the app outside its units
  unitq orphans --drain             let them finish their jobs and end; ask before SIGKILL
  unitq orphans --drain 4711 4712   only these two
  unitq orphans --drain --yes       all, and kill after stop_timeout without asking
  unitq orphans --json | jq '.orphans[] | select(.current == false) | .pid'

\b
Exit codes: 0 there is none, or none is left; 3 there is one, and none is known to run old code,
or one is claimed;
4 a PID is no orphan's, and nothing was done; 6 told to end, and still at work after its time;
10 interrupted while waiting, and what was told ends by itself; 15 one runs old code. With PIDs
they tell of these alone.
"""
)
@scope_options
@click.option("--json", "as_json", is_flag=True, help="A stable JSON object; see docs/json.md.")
@click.option("--drain", is_flag=True, help="Tell them to finish the job in hand, and wait.")
@click.option("--yes", is_flag=True, help="Kill what is left after stop_timeout without asking.")
@click.argument("pids", nargs=-1, type=click.IntRange(1, _PID_MAX), metavar="[PID]...")
def orphans(pids: tuple[int, ...], as_json: bool, drain: bool, yes: bool) -> int:
    """Show processes that work for the app and are in none of its units.

    What Supervisor, a shell or a login has left behind takes jobs with the code that it was started
    with, and no deploy reaches it. It is known by several marks together: its program and
    interpreter, its directory, its environment, its title, its registration in Redis. An editor, a
    shell in the directory or another app's worker is none.

    --drain sends each the stop signal of its worker (never to a shell around it), waits up to
    stop_timeout, and asks before it kills; without a terminal it kills only with --yes.

    With PIDs only those are shown and drained. One that is no orphan is refused, and then none is
    touched.

    What only another account's word gives away, as a record in Redis does of a process that is not
    the workers' account's, is shown as claimed, and drained only if its PID is named.
    """
    if yes and not drain:
        raise ConfigError("--yes answers what --drain asks", hint="add --drain")
    scope = current()
    revision = scope.installed()
    search = find.prepare_search(scope, revision)
    redis = RegistrationReader(scope, revision)
    systemd = scope.systemd()
    every = include_claimed(find.scan(search, redis.read()), pids)
    first = select(search, every, pids) if pids else every
    others = exclude(every, first)
    drained: dict[int, DrainResult] = {}
    code, after = exit_code(first), first
    if drain and first.orphans:
        done = _drain_orphans(search, redis, first, as_json=as_json, yes=yes)
        drained = {one.pid: one for one in done.results}
        every = include_claimed(find.scan(search, redis.read()), pids)
        after = exclude(every, others)
        others = exclude(every, after)
        code = exit_code_after(done, after)
    left = {each.identity: each for each in after.orphans}
    for one in drained.values():
        one.ended = one.ended or one.orphan.identity not in left
    # What has come meanwhile is shown with what was there.
    shown = {each.identity: each for each in first.orphans} | left
    found = OrphanList(
        search,
        find.Scan(after.table, tuple(shown.values()), after.registered, after.claimed),
        others,
        redis,
        {
            each.process.pid: find.owner(
                systemd, after if each.identity in left else first, each
            )
            for each in (*shown.values(), *after.claimed)
        },
        drained,
        frozenset(each.process.pid for each in after.orphans),
        code,
        time.time(),
    )  # fmt: skip
    if as_json:
        echo_json(_document(found))
    else:
        echo_lines(text.text(found))
    if not as_json:
        for note in dict.fromkeys((*search.notes, *redis.notes)):
            echo(f"note: {note}", err=True)
        for line in text.following(found):
            echo(f"  next: {line}", err=True)
    return code


def _drain_orphans(
    search: Search, redis: RegistrationReader, look: Scan, *, as_json: bool, yes: bool
) -> Drain:
    from unitq.orphans.drain import Drain

    def say(words: str) -> None:
        with suppress(OSError):
            echo(words, err=as_json)

    def may_kill(left: Sequence[DrainResult]) -> bool | None:
        if yes or not sys.stdin.isatty():
            return yes
        for line in drain.in_flight_lines(left):
            say(line)
        question = f"Kill {plural(len(left), 'orphan')} (SIGKILL)? Its jobs may be lost"
        try:
            return confirm(question, err=True)
        except click.Abort:
            return None

    drain = Drain(search, redis.read, say, may_kill)
    drain.run(look)
    return drain


def _document(found: OrphanList) -> dict[str, Any]:
    scope = found.search.scope
    return {
        "format": 1,
        "scope": "user" if scope.user else "system",
        "app": found.search.app.name,
        "host": os.uname().nodename,
        "exit_code": int(found.code),
        "processes": len(found.look.table.processes),
        "others": len(found.others.every),
        "orphans": [_orphan(found, each) for each in found.look.orphans],
        "claimed": [_orphan(found, each) for each in found.look.claimed],
        "notes": list(dict.fromkeys((*found.search.notes, *found.redis.notes))),
    }


def _orphan(found: OrphanList, orphan: Orphan) -> dict[str, Any]:
    process, kept = orphan.process, found.owners[orphan.process.pid]
    one = found.drained.get(process.pid)
    return {
        "pid": process.pid,
        "parent": process.parent,
        "children": [each.pid for each in orphan.children],
        "began": round(process.began, 3),
        "age_seconds": round(max(0.0, found.now - process.began), 3),
        "user": text.user(process.uid),
        "command": " ".join(process.words),
        "worker": orphan.worker,
        "release": orphan.release or None,
        "revision": process.revision or None,
        "current": orphan.current,
        "kept_by": str(kept.kind),
        "keeper": kept.words,
        "unit": kept.unit or None,
        "program": kept.program or None,
        "known_by": [str(mark) for mark in orphan.marks],
        "claim": orphan.claim and str(orphan.claim),
        "queues": text.queues(orphan) if orphan.registrations else None,
        "jobs": _jobs(found, orphan),
        "drain": one and _drain(found, one),
    }


def _jobs(found: OrphanList, orphan: Orphan) -> list[dict[str, Any]] | None:
    if not orphan.registrations:
        return None
    return [
        queue_text.job_json(found.redis.presets[each.id], job)
        for each in orphan.registrations
        for job in each.jobs
    ]


def _drain(found: OrphanList, one: DrainResult) -> dict[str, Any]:
    lost = None
    if one.jobs is not None:
        lost = [
            queue_text.job_json(found.redis.presets.get(job.worker or "", ""), job)
            for job in one.jobs
        ]
    return {
        "signal": one.signal or None,
        "told": list(one.signalled),
        "why_not": one.why_not or None,
        "ended": one.ended,
        "seconds": None if one.seconds is None else round(one.seconds, 3),
        "killed": list(one.killed),
        "lost": lost,
    }
