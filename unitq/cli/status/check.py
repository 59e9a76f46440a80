"""status --check: one line in the form of the monitoring plug-ins (Nagios, Icinga, Checkmk).

Their exit codes, which are not ours: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN
(https://www.monitoring-plugins.org/doc/guidelines.html).
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMED = 5  # instances by name; a page or an SMS has little room


class State(IntEnum):
    """Their exit codes."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


class Member(NamedTuple):
    """One instance, as far as it counts here."""

    app: str
    worker: str
    name: str
    wanted: bool
    serving: bool
    state: str  # in words
    fresh: bool | None  # None: there is no process, or it cannot be read
    readable: bool


class Answer(NamedTuple):
    """What is said, and with which exit code."""

    state: State
    line: str


def answer(members: Sequence[Member], rollouts: Sequence[str] = ()) -> Answer:
    """OK where all serves on the wanted code; CRITICAL where a worker has no instance that serves.

    All else is a WARNING: fewer serve than wanted, old code runs, a rollout was cut off. `rollouts`
    says so of each app's last one, in words.
    """
    wanted = [each for each in members if each.wanted]
    serving = [each for each in wanted if each.serving]
    old = [each for each in members if each.fresh is False]
    hidden = [each for each in members if not each.readable]
    more = len({each.app for each in members}) > 1

    def named(some: Sequence[Member], *, states: bool) -> str:
        shown = [
            f"{f'{each.app}/' * more}{each.name}{f' {each.state}' * states}"
            for each in some[:_NAMED]
        ]
        rest = [f"{len(some) - _NAMED} more"] if len(some) > _NAMED else []
        return ", ".join([*shown, *rest])

    alive = {(each.app, each.worker) for each in serving}
    dead = {(each.app, each.worker) for each in wanted} - alive
    words = [f"{len(serving)} of {len(wanted)} serving"]
    if down := [each for each in wanted if not each.serving]:
        words.append(f"down: {named(down, states=True)}")
    if old:
        words.append(f"{len(old)} on old code: {named(old, states=False)}")
    words += rollouts
    state = State.CRITICAL if dead else State.WARNING if len(words) > 1 else State.OK
    if hidden:
        words.append("which code runs cannot be read (not root)")
    data = f"serving={len(serving)};;; old={'U' if hidden else len(old)}"
    return Answer(state, _line(state, "; ".join(words), data))


def unknown(why: str) -> Answer:
    """Nothing can be said."""
    return Answer(State.UNKNOWN, _line(State.UNKNOWN, why, ""))


def _line(state: State, words: str, data: str) -> str:
    # What follows "|" is read as numbers.
    text = f"{state.name} - {words.replace('|', '/')}"
    return f"{text} | {data}" if data else text
