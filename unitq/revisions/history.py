"""Revisions as a history: which proved stable, where a rollback leads, how two of them differ."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.errors import Exit, NoMatchError
from unitq.units.text import FileChange

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from unitq.model.settings import RolloutSettings
    from unitq.revisions.model import Revision, WorkerRevision


class State(StrEnum):
    """What the last rollout of a revision came to."""

    STABLE = "stable"  # all its instances were healthy
    FAILED = "failed"  # some were not
    UNKNOWN = "unknown"  # nobody saw the end: it was interrupted or killed, or goes on


class Verdict(NamedTuple):
    """What the report of a rollout says about a revision."""

    rollout: int
    revision: str
    command: str
    result: str
    exit_code: int
    seconds: float
    moved: bool = False  # instances run another commit than the revision's

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Verdict:
        """The same out of a report. Raises LookupError or TypeError."""
        moved = any(instance.get("commit") for instance in told.get("old_code") or ())
        return cls(
            told["rollout"], told["revision"], told["command"], told["result"],
            told["exit_code"], told["seconds"], moved,
        )  # fmt: skip


class Entry(NamedTuple):
    """One revision, with what became of it."""

    revision: Revision
    state: State
    reports: tuple[int, ...]  # the numbers of the rollouts about it, oldest first
    seconds: float | None  # what the rollout took that `state` is about
    in_use: int | None  # instances that have a living process of it; None: not to be found out
    current: bool


# What `result` of a report says about its revision; every other word is not the end of a rollout.
# killed: all are healthy, a job may be lost; old code left: and something outlived its stop.
_STABLE = frozenset({"ok", "unchanged", "killed", "old code left"})
_FAILED = frozenset({"failed", "rolled back"})
_FAILURES = frozenset({Exit.DEGRADED, Exit.ROLLED_BACK})

# These act on some instances of a revision that is there already. What they meet says nothing
# about the revision as a whole: a stop proves no code, and a start may fail for want of a database.
_PARTIAL = frozenset({"start", "stop", "restart", "remove", "signal"})


def entries(
    revisions: Iterable[Revision],
    verdicts: Sequence[Verdict],
    in_use: Mapping[str, int] | None,
    current: str | None,
) -> tuple[Entry, ...]:
    """The history, newest first.

    `verdicts` are those of all rollouts, oldest first; `in_use` says of how many instances a living
    process was started from the revision of that id, None where that cannot be read.
    """
    history = []
    for revision in revisions:
        about = [verdict for verdict in verdicts if verdict.revision == revision.id]
        last = last_verdict(about)
        history.append(
            Entry(
                revision=revision,
                state=_state(last) if last else State.UNKNOWN,
                reports=tuple(verdict.rollout for verdict in about),
                seconds=last.seconds if last else None,
                in_use=None if in_use is None else in_use.get(revision.id, 0),
                current=revision.id == current,
            )
        )
    return tuple(sorted(history, key=lambda entry: _age(entry.revision), reverse=True))


def last_verdict(verdicts: Sequence[Verdict]) -> Verdict | None:
    """Of those about one revision, oldest first, the one that its state is read from."""
    whole = [verdict for verdict in verdicts if verdict.command not in _PARTIAL]
    return whole[-1] if whole else None


def _state(verdict: Verdict) -> State:
    if verdict.result in _FAILED or verdict.exit_code in _FAILURES:
        return State.FAILED
    if verdict.moved:
        # Healthy, but of another commit than the revision's: nothing is known of that one.
        return State.UNKNOWN
    return State.STABLE if verdict.result in _STABLE else State.UNKNOWN


def _age(revision: Revision) -> tuple[int, float]:
    # A deploy that died before its revision became current leaves a number that is taken again.
    return revision.number, revision.created


def last_stable(
    found: Sequence[Entry], before: Revision, complete: Collection[str]
) -> Entry | None:
    """What a rollback without a number goes to; None: there is nothing to go back to.

    That is the newest stable revision before `before` that differs from it, newest first in
    `found`. Of those that are not in `complete` (ids) something is gone, such as the release
    directory: nothing could start from them. A rollback of a rollback goes further back and never
    to what was rolled back from: between a revision and the one that it restores, nothing counts.
    Nor does an earlier revision that runs the same as one that was rolled back from since.
    """
    revisions = sorted((entry.revision for entry in found), key=_age)
    same = contents([*revisions, before])
    left = _rollbacks_by_content(revisions, same)
    numbers = {entry.revision.number: entry.revision for entry in found}
    limit = before.number
    base: Revision | None = before
    while base and base.restores is not None and base.restores < limit:
        limit = base.restores
        base = numbers.get(limit)
    for entry in found:
        revision = entry.revision
        if revision.number >= limit:
            continue
        if (
            entry.state is State.STABLE
            and revision.id in complete
            and same[revision.id] != same[before.id]
            and not any(since > revision.number for since in left.get(same[revision.id], ()))
        ):
            return entry
        if revision.restores is not None:
            limit = min(limit, revision.restores + 1)
    return None


def _rollbacks_by_content(
    revisions: Sequence[Revision], same: Mapping[str, object]
) -> dict[object, list[int]]:
    """What was rolled back from, by content: the numbers of the rollbacks that left it."""
    rollbacks: dict[object, list[int]] = {}
    for rollback in revisions:
        goal = rollback.restores
        if goal is None:
            continue
        for revision in revisions:
            # A rollback by number may go forth again: it leaves nothing that is older.
            if (
                goal < revision.number < rollback.number
                and (revision.restores or revision.number) > goal
            ):
                rollbacks.setdefault(same[revision.id], []).append(rollback.number)
    return rollbacks


def contents(revisions: Sequence[Revision]) -> dict[str, object]:
    """What revisions have in common that run the same, by id; who made them does not matter.

    `revisions` are oldest first. A worker that a deploy left alone is the same, also where its
    fingerprint is of another form now: the last one counts.
    """
    last = {
        (worker.name, worker.revision): worker.fingerprint
        for revision in revisions
        for worker in revision.workers
    }
    return {
        revision.id: (
            tuple(
                sorted(
                    (worker.name, last[worker.name, worker.revision], worker.instances)
                    for worker in revision.workers
                )
            ),
            tuple(sorted(revision.units)),
        )
        for revision in revisions
    }


def to_keep(
    found: Sequence[Entry],
    current: Revision,
    *,
    in_use: Collection[str],
    complete: Collection[str],
    keep: int,
) -> set[str]:
    """The ids that must stay where all but the newest `keep` revisions are to be deleted.

    The current one, those that a pin points to or a process runs (`in_use`), what a rollback
    would go to; and what these and the newest ones refer to: workers that they left alone, and
    revisions that they restore. What is kept only because it is referred to has no such claim,
    or a chain of references would keep everything for ever. `found` is newest first.
    """
    by_id = {entry.revision.id: entry.revision for entry in found} | {current.id: current}
    stay = {current.id, *in_use, *(entry.revision.id for entry in found[:keep])}
    if target := last_stable(found, current, complete):
        stay.add(target.revision.id)
    kept = [by_id[name] for name in stay if name in by_id]
    restored = {revision.restores for revision in kept}
    stay |= {worker.revision for revision in kept for worker in revision.workers}
    stay |= {name for name, revision in by_id.items() if revision.number in restored}
    # That a revision was rolled back from is told by the rollback: it stays as long as that one.
    rollbacks = [entry.revision for entry in found if entry.revision.restores is not None]
    return stay | {
        rollback.id
        for name in stay & by_id.keys()
        if (rollback := _rollback_past(by_id[name], rollbacks))
    }


def _rollback_past(revision: Revision, rollbacks: Iterable[Revision]) -> Revision | None:
    """The first of the rollbacks that left this revision behind."""
    return next(
        (
            rollback
            for rollback in rollbacks
            if (rollback.restores or 0) < revision.number < rollback.number
        ),
        None,
    )


def find(revisions: Sequence[Revision], wanted: str, current: str | None) -> Revision:
    """The revision that a user means: `42`, `42-3fa9c1` or the first letters of a hash.

    Raises NoMatchError where that is none or several.
    """
    by_number = [revision for revision in revisions if str(revision.number) == wanted]
    by_id = [revision for revision in revisions if revision.id == wanted]
    # Digits are a number: one that is not there must not be taken for the beginning of a hash.
    whole = not wanted or wanted.isdecimal()
    by_hash = [
        revision
        for revision in revisions
        if (revision.hash == wanted if whole else revision.hash.startswith(wanted))
    ]
    hits = by_id or by_number or by_hash
    if by_number and len(hits) > 1:
        # One of them was never anything: its deploy died before it became current.
        hits = [revision for revision in hits if revision.id == current] or hits
    if len(hits) == 1:
        return hits[0]
    newest = sorted(hits or revisions, key=_age, reverse=True)
    known = ", ".join(revision.id for revision in newest) or "none"
    if hits:
        raise NoMatchError(f"{wanted}: several revisions match", hint=f"it may be any of {known}")
    raise NoMatchError(f"there is no revision {wanted}", hint=f"revisions: {known}")


# How two revisions differ


class Setting(NamedTuple):
    """One value that changed, as unitq.toml writes it."""

    name: str
    before: str | int | float | None
    after: str | int | float | None


class Environment(NamedTuple):
    """Names of variables; values may be secrets and are only compared."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


