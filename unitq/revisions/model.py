"""Revisions: what a deploy installs. Numbered, hashed, never changed once written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from unitq.errors import UnitqError
from unitq.model import names
from unitq.model.recycle import Recycle
from unitq.model.settings import (
    Duration,
    OnDrainTimeout,
    OnFailure,
    Promote,
    RolloutSettings,
    Share,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from unitq.model.names import InstanceName
    from unitq.units.render import Rendered, RenderedWorker

# Raised when what is on disk changes shape; an older unitq then says so instead of guessing.
FORMAT = 1


class WorkerRevision(NamedTuple):
    """What one worker is to run, and how many of it.

    `revision` is the id of the deploy that last changed the worker: a deploy that leaves a
    worker alone leaves its processes alone, and they stay fresh.
    """

    name: str
    revision: str
    fingerprint: str
    instances: int
    stop_timeout: float | None  # seconds; None: no limit
    release: str
    code_version: str
    singleton: bool = False  # never two processes, so never an instance more than there are
    probes: int = 0  # how often in a row the probe must succeed; 0: there is none
    registered: bool = False  # the probe asks Redis whether it is registered
    requeue: bool = False  # the job of one that was killed is put back into its queue
    recycle: Recycle | None = None
    preset: str | None = None  # the framework
    queues: tuple[str, ...] = ()
    quiet: str = ""  # the signal after which it takes no new jobs; "": there is none
    resume: str = ""  # the one after which it does again
    supervisor_name: str = ""  # what Supervisor called the first instance
    commit: str = ""  # that was checked out; "": none, or made before this was kept
    in_place: bool | None = None  # an update replaces these files; None: made before this was kept
    sealed: str = ""  # the keyed hash of its environment; "": made before there was one


class Origin(NamedTuple):
    """Who made a revision, when, from which file."""

    created: float
    by: str
    config: str
    why: str = ""


class Revision(NamedTuple):
    """What a deploy installed: read by every command that needs no configuration file."""

    number: int
    hash: str  # of what each worker runs, and how it is asked
    app: str
    created: float  # seconds since 1970
    by: str
    config: str
    workers: tuple[WorkerRevision, ...]
    units: tuple[str, ...]
    rollout: RolloutSettings
    restores: int | None = None  # the number of the revision that this one goes back to
    why: str = ""  # what the operator said of it

    @property
    def id(self) -> str:
        """`42-3fa9c1`: the number people say, and the hash."""
        return f"{self.number}-{self.hash}"

    def repeats(self, name: str | None) -> bool:
        """Whether the revision of this id is another one in which the workers run the same.

        After a rollback to 3, which is revision 5, processes of 3 are as they should be.
        """
        return bool(name) and name != self.id and (name or "").partition("-")[2] == self.hash

    def worker(self, name: str) -> WorkerRevision | None:
        """The worker of that name."""
        return next((worker for worker in self.workers if worker.name == name), None)

    @property
    def instances(self) -> tuple[InstanceName, ...]:
        """Every instance that should run."""
        return tuple(
            instance
            for worker in self.workers
            for instance in names.instances(worker.name, worker.instances)
        )

    @property
    def links(self) -> tuple[str, ...]:
        """The units that start with the app's target, so at boot too."""
        timer = names.recycle_timer(self.app)
        units = [names.unit(self.app, instance) for instance in self.instances]
        return (*units, timer) if timer in self.units else tuple(units)

    def code(self, instance: InstanceName) -> str | None:
        """The revision that a process of this worker should be of; None: there is none like it.

        Also of an instance that is one too many, as while a rollout has more of them for a while.
        """
        worker = self.worker(instance.worker)
        return worker.revision if worker else None

    def goal(self, instance: InstanceName) -> str | None:
        """The revision that this instance should run; None where it should not run at all."""
        worker = self.worker(instance.worker)
        return worker.revision if worker and instance.number <= worker.instances else None

    def with_origin(self, origin: Origin) -> Revision:
        """Returns the next revision: it has the same, and is made by another or of another file."""
        return self._replace(number=self.number + 1, **origin._asdict())

    def with_instances(self, counts: Mapping[str, int], origin: Origin) -> Revision:
        """Returns the next revision, with other numbers of instances; itself where none differs."""
        workers = tuple(
            worker._replace(instances=counts.get(worker.name, worker.instances))
            for worker in self.workers
        )
        return (
            self if workers == self.workers else self.with_origin(origin)._replace(workers=workers)
        )

    def back_to(self, goal: Revision, origin: Origin) -> Revision:
        """Returns the next revision, with what `goal` had: history only ever goes forward.

        Its workers refer to the revisions that they referred to then, so an instance that still
        runs one of those is as it should be.
        """
        return goal._replace(
            number=self.number + 1,
            created=origin.created,
            by=origin.by,
            why=origin.why,
            restores=goal.restores or goal.number,
        )


