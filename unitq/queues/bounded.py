"""A socket whose answers end in time and fit into memory, however hostile the other side.

redis-py's time-out begins anew with each `recv_into`, and hiredis does not limit how much an answer
may hold: `*300000000` alone reserves 2.4 GB.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from unitq.queues.commands import QueuesError

if TYPE_CHECKING:
    import socket

BYTES = 64 << 20
ITEMS = 4 << 20  # in all lists: each may take some 150 bytes, however short it is on the wire

# The header of a list, a push, a map, a set, an attribute (RESP2 has the first only, hiredis reads
# all). One expression each: a search for one literal is ten times as fast as for one of several.
_HEADERS = [
    re.compile(re.escape(kind) + rb"([0-9]+)\r\n") for kind in (b"*", b">", b"%", b"~", b"|")
]
_HEADER_SIZE = 32


class Budget:
    """What all answers of one look together may take."""

    def __init__(self, deadline: float = 0.0) -> None:
        self.renew(deadline)

    def renew(self, deadline: float) -> None:
        """Begins anew, until that time on the monotonic clock."""
        self.deadline = deadline
        self._bytes = BYTES
        self._items = ITEMS
        self._rest = b""  # of a line whose end has not come yet

    def spend(self, content: bytes) -> None:
        """Counts what was received. Raises QueuesError where it is too much.

        A list's length is counted where its header stands, before a parser sees it, and also where
        the text of a job looks like such a header: to parse first would be too late.
        """
        self._bytes -= len(content)
        content = self._rest + content
        self._items -= sum(int(size) for kind in _HEADERS for size in kind.findall(content))
        if self._bytes < 0 or self._items < 0:
            raise QueuesError(
                f"cannot read the queues: the answers are larger than {BYTES >> 20} MiB, "
                f"or lists of more than {ITEMS:,} values",
                hint="is it a Redis? `redis-cli --bigkeys` lists its large keys",
            )
        self._rest = content[content.rfind(b"\n") + 1 :][:_HEADER_SIZE]


class BoundedSocket:
    """What redis-py reads from in place of a socket."""

    def __init__(self, socket: socket.socket, budget: Budget) -> None:
        self._socket = socket
        self._budget = budget

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def recv_into(self, buffer: bytearray) -> int:
        """As a socket's. Raises TimeoutError after the deadline, QueuesError above the budget."""
        left = self._budget.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        self._socket.settimeout(left)
        size = self._socket.recv_into(buffer)
        self._budget.spend(bytes(memoryview(buffer)[:size]))
        return size
