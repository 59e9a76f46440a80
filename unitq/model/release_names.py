"""Folders that releases lie in, by their names. Pure."""

from __future__ import annotations

# As Capistrano, Deployer, Ansible and those who do it by hand call them.
FOLDERS = frozenset({"releases", "release", "versions", "builds", "deploys", "deployments"})

_DELETED = " (deleted)"  # behind a path in /proc (proc(5))


def within(path: str, folder: str) -> bool:
    """Whether it is the folder, or in it."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def in_another(path: str, release: str) -> bool:
    """Whether a path lies in another release of the same folder of releases.

    What is beside a directory in a folder of any other name may be something else.
    """
    parts = release.split("/")
    for at in range(len(parts) - 2, 0, -1):
        if parts[at] in FOLDERS:
            folder = "/".join(parts[: at + 1])
            inside = path != folder and within(path, folder)
            return inside and path.split("/")[at + 1].removesuffix(_DELETED) != parts[at + 1]
    return False