def successor(
    current: Revision | None, rendered: Rendered, rollout: RolloutSettings, origin: Origin
) -> Revision:
    """The revision that a deploy of `rendered` leads to: `current` itself where nothing differs."""
    kept = {worker.name: worker for worker in current.workers} if current else {}
    fresh = Revision(
        number=current.number + 1 if current else 1,
        hash=_hash([_parts(worker) for worker in rendered.workers]),
        app=rendered.app,
        created=origin.created,
        by=origin.by,
        config=origin.config,
        why=origin.why,
        workers=tuple(
            WorkerRevision(
                name=worker.name,
                revision="",
                fingerprint=worker.fingerprint,
                instances=worker.instances,
                stop_timeout=_seconds(worker.stop_timeout),
                release=worker.code.release,
                code_version=worker.code.version,
                singleton=worker.singleton,
                probes=worker.probes,
                registered=worker.registered,
                requeue=worker.requeue,
                recycle=worker.recycle,
                preset=worker.preset,
                queues=worker.queues,
                quiet=worker.quiet,
                resume=worker.resume,
                supervisor_name=worker.supervisor_name,
                commit=worker.code.commit,
                in_place=worker.code.in_place,
                sealed=worker.sealed,
            )
            for worker in rendered.workers
        ),
        units=tuple(unit.name for unit in rendered.units),
        rollout=rollout,
    )
    # A plain hash, of before there was a key, becomes a keyed one. It is the same worker.
    former = {worker.name: worker.former for worker in rendered.workers}
    workers = tuple(
        # What runs was deployed from that commit, whatever a label says of this one.
        worker._replace(
            revision=kept[worker.name].revision,
            commit=kept[worker.name].commit,
            in_place=kept[worker.name].in_place,
        )
        if worker.name in kept
        and kept[worker.name].fingerprint in (worker.fingerprint, former[worker.name])
        else worker._replace(revision=fresh.id)
        for worker in fresh.workers
    )
    if current and (workers, fresh.units, rollout, fresh.hash) == (
        current.workers,
        current.units,
        current.rollout,
        current.hash,
    ):
        return current
    return fresh._replace(workers=workers)


def _parts(worker: RenderedWorker) -> tuple[str, ...]:
    # Another probe is another revision, to go back from and to, though it restarts nothing.
    probe = (worker.probe.text,) if worker.probe else ()
    # So is another preset that sets the same, and another signal to pause it by.
    known = (worker.preset or "", worker.quiet, worker.resume, *worker.queues)
    # And another name for `unitq ctl`. Apart from those: what was hashed before stays as it is.
    named = (f"supervisor:{worker.supervisor_name}",) if worker.supervisor_name else ()
    # And another order at a shutdown.
    ordered = (f"order:{worker.order[-1]}",) if worker.order else ()
    return (
        worker.name,
        worker.fingerprint,
        *probe,
        *(known if any(known) else ()),
        *named,
        *ordered,
    )


def dump(revision: Revision) -> str:
    """The revision as JSON text."""
    return json.dumps({"format": FORMAT, "id": revision.id} | plain(revision), indent=2) + "\n"


def plain(value: Any) -> Any:
    """Named tuples as objects: JSON would make lists of them."""
    if hasattr(value, "_asdict"):
        return {name: plain(item) for name, item in value._asdict().items()}
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def load(text: str | bytes, where: str) -> Revision:
    """The revision that `dump` wrote. Raises UnitqError where it is damaged or of a later unitq."""
    try:
        document: dict[str, Any] = json.loads(text)
        if document["format"] > FORMAT:
            raise UnitqError(
                f"{where}: written by a later unitq (format {document['format']})",
                hint="install that version again",
            )
        return Revision(
            number=document["number"],
            hash=document["hash"],
            app=document["app"],
            created=document["created"],
            by=document["by"],
            config=document["config"],
            workers=tuple(_worker(worker) for worker in document["workers"]),
            units=tuple(document["units"]),
            rollout=load_settings(document["rollout"]),
            restores=document.get("restores"),
            why=document.get("why", ""),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnitqError(
            f"{where}: damaged ({type(error).__name__}: {error})",
            hint="`unitq deploy` writes a new revision once this file is moved away",
        ) from error


def _worker(found: dict[str, Any]) -> WorkerRevision:
    worker = _value(WorkerRevision, found)
    worker = worker._replace(queues=tuple(worker.queues))  # JSON has no tuples
    if worker.recycle is None:
        return worker
    limits = found["recycle"]
    age = _value(Duration, limits["age"]) if limits["age"] else None
    jitter = _value(Share, limits["jitter"])
    return worker._replace(recycle=Recycle(limits["memory"], age, jitter))


V = TypeVar("V", WorkerRevision, Duration, Share)


def _value(kind: type[V], found: Mapping[str, Any]) -> V:
    """The value of an object. Keys that only a later unitq knows are ignored: `format` would have
    risen if they changed what the others mean.
    """
    return kind(**{key: found[key] for key in kind._fields if key in found})


_SETTINGS: dict[str, Callable[[Any], Any]] = {
    "max_unavailable": lambda value: _value(Share, value),
    "max_surge": lambda value: _value(Share, value),
    "canary": lambda value: _value(Share, value),
    "min_healthy": lambda value: _value(Duration, value),
    "start_timeout": lambda value: _value(Duration, value),
    "canary_soak": lambda value: _value(Duration, value),
    "healthy_deadline": lambda value: _value(Duration, value),
    "promote": Promote,
    "on_failure": OnFailure,
    "on_drain_timeout": OnDrainTimeout,
    "max_failures": int,
}


def load_settings(found: Mapping[str, Any]) -> RolloutSettings:
    """The settings that `plain` made an object of."""
    # What an older unitq did not know has its default.
    known = {name: read(found[name]) for name, read in _SETTINGS.items() if name in found}
    return RolloutSettings(**known)


def _hash(parts: object) -> str:
    import hashlib  # loads OpenSSL, which reading a revision need not pay for

    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:6]


def _seconds(value: float) -> float | None:
    # JSON has no infinity.
    return None if value == float("inf") else value
