"""What a granted command prints, for the members that may read it, in /run until the next one.

The journal has it as well, but who may deploy an app need not be let into the journal.
"""

from __future__ import annotations

import io
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from unitq.linux import files
from unitq.model import layout

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(layout.system().runtime_dir) / "granted"


class Line(NamedTuple):
    """A line that was printed."""

    text: str
    error: bool  # to standard error


class Reader:
    """The lines of one run, as they come."""

    def __init__(self, unit: str, invocation: str) -> None:
        self.hidden = False  # they may not be read: this login has not got the group yet
        self._paths = tuple(_path(unit, invocation, error=error) for error in (False, True))
        self._at = [0, 0]

    def news(self, *, last: bool = False) -> list[Line]:
        """Those since the last call; `last`: what has no end of line yet is one, too."""
        lines_read = []
        for which, path in enumerate(self._paths):
            try:
                with path.open("rb") as file:
                    file.seek(self._at[which])
                    content = file.read()
            except FileNotFoundError:
                continue
            except PermissionError:
                self.hidden = True
                continue
            if not last:
                content = content[: content.rfind(b"\n") + 1]
            self._at[which] += len(content)
            lines = content.decode(errors="replace").splitlines()
            lines_read += [Line(text, error=bool(which)) for text in lines]
        return lines_read


@contextmanager
def keep(unit: str, invocation: str, group: int) -> Iterator[tuple[io.TextIOWrapper, ...]]:
    """Two streams, for output and errors: into the journal, and for this group. Raises OSError.

    What the unit's earlier runs have printed goes.
    """
    folder = FOLDER / unit
    files.folder(folder)
    for earlier in folder.iterdir():
        earlier.unlink()
    descriptors = []
    for error in (False, True):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(_path(unit, invocation, error=error), flags, 0o600)
        os.fchown(descriptor, 0, group)
        os.fchmod(descriptor, 0o640)
        descriptors.append(descriptor)
    out, error_stream = (
        io.TextIOWrapper(
            io.BufferedWriter(_Both(number, descriptor)),  # type: ignore[type-var]
            "utf-8",
            "replace",
            line_buffering=True,
        )
        for number, descriptor in zip((1, 2), descriptors, strict=True)
    )
    try:
        yield out, error_stream
    finally:
        for stream in (out, error_stream):
            stream.flush()
            stream.detach()
        for descriptor in descriptors:
            os.close(descriptor)


class _Both(io.RawIOBase):
    """Writes to a stream of ours, and to a file."""

    def __init__(self, stream: int, copy: int) -> None:
        self._stream, self._copy = (
            io.FileIO(number, "w", closefd=False) for number in (stream, copy)
        )

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, content: bytes) -> int:  # type: ignore[override]
        with suppress(OSError):  # a full /run stops no rollout
            self._copy.write(content)
        return self._stream.write(content)


def _path(unit: str, invocation: str, *, error: bool) -> Path:
    return FOLDER / unit / f"{invocation}.{'err' if error else 'out'}"
