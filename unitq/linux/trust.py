"""Who decides what a path leads to: the accounts that could put something else there.

A file is as trustworthy as each directory and link on the way to it. The way is walked once, on
descriptors, so that what was looked at is what is opened (openat(2), path_resolution(7)).
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = 0
ANYONE = -1  # in the place of a user ID: everybody, or a group of accounts

_LINKS_MAX = 40  # as in the kernel (MAXSYMLINKS)
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH  # an ACL's mask is shown as the group's bits, acl(5)


class Why(StrEnum):
    """By what an account decides."""

    OWNS = "owns"
    MAY_WRITE = "may write"
    MAY_MAKE = "may make files in"  # a sticky directory, of what is not there
    LINKED = "may have linked"  # link(2) of another's file into a directory open to all


class Control(NamedTuple):
    """One account's say over a path."""

    uid: int  # ANYONE where the mode lets a group or everybody write
    path: str  # the part of the way that the account decides
    why: Why


class Resolved(NamedTuple):
    """Where a path leads. `descriptor` is O_PATH: it may be looked at, not read."""

    descriptor: int
    path: str  # without links
    controls: tuple[Control, ...]  # of other accounts than root, in the order of the way

    def beyond(self, *trusted: int) -> Control | None:
        """Returns the first say of an account that is neither root nor one of these."""
        return next((control for control in self.controls if control.uid not in trusted), None)

    def open(self) -> int:
        """Returns a descriptor for reading the very file. Never blocks. Raises OSError."""
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        return os.open(f"/proc/self/fd/{self.descriptor}", flags)


@contextmanager
def resolve(path: str | os.PathLike[str]) -> Iterator[Resolved]:
    """Walks the path as the kernel would. Raises OSError where it leads nowhere.

    The descriptor is closed at the end of the block.
    """
    walk = _Walk()
    try:
        walk.along(absolute(path))
        yield Resolved(walk.here, walk.place, tuple(walk.controls))
    finally:
        walk.close()


def deciding(path: str | os.PathLike[str]) -> tuple[Control, ...]:
    """Who but root decides what a path leads to, in the order of the way.

    Of one that leads nowhere also who could put something there. Raises OSError.
    """
    walk = _Walk()
    try:
        walk.along(absolute(path))
    except (FileNotFoundError, NotADirectoryError):
        # A sticky directory is no hole for what is in it, but everybody may make what is not.
        if os.fstat(walk.here).st_mode & _OTHERS_WRITE:
            walk.controls.append(Control(ANYONE, walk.place, Why.MAY_MAKE))
    finally:
        walk.close()
    return tuple(walk.controls)


def absolute(path: str | os.PathLike[str]) -> str:
    """Returns the path from the root on, with its leading ".." resolved and nothing else."""
    text = os.fspath(path)
    # A working directory that is gone matters only to a path below it.
    if text.startswith("/"):
        return text
    # Without links: what it is below is where ".." leads, whoever owns the directory itself.
    here, rest = os.getcwd(), text
    while rest.partition("/")[0] in (".", ".."):
        part, _, rest = rest.partition("/")
        here = os.path.dirname(here) if part == ".." else here
    return os.path.join(here, rest)


class _Walk:
    def __init__(self) -> None:
        self.here = _open("/", None)
        self.controls: list[Control] = []
        self.links = 0
        self._judge(self.here, "/", shared=False)

    @property
    def place(self) -> str:
        return os.readlink(f"/proc/self/fd/{self.here}")

    def close(self) -> None:
        os.close(self.here)

    def along(self, path: str) -> None:
        parts = path.split("/")[::-1]
        while parts:
            name = parts.pop()
            if name in ("", "."):
                continue
            entry = _open(name, self.here)
            try:
                parts += self._step(entry, name, path)
            except BaseException:
                os.close(entry)
                raise

    def _step(self, entry: int, name: str, path: str) -> list[str]:
        """Takes one step into `entry`; returns the parts that a link puts before the others."""
        parent, status = os.fstat(self.here), os.fstat(entry)
        at = os.path.join(self.place, name)
        shared = bool(parent.st_mode & stat.S_ISVTX and parent.st_mode & _OTHERS_WRITE)
        self._judge(entry, at, shared=shared)
        if not stat.S_ISLNK(status.st_mode):
            os.close(self.here)
            self.here = entry
            return []
        self.links += 1
        if self.links > _LINKS_MAX:
            import errno

            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        target = os.readlink("", dir_fd=entry)
        os.close(entry)
        if target.startswith("/"):
            os.close(self.here)
            self.here = _open("/", None)
        return target.split("/")[::-1]

    def _judge(self, entry: int, at: str, *, shared: bool) -> None:
        """Notes who could change this part of the way, or what it leads to."""
        status = os.fstat(entry)
        if status.st_uid != ROOT:
            self.controls.append(Control(status.st_uid, at, Why.OWNS))
        if stat.S_ISLNK(status.st_mode):
            return
        sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        others = status.st_mode & _OTHERS_WRITE and not _of_one_account(status, entry)
        if others and not sticky:
            self.controls.append(Control(ANYONE, at, Why.MAY_WRITE))
        if shared and status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            self.controls.append(Control(ANYONE, at, Why.LINKED))


def _of_one_account(status: os.stat_result, entry: int) -> bool:
    """Whether only the group may write besides, and is the owner's own (useradd(8), -U).

    With a umask of 002 all that such an account makes is so. Not root's: its group may be shared.
    """
    import grp
    import pwd

    if status.st_mode & stat.S_IWOTH or status.st_uid == ROOT:
        return False
    try:
        owner, group = pwd.getpwuid(status.st_uid), grp.getgrgid(status.st_gid)
    except KeyError:
        return False
    own = owner.pw_gid == status.st_gid and owner.pw_name == group.gr_name
    if not own or set(group.gr_mem) - {owner.pw_name}:
        return False
    if any(
        account.pw_gid == status.st_gid and account.pw_uid != status.st_uid
        for account in pwd.getpwall()
    ):
        return False
    try:
        os.getxattr(f"/proc/self/fd/{entry}", "system.posix_acl_access")
    except OSError as error:
        import errno

        return error.errno in (errno.ENODATA, errno.ENOTSUP)
    return False


def _open(name: str, folder: int | None) -> int:
    return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)


def describe(control: Control) -> str:
    """Whose say it is, in words: `deploy owns /srv/shop`."""
    import pwd

    if control.uid == ANYONE:
        return f"others than root {control.why} {control.path}"
    try:
        name = pwd.getpwuid(control.uid).pw_name
    except KeyError:
        name = f"UID {control.uid}"
    return f"{name} {control.why} {control.path}"
