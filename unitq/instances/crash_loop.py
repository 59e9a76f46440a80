"""Whether an instance crashes in a loop, from what systemd wrote into the journal about its lives.

A life is short if it ended before `min_healthy`. Three short lives in a row are a loop, whatever
the exit status: what ends that soon does no work. A worker that recycles itself lives longer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unitq.systemd.journal_event import Event, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

ENDS = 3  # short lives in a row that make a loop


class CrashLoop(NamedTuple):
    """Short lives in a row, up to now."""

    restarts: int
    seconds: float  # from the first of them until now
    last: str  # how the last one ended


class _Life(NamedTuple):
    begun: float | None  # None: before the first message that is known
    ended: float
    how: str
    restarted: bool


def count_lives(events: Iterable[Event]) -> int:
    """Returns how many lives the journal shows from their begin to their end."""
    return sum(life.begun is not None for life in _lives(events))


def crash_loop(
    events: Iterable[Event], now: float, min_healthy: float, ends: int
) -> CrashLoop | None:
    """Returns the loop that an instance is in; None: it is in none, or too little is known.

    `events` in the order of time. `now` and `min_healthy` in seconds. `ends` is how often it has
    ended since the last deliberate start: what was before does not count. The caller knows that
    it is not healthy now.
    """
    short: list[_Life] = []
    for life in reversed(_lives(events)[-ends:] if ends else []):
        if life.begun is None or life.ended - life.begun >= min_healthy:
            break
        short.append(life)
    if len(short) < ENDS:
        return None
    restarts = sum(life.restarted for life in short)
    return CrashLoop(restarts, max(0.0, now - (short[-1].begun or 0.0)), short[0].how)


def _lives(events: Iterable[Event]) -> list[_Life]:
    lives: list[_Life] = []
    begun = ended = None
    how = ""
    for event in events:
        if event.kind is Kind.STARTED:
            begun = event.at
            if ended is not None and how:
                ended = begun  # its start failed: the end is told first
        elif event.kind is Kind.ENDED:
            ended, how = event.at, event.how or how
        else:
            # systemd does not write down the end of a process that exits with 0.
            end = event.at if ended is None else ended
            lives.append(_Life(begun, end, how or "exited with status 0", restarted=True))
            begun, ended, how = None, None, ""
    if ended is not None:
        lives.append(_Life(begun, ended, how or "exited with status 0", restarted=False))
    return lives
