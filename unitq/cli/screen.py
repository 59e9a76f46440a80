"""Draws on a terminal: tables in colour, and pictures that change.

The only place that uses rich. Its markup is off, and each cell and each line is made printable
before it is measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from unitq.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Self

    from rich.console import RenderableType


def line(words: str = "", style: str = "") -> Text:
    """Returns one printable line; a narrower terminal wraps it."""
    return Text(one_line(words), style)


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    styles: Sequence[str] = (),
    *,
    title: str = "",
    caption: str = "",
    wrapped: Sequence[str] = (),
) -> Table:
    """Returns a table; `styles` has one style per row, `wrapped` the columns that may wrap."""
    shown = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    shown.title = line(title) if title else None
    shown.caption = line(caption) if caption else None
    for name in header:
        shown.add_column(line(name), no_wrap=name not in wrapped)
    for index, row in enumerate(rows):
        shown.add_row(*map(line, row), style=styles[index] if styles else None)
    return shown


def show(parts: Sequence[RenderableType]) -> None:
    """Prints them, one below the other."""
    _console().print(Group(*parts))


def width() -> int:
    """Returns the columns of the terminal."""
    return _console().width


class Picture:
    """A picture that is redrawn in place. A context manager."""

    def __init__(self, *, transient: bool = False) -> None:
        """`transient`: erased at the end. Otherwise a picture that is too high is cropped."""
        from rich.live import Live  # `status` has no need of it

        overflow: Any = "ellipsis" if transient else "crop"
        self._live = Live(
            console=_console(), auto_refresh=False, transient=transient, vertical_overflow=overflow
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def draw(self, *parts: RenderableType) -> None:
        """Replaces the picture."""
        self._live.update(Group(*parts), refresh=True)

    def print(self, words: str, style: str = "") -> None:
        """Prints a line that stays, above it."""
        self._live.console.print(line(words, style))


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False)
