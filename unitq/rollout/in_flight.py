"""Tracks in-flight jobs of draining workers, from Redis or from their log lines.

Redis is read before the stop signal and again just before systemd sends SIGKILL: what starts in a
worker's place may delete its record (lib/Resque/Worker.php, pruneDeadWorkers). A Redis that is
down or slow delays no rollout: that is said once, and Redis is asked again some seconds later, and
before each kill.

Some frameworks do not record which process has a job. Then the report names jobs that a worker may
have had: in flight in its queues when it was told to stop, and still so just before it was killed.
Of frameworks that record nothing in Redis but print their jobs, the journal is read; see
unitq.queues.journal_jobs.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from unitq.rollout.advisory import in_words
from unitq.rollout.engine.instance import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from unitq.model.names import InstanceName
    from unitq.queues.journal_jobs import JournalJobs
    from unitq.queues.model import Job, Registration
    from unitq.rollout.advisory import Advisory
    from unitq.rollout.engine.rollout import Rollout

# Seconds before stop_timeout: long enough to read Redis, and too short for another job.
_BEFORE_THE_KILL = 0.5

_NEVER = float("inf")

# Seconds between two reads while somebody watches.
_INTERVAL = 1.0

# Seconds without a read after one that failed: it may have taken a second of the rollout's loop.
_SILENCE = 5.0

# Seconds that a worker takes at the very most between taking a job and beginning it.
_TO_BEGIN = 2.0

# Seconds: by how much two reads may differ about the beginning of a job; and what may begin
# between the read before a stop signal and the signal.
_SAME = 1.0


class Snapshot(NamedTuple):
    """The jobs in flight, as one read of Redis shows them."""

    time: float  # seconds since 1970
    workers: tuple[Registration, ...]  # of this host
    # By framework, the jobs in flight that do not say which process has them.
    unsigned: Mapping[str, tuple[Job, ...]]
    # By framework, the ids of the jobs that are fetched and not acknowledged.
    fetched: Mapping[str, frozenset[str]] = {}
    unbegun: tuple[Job, ...] = ()  # taken from their queue, and begun by no worker


class Consumes(NamedTuple):
    """The queues that a worker takes its jobs from."""

    preset: str
    queues: frozenset[str]  # none: not known

    def jobs(self, snapshot: Snapshot) -> tuple[Job, ...] | None:
        """Returns the jobs that may be its own; None: jobs say whose they are, or it is unknown."""
        jobs = snapshot.unsigned.get(self.preset)
        if jobs is None or not self.queues:
            return None
        return tuple(job for job in jobs if job.queue in self.queues)


class Draining(NamedTuple):
    """An instance that is about to be told to stop."""

    name: InstanceName
    pids: tuple[int, ...]  # its processes
    limit: float | None  # seconds that it may take; None: any time
    start: str = ""  # systemd's invocation


class Presence:
    """Whether new workers have registered themselves, where their health depends on that."""

    def __init__(self, ask: Callable[[], Snapshot], workers: frozenset[str]) -> None:
        """`ask` returns which workers of this host are registered.

        `workers` are the names of those whose health depends on it.
        """
        self._ask = ask
        self.workers = workers

    def missing(self, pids: Iterable[int]) -> str:
        """Returns why none of these processes counts as registered; empty: one does."""
        try:
            registered = {worker.pid for worker in self._ask().workers}
        except Exception as error:  # noqa: BLE001  (a worker of which nothing is known is not healthy)
            return in_words(error)
        return "" if registered & set(pids) else "it is not registered in Redis"


class InFlightTracker:
    """The jobs of the instances that drain, by instance, as they were last seen."""

    def __init__(
        self,
        ask: Callable[[], Snapshot] | None,
        advisory: Advisory,
        consumes: Mapping[str, Consumes] | None = None,
        printed: JournalJobs | None = None,
    ) -> None:
        """`ask` returns which jobs are in flight; None: it is not known where Redis is.

        `consumes` is by worker.
        """
        self._ask = ask
        self._consumes = consumes or {}
        self._printed = printed
        self._advisory = advisory
        self._silent_until = 0.0  # Redis did not answer a moment ago
        self._silent_journal = 0.0
        self._draining: dict[InstanceName, Draining] = {}
        self._read_at = 0.0
        self.jobs: dict[InstanceName, tuple[Job, ...]] = {}
        self.workers: dict[InstanceName, tuple[Registration, ...]] = {}  # that had them
        # Where jobs do not say who has them: those that may be this one's.
        self.possible: dict[InstanceName, tuple[Job, ...]] = {}
        self._stopped: dict[InstanceName, float] = {}  # when, in seconds since 1970
        self._fetched: Mapping[str, frozenset[str]] = {}

    def track(self, rollout: Rollout, draining: Iterable[Draining], now: float) -> None:
        """Reads the jobs of these instances, which are about to be told to stop."""
        new = {instance.name: instance for instance in draining}
        self._draining |= new
        # Not of those that have ended: another process may have their PIDs by now.
        self._read([*new, *self._still_draining(rollout)], now)

    def refresh(self, rollout: Rollout, now: float, *, watched: bool) -> None:
        """Reads the jobs again if it is time."""
        at = self.due(rollout, watched=watched)
        if at is not None and at <= now:
            names = self._still_draining(rollout)
            if any(self._last_read(rollout, name) <= now for name in names):
                self._silent_until = self._silent_journal = 0.0
            self._read(names, now)

    def read_rest(self, ended: Iterable[InstanceName]) -> None:
        """Reads all that these printed before they were killed or died."""
        names = [name for name in ended if name in self._draining]
        if names and self._printed is not None:
            # Jobs that began since the last read were acknowledged by the end.
            self._read_redis((), self._read_at)
            self._read_journal(names, ended=True)

    def find_dropped(self, wait: Callable[[float], None]) -> tuple[Job, ...]:
        """Returns the jobs that were taken from a queue, and that no worker will begin.

        RQ ends at a stop signal as if it were idle, between taking a job and beginning it. A worker
        that lives is there for milliseconds, so the jobs count that are seen twice. What an earlier
        stop has left is among them, until RQ's maintenance clears it away.
        """
        if not self._draining or self._ask is None:
            return ()
        first = self._read_unbegun()
        if not first:
            return ()
        wait(_TO_BEGIN)
        known = {job.id for job in first}
        return tuple(job for job in self._read_unbegun() if job.id in known)

    def _read_unbegun(self) -> tuple[Job, ...]:
        snapshot = self._advisory.ask(self._unknown, self._ask, None) if self._ask else None
        return snapshot.unbegun if snapshot else ()

    def due(self, rollout: Rollout, *, watched: bool) -> float | None:
        """Returns when to read again; None: not at all. `watched`: somebody watches."""
        names = self._still_draining(rollout)
        if not names or (self._ask is None and self._printed is None):
            return None
        next_read = self._read_at + _INTERVAL
        times = []
        if watched and self._ask is not None:
            times.append(max(next_read, self._silent_until))
        if watched and self._printed is not None:
            times.append(max(next_read, self._silent_journal))
        times += [at for name in names if (at := self._last_read(rollout, name)) < _NEVER]
        return min(times, default=None)

    def _last_read(self, rollout: Rollout, name: InstanceName) -> float:
        """Returns when to read for the last time before systemd kills it; _NEVER: it was done."""
        limit = self._draining[name].limit
        if limit is None:
            return _NEVER
        at = rollout.instances[name].touched + limit - _BEFORE_THE_KILL
        return at if at > self._read_at else _NEVER

    def _still_draining(self, rollout: Rollout) -> list[InstanceName]:
        return [name for name in rollout.names(Phase.DRAINING) if name in self._draining]

    @property
    def _unknown(self) -> str:
        """What follows if Redis does not answer; said once, whatever it was asked."""
        known = "only known as far as workers print them" if self._printed else "not known"
        return f"jobs in flight are {known}"

    def _read(self, names: Sequence[InstanceName], now: float) -> None:
        self._read_redis(names, now)
        self._read_journal(names)

    def _read_redis(self, names: Iterable[InstanceName], now: float) -> None:
        self._read_at = now
        if self._ask is None or now < self._silent_until:
            return
        snapshot = self._advisory.ask(self._unknown, self._ask, None)
        if snapshot is None:
            # Each read of a Redis that hangs costs a second in which nobody listens to systemd.
            self._silent_until = now + _SILENCE
            return
        self._fetched = snapshot.fetched
        registered = {worker.pid: worker for worker in snapshot.workers if worker.pid is not None}
        for name in names:
            self._read_possible_jobs(name, snapshot)
            mine = [registered[pid] for pid in self._draining[name].pids if pid in registered]
            # One that is not registered any more has had its record deleted: what was seen before
            # counts. Had it finished, it would have said so before it went.
            if mine:
                self.jobs[name] = tuple(job for worker in mine for job in worker.jobs)
                self.workers[name] = tuple(worker for worker in mine if worker.jobs)

    def _read_journal(self, names: Iterable[InstanceName], *, ended: bool = False) -> None:
        if self._printed is None or self._read_at < self._silent_journal:
            return
        starts = {name: self._draining[name].start for name in names}
        look = partial(self._printed.look, starts, self._fetched, ended=ended)
        printed = self._advisory.ask("which jobs are in flight is not known", look, None)
        if printed is None:
            self._silent_journal = self._read_at + _SILENCE
            return
        for name, held in printed.items():
            if held.jobs is not None:
                self.jobs[name] = held.jobs
                self.possible.pop(name, None)
            elif held.possible:
                self.possible[name] = held.possible
                self.jobs.pop(name, None)

    def _read_possible_jobs(self, name: InstanceName, snapshot: Snapshot) -> None:
        consumes = self._consumes.get(name.worker)
        jobs = consumes.jobs(snapshot) if consumes else None
        if jobs is None:
            return
        if name not in self._stopped:
            self._stopped[name] = snapshot.time
            self.possible[name] = jobs
        else:
            since = self._stopped[name] + _SAME
            self.possible[name] = _still_in_flight(self.possible.get(name, ()), jobs, since)


def _still_in_flight(before: Iterable[Job], now: Iterable[Job], since: float) -> tuple[Job, ...]:
    """Returns the jobs that were in flight before in the same attempt, or begun before `since`."""
    begun = {(job.queue, job.id or job.hash): job.since for job in before}

    def same(job: Job) -> bool:
        key = (job.queue, job.id or job.hash)
        if job.since is None:
            return key in begun
        earlier = begun.get(key)
        return job.since <= since if earlier is None else abs(job.since - earlier) <= _SAME

    return tuple(job for job in now if same(job))
