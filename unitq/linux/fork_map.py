"""Reading on several cores: only worth it where thousands of small files are read."""

from __future__ import annotations

import marshal
import os
from itertools import pairwise
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

# A fork and the way back of its answer take about as long as reading so many instances.
_WORTH_A_PROCESS = 100
_MOST = 8


def begin(read: Callable[[Sequence[T]], list[Any]], items: Sequence[T]) -> Callable[[], list[Any]]:
    """Begins to read about the items, in processes of their own where there are many.

    `read` gives an answer to each of its items, in order; it only reads, and answers in what
    marshal can carry: plain numbers, strings, tuples, lists and dictionaries. Returns a function
    that waits for all the answers; meanwhile the caller may do something else.
    """
    first, *others = _parts(items)
    begun = [(part, *_fork(read, part)) for part in others]

    def answers() -> list[Any]:
        found = list(read(first))
        for part, pid, pipe in begun:
            with pipe:
                content = pipe.read()
            _, status = os.waitpid(pid, 0)
            # A process that was killed leaves its part to us, and an error shows here.
            found += marshal.loads(content) if status == 0 else read(part)  # noqa: S302 (our own)
        return found

    return answers


def _parts(items: Sequence[T]) -> list[Sequence[T]]:
    """The items in as many runs of about the same length as are worth a process; at least one."""
    cores = len(os.sched_getaffinity(0))
    count = max(1, min(cores, _MOST, len(items) // _WORTH_A_PROCESS))
    ends = [len(items) * number // count for number in range(count + 1)]
    return [items[begin:end] for begin, end in pairwise(ends)]


def _fork(read: Callable[[Sequence[T]], list[Any]], part: Sequence[T]) -> tuple[int, BinaryIO]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, os.fdopen(reading, "rb")
    # Whatever happens in here, this process must not return into what its parent was doing.
    status = 1
    try:
        os.close(reading)
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(marshal.dumps(read(part)))
        status = 0
    finally:
        os._exit(status)
