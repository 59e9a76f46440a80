"""What workers have in hand while they drain, as Redis tells, or they themselves in the journal.

Looked at before the stop signal and again just before systemd reaches for SIGKILL: what starts in a
worker's place may delete its record (lib/Resque/Worker.php, pruneDeadWorkers). A Redis that is
down or slow holds nobody up: that is said once, and it is asked again some seconds later, and
before each kill.

Where a framework does not write down which process has a job, those are told that it may have been:
in hand in the worker's queues when it was told to stop, and still so just before it was killed.
Where it writes nothing into Redis but prints its jobs, the journal is read: queues/journal_jobs.py.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from unitq.rollout.advisory import in_words
from unitq.rollout.engine.instance import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from unitq.model.names import InstanceName
    from unitq.queues.journal_jobs import Printed
    from unitq.queues.model import Job, Registration
    from unitq.rollout.advisory import Advisory
    from unitq.rollout.engine.rollout import Rollout

# Seconds before stop_timeout: long enough for a look, and too short for another job.
_BEFORE_THE_END = 0.5

_NEVER = float("inf")

# Seconds between two looks for those who watch.
_INTERVAL = 1.0

# Seconds without a look after one that failed: it may have taken a second of the rollout's loop.
_SILENCE = 5.0

# Seconds that a worker takes at the very most between taking a job and beginning it.
_TO_BEGIN = 2.0

# Seconds: the same beginning of a job, as two looks tell it; and what may begin between the look
# before a stop signal and the signal.
_SAME = 1.0


class InHand(NamedTuple):
    """What Redis told in one look."""

    time: float  # seconds since 1970
    workers: tuple[Registration, ...]  # of this host
    # By framework, the jobs in hand of those whose jobs do not say which process has them.
    unsigned: Mapping[str, tuple[Job, ...]]
    # By framework, the ids of the jobs that are fetched and not acknowledged.
    fetched: Mapping[str, frozenset[str]] = {}
    unbegun: tuple[Job, ...] = ()  # taken from their queue, and begun by no worker


class Taking(NamedTuple):
    """What a worker takes its jobs from."""

    preset: str
    queues: frozenset[str]  # none: nobody has said

    def jobs(self, seen: InHand) -> tuple[Job, ...] | None:
        """Those in hand that may be its own; None: they say whose they are, or nobody knows."""
        found = seen.unsigned.get(self.preset)
        if found is None or not self.queues:
            return None
        return tuple(job for job in found if job.queue in self.queues)


class Draining(NamedTuple):
    """An instance that is told to stop."""

    name: InstanceName
    pids: tuple[int, ...]  # its processes, before
    limit: float | None  # seconds that it may take; None: any time
    start: str = ""  # systemd's invocation


class Presence:
    """Whether new workers have registered themselves, where their health is to depend on that."""

    def __init__(self, ask: Callable[[], InHand], workers: frozenset[str]) -> None:
        """`ask` tells which workers of this host are registered.

        `workers` are the names of those whose health depends on it.
        """
        self._ask = ask
        self.workers = workers

    def missing(self, pids: Iterable[int]) -> str:
        """Why none of these processes counts as registered; empty: one does."""
        try:
            registered = {each.pid for each in self._ask().workers}
        except Exception as error:  # noqa: BLE001  (a worker of which nothing is known is not healthy)
            return in_words(error)
        return "" if registered & set(pids) else "it is not registered in Redis"


class Hands:
    """The jobs of the instances that are drained, by instance: the last that was seen of each."""

    def __init__(
        self,
        ask: Callable[[], InHand] | None,
        advisory: Advisory,
        taking: Mapping[str, Taking] | None = None,
        printed: Printed | None = None,
    ) -> None:
        """`ask` tells which jobs are in flight; None: nobody knows where Redis is.

        `taking` is by worker.
        """
        self._ask = ask
        self._taking = taking or {}
        self._printed = printed
        self._advisory = advisory
        self._silent_until = 0.0  # Redis did not answer a moment ago
        self._silent_journal = 0.0
        self._draining: dict[InstanceName, Draining] = {}
        self._looked = 0.0
        self.jobs: dict[InstanceName, tuple[Job, ...]] = {}
        self.workers: dict[InstanceName, tuple[Registration, ...]] = {}  # that had them
        # Where jobs do not say who has them: those that may be this one's.
        self.possible: dict[InstanceName, tuple[Job, ...]] = {}
        self._told: dict[InstanceName, float] = {}  # to stop, in seconds since 1970
        self._fetched: Mapping[str, frozenset[str]] = {}

    def before(self, rollout: Rollout, told: Iterable[Draining], now: float) -> None:
        """Looks at what these have in hand; they are about to be told to stop."""
        new = {one.name: one for one in told}
        self._draining |= new
        # Not at those that have ended: they may have left their PIDs to somebody else.
        names = [*new, *self._still(rollout)]
        self._look(names, now)
        self._read(names)

    def again(self, rollout: Rollout, now: float, *, watched: bool) -> None:
        """Looks again where it is time."""
        at = self.due(rollout, watched=watched)
        if at is not None and at <= now:
            names = self._still(rollout)
            if any(self._last_look(rollout, name) <= now for name in names):
                self._silent_until = self._silent_journal = 0.0
            self._look(names, now)
            self._read(names)

    def after(self, ended: Iterable[InstanceName]) -> None:
        """Reads all that these printed until their end, which was not their own."""
        names = [name for name in ended if name in self._draining]
        if names and self._printed is not None:
            # What they have begun since the last look, they had acknowledged by their end.
            self._look((), self._looked)
            self._read(names, ended=True)

    def dropped(self, wait: Callable[[float], None]) -> tuple[Job, ...]:
        """Returns the jobs that are taken from a queue, and that no worker will begin.

        RQ ends at a stop signal as if it were idle, between taking a job and beginning it. A worker
        that lives is there for milliseconds, so those are left that are seen twice. What an earlier
        stop has left is among them, until RQ's maintenance clears it away.
        """
        if not self._draining or self._ask is None:
            return ()
        first = self._unbegun()
        if not first:
            return ()
        wait(_TO_BEGIN)
        known = {job.id for job in first}
        return tuple(job for job in self._unbegun() if job.id in known)

    def _unbegun(self) -> tuple[Job, ...]:
        seen = self._advisory.ask(self._unknown, self._ask, None) if self._ask else None
        return seen.unbegun if seen else ()

    def due(self, rollout: Rollout, *, watched: bool) -> float | None:
        """When to look again; None: there is nothing to see. `watched`: somebody looks on."""
        names = self._still(rollout)
        if not names or (self._ask is None and self._printed is None):
            return None
        next_look = self._looked + _INTERVAL
        times = []
        if watched and self._ask is not None:
            times.append(max(next_look, self._silent_until))
        if watched and self._printed is not None:
            times.append(max(next_look, self._silent_journal))
        times += [end for name in names if (end := self._last_look(rollout, name)) < _NEVER]
        return min(times, default=None)

    def _last_look(self, rollout: Rollout, name: InstanceName) -> float:
        """When to look for the last time before systemd kills it; _NEVER: that has been done."""
        limit = self._draining[name].limit
        if limit is None:
            return _NEVER
        end = rollout.slots[name].touched + limit - _BEFORE_THE_END
        return end if end > self._looked else _NEVER

    def _still(self, rollout: Rollout) -> list[InstanceName]:
        slots = rollout.slots
        return [
            name for name in self._draining if name in slots and slots[name].phase is Phase.DRAINING
        ]

    @property
    def _unknown(self) -> str:
        """What follows where Redis does not answer; said once, whatever it was asked."""
        known = "only known as far as workers print them" if self._printed else "not known"
        return f"jobs in flight are {known}"

    def _look(self, names: Iterable[InstanceName], now: float) -> None:
        self._looked = now
        if self._ask is None or now < self._silent_until:
            return
        seen = self._advisory.ask(self._unknown, self._ask, None)
        if seen is None:
            # Each look at a Redis that hangs costs a second in which nobody listens to systemd.
            self._silent_until = now + _SILENCE
            return
        self._fetched = seen.fetched
        registered = {each.pid: each for each in seen.workers if each.pid is not None}
        for name in names:
            self._look_at_unsigned(name, seen)
            mine = [registered[pid] for pid in self._draining[name].pids if pid in registered]
            # One that is not registered any more has had its record deleted: what was seen before
            # counts. Had it finished, it would have said so before it went.
            if mine:
                self.jobs[name] = tuple(job for each in mine for job in each.jobs)
                self.workers[name] = tuple(each for each in mine if each.jobs)

    def _read(self, names: Iterable[InstanceName], *, ended: bool = False) -> None:
        if self._printed is None:
            return
        starts = {name: self._draining[name].start for name in names}
        if self._looked < self._silent_journal:
            return
        look = partial(self._printed.look, starts, self._fetched, ended=ended)
        known = "which jobs are in flight is not known"
        found = self._advisory.ask(known, look, None)
        if found is None:
            self._silent_journal = self._looked + _SILENCE
            return
        for name, held in found.items():
            if held.jobs is not None:
                self.jobs[name] = held.jobs
                self.possible.pop(name, None)
            elif held.possible:
                self.possible[name] = held.possible
                self.jobs.pop(name, None)

    def _look_at_unsigned(self, name: InstanceName, seen: InHand) -> None:
        taking = self._taking.get(name.worker)
        jobs = taking.jobs(seen) if taking else None
        if jobs is None:
            return
        if name not in self._told:
            self._told[name] = seen.time
            self.possible[name] = jobs
        else:
            told = self._told[name]
            self.possible[name] = _still(self.possible.get(name, ()), jobs, told + _SAME)


def _still(before: Iterable[Job], now: Iterable[Job], told: float) -> tuple[Job, ...]:
    """Those in hand now that were in hand before, in the same attempt; or begun before `told`."""
    begun = {(job.queue, job.id or job.hash): job.since for job in before}

    def same(job: Job) -> bool:
        key = (job.queue, job.id or job.hash)
        if job.since is None:
            return key in begun
        earlier = begun.get(key)
        return job.since <= told if earlier is None else abs(job.since - earlier) <= _SAME

    return tuple(job for job in now if same(job))
