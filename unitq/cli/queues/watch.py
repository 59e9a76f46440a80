"""`unitq queues --watch`: one look after the other, until Ctrl-C."""

from __future__ import annotations

import gc
import select
from contextlib import suppress
from typing import TYPE_CHECKING

from unitq.cli.output import echo
from unitq.cli.queues import text as queue_text
from unitq.errors import Exit, UnitqError
from unitq.text import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from unitq.queues.model import Sample
    from unitq.queues.sources import QueueAccess

    Look = Sequence[Sample] | UnitqError
    Below = Callable[[Sequence[Sample] | None, Sequence[Sample]], None]


def watched(found: QueueAccess, interval: float, below: Below | None) -> int:
    """Looks every so many seconds. Returns the exit code.

    `below` prints a look, with the one before it, below the last;
    None: a table that stays in its place on a terminal.
    """
    gc.enable()  # __main__.py switched it off
    with suppress(KeyboardInterrupt):
        if below is None:
            _in_place(found, interval)
        else:
            _one_below_the_other(found, interval, below)
    return Exit.OK


def _looks(found: QueueAccess, interval: float) -> Iterator[tuple[Sequence[Sample] | None, Look]]:
    """Each look with the one before it. What failed is looked at again: Redis may come back."""
    from unitq.queues.snapshot import take_snapshot

    before: list[Sample] | None = None
    while True:
        try:
            now = take_snapshot(found.connection, found.sources)
        except UnitqError as error:
            yield None, error
            before = None
        else:
            yield before, now
            before = now
        select.select([], [], [], interval)


def _one_below_the_other(found: QueueAccess, interval: float, below: Below) -> None:
    for before, now in _looks(found, interval):
        if isinstance(now, UnitqError):
            echo(f"{now.message}; looking again", err=True)
        else:
            below(before, now)


def _in_place(found: QueueAccess, interval: float) -> None:
    from unitq.cli.screen import Picture, line, table

    caption = f"{found.connection.where}, every {duration(interval)}"
    with Picture() as picture:
        for before, now in _looks(found, interval):
            if isinstance(now, UnitqError):
                picture.draw(line(f"{now.message}; looking again"))
                continue
            cells = queue_text.cells(queue_text.rows(now, before), now[0].time)
            picture.draw(table(*cells, caption=caption))
