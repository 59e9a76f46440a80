"""orphans --drain: told to finish by the framework's own signal, waited for, killed if asked to."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from time import monotonic, time
from typing import TYPE_CHECKING

from unitq.instances.signals import recipients_of
from unitq.linux import pidfd
from unitq.linux.process import alive, ancestry
from unitq.model import signals
from unitq.orphans.find import Scan, scan
from unitq.queues.job_text import job_text, short_text
from unitq.text import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from unitq.linux.pidfd import Handle
    from unitq.orphans.evidence import Orphan
    from unitq.orphans.find import Search
    from unitq.queues.model import Job, Registration

_DEATH = 10.0  # seconds that a killed process may take: one in the kernel's hands cannot die yet


@dataclass
class DrainResult:
    """What became of one orphan."""

    orphan: Orphan
    signal: str
    limit: float | None  # seconds; None: any time
    told: tuple[int, ...] = ()  # that got the signal
    why_not: str = ""  # why none did
    ended: bool = False
    seconds: float | None = None  # until it had ended
    killed: tuple[int, ...] = ()
    jobs: tuple[Job, ...] | None = ()  # that it had in hand when it was killed; None: not known

    @property
    def pid(self) -> int:
        return self.orphan.process.pid

    @property
    def left(self) -> bool:
        """Whether it is still there."""
        return not self.ended


@dataclass
class Drain:
    """All that were found."""

    what: Search
    ask: Callable[[], list[Registration] | None]  # the workers that Redis has
    say: Callable[[str], None]
    # Whether to kill what is left; None: nobody answers any more, which ends the drain.
    confirm: Callable[[Sequence[DrainResult]], bool | None]
    every: list[DrainResult] = field(default_factory=list)
    interrupted: bool = False

    def run(self, found: Scan) -> None:
        """Tells them all, waits, and kills what is left if that is wanted."""
        wanted = {each.identity: each for each in found.orphans}
        with pidfd.hold({pid for each in found.orphans for pid in each.pids}) as held:
            # Looked at once more, now that no PID among them can become another's unnoticed.
            now = scan(self.what, self.ask())
            for orphan in now.every:
                if orphan.identity in wanted:
                    self.every.append(self._told(orphan, held))
            there = {each.orphan.identity for each in self.every}
            self.every += [
                DrainResult(orphan, "", None, why_not="it has ended meanwhile", ended=True)
                for key, orphan in wanted.items()
                if key not in there
            ]
            try:
                self._wait(held)
            except KeyboardInterrupt:
                self.interrupted = True
                return
        left = [each for each in self.every if each.left]
        for one in left:
            self.say(f"{_name(one.orphan)}: {one.why_not or 'still there'}")
        kill = self.confirm(left) if left else False
        if kill:
            self._kill(left)
        self.interrupted = kill is None

    def _told(self, orphan: Orphan, held: Mapping[int, Handle]) -> DrainResult:
        stop = self.what.stops[orphan.worker]
        one = DrainResult(orphan, stop.signal, stop.seconds)
        number = signals.number(stop.signal)
        own = ancestry()
        if own & set(orphan.pids):
            one.why_not = "not told: this command runs below it"
            return one
        to = recipients_of(_own_pids(orphan), number)
        if not to:
            one.why_not = (
                f"not told: none of its processes has a handler for {stop.signal}, "
                "so it would die of it"
            )
            return one
        one.told = tuple(pid for pid in to if pid in held and held[pid].send(number))
        if one.told:
            limit = "as long as it takes" if one.limit is None else f"at most {duration(one.limit)}"
            pids = ", ".join(map(str, one.told))
            self.say(f"{_name(orphan)}: {stop.signal} to PID {pids}; it may take {limit}")
        return one

    def _wait(self, held: Mapping[int, Handle]) -> None:
        began = monotonic()
        until: dict[Handle, float | None] = {}
        waiting: dict[Handle, tuple[DrainResult, set[Handle]]] = {}
        for one in self.every:
            if one.ended or one.why_not:
                continue
            mine = {held[pid] for pid in {one.pid, *one.told} if pid in held}
            for handle in mine:
                until[handle] = None if one.limit is None else began + one.limit
                waiting[handle] = one, mine
            one.ended = not mine

        def ended(handle: Handle, at: float) -> None:
            one, mine = waiting[handle]
            mine.discard(handle)
            if not mine:
                one.ended, one.seconds = True, at - began
                self.say(f"{_name(one.orphan)}: ended after {duration(at - began)}")

        pidfd.wait(until, ended)

    def in_hand(self, left: Sequence[DrainResult]) -> list[str]:
        """Looks once more: a line for each job that one of these has in hand."""
        wanted = {one.orphan.identity for one in left}
        return [
            f"{_name(orphan)}: in hand: {job_text(job, time())}"
            for orphan in scan(self.what, self.ask()).every
            if orphan.identity in wanted
            for job in _jobs(orphan) or ()
        ]

    def _kill(self, left: Sequence[DrainResult]) -> None:
        wanted = {one.orphan.identity: one for one in left}
        # Its children are others by now; and the last look at what it has in hand.
        registered = self.ask()
        first = scan(self.what, registered)
        pids = {pid for each in first.every if each.identity in wanted for pid in each.pids}
        with pidfd.hold(pids) as held:
            now = scan(self.what, registered)
            there = {each.identity: each for each in now.every}
            own, spared = ancestry(), set[tuple[int, int]]()
            until: dict[Handle, float | None] = {}
            for key, one in wanted.items():
                orphan = there.get(key)
                if orphan is None:
                    one.ended = True
                    continue
                if own & set(orphan.pids):
                    spared.add(key)
                    continue
                one.jobs = _jobs(orphan)
                # The worker before its children, so that it starts no other.
                one.killed = tuple(
                    pid
                    for pid in _own_pids(orphan)
                    if pid in held and held[pid].send(signal.SIGKILL)
                )
                until |= {held[pid]: monotonic() + _DEATH for pid in one.killed}
            gone: set[Handle] = set()
            pidfd.wait(until, lambda handle, _: gone.add(handle))
            for key, one in wanted.items():
                if key in spared:
                    continue
                one.ended = one.ended or all(held[pid] in gone for pid in one.killed)
                if one.killed:
                    self.say(f"{_name(one.orphan)}: {_killed(one)}")


def _name(orphan: Orphan) -> str:
    return f"PID {orphan.process.pid} ({orphan.worker})"


def _own_pids(orphan: Orphan) -> tuple[int, ...]:
    """It and what it has started as the same account, by the kernel; to be asked while they are
    held. What it has started as another one, such as a daemon by sudo, is not its own any more;
    but whatever root's has started is.
    """
    found = (alive(pid) for pid in orphan.pids)
    uids = orphan.process.uids
    return tuple(one.pid for one in found if one and (uids == {0} or one.uids <= uids))


def _jobs(orphan: Orphan) -> tuple[Job, ...] | None:
    """What it has in hand; None: Redis does not tell."""
    if not orphan.registrations:
        return None
    return tuple(job for each in orphan.registrations for job in each.jobs)


def _killed(one: DrainResult) -> str:
    words = "killed" if one.ended else "killed, and not gone yet"
    if one.jobs is None:
        return f"{words}; the job in hand may be lost"
    if not one.jobs:
        return f"{words}; it had no job in hand"
    return f"{words}; lost with it: " + ", ".join(
        f"{job_text(job, time())} of queue {short_text(job.queue)}" for job in one.jobs
    )
