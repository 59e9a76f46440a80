"""What supervisorctl 4.3 prints and how it exits, for `unitq ctl`: states, lines, exit codes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, NamedTuple

from unitq.instances.state import EXITED, Observed, failure
from unitq.rollout.plan import Change

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from unitq.rollout.plan import Plan

# What it answers like: scripts compare it before they trust an exit code (there are none below 4).
VERSION = "4.3.0"

PRIORITY = 999  # Supervisor's default, of groups and of processes

# systemd.exec(5): from here on an exit status says that the worker's own code was never reached.
_SETUP_FAILED = 200


class Code(IntEnum):
    """Exit codes of supervisorctl: LSB's for init scripts, and for `status` LSB's for status."""

    OK = 0
    GENERIC = 1
    INVALID_ARGUMENTS = 2
    UNIMPLEMENTED = 3
    STATUS_NOT_RUNNING = 3
    STATUS_UNKNOWN = 4
    NOT_RUNNING = 7


class State(StrEnum):
    """Supervisor's process states."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    BACKOFF = "BACKOFF"
    STOPPING = "STOPPING"
    EXITED = "EXITED"
    FATAL = "FATAL"
    UNKNOWN = "UNKNOWN"

    @property
    def stopped(self) -> bool:
        """Whether `status` exits with 3 for it."""
        return self in (State.STOPPED, State.EXITED, State.FATAL, State.UNKNOWN)

    @property
    def started(self) -> bool:
        """Whether `start` has nothing to do, and `stop` has."""
        return self in (State.RUNNING, State.STARTING, State.BACKOFF)

    @property
    def signallable(self) -> bool:
        """Whether there is a process that can get a signal."""
        return self in (State.RUNNING, State.STARTING, State.STOPPING)


class Facts(NamedTuple):
    """What systemd and the kernel say of one instance."""

    load: str = "loaded"  # LoadState, or "not-loaded"
    active: str = "inactive"  # ActiveState
    sub: str = "dead"  # SubState
    pid: int = 0
    age: float | None = None  # seconds that the main process has lived
    result: str = "success"  # Result
    restarts: bool = True  # systemd starts it again when it ends (Restart)
    code: int = 0  # ExecMainCode
    status: int = 0  # ExecMainStatus
    ended: float | None = (
        None  # seconds since 1970 when the last process ended; None: there is none
    )
    asked: bool | None = None  # whether somebody had it stopped; None: not known


def state_of(facts: Facts, startsecs: float) -> State:
    """Supervisor's word for it; `startsecs` is how long it must live to be RUNNING."""
    if facts.active in ("active", "reloading", "refreshing"):
        young = facts.age is not None and facts.age < startsecs
        return State.STARTING if young else State.RUNNING
    if facts.active == "activating":
        return State.BACKOFF if facts.sub.startswith("auto-restart") else State.STARTING
    if facts.active == "deactivating":
        return State.STOPPING
    if facts.load not in ("loaded", "not-loaded"):
        return State.UNKNOWN  # its unit is gone, masked, or cannot be read
    if facts.result == "start-limit-hit":
        return State.FATAL
    if facts.ended is None:
        return State.STOPPED
    if facts.asked or (facts.asked is None and facts.active == "inactive"):
        return State.STOPPED
    if facts.active == "failed" and (
        # It would be started again, had it not crashed too often: Result does not always say so.
        facts.restarts or (facts.code == EXITED and facts.status >= _SETUP_FAILED)
    ):
        return State.FATAL
    return State.EXITED


def description(facts: Facts, state: State) -> str:
    """Returns what stands behind the state."""
    if state is State.RUNNING:
        return f"pid {facts.pid}, uptime {timedelta(seconds=int(facts.age or 0.0))}"
    if state in (State.FATAL, State.BACKOFF):
        return failure(
            Observed(
                active=facts.active,
                sub=facts.sub,
                result=facts.result,
                code=facts.code,
                status=facts.status,
            )
        )
    if state in (State.STOPPED, State.EXITED):
        if facts.ended is None:
            return "Not started"
        ended = datetime.fromtimestamp(facts.ended, tz=UTC).astimezone()
        return ended.strftime("%b %d %I:%M %p")
    return ""


def status_lines(rows: Sequence[tuple[str, State, str]]) -> list[str]:
    """Returns the lines of `status`: name, state and description of each process, in columns."""
    width = max([30, *(len(name) for name, _, _ in rows)]) + 3
    return [f"{name:<{width}}{state:<10}{text}" for name, state, text in rows]


def error(name: str, why: str) -> str:
    """`sms: ERROR (no such process)`."""
    return f"{name}: ERROR ({why})"


def available(name: str, *, used: bool) -> str:
    """A line of `avail`. Everything that is configured starts at a boot, in no order."""
    use = "in use" if used else "avail"
    return f"{name:<32} {use:<9} {'auto':<9} {PRIORITY}:{PRIORITY}"


class GroupChange(StrEnum):
    """What `reread` says of a group."""

    ADDED = "available"
    CHANGED = "changed"
    REMOVED = "disappeared"


# What `update` has done then.
DONE = {
    GroupChange.ADDED: "added process group",
    GroupChange.CHANGED: "updated process group",
    GroupChange.REMOVED: "removed process group",
}


def changes(plan: Plan) -> dict[str, GroupChange]:
    """Returns what a deploy would do to each worker that it would do something to, by name.

    A worker that only has to be started is none of them: `reread` speaks of what is configured.
    """
    before = {worker.name: worker for worker in plan.current.workers} if plan.current else {}
    after = {worker.name: worker for worker in plan.target.workers}
    kinds = {name: GroupChange.REMOVED for name in before if name not in after}
    restarted = {step.instance.worker for step in plan.changes if step.change is Change.RESTART}
    for name, worker in after.items():
        if name not in before:
            kinds[name] = GroupChange.ADDED
        elif before[name] != worker or name in restarted:
            kinds[name] = GroupChange.CHANGED
    return dict(sorted(kinds.items()))


def by_group(
    changed: Mapping[str, GroupChange], workers: Mapping[str, str]
) -> dict[str, GroupChange]:
    """Returns the change of each group that has one; `workers` has the group of every worker.

    A group with some workers that are new, or gone, and others that are not has changed.
    """
    kinds: dict[str, set[GroupChange | None]] = {}
    for worker, group in workers.items():
        kinds.setdefault(group, set()).add(changed.get(worker))
    groups = {}
    for group, several in sorted(kinds.items()):
        first, *more = several
        if more or first:
            groups[group] = first if first and not more else GroupChange.CHANGED
    return groups


def reread_lines(changed: Iterable[tuple[str, GroupChange]]) -> list[str]:
    """Returns the lines of `reread`."""
    lines = [f"{name}: {change}" for name, change in sorted(changed)]
    return lines or ["No config updates to processes"]
