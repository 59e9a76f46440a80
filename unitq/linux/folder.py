"""Files in a directory that is held by a descriptor.

By path, each call walks the directories anew, and the owner of any of them can put a symlink there
in between. Here the directory is opened once, and names in it are never followed (openat(2)).
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import PreflightError
from unitq.linux import changes
from unitq.linux.account import name_of
from unitq.linux.trust import ANYONE, ROOT, Control, Why, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unitq.linux.trust import Resolved

TEMPORARY = ".unitq-tmp"
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class SharedError(PreflightError):
    """Another account has a say over a directory in which root is to write."""

    def __init__(self, control: Control, place: str) -> None:
        self.control = control
        there = "" if control.path == place else f", and leads to {place}"
        super().__init__(
            f"{control.path} {words(control)}{there}: root does not write there",
            hint="name a directory of root's (chown root, chmod go-w), or run this as the account "
            "that it is for: `sudo -u NAME unitq …`",
        )


class FileContent(NamedTuple):
    """A regular file."""

    content: bytes
    mode: int  # its permissions
    owner: tuple[int, int]  # user ID and group ID


def words(control: Control) -> str:
    """Returns what an account may do there, to be put behind the path."""
    if control.uid == ANYONE:
        return "may be written by other accounts than root"
    return f"belongs to {name_of(control.uid)}"


def beside(name: str) -> str:
    """Returns a temporary name; systemd ignores names that start with a dot.

    Always the same one, so that what a killed unitq left there is found and replaced; the lock
    keeps two from writing at once.
    """
    return f".{name}{TEMPORARY}"


def without_temporary(path: str) -> str:
    """Returns the path that a temporary one is to become: what a message calls it."""
    folder, name = os.path.split(path)
    if name.startswith(".") and name.endswith(TEMPORARY):
        return os.path.join(folder, name[1 : -len(TEMPORARY)])
    return path


class Folder(NamedTuple):
    """A directory. All methods raise OSError with the whole path."""

    descriptor: int  # may be O_PATH
    path: str  # for messages only

    def create(
        self, name: str, content: bytes, mode: int, owner: tuple[int, int] | None = None
    ) -> None:
        """Creates a file, on disk when this returns. Leaves nothing where that fails."""
        changes.note()
        with self._errors(name):
            descriptor = os.open(name, _NEW, 0o600, dir_fd=self.descriptor)
            try:
                with open(descriptor, "wb", closefd=False) as file:
                    file.write(content)
                if owner not in (None, (os.geteuid(), os.getegid())):
                    os.fchown(descriptor, *owner)
                # The umask of who runs us must not decide who may read a unit file.
                os.fchmod(descriptor, mode)
                os.fsync(descriptor)
            except OSError:
                with suppress(OSError):
                    self.unlink(name)
                raise
            finally:
                os.close(descriptor)

    def replace(
        self, name: str, content: bytes, mode: int, owner: tuple[int, int] | None = None
    ) -> None:
        """Writes a file beside and renames it over: readers see the old or the new one.

        A symlink of that name is replaced, and not followed.
        """
        staged = beside(name)
        self.unlink(staged)
        self.create(staged, content, mode, owner)
        self.rename(staged, name)
        self.sync()

    def rename(self, name: str, new: str) -> None:
        """Renames, over what has the new name."""
        changes.note()
        with self._errors(new):
            os.rename(name, new, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def symlink(self, name: str, target: str) -> None:
        """Makes a symlink."""
        changes.note()
        with self._errors(name):
            os.symlink(target, name, dir_fd=self.descriptor)

    def unlink(self, name: str) -> None:
        """Removes a name, if there is one."""
        changes.note()
        with self._errors(name), suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)

    def exists(self, name: str) -> bool:
        """Whether there is anything of that name, even a broken symlink."""
        with self._errors(name):
            try:
                os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
            except FileNotFoundError:
                return False
            return True

    def read(self, name: str, most: int) -> FileContent:
        """Returns a regular file of `most` bytes or less; anything else is an OSError."""
        with self._errors(name):
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            descriptor = os.open(name, flags, dir_fd=self.descriptor)
            with open(descriptor, "rb") as file:
                seen = os.fstat(descriptor)
                if not stat.S_ISREG(seen.st_mode):
                    raise OSError(errno.EINVAL, "not a regular file")
                content = file.read(most + 1)
                if len(content) > most:
                    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
                return FileContent(content, seen.st_mode & 0o777, (seen.st_uid, seen.st_gid))

    def sync(self) -> None:
        """Makes renames in it survive a power cut."""
        with self._errors(""):
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            descriptor = os.open(".", flags, dir_fd=self.descriptor)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        """Puts the whole path into errors: of a name alone, and of a full disk, it is not said."""
        try:
            yield
        except OSError as error:
            if not os.path.isabs(os.fsdecode(error.filename or "")):
                error.filename, error.filename2 = os.path.join(self.path, name), None
            raise


@contextmanager
def hold(path: str | os.PathLike[str]) -> Iterator[Folder]:
    """Opens a directory of any owner. Raises OSError."""
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Folder(descriptor, os.fspath(path))
    finally:
        os.close(descriptor)


@contextmanager
def alone(path: str | os.PathLike[str]) -> Iterator[Folder]:
    """Opens a directory in which root writes and nobody else may; with another's rights: any.

    Raises SharedError and OSError.
    """
    with resolve(path) as found:
        if os.geteuid() == ROOT and (control := _shared(found)):
            raise SharedError(control, found.path)
        yield Folder(found.descriptor, found.path)


def _shared(found: Resolved) -> Control | None:
    """Returns who else could put a file into this directory, or another in its place."""
    if os.fstat(found.descriptor).st_mode & _OTHERS_WRITE:
        # Also a sticky one, where everybody may make the name that is to be written first.
        return Control(ANYONE, found.path, Why.MAY_WRITE)
    return found.beyond()


@contextmanager
def output(path: str | os.PathLike[str], *, make: bool = False) -> Iterator[Folder]:
    """Opens a directory that a person has named to write into; `make`: makes what is missing.

    It may be another account's. But as root no account leads to a directory that is not its own:
    an account that could have put a symlink on the way has to own what it ends in. Raises
    SharedError and OSError.
    """
    there, missing = os.path.abspath(path), list[str]()
    while make and not os.path.lexists(there):
        there, name = os.path.split(there)
        missing.insert(0, name)
    with resolve(there) as found:
        owner = os.fstat(found.descriptor)
        if os.geteuid() == ROOT:
            trusted = (ROOT, owner.st_uid)
            for control in found.controls:
                if control.uid not in trusted and control.path != found.path:
                    raise SharedError(control, found.path)
        with ExitStack() as opened:
            descriptor = found.descriptor
            for name in missing:
                descriptor = _make(descriptor, name, owner)
                opened.callback(os.close, descriptor)
            if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), there)
            yield Folder(descriptor, os.fspath(path))


def _make(parent: int, name: str, owner: os.stat_result) -> int:
    """Makes a directory that belongs to the parent's owner; returns its descriptor."""
    os.mkdir(name, dir_fd=parent)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    made = os.open(name, flags, dir_fd=parent)
    try:
        if os.geteuid() == ROOT != owner.st_uid:
            # The parent's owner may have renamed another directory of root's to this name.
            if os.listdir(made):
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), name)
            os.fchown(made, owner.st_uid, owner.st_gid)
    except OSError:
        os.close(made)
        raise
    return made
