"""The answers of Redis (RESP2) to thousands of commands at once.

redis-py makes the connection; unitq.queues.commands packs what is asked, and this takes the answers
apart. redis-py's own pipeline takes three times as long for 10,000 lengths, most of it one call per
answer. And this knows one limit of time for all answers together, where a socket's time-out begins
anew with each of them.
"""

from __future__ import annotations

import re
import time
from typing import Any, NamedTuple

from unitq.queues.shapes import Shape, learned

_READ_SIZE = 1 << 20

# At least two numbers, nils, or empty lists. Not possessive, though nothing is to be tried again:
# in Python 3.11.2 such a match may end in the middle of a number.
_RUN = re.compile(rb"(?::-?[0-9]+\r\n){2,}|(?:\$-1\r\n){2,}|(?:\*0\r\n){2,}")

# A shape takes as long to learn as a hundred lists to take apart: a few are learned, and only where
# there are many lists.
_LEARNED_FROM = 64
_SHAPES = 8

# b"…", a number, nil, an error, or a list of those.
Answer = Any


class Refused(NamedTuple):
    """An error that Redis answers to one command: `NOPERM this user has no …`."""

    words: str

    @property
    def code(self) -> str:
        """Its first word."""
        return self.words.partition(" ")[0]


class Answers:
    """Bytes in, answers out; goes on where the last bytes ended."""

    def __init__(self) -> None:
        self.done: list[Answer] = []
        self._buffer = b""
        self._open: list[tuple[list[Answer], int]] = []  # lists that are not full yet
        self._shapes: list[Shape] = []
        self._lists = 0  # of no known shape

    def feed(self, content: bytes) -> None:
        """Takes more bytes. Raises ValueError where they are no RESP2."""
        buffer = self._buffer + content if self._buffer else content
        at, done, open_lists = 0, self.done, self._open
        value: Answer
        while (end := buffer.find(b"\r\n", at)) >= 0:
            kind = buffer[at]
            # Of thousands of queues come thousands of numbers, or of nothings, in a row.
            # The second byte: of nil a "-", of an empty list a "0".
            alike = not open_lists and (kind == 58 or buffer[at + 1] in b"-0")
            if alike and (run := _RUN.match(buffer, at)):
                at = run.end()
                if kind == 58:
                    done += map(int, run[0][1:-2].split(b"\r\n:"))
                elif kind == 36:
                    done += [None] * (len(run[0]) // 5)
                else:
                    done += [[] for _ in range(len(run[0]) // 4)]
                continue
            if kind == 42 and not open_lists and self._shapes:
                before = at
                for shape in self._shapes:
                    several, at = shape.read(buffer, at)
                    done += several
                if at > before:
                    continue
            if kind == 58:  # ":"
                value = int(buffer[at + 1 : end])
                at = end + 2
            elif kind == 36:  # "$"
                size = int(buffer[at + 1 : end])
                if size < 0:
                    value = None
                    at = end + 2
                else:
                    stop = end + 2 + size
                    if len(buffer) < stop + 2:
                        break
                    value = buffer[end + 2 : stop]
                    head, step = buffer[at : end + 2], stop + 2 - at
                    at = stop + 2
                    # The next ones, while they have the same length: times, ids.
                    while (
                        not open_lists and buffer.startswith(head, at) and len(buffer) >= at + step
                    ):
                        done.append(value)
                        value = buffer[at + len(head) : at + step - 2]
                        at += step
            elif kind == 42:  # "*"
                size = int(buffer[at + 1 : end])
                at = end + 2
                if size > 0:
                    open_lists.append(([], size))
                    continue
                value = None if size < 0 else []
            elif kind == 43:  # "+"
                value = buffer[at + 1 : end]
                at = end + 2
            elif kind == 45:  # "-"
                value = Refused(buffer[at + 1 : end].decode(errors="replace"))
                size = end + 2 - at
                # The same again, as of each queue whose key holds something else.
                line = buffer[at : end + 2]
                at = end + 2
                while not open_lists and buffer.startswith(line, at):
                    done.append(value)
                    at += size
            else:
                raise ValueError("this does not speak Redis's protocol")
            while open_lists:
                items, size = open_lists[-1]
                items.append(value)
                if len(items) < size:
                    break
                value = items
                open_lists.pop()
            else:
                done.append(value)
                if type(value) is list:
                    self._learn(value)
        self._buffer = buffer[at:]

    def _learn(self, answer: list[Answer]) -> None:
        self._lists += 1
        if self._lists % _LEARNED_FROM == 0 and len(self._shapes) < _SHAPES:
            shape = learned(answer)
            if shape:
                self._shapes.append(shape)


class Parser:
    """What redis-py's connection reads its answers with: `parser_class` of a connection."""

    def __init__(self, socket_read_size: int = _READ_SIZE, **_: Any) -> None:
        self._size = max(socket_read_size, _READ_SIZE)
        self._socket: Any = None
        self._answers = Answers()
        self.deadline: float | None = None  # on the monotonic clock

    def on_connect(self, connection: Any) -> None:
        """redis-py has opened the socket."""
        self._socket = connection._sock
        self._answers = Answers()

    def on_disconnect(self) -> None:
        """redis-py has closed it."""
        self._socket = None

    def can_read(self, *_: Any, **__: Any) -> bool:
        """Whether an answer is there that nobody has taken."""
        return bool(self._answers.done)

    def read_response(self, *_: Any, **__: Any) -> Any:
        """One answer, for redis-py's own greeting: an error is an exception of redis-py's."""
        from redis.exceptions import ResponseError

        (answer,) = self.read(1)
        return ResponseError(answer.words) if isinstance(answer, Refused) else answer

    def read(self, count: int) -> list[Answer]:
        """So many answers. Raises TimeoutError after the deadline, ConnectionError at the end."""
        done = self._answers.done
        while len(done) < count:
            if self._socket is None:
                raise ConnectionError("the connection is closed")
            if self.deadline is not None:
                left = self.deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError("no answer in time")
                self._socket.settimeout(left)
            content = self._socket.recv(self._size)
            if not content:
                raise ConnectionError("the connection was closed by the other side")
            self._answers.feed(content)
        taken = done[:count]
        del done[:count]
        return taken
