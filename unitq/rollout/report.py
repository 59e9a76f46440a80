"""What a rollout did, as values: shown at its end, kept on disk, read again by later commands.

docs/json.md describes the JSON. Reports of an older unitq lack some of it: what is missing there is
None, or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from unitq.errors import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

_EARLIER = 20  # commands of one rollout that are kept: the room that a report has on disk is finite


class ReportedJob(NamedTuple):
    """A job that a worker had in hand; what its framework does not tell is None."""

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
    commit: str | None  # that is checked out now, where that is why


class ReportedOrphan(NamedTuple):
    """A process that works for the app outside its units."""

    pid: int
    pids: tuple[int, ...]  # with its children
    worker: str
    release: str | None
    current: bool | None  # whether it runs the current code; None: not known


@dataclass(frozen=True, slots=True)
class ReportedInstance:
    """What there is to say of one instance."""

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
    foreign: tuple[str, ...]  # what somebody else did to it meanwhile
    unreached: str | None  # why a stop does not reach the worker
    log: tuple[str, ...]  # its last lines, where it failed
    jobs: tuple[ReportedJob, ...] | None  # that it had in hand; None: not known
    possible_jobs: tuple[ReportedJob, ...] | None  # of which one may have been in its hand
    requeued: Requeued | None

    @property
    def worth_a_word(self) -> bool:
        """Whether there is more to say of it than that it is well."""
        odd = self.reason or self.foreign or self.unreached
        return bool(odd) or self.ending not in (None, "drained")

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON has it."""
        return {
            "instance": self.instance,
            "unit": self.unit,
            "action": self.action,
            "why": self.why,
            "phase": self.phase,
            "revision": self.revision,
            "pid_before": self.pid_before,
            "ending": self.ending,
            "ending_detail": self.ending_detail,
            "drain_seconds": self.drain_seconds,
            "reason": self.reason,
            "foreign": list(self.foreign),
            "unreached": self.unreached,
            "log": list(self.log),
            "jobs": _dicts(self.jobs),
            "possible_jobs": _dicts(self.possible_jobs),
            "requeued": _dict(self.requeued),
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> ReportedInstance:
        """The same out of JSON. Raises LookupError, TypeError or ValueError."""
        return cls(
            instance=row["instance"],
            unit=row["unit"],
            action=row["action"],
            why=row["why"],
            phase=row["phase"],
            revision=row["revision"],
            pid_before=row["pid_before"],
            ending=row["ending"],
            ending_detail=row["ending_detail"],
            drain_seconds=row["drain_seconds"],
            reason=row["reason"],
            foreign=tuple(row["foreign"]),
            unreached=row.get("unreached"),
            log=tuple(row["log"]),
            jobs=_maybe(row.get("jobs"), _job),
            possible_jobs=_maybe(row.get("possible_jobs"), _job),
            requeued=_requeued(row.get("requeued")),
        )


@dataclass(frozen=True, slots=True)
class Way:
    """What is told of the way to a revision, and of the way back."""

    seconds: float
    on_revision: int | None  # instances that serve on it; None: not kept
    serving: int | None
    least_serving: Mapping[str, int]  # by worker, while it ran
    slowest_drain: SlowestDrain | None
    instances: tuple[ReportedInstance, ...]
    killed: tuple[str, ...]
    died: tuple[str, ...]  # that did not end as a drain ends
    failed: tuple[str, ...]
    stop_timeouts: tuple[StopTimeout, ...]
    dropped_jobs: tuple[ReportedJob, ...]  # taken by workers that ended before they began them

    def brief(self) -> Way:
        """The same without the instances of which there is nothing to say."""
        return replace(self, instances=tuple(row for row in self.instances if row.worth_a_word))

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON has it."""
        return {
            "seconds": self.seconds,
            "on_revision": self.on_revision,
            "serving": self.serving,
            "least_serving": dict(self.least_serving),
            "slowest_drain": _dict(self.slowest_drain),
            "instances": [row.to_json() for row in self.instances],
            "killed": list(self.killed),
            "died": list(self.died),
            "failed": list(self.failed),
            "stop_timeouts": _dicts(self.stop_timeouts),
            "dropped_jobs": _dicts(self.dropped_jobs),
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Way:
        """The same out of JSON; what an earlier command of a rollout does not keep is nothing."""
        return cls(
            seconds=told["seconds"],
            on_revision=told.get("on_revision"),
            serving=told.get("serving"),
            least_serving=dict(told["least_serving"]),
            slowest_drain=_slowest(told["slowest_drain"]),
            instances=tuple(ReportedInstance.from_json(row) for row in told["instances"]),
            killed=tuple(told["killed"]),
            died=tuple(told.get("died", ())),
            failed=tuple(told["failed"]),
            stop_timeouts=tuple(
                StopTimeout(row["worker"], row["seconds"], row["before"], row["after"])
                for row in told.get("stop_timeouts", ())
            ),
            dropped_jobs=tuple(_job(row) for row in told.get("dropped_jobs") or ()),
        )


@dataclass(frozen=True, slots=True)
class WayBack:
    """A rollback that followed a failure."""

    revision: str
    restores: int | None
    way: Way

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON has it."""
        return {"revision": self.revision, "restores": self.restores, **self.way.to_json()}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> WayBack:
        """The same out of JSON."""
        return cls(told["revision"], told["restores"], Way.from_json(told))


@dataclass(frozen=True, slots=True)
class Command:
    """What one command of a rollout did: the last one, or one that got less far."""

    command: str  # deploy, rollback, restart …: of a rollout that goes on, the one that began it
    command_line: str
    by: str
    began: float  # seconds since 1970
    ended: float
    result: str  # one word, or some
    exit_code: int
    summary: tuple[str, ...]  # the closing lines: of the way, and of the way back
    revision: str
    way: Way
    rollback: WayBack | None

    def to_json(self) -> dict[str, Any]:
        """Returns what is kept of it in the report of a later one."""
        way, back = self.way.to_json(), self.rollback
        return {
            "command": self.command,
            "command_line": self.command_line,
            "by": self.by,
            "began": self.began,
            "ended": self.ended,
            "result": self.result,
            "exit_code": self.exit_code,
            "summary": list(self.summary),
            "revision": self.revision,
            **{key: way[key] for key in _KEPT},
            "instances": way["instances"],
            "rollback": back and back.to_json(),
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Command:
        """The same out of JSON."""
        back = told["rollback"]
        return cls(
            command=told["command"],
            command_line=told["command_line"],
            by=told["by"],
            began=told["began"],
            ended=told["ended"],
            result=told["result"],
            exit_code=told["exit_code"],
            summary=tuple(told["summary"]),
            revision=told["revision"],
            way=Way.from_json(told),
            rollback=WayBack.from_json(back) if back else None,
        )

    def brief(self) -> Command:
        """The same with what a later report keeps of it."""
        back = self.rollback and replace(self.rollback, way=self.rollback.way.brief())
        way = replace(
            self.way.brief(),
            on_revision=None,
            serving=None,
            died=(),
            stop_timeouts=(),
            dropped_jobs=(),
        )
        return replace(self, way=way, rollback=back)


# Of the way of an earlier command, besides the instances: see `Command.brief`.
_KEPT = ("seconds", "least_serving", "slowest_drain", "killed", "failed")


@dataclass(frozen=True, slots=True)
class Report:
    """All that there is to say at the end of a command that rolled."""

    last: Command
    host: str
    user: bool  # in the scope of a user
    app: str
    rollout: int | None  # its number; None: it has no ledger
    previous: str | None  # the revision that it replaces
    restores: int | None  # the number of the revision that it brings back
    code_versions: Mapping[str, str]  # by worker
    old_code: tuple[OldCode, ...] | None  # None: nobody has looked
    orphans: tuple[ReportedOrphan, ...] | None  # None: nobody has looked
    error: str | None  # what nobody expected, and ended the rollout
    no_rollback: str | None  # why no rollback followed a failure
    next: str | None  # what to type now
    earlier: tuple[Command, ...]  # commands of the same rollout that got less far, oldest first
    withheld: bool = False  # without what only those may see who may read the journal

    @property
    def exit_code(self) -> Exit:
        """What the command exits with."""
        return Exit(self.last.exit_code)

    @property
    def for_the_next(self) -> tuple[Command, ...]:
        """What the next report of the same rollout says of the commands before it."""
        return (*self.earlier, self.last.brief())[-_EARLIER:]

    def to_json(self) -> dict[str, Any]:
        """Returns the document: what `--json` prints, a hook gets and the disk keeps."""
        last, back = self.last, self.last.rollback
        document = {
            "format": 1,
            "command": last.command,
            "command_line": last.command_line,
            "host": self.host,
            "scope": "user" if self.user else "system",
            "app": self.app,
            "rollout": self.rollout,
            "by": last.by,
            "began": last.began,
            "ended": last.ended,
            "result": last.result,
            "exit_code": last.exit_code,
            "summary": list(last.summary),
            "revision": last.revision,
            "previous_revision": self.previous,
            "restores": self.restores,
            "code_versions": dict(self.code_versions),
            **last.way.to_json(),
            "old_code": _dicts(self.old_code),
            "orphans": _dicts(self.orphans),
            "rollback": back and back.to_json(),
            "error": self.error,
            "no_rollback": self.no_rollback,
            "next": self.next,
            "earlier": [each.to_json() for each in self.earlier],
        }
        return document | {"withheld": True} if self.withheld else document

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Report:
        """The same out of JSON. Raises LookupError, TypeError or ValueError: damaged."""
        return cls(
            last=Command.from_json(told),
            host=told["host"],
            user=told["scope"] == "user",
            app=told["app"],
            rollout=told["rollout"],
            previous=told["previous_revision"],
            restores=told["restores"],
            code_versions=dict(told["code_versions"]),
            old_code=_maybe(told.get("old_code"), _old_code),
            orphans=_maybe(told.get("orphans"), _orphan),
            error=told.get("error"),
            no_rollback=told.get("no_rollback"),
            next=told.get("next"),
            earlier=tuple(Command.from_json(each) for each in told["earlier"]),
            withheld=told.get("withheld", False),
        )


def _dict(value: Any) -> dict[str, Any] | None:
    """A named tuple as JSON has it; its fields are the keys."""
    if value is None:
        return None
    return {
        key: list(each) if isinstance(each, tuple) else each
        for key, each in value._asdict().items()
    }


def _dicts(values: tuple[Any, ...] | None) -> list[dict[str, Any] | None] | None:
    return None if values is None else [_dict(value) for value in values]


def _maybe(rows: Any, read: Callable[[Any], T]) -> tuple[T, ...] | None:
    return None if rows is None else tuple(read(row) for row in rows)


def _job(row: Mapping[str, Any]) -> ReportedJob:
    return ReportedJob(row["queue"], row["name"], row["id"], row["since"], row["hash"])


def _requeued(row: Mapping[str, Any] | None) -> Requeued | None:
    return None if row is None else Requeued(row["done"], row["why_not"])


def _slowest(row: Mapping[str, Any] | None) -> SlowestDrain | None:
    return None if row is None else SlowestDrain(row["instance"], row["seconds"])


def _old_code(row: Mapping[str, Any]) -> OldCode:
    return OldCode(row["instance"], tuple(row["pids"]), row.get("commit"))


def _orphan(row: Mapping[str, Any]) -> ReportedOrphan:
    pid, pids = row["pid"], tuple(row["pids"])
    return ReportedOrphan(pid, pids, row["worker"], row["release"], row["current"])
