"""The symlinks on the way to a directory."""

from __future__ import annotations

import os

from unitq.core.likeness import Link, beside


def links_on(directory: str) -> list[Link]:
    """Returns the symlinks on the way to a directory, the directory itself included."""
    found, above = [], "/"
    parts = os.path.normpath(directory).strip("/").split("/")
    for index, part in enumerate(parts):
        at = os.path.join(above, part)
        target = os.path.realpath(at)
        if os.path.islink(at):
            rest = "".join(f"/{each}" for each in parts[index + 1 :])
            found.append(Link(at, target, rest))
        above = target
    return found


def changes_in_place(directory: str) -> bool:
    """Whether new code comes into the same directory, and not with a link that is moved.

    A link that only leads elsewhere (/srv to /data/srv) moves nothing.
    """
    return not os.path.islink(directory.rstrip("/")) and beside(links_on(directory)) is None


def moving_link(path: str) -> Link | None:
    """Returns the link on the way to a path that each release moves; None where there is none."""
    return next((link for link in reversed(links_on(path)) if beside((link,))), None)
