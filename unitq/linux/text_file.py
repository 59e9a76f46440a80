"""Text files that people write."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from unitq.errors import ConfigError
from unitq.linux.trust import resolve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from unitq.linux.trust import Resolved


def text(
    path: Path, most: int, what: str, check: Callable[[Resolved], None] = lambda _: None
) -> str:
    """Returns the text of a file of at most `most` bytes. `what` is what messages call it.

    `check` may raise: what it was shown is what is read. Never blocks. Raises OSError where the
    file cannot be read, ConfigError where it is larger or no UTF-8.
    """
    with resolve(path) as found:
        mode = os.fstat(found.descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            # A pipe would be waited for, and /dev/zero has no end.
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        check(found)
        with open(found.open(), "rb") as file:
            content = file.read(most + 1)
    if len(content) > most:
        raise ConfigError(f"{path}: larger than {most >> 20} MiB: not a {what}")
    return decode(content, path)


def decode(content: bytes, path: Path) -> str:
    """Returns the text of what was read from there. Raises ConfigError where it is no UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: byte {error.start}: not UTF-8", hint="save it in that encoding"
        ) from error
