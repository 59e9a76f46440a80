"""`unitq queues --watch`: one look after the other, until Ctrl-C."""

from __future__ import annotations

import gc
import select
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from unitq.cli import queue_text
from unitq.cli.text import duration
from unitq.core.errors import Exit, UnitqError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from unitq.cli.queued import Way
    from unitq.core.queue import Sample

    Look = Sequence[Sample] | UnitqError
    Below = Callable[[Sequence[Sample] | None, Sequence[Sample]], str]


def watched(found: Way, interval: float, below: Below | None) -> int:
    """Looks every so many seconds. Returns the exit code.

    `below` makes the text of a look, and of the one before it, which is printed below the last;
    None: a table that stays in its place on a terminal.
    """
    gc.enable()  # __main__.py switched it off
    with suppress(KeyboardInterrupt):
        if below is None:
            _in_place(found, interval)
        else:
            _one_below_the_other(found, interval, below)
    return Exit.OK


def _looks(found: Way, interval: float) -> Iterator[tuple[Sequence[Sample] | None, Look]]:
    """Each look with the one before it. What failed is looked at again: Redis may come back."""
    from unitq.queues.look import look

    before: list[Sample] | None = None
    while True:
        try:
            now = look(found.connection, found.sources)
        except UnitqError as error:
            yield None, error
            before = None
        else:
            yield before, now
            before = now
        select.select([], [], [], interval)


def _one_below_the_other(found: Way, interval: float, below: Below) -> None:
    for before, now in _looks(found, interval):
        if isinstance(now, UnitqError):
            click.echo(f"{now.message}; looking again", err=True)
        else:
            click.echo(below(before, now))


def _in_place(found: Way, interval: float) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as display:
        for before, now in _looks(found, interval):
            if isinstance(now, UnitqError):
                display.update(Text(f"{now.message}; looking again"), refresh=True)
                continue
            header, lines = queue_text.cells(queue_text.rows(now, before), now[0].time)
            shown = Table(box=None, pad_edge=False, header_style="bold")
            for title in header:
                shown.add_column(title, no_wrap=True)
            for line in lines:
                shown.add_row(*map(Text, line))
            shown.caption = f"{found.connection.where}, every {duration(interval)}"
            display.update(shown, refresh=True)
