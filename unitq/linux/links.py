"""The symlinks on the way to a directory."""

from __future__ import annotations

import os

from unitq.model.release_names import within
from unitq.orphans.program_match import Link, beside


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


def release_link(path: str) -> Link | None:
    """Returns the moving link that decides which release a path leads to; None: none does.

    Nor where nothing is there, or what every release shares (`current/storage`, a link out of the
    releases). A program counts as where its name is: a venv's `python` is a link to the system's.
    """
    link = moving_link(path)
    if link is None or not os.path.exists(path):
        return None
    named = os.path.isfile(path) and os.access(path, os.X_OK)
    place = os.path.realpath(os.path.dirname(path) if named else path)
    return link if within(place, link.target) else None