class WorkerChange(NamedTuple):
    """How one worker differs."""

    worker: str
    change: str  # "add", "remove" or "change"
    replaced: bool  # its processes would be others: code, environment or unit differ
    settings: tuple[Setting, ...]
    environment: Environment | None  # None: not to be read


class Difference(NamedTuple):
    """How two revisions differ; empty where they run the same in the same way."""

    units: tuple[FileChange, ...]
    workers: tuple[WorkerChange, ...]
    rollout: tuple[Setting, ...]

    def __bool__(self) -> bool:
        return bool(self.units or self.workers or self.rollout)


Environments = dict[str, "dict[str, str] | None"]

_SETTINGS = ("code_version", "release", "instances", "stop_timeout", "singleton", "probes")
# Of the framework; empty where there is none.
_KNOWN = ("preset", "quiet", "resume", "registered", "requeue", "supervisor_name")

# Different in each revision by its nature.
_OWN = "UNITQ_REVISION"


def difference(
    before: Revision,
    after: Revision,
    *,
    units: tuple[Mapping[str, str], Mapping[str, str]],
    environments: tuple[Environments, Environments],
) -> Difference:
    """What changes from one revision to another.

    `units` are the texts of either by name, `environments` the variables by worker, None for a
    worker whose environment cannot be read; needed only of workers of different fingerprints.
    """
    old, new = units
    files = tuple(
        FileChange(name, old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )
    names = sorted({worker.name for worker in (*before.workers, *after.workers)})
    changes = [
        _worker_change(
            name,
            before.worker(name),
            after.worker(name),
            environments[0].get(name),
            environments[1].get(name),
        )
        for name in names
    ]
    return Difference(
        files,
        tuple(change for change in changes if change),
        _settings(rollout_settings(before.rollout), rollout_settings(after.rollout)),
    )


def _worker_change(
    name: str,
    before: WorkerRevision | None,
    after: WorkerRevision | None,
    old: dict[str, str] | None,
    new: dict[str, str] | None,
) -> WorkerChange | None:
    settings = _settings(_worker_settings(before), _worker_settings(after))
    replaced = bool(
        before
        and after
        and before.fingerprint != after.fingerprint
        and before.revision != after.revision
    )
    if before and after and not settings and not replaced:
        return None
    environment: Environment | None = Environment()
    if before is None or after is None:
        old, new = old if before else {}, new if after else {}
    if replaced or before is None or after is None:
        environment = None if old is None or new is None else _environment(old, new)
    change = "add" if before is None else "remove" if after is None else "change"
    return WorkerChange(name, change, replaced, settings, environment)


def _worker_settings(worker: WorkerRevision | None) -> dict[str, Any]:
    settings = {name: getattr(worker, name) if worker else None for name in _SETTINGS}
    known = {name: getattr(worker, name) or None if worker else None for name in _KNOWN}
    queues = ", ".join(worker.queues) or None if worker else None
    return settings | known | {"queues": queues}


def _settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Setting, ...]:
    return tuple(
        Setting(name, before[name], after[name]) for name in before if before[name] != after[name]
    )


def rollout_settings(settings: RolloutSettings) -> dict[str, str | int]:
    """The settings as unitq.toml writes them: `1`, `25%`, `10s`, `rollback`."""
    written: dict[str, str | int] = {}
    for name, value in settings._asdict().items():
        text = str(value)
        written[name] = int(text) if text.isdecimal() and not hasattr(value, "seconds") else text
    return written


def _environment(before: Mapping[str, str], after: Mapping[str, str]) -> Environment:
    both = (before.keys() & after.keys()) - {_OWN}
    return Environment(
        added=tuple(sorted(after.keys() - before.keys() - {_OWN})),
        removed=tuple(sorted(before.keys() - after.keys() - {_OWN})),
        changed=tuple(sorted(name for name in both if before[name] != after[name])),
    )
