"""What a rollout did, as values: shown at its end, kept on disk, read again by later commands.

The JSON has a key for each field, see docs/json.md. Reports of an older unitq lack some of them:
what is missing there has its default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from types import UnionType
from typing import Any, NamedTuple, Self, get_args, get_origin, get_type_hints

_FORMAT = 1
_EARLIER = 20  # commands of one rollout that are kept: the room that a report has on disk is finite


class ReportedJob(NamedTuple):
    """An in-flight job of a worker; what its framework does not tell is None."""

    queue: str | None
    name: str | None
    id: str | None
    since: float | None  # seconds since 1970
    hash: str | None  # of its payload


class Requeued(NamedTuple):
    """What became of the job of a killed worker that was to be put back."""

    done: bool
    why_not: str


class SlowestDrain(NamedTuple):
    """Who took longest to drain."""

    instance: str
    seconds: float


class StopTimeout(NamedTuple):
    """How long old processes may take to end where a deploy changes that; None: no limit."""

    worker: str
    seconds: float | None
    before: float | None
    after: float | None


class OldCode(NamedTuple):
    """An instance that still runs old code."""

    instance: str
    pids: tuple[int, ...]
    commit: str | None = None  # that is checked out now, where that is why


class ReportedOrphan(NamedTuple):
    """A process that works for the app outside its units."""

    pid: int
    pids: tuple[int, ...]  # with its children
    worker: str
    release: str | None
    current: bool | None  # whether it runs the current code; None: not known


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedInstance:
    """What became of one instance."""

    instance: str
    unit: str
    action: str
    why: str
    phase: str
    revision: str | None
    pid_before: int | None
    ending: str | None  # of its old process; None: it had none that ended
    ending_detail: str
    drain_seconds: float | None
    reason: str  # of its failure
    # What somebody else did to it meanwhile.
    external_changes: tuple[str, ...] = field(metadata={"key": "foreign"})
    unreached: str | None = None  # why a stop does not reach the worker
    log: tuple[str, ...]  # its last lines, where it failed
    jobs: tuple[ReportedJob, ...] | None = None  # its in-flight jobs; None: not known
    possible_jobs: tuple[ReportedJob, ...] | None = None  # of which one may have been its own
    requeued: Requeued | None = None

    @property
    def worth_a_word(self) -> bool:
        """Whether there is more to say of it than that it is well."""
        odd = self.reason or self.external_changes or self.unreached
        return bool(odd) or self.ending not in (None, "drained")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What became of the instances on their way to a revision, or back from it."""

    revision: str
    seconds: float
    on_revision: int | None = None  # instances that serve on it; None: not kept
    serving: int | None = None
    least_serving: Mapping[str, int]  # by worker, while it ran
    slowest_drain: SlowestDrain | None
    instances: tuple[ReportedInstance, ...]
    killed: tuple[str, ...]
    died: tuple[str, ...] = ()  # that did not end as a drain ends
    failed: tuple[str, ...]
    stop_timeouts: tuple[StopTimeout, ...] = ()
    dropped_jobs: tuple[ReportedJob, ...] = ()  # taken by workers that ended before they began them

    def brief(self) -> Self:
        """Returns it without the instances of which there is nothing to say."""
        return replace(self, instances=tuple(row for row in self.instances if row.worth_a_word))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback(Attempt):
    """A rollback that followed a failure."""

    restores: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Attempt):
    """What one command of a rollout did: the last one, or one that got less far."""

    command: (
        str  # deploy, rollback, restart …: of a rollout that was resumed, the one that began it
    )
    command_line: str
    by: str
    began: float  # seconds since 1970
    ended: float
    result: str  # one word, or some
    exit_code: int
    summary: tuple[str, ...]  # the closing lines: of the rollout, and of the rollback
    rollback: Rollback | None

    def for_later(self) -> Command:
        """Returns what the report of a later command of the same rollout keeps of it."""
        whole = Command(**{member.name: getattr(self, member.name) for member in fields(Command)})
        return replace(
            whole.brief(),
            on_revision=None,
            serving=None,
            died=(),
            stop_timeouts=(),
            dropped_jobs=(),
            rollback=self.rollback and self.rollback.brief(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Command):
    """All that there is to say at the end of a command that rolled."""

    host: str
    scope: str  # system or user
    app: str
    rollout: int | None  # its number; None: it has no ledger
    previous_revision: str | None  # the one that it replaces
    restores: int | None  # the number of the revision that it brings back
    code_versions: Mapping[str, str]  # by worker
    old_code: tuple[OldCode, ...] | None = None  # None: nobody has looked
    orphans: tuple[ReportedOrphan, ...] | None = None  # None: nobody has looked
    error: str | None = None  # an unexpected one, which ended the rollout
    no_rollback: str | None = None  # why no rollback followed a failure
    next: str | None = None  # what to type now
    earlier: tuple[Command, ...]  # commands of the same rollout that got less far, oldest first
    withheld: bool = False  # without what only those may see who may read the journal

    @property
    def user(self) -> bool:
        """Whether it is about the units of a user."""
        return self.scope == "user"

    @property
    def for_the_next(self) -> tuple[Command, ...]:
        """What the next report of the same rollout says of the commands before it."""
        return (*self.earlier, self.for_later())[-_EARLIER:]

    def to_json(self) -> dict[str, Any]:
        """Returns the document: what `--json` prints, a hook gets and the disk keeps."""
        document: dict[str, Any] = {"format": _FORMAT, **_to_json(self)}
        if not self.withheld:
            del document["withheld"]
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Report:
        """Returns the report. Raises LookupError, TypeError or ValueError: damaged."""
        report: Report = _from_json(cls, document)
        return report


def _to_json(value: Any) -> Any:
    if is_dataclass(value):
        return {_key(member): _to_json(getattr(value, member.name)) for member in fields(value)}
    if hasattr(value, "_asdict"):
        return {name: _to_json(member) for name, member in value._asdict().items()}
    if isinstance(value, tuple):
        return [_to_json(member) for member in value]
    return dict(value) if isinstance(value, Mapping) else value


def _from_json(kind: Any, value: Any) -> Any:
    """Returns a value of this type; keys that only a later unitq knows are ignored."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:  # X | None
        return None if value is None else _from_json(arguments[0], value)
    if origin is tuple:
        return tuple(_from_json(arguments[0], item) for item in value or ())
    if origin is Mapping:
        return dict(value)
    if keys := _keys(kind):
        members = {name: (key, member) for name, (key, member) in keys.items() if key in value}
        return kind(**{name: _from_json(t, value[key]) for name, (key, t) in members.items()})
    return value


@cache
def _keys(kind: Any) -> dict[str, tuple[str, Any]]:
    """Returns the key and the type of each field; nothing where it is no record."""
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return {member.name: (_key(member), hints[member.name]) for member in fields(kind)}
    if hasattr(kind, "_fields"):
        return {name: (name, hint) for name, hint in get_type_hints(kind).items()}
    return {}


def _key(member: Any) -> str:
    key: str = member.metadata.get("key", member.name)
    return key
