"""Queues to be read, and the readers' own language.

A reader is a generator: it yields commands, gets their answers, and ends with what it has found. So
several of them share each trip to Redis, and none knows of connections.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.queues.commands import ErrorReply

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from unitq.presets.redis_keys import Keys
    from unitq.queues.commands import Answer, Commands


class Source(NamedTuple):
    """The queues of one framework in one app."""

    preset: str
    keys: Keys
    queues: tuple[str, ...]  # those that the app's workers name
    prefix: str
    registry_prefix: str
    now: float = 0.0  # seconds since 1970
    named: bool = False  # also jobs that are fetched only, and may be at work, are to be named

    def places(self) -> dict[str, str]:
        """What stands for the places of the commands, but that of the queue."""
        return {
            "p": self.prefix,
            "r": self.registry_prefix,
            "now": f"{self.now:.0f}",
            "now_ms": f"{self.now * 1000:.0f}",
        }


class Notes:
    """What could not be read, each said once."""

    def __init__(self) -> None:
        self._found: dict[str, None] = {}
        self.refused = False  # some of it Redis has refused

    def __call__(self, words: str) -> None:
        self._found[words] = None

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)


def without_errors(answers: Sequence[Answer], notes: Notes) -> list[Answer]:
    """The answers, with nil for each that is an error; that is noted."""
    if ErrorReply not in set(map(type, answers)):
        return list(answers)
    found: list[Answer] = []
    for answer in answers:
        if isinstance(answer, ErrorReply):
            note_error(answer, notes)
            found.append(None)
        else:
            found.append(answer)
    return found


def note_error(answer: ErrorReply, notes: Notes) -> None:
    """Notes an error, in words that say what to do."""
    if answer.code == "NOGROUP" or "no such key" in answer.words:
        return  # a stream that nobody has written to, or read from, yet
    notes.refused = True
    if answer.code == "WRONGTYPE":
        notes("a key holds something else than the preset says: is the prefix right?")
    elif answer.code == "NOPERM":
        notes(f"Redis refuses: {answer.words}")
    else:
        notes(f"Redis answers: {answer.words}")


def side_by_side(
    readings: Sequence[Generator[Commands, list[Answer], Any]],
) -> Generator[Commands, list[Answer], list[Any]]:
    """Runs them side by side: what they ask at the same time is one trip."""
    results: list[Any] = [None] * len(readings)
    asked: dict[int, Commands] = {}

    def on(index: int, answers: list[Answer] | None) -> None:
        try:
            asked[index] = readings[index].send(answers)  # type: ignore[arg-type]
        except StopIteration as end:
            results[index] = end.value

    for index in range(len(readings)):
        on(index, None)
    while asked:
        batch, asked = asked, {}
        answers = iter((yield list(chain.from_iterable(batch.values()))))
        for index, commands in batch.items():
            on(index, list(islice(answers, len(commands))))
    return results
