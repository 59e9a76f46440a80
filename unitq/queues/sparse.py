"""Which of thousands of keys are there.

Of 10,000 queues few have failed jobs, or delayed ones. EXISTS tells of many keys at once whether
one of them is there, in a fraction of the time that as many commands take.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from unitq.queues.commands import HOLE, Several

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from unitq.queues.commands import Commands
    from unitq.queues.wire import Answer

# Queues. Of fewer, all is asked at once: the trip that it saves takes longer.
SEVERAL = 1000

# Keys in one question. With more of them, more are asked for in vain where one is there.
_TOGETHER = 16


def present(key: str, place: str, values: Sequence[bytes]) -> Several:
    """Asks of each few of these keys, in their order, how many are there.

    Those of one length share the work if they stand beside each other, as with `packed`.
    """
    return Several(_present, values, -(-len(values) // _TOGETHER), key.replace(place, HOLE))


def _present(values: Sequence[bytes], key: str) -> Iterator[bytes]:
    before, _, after = key.encode().partition(HOLE.encode())
    for at in range(0, len(values), _TOGETHER):
        block = values[at : at + _TOGETHER]
        yield b"*%d\r\n$6\r\nEXISTS\r\n" % (len(block) + 1)
        for length, alike in groupby(block, key=len):
            head = b"$%d\r\n%b" % (len(before) + length + len(after), before)
            tail = after + b"\r\n"
            yield from (head, (tail + head).join(alike), tail)


def some(answers: Sequence[Answer], amount: int) -> list[int]:
    """The places of the keys that may be there, of so many.

    Where Redis refuses to say it, as a user may have only some of the keys, they may.
    """
    return [
        index
        for block, answer in enumerate(answers)
        if answer != 0
        for index in range(block * _TOGETHER, min(amount, (block + 1) * _TOGETHER))
    ]


def holders(queues: Sequence[str], key: str) -> Generator[Commands, list[Answer], Sequence[str]]:
    """Those of the queues whose key may be there; asked only where they are many."""
    if len(queues) < SEVERAL:
        return queues
    answers = yield [present(key, HOLE, [queue.encode() for queue in queues])]
    return [queues[index] for index in some(answers, len(queues))]
