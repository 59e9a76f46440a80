"""Presenters of commands that start or stop workers: text, a live terminal, JSON."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from unitq.cli.output import echo, echo_json, echo_lines, is_terminal
from unitq.errors import Exit
from unitq.rollout.presenter import Presenter
from unitq.rollout.reports import report_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from unitq.rollout.reports.report import Report


class Value(Protocol):
    """A result of the API that a command prints."""

    @property
    def exit_code(self) -> int:
        """What the command exits with."""

    def to_json(self) -> dict[str, Any]:
        """Returns what docs/json.md describes."""


class Notes(Presenter):
    """Shows notes and warnings only, on standard error."""

    def note(self, *lines: str) -> None:
        """Prints them together."""
        with suppress(OSError):
            echo_lines(lines, err=True)

    def stop(self, line: str) -> None:
        """Prints it."""
        with suppress(OSError):
            echo(line, err=True)


class Screen(Notes):
    """Shows all of a command."""

    def show(self, value: Value, lines: Callable[[Any], Iterable[str]]) -> int:
        """Prints a value as `lines(value)`; returns its exit code."""
        echo_lines(lines(value))
        return value.exit_code


class Json(Screen):
    """One document, at the end."""

    def show(self, value: Value, lines: Callable[[Any], Iterable[str]]) -> int:  # noqa: ARG002
        """Prints the value as JSON."""
        echo_json(value.to_json())
        return value.exit_code

    def report(self, report: Report) -> None:
        """Prints it."""
        with suppress(OSError):
            echo_json(report.to_json())


class Text(Screen):
    """Plain lines for people."""

    def say(self, line: str) -> None:
        """Prints it."""
        with suppress(OSError):
            echo(line)

    def step(self, line: str, *, failed: bool = False) -> None:  # noqa: ARG002
        """Prints it."""
        echo(line)

    def stop(self, line: str) -> None:
        """Prints it where the steps are."""
        self.step(line)

    def report(self, report: Report) -> None:
        """Prints the end of a rollout."""
        with suppress(OSError):
            show(report)


class Live(Text):
    """Lines on a terminal, and below them the draining workers and their times."""

    interval: float | None = 0.5

    def __init__(self) -> None:
        from unitq.cli.screen import Picture

        self._picture = Picture(transient=True)

    @contextmanager
    def live(self) -> Iterator[None]:
        """Keeps the picture on the terminal."""
        self._picture.__enter__()
        try:
            yield
        finally:
            # The terminal may have gone; the rest of the command must still run.
            with suppress(OSError):
                self._picture.__exit__()

    def step(self, line: str, *, failed: bool = False) -> None:
        """Prints it above the picture."""
        self._picture.print(line, "red" if failed else "")

    def draw(self, in_flight: Sequence[str], waiting: str) -> None:
        """Redraws the picture."""
        from unitq.cli.screen import line

        self._picture.draw(*(line(words, "yellow") for words in in_flight), line(waiting, "dim"))


def presenter(*, as_json: bool = False) -> Screen:
    """Returns the presenter for --json, for a terminal, or for plain text."""
    if as_json:
        return Json()
    return Live() if is_terminal() else Text()


def show(report: Report) -> None:
    """Prints the end of a rollout; errors go to standard error.

    A success is one line. A failure is the whole block, ready to paste.
    """
    lines = report_text.ending(report)
    if report.exit_code != Exit.OK:
        lines = [report_text.Line(""), *report_text.block(report)]
    for text, wrong in lines:
        echo(text, err=wrong)
