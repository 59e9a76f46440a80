"""Where HEAD of a checkout is and has been, by git's files alone (gitrepository-layout(5)).

For `status`, which has to be quick. As root nothing is given away: no link is followed, and a file
counts only if it belongs to the account that owns the repository, or everybody may read it.
"""

from __future__ import annotations

import os
import re
import stat
from typing import NamedTuple

_POINTER_MAX = 4096  # bytes of a file that holds a path or a commit
_PACKED_MAX = 8 << 20  # bytes of packed-refs
_LOG_MAX = 256 << 10  # bytes of the reflog that are read: some thousand moves
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_REF = re.compile(r"refs/[^\0]+")
_ENTRY = re.compile(rb"([0-9a-f]{40,64}) ([0-9a-f]{40,64}) .*> (\d{1,12}) [+-]\d{4}(?:\t|$)")


class Move(NamedTuple):
    """One line of HEAD's reflog."""

    at: int  # seconds since 1970, whole
    before: str
    after: str


class Head(NamedTuple):
    """The commit that is checked out, and how HEAD came there."""

    commit: str
    moves: tuple[Move, ...]  # oldest first; may begin in the middle; () where git keeps no reflog
    changed: float  # seconds since 1970 when HEAD, or the branch that it names, was written last


def git_folder(release: str) -> str | None:
    """Returns the `.git` that a directory is below; None where there is none."""
    folder = os.path.normpath(release)
    while True:
        git = os.path.join(folder, ".git")
        if os.path.lexists(git):
            return git
        if folder == "/":
            return None
        folder = os.path.dirname(folder)


def head(git: str) -> Head | None:
    """Returns where HEAD is; None where the files do not tell, or may not be read."""
    try:
        folder, owner = _folder(git)
        common = folder
        if pointed := _text(folder, "commondir", owner):
            common = os.path.join(folder, pointed)
            if os.lstat(common).st_uid != owner:
                return None
        written = _text(folder, "HEAD", owner)
        changed = os.lstat(os.path.join(folder, "HEAD")).st_mtime
        name = written.removeprefix("ref: ")
        if name == written:
            commit = written
        elif not _REF.fullmatch(name) or ".." in name.split("/"):
            return None
        else:
            commit = _text(common, name, owner)
            if commit:
                changed = max(changed, os.lstat(os.path.join(common, name)).st_mtime)
            else:
                commit = _packed_ref(common, name, owner)
        if not _COMMIT.fullmatch(commit):
            return None
        moves = _moves(folder, owner)
    except (OSError, ValueError):  # a NUL in what should be a path
        return None
    # What the reflog does not end in was moved without it.
    return Head(commit, moves if moves and moves[-1].after == commit else (), changed)


def _folder(git: str) -> tuple[str, int]:
    """The repository's directory, which `.git` is or names, and who owns it. Raises OSError."""
    dot_git = os.lstat(git)
    if stat.S_ISDIR(dot_git.st_mode):
        return git, dot_git.st_uid
    text = _text(os.path.dirname(git), ".git", dot_git.st_uid)
    folder = os.path.join(os.path.dirname(git), text.removeprefix("gitdir: "))
    there = os.lstat(folder)
    if not text.startswith("gitdir: ") or there.st_uid != dot_git.st_uid:
        raise PermissionError(git)
    return folder, dot_git.st_uid


def _text(folder: str, name: str, owner: int) -> str:
    """What a small file says, without the line feed; empty where there is none. Raises OSError."""
    return _content(folder, name, owner, _POINTER_MAX).decode(errors="replace").rstrip("\n")


def _packed_ref(folder: str, name: str, owner: int) -> str:
    line = re.search(
        rb"^([0-9a-f]{40,64}) " + re.escape(os.fsencode(name)) + rb"$",
        _content(folder, "packed-refs", owner, _PACKED_MAX),
        re.MULTILINE,
    )
    return line[1].decode() if line else ""


def _moves(folder: str, owner: int) -> tuple[Move, ...]:
    """The lines of the reflog; none where their times cannot be true.

    Git takes them from $GIT_COMMITTER_DATE, if that is set (git-commit(1)), or from a clock that
    may have been set back.
    """
    lines = _content(folder, "logs/HEAD", owner, _LOG_MAX, last=True).split(b"\n")
    matches = (_ENTRY.match(line) for line in lines)
    moves = [
        Move(int(match[3]), match[1].decode(), match[2].decode()) for match in matches if match
    ]
    if not moves:
        return ()
    times = [move.at for move in moves]
    written = os.lstat(os.path.join(folder, "logs/HEAD")).st_mtime
    return tuple(moves) if times == sorted(times) and times[-1] <= written + 1 else ()


def _content(folder: str, name: str, owner: int, most: int, *, last: bool = False) -> bytes:
    """The content of a file, or its last part; empty where there is none. Raises OSError.

    Also where it is no file of the owner's, or too large.
    """
    try:
        descriptor = _open(folder, name)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    try:
        status = os.fstat(descriptor)
        readable = status.st_uid == owner or status.st_mode & stat.S_IROTH
        if not stat.S_ISREG(status.st_mode) or not readable or (status.st_size > most and not last):
            raise PermissionError(os.path.join(folder, name))
        return os.pread(descriptor, most, max(0, status.st_size - most) if last else 0)
    finally:
        os.close(descriptor)


def _open(folder: str, name: str) -> int:
    """A descriptor of a file below a directory; no link on the way below it is followed."""
    above = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        *folders, file = name.split("/")
        for name in folders:
            flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            below = os.open(name, flags, dir_fd=above)
            os.close(above)
            above = below
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        return os.open(file, flags, dir_fd=above)
    finally:
        os.close(above)
