"""Queues to be read, and what the readers share.

A reader is a generator of commands, so several of them share each trip to Redis, and none knows of
connections.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.queues.commands import ErrorReply

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from unitq.presets.redis_keys import Keys
    from unitq.queues.commands import Answer, Commands, Reading

SHOWN = "999"  # jobs that are read of one queue


class Source(NamedTuple):
    """The queues of one framework in one app."""

    preset: str
    keys: Keys
    queues: tuple[str, ...]  # those that the app's workers name
    prefix: str
    registry_prefix: str
    now: float = 0.0  # seconds since 1970
    named: bool = False  # whether jobs that are fetched and perhaps not begun are read, too

    def places(self) -> dict[str, str]:
        """Returns what stands for the places of the commands, but that of the queue."""
        return {
            "p": self.prefix,
            "r": self.registry_prefix,
            "now": f"{self.now:.0f}",
            "now_ms": f"{self.now * 1000:.0f}",
        }


class Notes:
    """What could not be read, each once."""

    def __init__(self) -> None:
        self._words: dict[str, None] = {}
        self.refused = False  # whether Redis has refused some of it

    def __call__(self, words: str) -> None:
        self._words[words] = None

    def __iter__(self) -> Iterator[str]:
        return iter(self._words)


def without_errors(answers: Sequence[Answer], notes: Notes) -> list[Answer]:
    """Returns the answers, with nil for each error; notes the errors."""
    if any(issubclass(each, ErrorReply) for each in set(map(type, answers))):
        for answer in answers:
            if isinstance(answer, ErrorReply):
                note_error(answer, notes)
        return [None if isinstance(answer, ErrorReply) else answer for answer in answers]
    return list(answers)


def note_error(answer: ErrorReply, notes: Notes) -> None:
    """Notes an error, in words that say what to do."""
    if is_missing(answer):
        return
    notes.refused = True
    if answer.code == "WRONGTYPE":
        notes("a key holds something else than the preset says: is the prefix right?")
    elif answer.code == "NOPERM":
        notes(f"Redis refuses: {answer.words}")
    else:
        notes(f"Redis answers: {answer.words}")


def is_missing(answer: ErrorReply) -> bool:
    """Whether an error is of a stream that nobody has written to, or read from, yet."""
    return answer.code == "NOGROUP" or "no such key" in answer.words


def by_queue(queues: Iterable[str], answers: Iterable[Answer]) -> list[tuple[str, Any]]:
    """Returns the items of each queue's list, with the queue's name."""
    rows = zip(queues, answers, strict=True)
    return [(queue, item) for queue, items in rows for item in items or ()]


def two_by_two(items: Sequence[Any] | None) -> list[tuple[Any, Any]]:
    """Returns members and scores (WITHSCORES) as pairs."""
    return list(zip((items or [])[::2], (items or [])[1::2], strict=True))


def side_by_side(readings: Sequence[Reading[Any]]) -> Reading[list[Any]]:
    """Runs readers side by side: what they ask at the same time is one trip."""
    results: list[Any] = [None] * len(readings)
    asked: dict[int, Commands] = {}

    def resume(index: int, answers: list[Answer] | None) -> None:
        try:
            asked[index] = readings[index].send(answers)  # type: ignore[arg-type]
        except StopIteration as end:
            results[index] = end.value

    for index in range(len(readings)):
        resume(index, None)
    while asked:
        batch, asked = asked, {}
        answers = iter((yield list(chain.from_iterable(batch.values()))))
        for index, commands in batch.items():
            resume(index, list(islice(answers, len(commands))))
    return results
