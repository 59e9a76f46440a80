"""How a command that starts or stops workers shows itself: as text, live on a terminal, as JSON."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING

from unitq.cli import progress
from unitq.cli.output import echo, echo_json, echo_lines, is_terminal
from unitq.cli.scope import current
from unitq.errors import Exit
from unitq.rollout import report_text
from unitq.rollout.operation import Operation, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from unitq.rollout.executor import Progress
    from unitq.rollout.in_flight import InFlightTracker
    from unitq.rollout.presenter import Presenter
    from unitq.rollout.report import Report


class Notes:
    """What is said on standard error, whatever is on standard output."""

    def note(self, *lines: str) -> None:
        """Prints them together."""
        with suppress(OSError):
            echo_lines(lines, err=True)

    def warn(self, *lines: str) -> None:
        """The same; the first begins with `warning:`."""
        first, *more = lines
        self.note(f"warning: {first}", *more)


class Text(Notes):
    """For people: lines, and on a terminal what is in flight below them."""

    def say(self, line: str) -> None:
        """Prints it."""
        with suppress(OSError):
            echo(line)

    def progress(
        self, tracker: InFlightTracker | None, keep: Callable[[str, str], None] | None
    ) -> AbstractContextManager[Progress]:
        """A line for each step."""
        if is_terminal():
            return progress.Live(tracker, keep)
        return nullcontext(progress.Lines(tracker, keep))

    def report(self, report: Report) -> None:
        """Prints the end of a rollout."""
        with suppress(OSError):
            show(report)


class Json(Notes):
    """One document, at the end."""

    def say(self, line: str) -> None:
        """Standard output is the document's."""

    def progress(
        self, tracker: InFlightTracker | None, keep: Callable[[str, str], None] | None
    ) -> AbstractContextManager[Progress]:
        """Nothing is printed; the lines are kept."""
        return nullcontext(progress.Lines(tracker, keep, read=False))

    def report(self, report: Report) -> None:
        """Prints it."""
        with suppress(OSError):
            echo_json(report.to_json())


def presenter(*, as_json: bool = False) -> Presenter:
    """The one that the command line asks for."""
    return Json() if as_json else Text()


def operation(
    verb: str, as_json: bool, timeout: float | None = None, fail_on_kill: bool = False
) -> Operation:
    """The running command, with what its options say."""
    return Operation(verb, current(), presenter(as_json=as_json), Waiting(timeout, fail_on_kill))


def show(report: Report) -> None:
    """Prints the end of a rollout, what went wrong on standard error.

    Where all is well that is one line. Otherwise it is the whole block: it can be pasted as it is.
    """
    lines = report_text.ending(report)
    if report.exit_code != Exit.OK:
        lines = [report_text.Line(""), *report_text.block(report)]
    for text, wrong in lines:
        echo(text, err=wrong)
