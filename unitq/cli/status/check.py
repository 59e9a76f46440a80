"""status --check: one line in the form of the monitoring plug-ins (Nagios, Icinga, Checkmk).

Their exit codes, which are not ours: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN
(https://www.monitoring-plugins.org/doc/guidelines.html).
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import UnitqError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unitq.instances.status import InstanceStatus
    from unitq.status.app_status import StatusList

_NAMED = 5  # instances by name; a page or an SMS has little room


class State(IntEnum):
    """The exit codes of plug-ins."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


class Answer(NamedTuple):
    """The line to print, and its exit code."""

    state: State
    line: str


class Member(NamedTuple):
    """The facts about an instance that the check uses."""

    app: str
    worker: str
    name: str
    wanted: bool
    serving: bool
    state: str  # in words
    fresh: bool | None  # None: there is no process, or it cannot be read
    readable: bool


def answer(look: Callable[[], StatusList]) -> Answer:
    """Returns the answer; any error is UNKNOWN, as plug-ins have no unitq exit codes."""
    try:
        statuses = look()
        members = [_member(status.app, row) for status in statuses.apps for row in status.instances]
        rollouts = [
            f"rollout {status.rollout.number} of {status.app} {status.rollout.how}"
            for status in statuses.apps
            if status.rollout
        ]
        return judge(members, rollouts)
    except UnitqError as error:
        return unknown(error.in_short)
    except Exception as error:  # noqa: BLE001  (any end but one of theirs would be misread)
        return unknown(f"{type(error).__name__}: {error}")


def _member(app: str, row: InstanceStatus) -> Member:
    instance = row.instance
    return Member(
        app, instance.name.worker, str(instance.name), row.wanted is not None, row.serving,
        row.state, row.fresh, instance.readable,
    )  # fmt: skip


def judge(members: Sequence[Member], rollouts: Sequence[str] = ()) -> Answer:
    """Returns OK if all serve on the wanted code, CRITICAL if a worker has none that serves.

    All else is a WARNING: fewer serve than wanted, old code runs, a rollout was cut off. `rollouts`
    says so of each app's last one, in words.
    """
    wanted = [member for member in members if member.wanted]
    serving = [member for member in wanted if member.serving]
    old = [member for member in members if member.fresh is False]
    hidden = [member for member in members if not member.readable]
    more = len({member.app for member in members}) > 1

    def names(some: Sequence[Member], *, states: bool) -> str:
        shown = [
            f"{f'{member.app}/' * more}{member.name}{f' {member.state}' * states}"
            for member in some[:_NAMED]
        ]
        rest = [f"{len(some) - _NAMED} more"] if len(some) > _NAMED else []
        return ", ".join([*shown, *rest])

    alive = {(member.app, member.worker) for member in serving}
    dead = {(member.app, member.worker) for member in wanted} - alive
    words = [f"{len(serving)} of {len(wanted)} serving"]
    if down := [member for member in wanted if not member.serving]:
        words.append(f"down: {names(down, states=True)}")
    if old:
        words.append(f"{len(old)} on old code: {names(old, states=False)}")
    words += rollouts
    state = State.CRITICAL if dead else State.WARNING if len(words) > 1 else State.OK
    if hidden:
        words.append("which code runs cannot be read (not root)")
    data = f"serving={len(serving)};;; old={'U' if hidden else len(old)}"
    return Answer(state, _line(state, "; ".join(words), data))


def unknown(why: str) -> Answer:
    """Returns the answer for an error."""
    return Answer(State.UNKNOWN, _line(State.UNKNOWN, why, ""))


def _line(state: State, words: str, data: str) -> str:
    # What follows "|" is read as numbers.
    text = f"{state.name} - {words.replace('|', '/')}"
    return f"{text} | {data}" if data else text
