"""What git(1) says of a checkout, without giving its configuration any power.

A repository can name programs that git runs: filters, hooks, file system monitors, helpers for
remotes and credentials. So git runs with the rights of the account that owns the repository, and it
can start no process (confined.py). As root it runs only where all that it obeys is root's.
"""

from __future__ import annotations

import math
import os
import stat
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from unitq.linux import confined, programs
from unitq.linux.read_as import UnreadableError, read
from unitq.linux.trust import resolve
from unitq.revisions.git_files import git_folder

if TYPE_CHECKING:
    from pathlib import PurePath

_SECONDS = 10.0
_STATUS_SECONDS = 60.0  # a large tree on a slow disk, with all of its submodules
_OUTPUT = 1 << 16  # bytes
_INDEX = 64 << 20  # bytes: the names of some hundred thousand files
_SUBMODULES = 200
_FILE = 4096  # bytes of a `.git` file

# Nothing that a repository may say of programs, and no more memory than it takes.
_OPTIONS = (
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.pager=cat",
    "core.sshCommand=false",
    "core.askPass=false",
    "core.alternateRefsCommand=false",
    "core.preloadIndex=false",  # threads are processes to the kernel's limit
    "index.threads=1",
    "diff.external=",
    "credential.helper=",
    "protocol.allow=never",
    "status.submoduleSummary=false",
    "core.packedGitWindowSize=16m",
    "core.packedGitLimit=128m",
    "core.bigFileThreshold=32m",
)
_ENVIRONMENT = {
    "PATH": programs.PATH,
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",  # `safe.directory=*` may stand there
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
}


class Checkout(NamedTuple):
    """A directory below a `.git`, and with whose rights git looks at it."""

    release: str
    git: str
    rights: confined.Rights | None  # None: those of who runs this


class RefusedError(Exception):
    """Git is not asked: why, in a sentence."""


def find(release: str | PurePath) -> Checkout | None:
    """The checkout that a directory is in; None where it is in none. Raises RefusedError."""
    git = git_folder(os.path.join("/", release))
    return Checkout(str(release), git, _rights(git)) if git else None


def head(checkout: Checkout) -> str | None:
    """The commit that is checked out; None where there is none, or git failed."""
    output = _git(checkout, "rev-parse", "--verify", "--quiet", "HEAD")
    return output.decode(errors="replace").strip() or None if output else None


def clean(checkout: Checkout) -> bool:
    """Whether the files are those of the commit, and no other is there. In doubt they are not."""
    return _clean(checkout, _SUBMODULES, monotonic() + _STATUS_SECONDS) >= 0


def _clean(checkout: Checkout, left: int, until: float) -> int:
    """How many submodules may still be looked at; below 0: it is not clean, or unknown.

    `until` is when all of it has to be done, on the monotonic clock.
    """
    # What is in a submodule git would ask another git, which it cannot start here.
    options = ("--porcelain", "--untracked-files=normal", "--ignore-submodules=dirty")
    if left < 0 or monotonic() >= until:
        return -1
    status = (*_no_filters(checkout, until), "status", *options)
    if _git(checkout, *status, seconds=_STATUS_SECONDS, until=until) != b"":
        return -1
    listing = ("ls-files", "--stage", "-z", "--full-name", ":/")
    entries = _git(checkout, *listing, most=_INDEX, until=until)
    if entries is None:
        return -1
    top = os.path.dirname(checkout.git)
    for entry in entries.split(b"\0"):
        if not entry.startswith(b"160000 "):
            continue
        place = os.path.join(top, os.fsdecode(entry.partition(b"\t")[2]))
        if not os.path.lexists(git := os.path.join(place, ".git")):
            continue  # it was not fetched
        try:
            left = _clean(Checkout(place, git, _rights(git)), left - 1, until)
        except RefusedError:
            return -1
        if left < 0:
            return -1
    return left


def _rights(git: str) -> confined.Rights | None:
    """With whose rights git may look at it. Raises RefusedError."""
    if os.geteuid() != 0:
        return None
    try:
        with resolve(git) as found:
            owner = os.fstat(found.descriptor).st_uid
            say = found.beyond()
        if owner != 0:
            return confined.rights_of(owner)._replace(groups=())
        if say is None:
            _all_roots(git)
            return confined.Rights(0, 0)
    except OSError as error:
        raise RefusedError(f"{git}: {error.strerror}") from None
    raise RefusedError(
        f"{git} is root's, but {say.path} is not: as root, git would obey what others wrote"
    )


def _all_roots(git: str) -> None:
    """Raises RefusedError where anything in a repository of root's is not, and OSError."""
    folders = [git]
    with resolve(git) as found:
        if stat.S_ISREG(os.fstat(found.descriptor).st_mode):
            folders = [_read_pointer(git, "gitdir: ")]
    common = os.path.join(folders[0], "commondir")
    if os.path.lexists(common):
        folders.append(_read_pointer(common, ""))
    for folder in folders:
        names = (folder, *(os.path.join(folder, name) for name in _entries(folder)))
        for name in names:
            if part := programs.foreign_part(name):
                raise RefusedError(
                    f"{git} is root's, but {part} is not: as root, git would obey what others wrote"
                )


def _entries(folder: str) -> list[str]:
    names = os.listdir(folder)
    info = os.path.join(folder, "info")
    return [*names, *(f"info/{name}" for name in os.listdir(info))] if "info" in names else names


def _read_pointer(path: str, before: str) -> str:
    """The directory that a file of git's names (gitrepository-layout(5))."""
    try:
        text = read(path, _FILE).decode(errors="surrogateescape").rstrip("\n")
    except UnreadableError as error:
        raise RefusedError(f"{path}: {error.reason}") from None
    if not text.startswith(before) or "\0" in text:
        raise RefusedError(f"{path}: not git's")
    return os.path.join(os.path.dirname(path), text.removeprefix(before))


def _git(
    checkout: Checkout,
    *arguments: str,
    most: int = _OUTPUT,
    seconds: float = _SECONDS,
    until: float = math.inf,
) -> bytes | None:
    """What git prints; None where it fails, takes too long, or prints more than that."""
    try:
        program = programs.path_of("git")
        with resolve(checkout.release) as place:
            options = [word for option in _OPTIONS for word in ("-c", option)]
            command = [program, "--no-pager", *_explicit_paths(checkout), *options, *arguments]
            ended = confined.run(
                lambda: os.execve(program, command, _ENVIRONMENT),  # noqa: S606
                checkout.rights,
                seconds=max(0.0, min(seconds, until - monotonic())),
                most=most,
                folder=place.descriptor,
            )
    except OSError:
        return None
    return ended.output if ended.status == 0 else None


def _no_filters(checkout: Checkout, until: float) -> list[str]:
    """Options that switch off what the repository has: root's could run, and is not wanted."""
    pattern = r"^filter\..*\.(clean|smudge|process|required)$"
    listing = ("config", "-z", "--name-only", "--get-regexp", pattern)
    output = _git(checkout, *listing, until=until) or b""
    names = {os.fsdecode(name).rpartition(".")[0] for name in output.split(b"\0") if name}
    return [
        word
        for name in sorted(names)
        if "=" not in name
        for key in ("clean=", "smudge=", "process=", "required=false")
        for word in ("-c", f"{name}.{key}")
    ]


def _explicit_paths(checkout: Checkout) -> tuple[str, ...]:
    """As root git does not look for a repository: others could put one nearer."""
    if checkout.rights is None or checkout.rights.uid != 0:
        return ()
    return f"--git-dir={checkout.git}", f"--work-tree={os.path.dirname(checkout.git)}"
