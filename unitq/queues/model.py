"""Queues as they are: their lengths, the registered workers, the in-flight jobs, and how fast.

Values only; unitq.queues.snapshot reads them.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Job(NamedTuple):
    """An in-flight job: one that a worker has."""

    queue: str
    name: str = ""  # of the class or function; "" where the framework does not say
    id: str = ""
    since: float | None = None  # seconds since 1970
    hash: str = ""  # of what the framework keeps of it, to tell two jobs apart
    worker: str | None = None  # the id of the registration that has it
    stale: str = ""  # why the framework itself takes it for lost, if so
    note: str = ""  # what the framework does with it then

    def to_json(self, preset: str) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        return {
            "preset": preset,
            "queue": self.queue or None,
            "name": self.name or None,
            "id": self.id or None,
            "since": None if self.since is None else round(self.since, 3),
            "hash": self.hash or None,
            "worker": self.worker,
        }


class Registration(NamedTuple):
    """A worker as it has registered itself."""

    id: str
    host: str | None = None
    pid: int | None = None
    queues: tuple[str, ...] | None = None  # None: it does not say
    since: float | None = None  # seconds since 1970 when it registered
    heartbeat: float | None = None  # seconds since 1970
    stale: str = ""  # why the framework's own rule calls it dead
    quiet: str = ""  # why it takes no new jobs, if so
    jobs: tuple[Job, ...] = ()
    # What Redis held when this was read, so that nothing is removed that has changed since.
    evidence: tuple[tuple[str, bytes | None], ...] = ()

    def serves(self, queue: str) -> bool:
        """Whether it takes jobs from this queue, as far as it says."""
        return any(name == queue or fnmatchcase(queue, name) for name in self.queues or ())


class Registry(NamedTuple):
    """What a framework knows of its workers."""

    workers: tuple[Registration, ...] | None = None  # None: it keeps no list of them
    jobs: tuple[Job, ...] | None = None  # None: in-flight jobs are not in Redis
    in_flight: Mapping[str, int] | None = None  # so many of each queue
    paused: str = ""  # why no worker takes jobs, if so
    # Ids of the jobs that are fetched and not acknowledged; None: not known, or not asked for.
    fetched: frozenset[str] | None = None
    # Jobs that are taken from their queue and that no worker has begun; only where asked for.
    unbegun: tuple[Job, ...] = ()


class Lengths(NamedTuple):
    """Numbers of one queue, or of all together. None: not known."""

    waiting: int | None = None
    delayed: int | None = None
    in_hand: int | None = None  # in-flight jobs; the name that presets and JSON documents have
    failed: int | None = None
    retry: int | None = None
    dead: int | None = None
    added: int | None = None  # ever
    done: int | None = None  # ever
    oldest: float | None = None  # seconds since 1970 when the next job was enqueued

    def or_else(self, others: Lengths) -> Lengths:
        """Returns the same, with the others' numbers where these are not known."""
        known = {name: value for name, value in self._asdict().items() if value is not None}
        return others._replace(**known)

    def with_in_flight(self, count: int | None) -> Lengths:
        """Returns the same, with so many in-flight jobs where the framework does not count them."""
        return self if self.in_hand is not None else self._replace(in_hand=count)


