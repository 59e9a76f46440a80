"""Commands for Redis, and the answers to them."""

from __future__ import annotations

import re
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# In no key of anybody's: where each value stands, and each of a second row of values.
HOLE = "\0"
SECOND_HOLE = "\1"
_HOLES = re.compile(f"([{HOLE}{SECOND_HOLE}])")

Command = tuple[bytes, ...]
Commands = list[Command]

# b"…", a number, nil, an error, or a list of those.
Answer = Any


class ErrorReply(NamedTuple):
    """An error that Redis answers to one command: `NOPERM this user has no …`."""

    words: str

    @property
    def code(self) -> str:
        """Its first word."""
        return self.words.partition(" ")[0]


def command(*words: str | bytes) -> Command:
    """One command."""
    return tuple(_raw(words))


def commands_for(
    values: Sequence[str | bytes], *words: str, second: Sequence[str | bytes] = ()
) -> Commands:
    """One command for each queue, or job: it is put where HOLE stands in the words.

    `second` are as many values for SECOND_HOLE.
    """
    rows = {HOLE: _raw(values), SECOND_HOLE: _raw(second)}

    def column(word: str) -> Iterable[bytes]:
        first, *others = _HOLES.split(word)  # what stands, a hole, what stands, …
        found: Iterable[bytes] = repeat(first.encode(), len(values))
        for hole, stays in zip(others[::2], others[1::2], strict=True):
            after = stays.encode()
            found = [
                before + value + after for before, value in zip(found, rows[hole], strict=True)
            ]
        return found

    return list(zip(*map(column, words), strict=True))


def _raw(words: Sequence[str | bytes]) -> list[bytes]:
    return [word.encode() if isinstance(word, str) else word for word in words]
