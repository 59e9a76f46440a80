"""The symlinks on the way to a directory."""

from __future__ import annotations

import os
import os.path
from typing import TYPE_CHECKING, NamedTuple

from unitq.model.release_names import FOLDERS, within

if TYPE_CHECKING:
    from collections.abc import Iterable


def links_on(directory: str) -> list[Link]:
    """Returns the symlinks on the way to a directory, the directory itself included."""
    links, above = [], "/"
    parts = os.path.normpath(directory).strip("/").split("/")
    for index, part in enumerate(parts):
        at = os.path.join(above, part)
        target = os.path.realpath(at)
        if os.path.islink(at):
            rest = "".join(f"/{name}" for name in parts[index + 1 :])
            links.append(Link(at, target, rest))
        above = target
    return links


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


class Link(NamedTuple):
    """A symlink on the way to a directory, links before it followed."""

    path: str
    target: str  # what it leads to in the end
    rest: str  # of the way behind it, with a "/" before it; empty: it is the last part


def beside(links: Iterable[Link]) -> tuple[str, str] | None:
    """Where the siblings of a release are, by the links on the way to it; None: not known.

    /srv/shop/current leads to /srv/shop/releases/7, and 6 is beside it. A link that only leads
    elsewhere (/srv/shop to /data/shop) does not make ours what is beside that: another app is.
    """
    for link in reversed(tuple(links)):
        folder = os.path.dirname(link.target)
        above, name = os.path.split(link.path)
        says_so = os.path.basename(folder) in FOLDERS or name in _LINKS
        if says_so and folder not in (above, "/") and within(folder, above):
            return folder, link.rest
    return None


# What links to the release in use are called by Capistrano, Deployer, Ansible and those who do it
# by hand.
_LINKS = frozenset({"current", "live", "latest", "active", "release", "stable"})