class Sample(NamedTuple):
    """One look at the queues of one framework."""

    preset: str
    at: float  # seconds on the monotonic clock
    time: float  # seconds since 1970
    queues: Mapping[str, Lengths]
    whole: Lengths  # what the framework counts for all queues together
    registry: Registry
    notes: tuple[str, ...] = ()  # what could not be read, in words
    refused: bool = False  # Redis has refused some of what was asked

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Every in-flight job that the framework names."""
        return self.registry.jobs or ()


class Flow(NamedTuple):
    """How fast jobs come and go, per second. None: not known."""

    arrivals: float | None = None
    completions: float | None = None
    drain: float | None = None  # seconds until nothing waits, at this rate; None: never, or unknown
    counted: bool = False  # from totals that the framework keeps; else at least so many


class Row(NamedTuple):
    """One queue, as it is shown."""

    name: str
    lengths: Lengths
    workers: int | None
    flow: Flow | None  # None: there was one look only


def flow(before: Lengths, after: Lengths, seconds: float) -> Flow:
    """Returns how fast jobs came and went between two looks.

    From the lengths alone only their difference is known: jobs that came and went in between are
    not seen.
    """
    if seconds <= 0 or before.waiting is None or after.waiting is None:
        return Flow()
    growth = (after.waiting - before.waiting) / seconds
    drain = 0.0 if after.waiting == 0 else after.waiting / -growth if growth < 0 else None
    done = _rate(before.done, after.done, seconds)
    added = _rate(before.added, after.added, seconds)
    if done is None and added is None:
        return Flow(max(0.0, growth), max(0.0, -growth), drain)
    if done is None:
        done = max(0.0, (added or 0.0) - growth)
    if added is None:
        # What left a queue for a worker is not done yet, and has arrived.
        begun = ((after.in_hand or 0) - (before.in_hand or 0)) / seconds
        added = max(0.0, growth + begun + done)
    return Flow(added, done, drain, counted=True)


def _rate(before: int | None, after: int | None, seconds: float) -> float | None:
    # A counter that went back was reset.
    if before is None or after is None or after < before:
        return None
    return (after - before) / seconds


def pauses(sample: Sample) -> list[str]:
    """Returns who takes no new jobs, as the framework itself says: paused, or stopping."""
    registry = sample.registry
    if registry.paused:
        return [f"{sample.preset}: paused: {registry.paused}"]
    return [
        f"{sample.preset}: {worker.id} takes no new jobs: {worker.quiet}"
        for worker in registry.workers or ()
        if worker.quiet
    ]


def rows(after: Sample, before: Sample | None = None) -> list[Row]:
    """Returns every queue, by name; with rates where there was an earlier look."""
    # What is counted for all queues is the only one's.
    only = len(after.queues) == 1
    now, earlier = _in_flight(after), _in_flight(before) if before else {}
    workers = _workers(after)
    result = []
    for name in sorted(after.queues):
        lengths = after.queues[name].with_in_flight(now.get(name))
        rate = None
        if before is not None:
            old = before.queues.get(name, Lengths()).with_in_flight(earlier.get(name))
            new = lengths
            if only:
                old, new = old.or_else(before.whole), new.or_else(after.whole)
            rate = flow(old, new, after.at - before.at)
        result.append(Row(name, lengths, None if workers is None else workers[name], rate))
    return result


def whole(after: Sample, before: Sample | None = None) -> Row:
    """Returns all queues together."""
    lengths = together(after)
    workers = after.registry.workers
    count = None if workers is None else len(workers)
    rate = None
    if before is not None:
        rate = flow(together(before), lengths, after.at - before.at)
    return Row("", lengths, count, rate)


def together(sample: Sample) -> Lengths:
    """Returns the sums of all queues, or what the framework counts for all of them at once."""
    columns = dict(zip(Lengths._fields, zip(*sample.queues.values(), strict=True), strict=False))
    oldest = [at for at in columns.pop("oldest", ()) if at is not None]
    sums = sample.whole.or_else(Lengths(**{k: _sum(v) for k, v in columns.items()}))
    if sums.in_hand is None and (counts := _in_flight(sample)):
        sums = sums._replace(in_hand=sum(counts.values()))
    elif sums.in_hand is None and sample.registry.jobs is not None:
        sums = sums._replace(in_hand=len(sample.registry.jobs))
    return sums._replace(oldest=min(oldest, default=None))


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _in_flight(sample: Sample) -> dict[str, int]:
    """Returns how many in-flight jobs each queue has, where the workers tell."""
    registry = sample.registry
    if registry.in_flight is None and registry.jobs is None:
        return {}
    counts = dict.fromkeys(sample.queues, 0)
    if registry.in_flight is not None:
        return counts | dict(registry.in_flight)
    for job in registry.jobs or ():
        counts[job.queue] = counts.get(job.queue, 0) + 1
    return counts


def _workers(sample: Sample) -> dict[str, int] | None:
    """Returns how many workers serve each queue; None: they do not say."""
    workers = sample.registry.workers
    if workers is None or any(worker.queues is None for worker in workers):
        return None
    counts = dict.fromkeys(sample.queues, 0)
    for worker in workers:
        names = dict.fromkeys(worker.queues or ())
        patterns = any(c in name for name in names for c in "*?[")
        # Matched against all only where there is a pattern: there may be thousands.
        for name in filter(worker.serves, counts) if patterns else names.keys() & counts.keys():
            counts[name] += 1
    return counts
