"""Which processes of a family a signal is sent to: those that have a handler for it. Pure.

A signal without a handler mostly ends a process (signal(7)), and USR2 to the shell around a worker
would end all of it. So it goes to the first process on each branch that catches it: the worker
below its shell, not the children that do its jobs and have inherited its handlers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from unitq.model.process import Process


def recipients(
    processes: Iterable[Process],
    number: int,
    passed_over: Callable[[Process], bool] = lambda _: False,
    *,
    strict: bool = True,
    top: int | None = None,
) -> tuple[Process, ...]:
    """Returns the processes that get the signal; none: no process has a handler for it.

    `passed_over` says of a process that it only stands above a worker, whatever it has handlers
    for. Not `strict`: on a branch without any handler the first process that is not passed over
    gets the signal, and may die of it. `top`: only this PID and what is below it.
    """
    known = {process.pid: process for process in processes}
    below: dict[int, list[Process]] = {}
    for process in known.values():
        below.setdefault(process.parent, []).append(process)

    def first(process: Process, *, strict: bool) -> list[Process]:
        if process.dead:
            return []
        above = passed_over(process)
        if process.catches(number) and not above:
            return [process]
        # What has no handler itself may stand above one that has.
        children = below.get(process.pid, ())
        below_it = [p for child in children for p in first(child, strict=strict or not above)]
        return below_it or ([] if strict or above else [process])

    # A PID that was used again could make a circle: none in it is below one of these.
    tops = [p for p in known.values() if p.parent not in known and top in (None, p.pid)]
    return tuple(process for head in tops for process in first(head, strict=strict))
