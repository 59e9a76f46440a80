"""orphans --drain: sends the framework's own stop signal, waits, kills what is left if asked to."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from time import monotonic, time
from typing import TYPE_CHECKING

from unitq.instances.signals import recipients_of
from unitq.linux import pidfd
from unitq.linux.proc import alive, ancestry
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

_DEATH = 10.0  # seconds that a killed process may take: one in a system call cannot die yet


@dataclass
class DrainResult:
    """What became of one orphan."""

    orphan: Orphan
    signal: str
    limit: float | None  # seconds; None: any time
    signalled: tuple[int, ...] = ()  # the PIDs that got the signal
    why_not: str = ""  # why none did
    ended: bool = False
    seconds: float | None = None  # until it had ended
    killed: tuple[int, ...] = ()
    jobs: tuple[Job, ...] | None = ()  # in flight when it was killed; None: not known

    @property
    def pid(self) -> int:
        return self.orphan.process.pid

    @property
    def left(self) -> bool:
        """Whether it still runs."""
        return not self.ended


@dataclass
class Drain:
    """Drains orphans."""

    search: Search
    ask: Callable[[], list[Registration] | None]  # the workers that Redis has
    say: Callable[[str], None]
    # Whether to kill what is left; None: the terminal is gone, which ends the drain.
    confirm: Callable[[Sequence[DrainResult]], bool | None]
    results: list[DrainResult] = field(default_factory=list)
    interrupted: bool = False

    def run(self, shown: Scan) -> None:
        """Signals these orphans, waits, and kills what is left if that is wanted."""
        wanted = {orphan.identity: orphan for orphan in shown.orphans}
        with pidfd.hold({pid for orphan in shown.orphans for pid in orphan.pids}) as held:
            # Looked at once more, now that no PID among them can become another's unnoticed.
            now = {orphan.identity: orphan for orphan in scan(self.search, self.ask()).every}
            self.results = [
                self._send_stop(now[identity], held)
                if identity in now
                else DrainResult(orphan, "", None, why_not="it has ended meanwhile", ended=True)
                for identity, orphan in wanted.items()
            ]
            try:
                self._wait(held)
            except KeyboardInterrupt:
                self.interrupted = True
                return
        left = [result for result in self.results if result.left]
        for result in left:
            self.say(f"{_name(result.orphan)}: {result.why_not or 'still there'}")
        kill = self.confirm(left) if left else False
        if kill:
            self._kill(left)
        self.interrupted = kill is None

    def _send_stop(self, orphan: Orphan, held: Mapping[int, Handle]) -> DrainResult:
        stop = self.search.stops[orphan.worker]
        result = DrainResult(orphan, stop.signal, stop.seconds)
        number = signals.number(stop.signal)
        if ancestry() & set(orphan.pids):
            result.why_not = "not told: this command runs below it"
            return result
        recipients = recipients_of(_own_pids(orphan), number)
        if not recipients:
            result.why_not = (
                f"not told: none of its processes has a handler for {stop.signal}, "
                "so it would die of it"
            )
            return result
        result.signalled = tuple(
            pid for pid in recipients if pid in held and held[pid].send(number)
        )
        if result.signalled:
            seconds = result.limit
            limit = "as long as it takes" if seconds is None else f"at most {duration(seconds)}"
            pids = ", ".join(map(str, result.signalled))
            self.say(f"{_name(orphan)}: {stop.signal} to PID {pids}; it may take {limit}")
        return result

    def _wait(self, held: Mapping[int, Handle]) -> None:
        began = monotonic()
        until: dict[Handle, float | None] = {}
        waiting: dict[Handle, tuple[DrainResult, set[Handle]]] = {}
        for result in self.results:
            if result.ended or result.why_not:
                continue
            own = {held[pid] for pid in {result.pid, *result.signalled} if pid in held}
            for handle in own:
                until[handle] = None if result.limit is None else began + result.limit
                waiting[handle] = result, own
            result.ended = not own

        def end(handle: Handle, at: float) -> None:
            result, own = waiting[handle]
            own.discard(handle)
            if not own:
                result.ended, result.seconds = True, at - began
                self.say(f"{_name(result.orphan)}: ended after {duration(at - began)}")

        pidfd.wait(until, end)

    def in_flight_lines(self, left: Sequence[DrainResult]) -> list[str]:
        """Looks once more: returns a line for each in-flight job of these."""
        wanted = {result.orphan.identity for result in left}
        return [
            f"{_name(orphan)}: in hand: {job_text(job, time())}"
            for orphan in scan(self.search, self.ask()).every
            if orphan.identity in wanted
            for job in _jobs(orphan) or ()
        ]

    def _kill(self, left: Sequence[DrainResult]) -> None:
        wanted = {result.orphan.identity: result for result in left}
        # Its children are others by now; and the last look at its jobs.
        registered = self.ask()
        before = scan(self.search, registered)
        pids = {pid for orphan in before.every if orphan.identity in wanted for pid in orphan.pids}
        with pidfd.hold(pids) as held:
            now = {orphan.identity: orphan for orphan in scan(self.search, registered).every}
            own, killed = ancestry(), list[DrainResult]()
            until: dict[Handle, float | None] = {}
            for identity, result in wanted.items():
                orphan = now.get(identity)
                if orphan is None:
                    result.ended = True
                elif not own & set(orphan.pids):
                    result.jobs = _jobs(orphan)
                    # The worker before its children, so that it starts no other.
                    result.killed = tuple(
                        pid
                        for pid in _own_pids(orphan)
                        if pid in held and held[pid].send(signal.SIGKILL)
                    )
                    until |= {held[pid]: monotonic() + _DEATH for pid in result.killed}
                    killed.append(result)
            gone: set[Handle] = set()
            pidfd.wait(until, lambda handle, _: gone.add(handle))
            for result in killed:
                result.ended = all(held[pid] in gone for pid in result.killed)
                if result.killed:
                    self.say(f"{_name(result.orphan)}: {_outcome(result)}")


def _name(orphan: Orphan) -> str:
    return f"PID {orphan.process.pid} ({orphan.worker})"


def _own_pids(orphan: Orphan) -> tuple[int, ...]:
    """Returns it and what it has started as the same account; to be asked while they are held.

    What it has started as another one, such as a daemon by sudo, is not its own any more; but
    whatever root's has started is.
    """
    processes = filter(None, map(alive, orphan.pids))
    uids = orphan.process.uids
    return tuple(each.pid for each in processes if uids == {0} or each.uids <= uids)


def _jobs(orphan: Orphan) -> tuple[Job, ...] | None:
    """Returns its in-flight jobs; None: Redis does not tell."""
    if not orphan.registrations:
        return None
    return tuple(job for registration in orphan.registrations for job in registration.jobs)


def _outcome(result: DrainResult) -> str:
    words = "killed" if result.ended else "killed, and not gone yet"
    if result.jobs is None:
        return f"{words}; its job may be lost"
    if not result.jobs:
        return f"{words}; it had no in-flight job"
    return f"{words}; lost with it: " + ", ".join(
        f"{job_text(job, time())} of queue {short_text(job.queue)}" for job in result.jobs
    )
