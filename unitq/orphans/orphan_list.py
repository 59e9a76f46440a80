"""What `unitq orphans` answers: the orphans, what keeps each, what a drain did, the exit code."""

from __future__ import annotations

import os
import pwd
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unitq.errors import Exit
from unitq.orphans import find
from unitq.orphans.registered import RegistrationReader
from unitq.orphans.select import exclude, include_claimed, select

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from unitq.context import Scope
    from unitq.orphans.drain import Drain, DrainResult
    from unitq.orphans.evidence import Orphan
    from unitq.orphans.find import Scan, Search
    from unitq.orphans.ownership import Owner


@dataclass(frozen=True, slots=True)
class OrphanList:
    """The orphans of an app, at one moment."""

    search: Search
    look: Scan  # those that are shown: as they are now, or as they were before they ended
    others: Scan  # those that were not named
    redis: RegistrationReader
    owners: Mapping[int, Owner]  # by PID
    drained: Mapping[int, DrainResult]
    left: frozenset[int]  # the PIDs of those that are still there
    exit_code: Exit
    now: float  # seconds since 1970

    def __iter__(self) -> Iterator[Orphan]:
        """Yields those of which it is certain."""
        return iter(self.look.orphans)

    def __len__(self) -> int:
        return len(self.look.orphans)

    @property
    def app(self) -> str:
        """The app that they work for."""
        return self.search.app.name

    @property
    def user(self) -> bool:
        """Whether it is one of a user's own systemd."""
        return self.search.scope.user

    @property
    def notes(self) -> list[str]:
        """What could not be read."""
        return list(dict.fromkeys((*self.search.notes, *self.redis.notes)))

    def to_json(self) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        return {
            "format": 1,
            "scope": "user" if self.user else "system",
            "app": self.app,
            "host": os.uname().nodename,
            "exit_code": int(self.exit_code),
            "processes": len(self.look.table.processes),
            "others": len(self.others.every),
            "orphans": [self._orphan(orphan) for orphan in self.look.orphans],
            "claimed": [self._orphan(orphan) for orphan in self.look.claimed],
            "notes": self.notes,
        }

    def _orphan(self, orphan: Orphan) -> dict[str, Any]:
        process, owner = orphan.process, self.owners[orphan.process.pid]
        drained, presets = self.drained.get(process.pid), self.redis.presets
        jobs = [
            job.to_json(presets[registration.id])
            for registration in orphan.registrations
            for job in registration.jobs
        ]
        return {
            "pid": process.pid,
            "parent": process.parent,
            "children": [child.pid for child in orphan.children],
            "began": round(process.began, 3),
            "age_seconds": round(max(0.0, self.now - process.began), 3),
            "user": account(process.uid),
            "command": " ".join(process.words),
            "worker": orphan.worker,
            "release": orphan.release or None,
            "revision": process.revision or None,
            "current": orphan.current,
            "kept_by": str(owner.kind),
            "keeper": owner.words,
            "unit": owner.unit or None,
            "program": owner.program or None,
            "known_by": [str(mark) for mark in orphan.marks],
            "claim": orphan.claim and str(orphan.claim),
            "queues": queues(orphan) if orphan.registrations else None,
            "jobs": jobs if orphan.registrations else None,
            "drain": drained and self._drain(drained),
        }

    def _drain(self, drained: DrainResult) -> dict[str, Any]:
        presets, jobs = self.redis.presets, drained.jobs
        return {
            "signal": drained.signal or None,
            "told": list(drained.signalled),
            "why_not": drained.why_not or None,
            "ended": drained.ended,
            "seconds": None if drained.seconds is None else round(drained.seconds, 3),
            "killed": list(drained.killed),
            "lost": None
            if jobs is None
            else [job.to_json(presets.get(job.worker or "", "")) for job in jobs],
        }


def queues(orphan: Orphan) -> list[str]:
    """Those that it is registered for, and its children are."""
    return list(dict.fromkeys(q for each in orphan.registrations for q in each.queues or ()))


def account(uid: int) -> str:
    """The name of a user, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def orphans(scope: Scope, pids: Sequence[int] = ()) -> OrphanList:
    """Returns the orphans of the app, or those of these PIDs.

    Raises NoMatchError where a PID is no orphan's, NotPermittedError where processes are hidden.
    """
    return _Search(scope, pids).result()


def drain(
    scope: Scope,
    pids: Sequence[int],
    say: Callable[[str], None],
    may_kill: Callable[[Drain, Sequence[DrainResult]], bool | None],
) -> OrphanList:
    """Tells them to finish their jobs, and waits for up to their stop_timeout.

    `may_kill` is asked about those that are left then; None ends the drain. Raises as `orphans`.
    """
    return _Search(scope, pids).drain(say, may_kill)


class _Search:
    """The orphans of an app, looked for once or, around a drain, twice."""

    def __init__(self, scope: Scope, pids: Sequence[int]) -> None:
        revision = scope.installed()
        self._pids = pids
        self._what = find.prepare_search(scope, revision)
        self._redis = RegistrationReader(scope, revision)
        self._systemd = scope.systemd()
        every = self._look()
        self._first = select(self._what, every, pids) if pids else every
        self._others = exclude(every, self._first)

    def _look(self) -> Scan:
        return include_claimed(find.scan(self._what, self._redis.read()), self._pids)

    def result(self) -> OrphanList:
        return self._list(self._first, self._others, {}, exit_code(self._first))

    def drain(
        self,
        say: Callable[[str], None],
        may_kill: Callable[[Drain, Sequence[DrainResult]], bool | None],
    ) -> OrphanList:
        if not self._first.orphans:
            return self.result()
        from unitq.orphans.drain import Drain

        done = Drain(self._what, self._redis.read, say, lambda left: may_kill(done, left))
        done.run(self._first)
        every = self._look()
        after = exclude(every, self._others)
        drained = {one.pid: one for one in done.results}
        left = {orphan.identity for orphan in after.orphans}
        for one in drained.values():
            one.ended = one.ended or one.orphan.identity not in left
        return self._list(after, exclude(every, after), drained, exit_code_after(done, after))

    def _list(
        self, after: Scan, others: Scan, drained: Mapping[int, DrainResult], code: Exit
    ) -> OrphanList:
        left = {orphan.identity: orphan for orphan in after.orphans}
        # What has come meanwhile is shown with what was there.
        shown = {orphan.identity: orphan for orphan in self._first.orphans} | left
        return OrphanList(
            self._what,
            find.Scan(after.table, tuple(shown.values()), after.registered, after.claimed),
            others,
            self._redis,
            {
                orphan.process.pid: find.owner(
                    self._systemd, after if orphan.identity in left else self._first, orphan
                )
                for orphan in (*shown.values(), *after.claimed)
            },
            drained,
            frozenset(orphan.process.pid for orphan in after.orphans),
            code,
            time.time(),
        )


def exit_code(look: Scan) -> Exit:
    """Returns the exit code for these orphans."""
    if not look.orphans:
        # An operator has to look: it may be an older copy of the app, under another account.
        return Exit.NOT_AS_WANTED if look.claimed else Exit.OK
    return Exit.STALE if look.stale else Exit.NOT_AS_WANTED


def exit_code_after(drain: Drain, after: Scan) -> Exit:
    """Returns the exit code of a drain, by the orphans after it."""
    if drain.interrupted:
        return Exit.INTERRUPTED
    at_work = {result.pid for result in drain.results if result.left and result.signalled}
    if at_work & {orphan.process.pid for orphan in after.orphans}:
        return Exit.GAVE_UP_WAITING
    return exit_code(after)
