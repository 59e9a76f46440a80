"""The directory that releases are in: its releases, the processes that use them, their deletion.

All that is deleted lies in a directory that is held by its descriptor, and no link is followed.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import PreflightError
from unitq.linux import proc
from unitq.linux.account import name_of
from unitq.linux.trust import ANYONE, ROOT, describe, resolve
from unitq.model.release_names import within

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_NUMBERED = re.compile(r"v?\d[\d._-]*")


class Release(NamedTuple):
    """One directory in it."""

    name: str
    written: float  # seconds since 1970 when something was put into it last


class Folder(NamedTuple):
    """The directory, held open."""

    path: str  # without links
    descriptor: int
    releases: tuple[Release, ...]  # oldest first
    linked: dict[str, str]  # releases that a link beside them leads to, and which

    def release_of(self, path: str) -> str:
        """Returns the name of the release that a path is in; empty where it is in none."""
        if path == self.path or not within(path, self.path):
            return ""
        return path[len(self.path) :].lstrip("/").partition("/")[0]


@contextmanager
def hold(path: str) -> Iterator[Folder]:
    """Holds the directory that a path leads to.

    Raises PreflightError where root would delete what another account only pointed it to.
    """
    if not path:  # a script's variable that was never set, and not "here"
        raise PreflightError("--prune: the name of the directory is empty; nothing was deleted")
    try:
        with resolve(path) as found:
            owner = os.fstat(found.descriptor).st_uid
            if os.geteuid() == ROOT:
                for control in found.controls:
                    if control.path == found.path or control.uid == owner:
                        continue
                    who = "others decide" if control.uid == ANYONE else name_of(control.uid)
                    raise PreflightError(
                        f"{path}: nothing was deleted: {describe(control)}, and so decides whose "
                        "directories root would delete",
                        hint=f"name the directory without that link, or mend it ({who})",
                    )
            descriptor = os.open(
                f"/proc/self/fd/{found.descriptor}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            )
            real = found.path
    except OSError as error:
        raise PreflightError(f"{path}: {error.strerror}; nothing was deleted") from None
    try:
        yield Folder(real, descriptor, _releases(descriptor), _links(real))
    finally:
        os.close(descriptor)


def _releases(descriptor: int) -> tuple[Release, ...]:
    """Oldest first: by number where all are named by one, else by when they were written."""
    device = os.fstat(descriptor).st_dev
    releases = []
    for name in os.listdir(descriptor):
        try:
            there = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError:
            continue
        # What is mounted there is no release.
        if stat.S_ISDIR(there.st_mode) and there.st_dev == device:
            releases.append(Release(name, there.st_mtime))
    if all(_NUMBERED.fullmatch(release.name) for release in releases):
        return tuple(sorted(releases, key=lambda release: _number(release.name)))
    return tuple(sorted(releases, key=lambda release: (release.written, release.name)))


def _number(name: str) -> tuple[tuple[int, ...], str]:
    # 10 comes after 9.
    return tuple(int(part) for part in re.findall(r"\d+", name)), name


def _links(real: str) -> dict[str, str]:
    """By name the link beside or in it that leads there: `current`, or what a deploy prepares."""
    links: dict[str, str] = {}
    for folder in (os.path.dirname(real), real):
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                target = os.path.realpath(entry.path) if entry.is_symlink() else ""
                if target != real and within(target, real):
                    links[target[len(real) :].lstrip("/").partition("/")[0]] = entry.path
    return links


def running_in(folder: Folder) -> dict[str, set[int]]:
    """Returns the PIDs of all processes of this host that use a release, by its name.

    By their directory, root, program, open and mapped files; of those that may be looked at.
    """
    pids: dict[str, set[int]] = {}
    for pid in proc.all_pids():
        if pid == os.getpid():
            continue
        for path in proc.all_paths(pid):
            if name := folder.release_of(path):
                pids.setdefault(name, set()).add(pid)
    return pids


def surplus(folder: Folder, needed: Collection[str], keep: int) -> list[str]:
    """Returns the releases that may go: all but the newest `keep`, and none that is needed."""
    old = folder.releases[: max(0, len(folder.releases) - keep)]
    stay = {*needed, *folder.linked}
    return [release.name for release in old if release.name not in stay]


def one_level_below(folder: Folder, releases: Mapping[str, Collection[str]]) -> str:
    """Returns the directory in it that the releases are in, where it is one level too high.

    Empty where it is not, or nothing tells. `releases` are those of each worker: two of one worker
    are two directories of the right one.
    """
    for directories in releases.values():
        entries = {entry for directory in directories if (entry := folder.release_of(directory))}
        inside = [directory for directory in directories if folder.release_of(directory)]
        if len(inside) > 1 and len(entries) == 1:
            return f"{folder.path}/{entries.pop()}"
    return ""


def delete(folder: Folder, name: str) -> None:
    """Deletes a release with all that is in it. Raises OSError."""
    shutil.rmtree(name, dir_fd=folder.descriptor)
