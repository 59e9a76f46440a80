"""Files that decide what root does. Root obeys one only where nobody else decides about it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from unitq.core.errors import PreflightError
from unitq.linux import text_file
from unitq.linux.account import name_of
from unitq.linux.trust import ANYONE, ROOT, Control, Why, resolved

if TYPE_CHECKING:
    from unitq.linux.trust import Resolved


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


def text(path: Path, most: int, what: str, *, trusted: tuple[int, ...] = (), hint: str = "") -> str:
    """Returns the text of a file of at most `most` bytes. `what` is what messages call it.

    As root only of a file that root decides about, or one of the `trusted` accounts (user IDs).
    Raises ForeignFileError, and what text_file.text raises.
    """

    def check(found: Resolved) -> None:
        if os.geteuid() == ROOT and (control := found.beyond(*trusted)):
            raise ForeignFileError(str(path), what, control, hint=hint)

    return text_file.text(path, most, what, check)


def foreign(path: str | os.PathLike[str], *trusted: int) -> Control | None:
    """Returns who but root and the `trusted` accounts decides about a path; None for nobody.

    Of a path that is not there: who decides about the nearest directory above it.
    """
    place = Path(path)
    while True:
        try:
            with resolved(place) as found:
                return found.beyond(*trusted)
        except (FileNotFoundError, NotADirectoryError):
            if place == place.parent:
                return None
            place = place.parent


def describe(path: str, control: Control) -> str:
    """Returns whose it is, in words."""
    own = control.path in (os.path.abspath(path), os.path.realpath(path))
    what = "it" if own else f"{control.path}, on the way to it,"
    if control.why is Why.LINKED:
        return f"{what} is a hard link in a directory that all may write to"
    if control.uid == ANYONE:
        return f"accounts other than its owner may write to {'it' if own else control.path}"
    return f"{what} belongs to {name_of(control.uid)}"


def mend(control: Control, owner: str = "root:root") -> str:
    """Returns the command that takes the path away from others, and gives it to `owner`."""
    path = shlex.quote(control.path)
    if control.why is Why.LINKED:
        new = shlex.quote(f"{control.path}.new")
        return f"make it a file of its own: cp {path} {new} && mv {new} {path}"
    if control.uid == ANYONE:
        return f"chmod go-w {path}"
    return f"chown {owner} {path}"
