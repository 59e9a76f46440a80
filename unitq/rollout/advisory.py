"""Questions whose answers a rollout does not depend on: Redis, the journal, git, hooks, orphans.

They add to the report and decide nothing. So nothing that they raise may end the rollout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from unitq.errors import UnitqError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Advisory:
    """The one place where such questions are asked."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._show = warn
        self._warned: set[str] = set()

    def ask(self, consequence: str, question: Callable[[], T], otherwise: T) -> T:
        """Returns the answer, or `otherwise` where the question fails, however it does.

        The failure is a warning with its `consequence` in words; each consequence once.
        """
        try:
            return question()
        except Exception as error:  # noqa: BLE001  (that is what this is for)
            self.warn(error, consequence)
            return otherwise

    def warn(self, error: Exception, consequence: str) -> None:
        """Warns of what failed and what follows, once for each consequence."""
        if consequence in self._warned:
            return
        self._warned.add(consequence)
        try:
            self._show(f"{in_words(error)}: {consequence}")
        except OSError:
            return  # nobody reads it any more


def end_in_words(error: Exception) -> str:
    """Returns why a rollout ended where it did; a disk that refuses is no error of unitq's own."""
    return in_words(error) if isinstance(error, OSError) else f"internal error: {in_words(error)}"


def in_words(error: Exception) -> str:
    """Returns what went wrong in one line; of what nobody expected, its kind as well."""
    if isinstance(error, UnitqError):
        return error.in_short
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}"
    kind = type(error).__name__
    return f"{kind}: {text}" if text else kind
