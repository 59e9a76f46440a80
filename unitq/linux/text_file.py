"""Text files that people write; root obeys one only where nobody else decides about it."""

from __future__ import annotations

import errno
import os
import shlex
import stat
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import ConfigError, PreflightError
from unitq.linux.account import name_of
from unitq.linux.trust import ANYONE, ROOT, Control, Why, deciding, resolve

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


class ForeignFileError(PreflightError):
    """Root does not obey this file: another account decides about it."""

    def __init__(
        self, path: str, what: str, control: Control, *, hint: str = "", otherwise: str = ""
    ) -> None:
        super().__init__(
            f"{path}: root does not obey this {what}: {describe(path, control)}",
            problems=(
                "An account that can change it decides what root runs. Nothing was changed.",
            ),
            hint=hint or mend(control),
            otherwise=otherwise,
        )
        self.path = path
        self.control = control


class TrustedText(NamedTuple):
    """A file that was read."""

    text: str
    path: str  # where it was then, without links


def read_trusted(path: Path, most: int, what: str, *, trusted: tuple[int, ...] = ()) -> TrustedText:
    """Returns a file of at most `most` bytes. `what` is what messages call it.

    As root only one that root decides about, or one of the `trusted` accounts (user IDs).
    Raises ForeignFileError, and what `text` raises.
    """
    place = ""

    def check(found: Resolved) -> None:
        nonlocal place
        place = found.path
        if os.geteuid() == ROOT and (control := found.beyond(*trusted)):
            raise ForeignFileError(str(path), what, control)

    content = text(path, most, what, check)
    return TrustedText(content, place)


def trusted_text(path: Path, most: int, what: str) -> str:
    """Returns the text of such a file; as root only of one that root alone decides about."""
    return read_trusted(path, most, what).text


def foreign(path: str | os.PathLike[str], *trusted: int) -> Control | None:
    """Returns who but root and the `trusted` accounts decides about a path; None for nobody.

    Of a path that is not there: who could put something there.
    """
    return next((control for control in deciding(path) if control.uid not in trusted), None)


def describe(path: str, control: Control) -> str:
    """Returns whose it is, in words."""
    own = control.path in (os.path.abspath(path), os.path.realpath(path))
    what = "it" if own else f"{control.path}, on the way to it,"
    if control.why is Why.LINKED:
        return f"{what} is a hard link in a directory that all may write to"
    if control.why is Why.MAY_MAKE:
        return f"it is not there, and everybody may make it: {control.path} is open to all"
    if control.uid == ANYONE:
        return f"accounts other than its owner may write to {'it' if own else control.path}"
    return f"{what} belongs to {name_of(control.uid)}"


def mend(control: Control, owner: str = "root:root") -> str:
    """Returns the command that takes the path away from others, and gives it to `owner`."""
    path = shlex.quote(control.path)
    if control.why is Why.LINKED:
        new = shlex.quote(f"{control.path}.new")
        return f"make it a file of its own: cp {path} {new} && mv {new} {path}"
    if control.why is Why.MAY_MAKE:
        return "name a directory of root's"
    if control.uid == ANYONE:
        return f"chmod go-w {path}"
    return f"chown {owner} {path}"
