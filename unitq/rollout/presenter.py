"""How a command shows itself. The caller hands one in: a terminal, JSON, supervisorctl's words."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from unitq.rollout.progress import Lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from unitq.rollout.executor import Progress
    from unitq.rollout.in_flight import InFlightTracker
    from unitq.rollout.reports.report import Report


class Presenter:
    """Shows what a command does. This one shows nothing: override what is to be shown.

    `step`, `stop` and `draw` may raise OSError, where nobody reads any more; then they are not
    called again. The others must not.
    """

    interval: float | None = None  # seconds between two calls of `draw`; None: it is not called

    def say(self, line: str) -> None:
        """Shows what the command is about to do."""

    def note(self, *lines: str) -> None:
        """Shows what a person should know besides."""

    def warn(self, *lines: str) -> None:
        """Shows a warning: a note whose first line begins with `warning:`."""
        first, *more = lines
        self.note(f"warning: {first}", *more)

    def step(self, line: str, *, failed: bool = False) -> None:
        """Shows that an instance drains, is healthy, or (`failed`) has failed or was killed."""

    def stop(self, line: str) -> None:
        """Shows that the command stops at a safe point, and what it finishes before."""
        self.step(line)

    def draw(self, in_flight: Sequence[str], waiting: str) -> None:
        """Shows a line for each instance in flight, and how many wait, in place of the last."""

    def live(self) -> AbstractContextManager[object]:
        """Surrounds all calls of `step`, `stop` and `draw`."""
        return nullcontext()

    def report(self, report: Report) -> None:
        """Shows the outcome."""

    @contextmanager
    def progress(
        self, jobs: InFlightTracker | None, keep: Callable[[str, str], None] | None
    ) -> Iterator[Progress]:
        """Follows a rollout while it runs, with `step`, `stop` and `draw`.

        `jobs` tracks the jobs of instances that drain. `keep` gets each line and, apart from it,
        its jobs: for `unitq rollout watch`.
        """
        with self.live():
            yield Lines(self, jobs, keep)
