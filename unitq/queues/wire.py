"""The Redis protocol (RESP2) for thousands of commands at once.

redis-py makes the connection; this packs what is asked and takes the answers apart. Its own
pipeline takes three times as long for 10,000 lengths, most of it one call per answer. And this
knows one limit of time for all answers together, where a socket's time-out begins anew with
each of them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_READ_SIZE = 1 << 20

# b"…", a number, nil, an error, or a list of those.
Answer = Any


class Refused(NamedTuple):
    """An error that Redis answers to one command: `NOPERM this user has no …`."""

    words: str

    @property
    def code(self) -> str:
        """Its first word."""
        return self.words.partition(" ")[0]


def pack(*words: str | bytes) -> bytes:
    """One command as Redis reads it."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        raw = word.encode() if isinstance(word, str) else word
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


def packer(words: Sequence[str], place: str) -> Callable[[bytes], bytes]:
    """Packs one command again and again with another value at `place` each time."""
    head: list[bytes] = []  # alternately what stays, and …
    holes: list[tuple[bytes, ...]] = []  # … what stands around the value in a word
    fixed = b"*%d\r\n" % len(words)
    for word in words:
        if place in word:
            head.append(fixed)
            holes.append(tuple(part.encode() for part in word.split(place)))
            fixed = b""
        else:
            raw = word.encode()
            fixed += b"$%d\r\n%b\r\n" % (len(raw), raw)
    if len(holes) == 1 and len(holes[0]) == 2:
        (begin,), ((before, after),) = head, holes
        extra = len(before) + len(after)

        def one(value: bytes) -> bytes:
            return b"%b$%d\r\n%b%b%b\r\n%b" % (
                begin, len(value) + extra, before, value, after, fixed,
            )  # fmt: skip

        return one

    def several(value: bytes) -> bytes:
        parts = []
        for begin, around in zip(head, holes, strict=True):
            raw = value.join(around)
            parts.append(b"%b$%d\r\n%b\r\n" % (begin, len(raw), raw))
        return b"".join([*parts, fixed])

    return several


class Answers:
    """Bytes in, answers out; goes on where the last bytes ended."""

    def __init__(self) -> None:
        self.done: list[Answer] = []
        self._buffer = b""
        self._open: list[tuple[list[Answer], int]] = []  # lists that are not full yet

    def feed(self, content: bytes) -> None:
        """Takes more bytes. Raises ValueError where they are no RESP2."""
        buffer = self._buffer + content if self._buffer else content
        at, done, open_lists = 0, self.done, self._open
        value: Answer
        while (end := buffer.find(b"\r\n", at)) >= 0:
            kind = buffer[at]
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
                    at = stop + 2
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
                words = buffer[at + 1 : end].decode(errors="replace")
                # It is shown, and must be no order to a terminal.
                value = Refused("".join(c if c.isprintable() else "?" for c in words))
                at = end + 2
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
        self._buffer = buffer[at:]


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
