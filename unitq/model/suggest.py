"""Words for somebody who mistyped one."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LONGEST = 80  # difflib takes quadratic time; no word of ours is longer


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The one of `words` that was probably meant; big and small letters, "-" and "_" are alike."""
    folded: dict[str, str] = {}
    for candidate in words:
        folded.setdefault(_fold(candidate), candidate)
    if len(word) > _LONGEST:
        return None
    matches = get_close_matches(_fold(word), folded, n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None


def either(words: Sequence[str], *, last: str = "or") -> str:
    """`a, b or c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def _fold(word: str) -> str:
    return word.lower().replace("-", "_")
