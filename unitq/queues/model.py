"""Queues as they are: their lengths, the workers registered, the jobs in hand, and how fast.

Values only. Reading them is the business of unitq.queues, the clock that of whoever asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Job(NamedTuple):
    """A job that a worker has in hand."""

    queue: str
    name: str  # of the class or function; "" where the framework does not say
    id: str
    since: float | None  # seconds since 1970
    hash: str  # of what the framework keeps of it, to tell two jobs apart without showing them
    worker: str | None  # the id of the registration that has it
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
    host: str | None
    pid: int | None
    queues: tuple[str, ...] | None  # None: it does not say
    since: float | None  # seconds since 1970 when it registered
    heartbeat: float | None  # seconds since 1970
    stale: str = ""  # why the framework's own rule calls it dead
    quiet: str = ""  # why it takes no new jobs, if so
    jobs: tuple[Job, ...] = ()
    # What Redis held when this was read, so that nothing is removed that has changed since.
    evidence: tuple[tuple[str, bytes | None], ...] = ()

    def serves(self, queue: str) -> bool:
        """Whether it takes jobs from this queue, as far as it says."""
        from fnmatch import fnmatchcase

        return any(name == queue or fnmatchcase(queue, name) for name in self.queues or ())


class Registry(NamedTuple):
    """What a framework knows of its workers."""

    workers: tuple[Registration, ...] | None = None  # None: it keeps no list of them
    jobs: tuple[Job, ...] | None = None  # None: what they have in hand is not in Redis
    held: Mapping[str, int] | None = None  # so many jobs of each queue in hand
    paused: str = ""  # why no worker takes jobs, if so
    # Ids of the jobs that are fetched and not acknowledged; None: not known, or not asked for.
    fetched: frozenset[str] | None = None
    # Jobs that are taken from their queue and that no worker has begun; only where asked for.
    unbegun: tuple[Job, ...] = ()


class Lengths(NamedTuple):
    """Numbers of one queue, or of all together. None: not known."""

    waiting: int | None = None
    delayed: int | None = None
    in_hand: int | None = None
    failed: int | None = None
    retry: int | None = None
    dead: int | None = None
    added: int | None = None  # ever
    done: int | None = None  # ever
    oldest: float | None = None  # seconds since 1970 when the next job was enqueued


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
        """Every job in hand that the framework names."""
        return self.registry.jobs or ()


class Flow(NamedTuple):
    """How fast jobs come and go, per second. None: there is nothing to tell it from."""

    arrivals: float | None = None
    completions: float | None = None
    drain: float | None = None  # seconds until nothing waits, at this rate; None: never, or unknown
    counted: bool = False  # from totals that the framework keeps; else at least so many


class Row(NamedTuple):
    """One queue, as it is shown."""

    name: str
    lengths: Lengths
    workers: int | None
    flow: Flow | None  # None: it was looked at only once


def flow(before: Lengths, after: Lengths, seconds: float) -> Flow:
    """How fast jobs came and went between two looks.

    From the lengths alone only the difference of the two is known: jobs that came and went
    in between are not seen.
    """
    if seconds <= 0 or before.waiting is None or after.waiting is None:
        return Flow()
    grown = (after.waiting - before.waiting) / seconds
    drain = 0.0 if after.waiting == 0 else after.waiting / -grown if grown < 0 else None
    done = _rate(before.done, after.done, seconds)
    added = _rate(before.added, after.added, seconds)
    if done is None and added is None:
        return Flow(max(0.0, grown), max(0.0, -grown), drain)
    if done is None:
        done = max(0.0, (added or 0.0) - grown)
    if added is None:
        # What left a queue for a worker's hand is not done yet, and has arrived.
        held = ((after.in_hand or 0) - (before.in_hand or 0)) / seconds
        added = max(0.0, grown + held + done)
    return Flow(added, done, drain, counted=True)


def _rate(before: int | None, after: int | None, seconds: float) -> float | None:
    # A counter that went back was reset.
    if before is None or after is None or after < before:
        return None
    return (after - before) / seconds


def pauses(sample: Sample) -> list[str]:
    """Who takes no new jobs, as the framework itself says it: paused by whomever, or stopping."""
    registry = sample.registry
    if registry.paused:
        return [f"{sample.preset}: paused: {registry.paused}"]
    known = registry.workers or ()
    return [
        f"{sample.preset}: {worker.id} takes no new jobs: {worker.quiet}"
        for worker in known
        if worker.quiet
    ]


def rows(after: Sample, before: Sample | None = None) -> list[Row]:
    """Every queue, by name; with rates where there was an earlier look."""
    lonely = len(after.queues) == 1
    held = _held(after)
    earlier = {} if before is None else _held(before)
    workers = _workers(after)
    found = []
    for name in sorted(after.queues):
        lengths = _with_held(after.queues[name], held.get(name))
        rate = None
        if before is not None:
            old = _with_held(before.queues.get(name, Lengths()), earlier.get(name))
            new = lengths
            if lonely:
                # What is counted for all queues is this one's.
                old, new = _filled(old, before.whole), _filled(new, after.whole)
            rate = flow(old, new, after.at - before.at)
        found.append(Row(name, lengths, None if workers is None else workers[name], rate))
    return found


def whole(after: Sample, before: Sample | None = None) -> Row:
    """All queues together."""
    lengths = together(after)
    registered = after.registry.workers
    count = None if registered is None else len(registered)
    rate = None
    if before is not None:
        rate = flow(together(before), lengths, after.at - before.at)
    return Row("", lengths, count, rate)


def together(sample: Sample) -> Lengths:
    """The sums of all queues, or what the framework counts for all of them at once."""
    sums: dict[str, int | None] = {}
    for field in Lengths._fields[:-1]:
        own = getattr(sample.whole, field)
        sums[field] = own if own is not None else _sum(sample.queues.values(), field)
    if sums["in_hand"] is None and (held := _held(sample)):
        sums["in_hand"] = sum(held.values())
    elif sums["in_hand"] is None and sample.registry.jobs is not None:
        sums["in_hand"] = len(sample.registry.jobs)
    oldest = [each.oldest for each in sample.queues.values() if each.oldest is not None]
    return Lengths(**sums, oldest=min(oldest, default=None))


def _sum(every: Iterable[Lengths], field: str) -> int | None:
    known = [value for each in every if (value := getattr(each, field)) is not None]
    return sum(known) if known else None


def _filled(own: Lengths, of_all: Lengths) -> Lengths:
    return own._replace(
        **{name: value for name, value in of_all._asdict().items() if getattr(own, name) is None}
    )


def _with_held(lengths: Lengths, held: int | None) -> Lengths:
    return lengths if lengths.in_hand is not None else lengths._replace(in_hand=held)


def _held(sample: Sample) -> dict[str, int]:
    """How many jobs of each queue are in hand, where the workers tell."""
    registry = sample.registry
    if registry.held is None and registry.jobs is None:
        return {}
    counted = dict.fromkeys(sample.queues, 0)
    for name, count in (registry.held or {}).items():
        counted[name] = counted.get(name, 0) + count
    if registry.held is None:
        for job in registry.jobs or ():
            counted[job.queue] = counted.get(job.queue, 0) + 1
    return counted


def _workers(sample: Sample) -> dict[str, int] | None:
    """How many workers serve each queue; None: they do not say."""
    registered = sample.registry.workers
    if registered is None or any(worker.queues is None for worker in registered):
        return None
    counted = dict.fromkeys(sample.queues, 0)
    for worker in registered:
        for name in _served(worker, counted):
            counted[name] += 1
    return counted


def _served(worker: Registration, queues: Mapping[str, int]) -> Sequence[str]:
    names = worker.queues or ()
    if any(c in name for name in names for c in "*?["):
        return [name for name in queues if worker.serves(name)]
    return [name for name in dict.fromkeys(names) if name in queues]
