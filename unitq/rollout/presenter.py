"""How a command shows itself. The caller hands one in: a terminal, JSON, supervisorctl's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from unitq.rollout.executor import Progress
    from unitq.rollout.in_flight import InFlightTracker
    from unitq.rollout.report import Report


class Presenter(Protocol):
    """Shows what a command does. A reader that has gone away is no error: nothing raises OSError.

    Only what `progress` returns may: then no more of it is shown.
    """

    def say(self, line: str) -> None:
        """A line of what happens, for a person; nothing where a document follows."""

    def note(self, *lines: str) -> None:
        """What a person should know besides, each on a line of its own."""

    def warn(self, *lines: str) -> None:
        """The same, as a warning."""

    def progress(
        self, tracker: InFlightTracker | None, keep: Callable[[str, str], None] | None
    ) -> AbstractContextManager[Progress]:
        """Shows a rollout while it runs.

        `tracker` has the in-flight jobs of draining workers. `keep` gets each line and, apart from
        it, its jobs: for `unitq rollout watch`.
        """

    def report(self, report: Report) -> None:
        """Shows what became of it."""
