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
    """The processes that get the signal; none: nobody has a handler for it.

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
        found = [one for child in children for one in first(child, strict=strict or not above)]
        return found or ([] if strict or above else [process])

    # A PID that was used again could make a circle: nobody in it is below one of these.
    tops = [one for one in known.values() if one.parent not in known and top in (None, one.pid)]
    return tuple(one for each in tops for one in first(each, strict=strict))
