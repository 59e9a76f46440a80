"""Files that are whole or not there: temporary file, fsync, rename, fsync of the folder."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from unitq.errors import NotPermittedError, PreflightError
from unitq.linux.folder import beside as temporary
from unitq.linux.folder import hold, without_temporary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def write(path: Path, content: bytes, mode: int) -> None:
    """Creates a new file, on disk when this returns. Raises OSError and leaves nothing then."""
    with hold(path.parent) as here:
        here.create(path.name, content, mode)


def for_journal_readers(descriptor: int) -> None:
    """Lets those read a file who may read the journal: root, or its owner, and systemd-journal."""
    os.fchmod(descriptor, 0o600)
    if os.geteuid() != 0:
        return
    import grp

    with suppress(KeyError):  # there is no such group here
        os.fchown(descriptor, -1, grp.getgrnam("systemd-journal").gr_gid)
        os.fchmod(descriptor, 0o640)


def replace(path: Path, content: bytes, mode: int) -> None:
    """Writes a file beside and renames it over: readers see the old or the new one."""
    with hold(path.parent) as here:
        here.replace(path.name, content, mode)


def link(path: Path, target: str, *, synced: bool = True) -> None:
    """Points a symlink at `target`, by rename: it is never missing."""
    with linking(path, target, synced=synced):
        pass


@contextmanager
def linking(path: Path, target: str, *, synced: bool = True) -> Iterator[None]:
    """The same at the end of the block, if it ends well. What it takes on disk is taken before."""
    staged = temporary(path.name)
    with hold(path.parent) as here:
        here.unlink(staged)
        here.symlink(staged, target)
        try:
            yield
            here.rename(staged, path.name)
        except BaseException:
            here.unlink(staged)
            raise
        if synced:
            here.sync()


def beside(path: Path) -> Path:
    """A temporary name in the same folder."""
    return path.with_name(temporary(path.name))


def sync(folder: Path) -> None:
    """Makes renames in this folder survive a power cut."""
    with hold(folder) as here:
        here.sync()


def folder(path: Path) -> None:
    """Makes a folder that every user may enter: workers reach their code through it."""
    for part in (*reversed(path.parents), path):
        if not os.path.exists(part):
            part.mkdir(exist_ok=True)
            part.chmod(0o755)
            with suppress(PermissionError):  # one that we may write to and not list
                sync(part.parent)


@contextmanager
def preflight_errors(what: str) -> Iterator[None]:
    """Turns an OSError before the first change into words: the disk, or the permissions."""
    try:
        yield
    except PermissionError as error:
        raise NotPermittedError(
            f"{what}: {_place(error)}{error.strerror}",
            hint="is it immutable (lsattr), or on a file system that root may not write to?"
            if os.geteuid() == 0
            else "run it as root (sudo), or with --user for your own units",
        ) from error
    except OSError as error:
        raise PreflightError(
            f"{what}: {_place(error)}{error.strerror or error}",
            hint="nothing was changed; make the place writable or free some space, then try again",
        ) from error


def _place(error: OSError) -> str:
    # Of a link or a rename, the second is what was to be made.
    path = error.filename2 or error.filename
    return f"{without_temporary(os.fsdecode(path))}: " if path else ""
