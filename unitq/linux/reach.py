"""What an account can reach: one look with its rights at all the paths that it needs.

Asked of the kernel by a child with the account's rights, so that ACLs, groups and `noexec` count.
Without root, of another account, only what the modes say is known.
"""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline.env_line import env_program
from unitq.linux import confined

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    May = Callable[[str, int], bool]

_SECONDS = 10.0
_MOST = 1 << 20  # bytes of answers
_LINKS_MAX = 40  # as in the kernel (MAXSYMLINKS)
_INTERPRETERS = 4  # BINPRM_MAX_RECURSION, execve(2)
_FIRST_LINE = 256  # bytes; BINPRM_BUF_SIZE, execve(2)

ENTER, EXECUTE, READ = "enter", "execute", "read"


class Search(NamedTuple):
    """Where a program is looked for by its name, as execvp(3) does."""

    folders: tuple[str, ...]  # of PATH
    directory: str  # that relative paths start at


class Need(NamedTuple):
    """A path that an account needs, and for what; `paths` are alternatives, the first one counts.

    ENTER: a directory; EXECUTE: a program, with the interpreter that its first line names; READ: a
    file. A program without a slash is looked for. `search` None: it is unknown where env looks.
    """

    paths: tuple[str, ...]
    use: str
    search: Search | None = None


class Obstacle(NamedTuple):
    """The first thing on the way that keeps an account out."""

    path: str
    use: str  # what the account may not do with it
    mode: int = 0  # permissions; 0 where nothing is there
    uid: int = 0
    gid: int = 0
    missing: bool = False
    noexec: bool = False  # its file system is mounted so
    script: str = ""  # whose first line names what is behind it
    certain: bool = True  # the kernel says so; else only the modes do
    searched: Sequence[str] = ()  # the folders of PATH that a program was looked for in


def obstacles(
    needs: Sequence[Need], rights: confined.Rights | None
) -> list[Obstacle | None] | None:
    """Returns for each need what keeps the account from it; None: unknown.

    `rights` None: our own. One child for all of them.
    """
    if rights is not None and os.geteuid() not in (0, rights.uid):
        by_mode = _by_mode(rights)
        return [obstacle and obstacle._replace(certain=False) for obstacle in _all(needs, by_mode)]

    def work() -> bytes:
        return json.dumps(_all(needs, os.access)).encode()

    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        own = rights if os.geteuid() == 0 else None
        ended = confined.run(work, own, seconds=_SECONDS, most=_MOST, folder=root)
    except OSError:
        return None
    finally:
        os.close(root)
    if ended.status != 0:
        return None
    return [None if fields is None else Obstacle(*fields) for fields in json.loads(ended.output)]


def _by_mode(rights: confined.Rights) -> May:
    def may(path: str, mode: int) -> bool:
        try:
            status = os.stat(path)
        except OSError:
            return False
        if rights.uid == 0:  # capabilities(7), CAP_DAC_OVERRIDE
            return mode != os.X_OK or stat.S_ISDIR(status.st_mode) or bool(status.st_mode & 0o111)
        shift = 6 if status.st_uid == rights.uid else 0
        if not shift and status.st_gid in (rights.gid, *rights.groups):
            shift = 3
        return (status.st_mode >> shift) & mode == mode

    return may


def _all(needs: Sequence[Need], may: May) -> list[Obstacle | None]:
    return [_of_need(need, may) for need in needs]


def _of_need(need: Need, may: May) -> Obstacle | None:
    first = None
    for path in need.paths:
        if need.search and need.use == EXECUTE:
            obstacle = _search_path(path, need.search, may)
        else:
            obstacle = _obstacle(path, need.use, may, need.search)
        if obstacle is None or not obstacle.missing:
            return obstacle
        first = first or obstacle
    return first


def _search_path(
    name: str, search: Search, may: May, depth: int = 0, script: str = ""
) -> Obstacle | None:
    """What is in the way of a program that execvp(3) starts: the next of its name is tried."""
    if "/" in name:
        path = os.path.join(search.directory, name)
        return _obstacle(path, EXECUTE, may, search, depth, script)
    first = None
    for folder in search.folders:
        path = os.path.join(search.directory, folder, name)
        obstacle = _obstacle(path, EXECUTE, may, search, depth, script)
        if obstacle is None:
            return None
        if not obstacle.missing or obstacle.script == path:
            first = first or obstacle
    if first is None:
        first = Obstacle(name, EXECUTE, missing=True, script=script)
    return first._replace(searched=search.folders)


def _obstacle(
    path: str, use: str, may: May, search: Search | None, depth: int = 0, script: str = ""
) -> Obstacle | None:
    try:
        place = _follow(path, may)
        if isinstance(place, Obstacle):
            return place._replace(script=script)
        if not may(place, os.R_OK if use == READ else os.X_OK):
            return _refusal(place, use)._replace(script=script)
        if use != EXECUTE:
            return None
        interpreter, argument = _interpreter(place)
    except OSError:
        return None  # it changes under our eyes
    if depth >= _INTERPRETERS or not interpreter.startswith("/"):
        return None
    obstacle = _obstacle(interpreter, EXECUTE, may, search, depth + 1, path)
    if obstacle or search is None or os.path.basename(interpreter) != "env":
        return obstacle
    program = env_program([argument] if argument else [])
    if program is None:
        return None
    if program.path is not None:
        search = search._replace(folders=tuple(program.path.split(":")))
    return _search_path(program.name, search, may, depth + 1, path)


def _follow(path: str, may: May) -> str | Obstacle:
    """Where the path leads, links followed, or what is in the way there."""
    here, parts, links = "/", path.split("/")[::-1], 0
    while parts:
        name = parts.pop()
        if name in ("", "."):
            continue
        if not may(here, os.X_OK):
            return _refusal(here, ENTER)
        if name == "..":
            here = os.path.dirname(here)
            continue
        entry = os.path.join(here, name)
        try:
            mode = os.lstat(entry).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return Obstacle(entry, ENTER, missing=True)
        if stat.S_ISLNK(mode):
            links += 1
            if links > _LINKS_MAX:
                return Obstacle(entry, ENTER, missing=True)
            target = os.readlink(entry)
            here = "/" if target.startswith("/") else here
            parts += target.split("/")[::-1]
        else:
            here = entry
    return here


def _refusal(path: str, use: str) -> Obstacle:
    status = os.stat(path)
    noexec = use == EXECUTE and bool(os.statvfs(path).f_flag & os.ST_NOEXEC)
    mode = stat.S_IMODE(status.st_mode)
    return Obstacle(path, use, mode, status.st_uid, status.st_gid, noexec=noexec)


def _interpreter(path: str) -> tuple[str, str]:
    """What the first line of a program names, and its one argument; empty for machine code.

    execve(2), and load_script() of the kernel: only blanks and tabs count as space.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        return "", ""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except PermissionError:
        return "", ""  # a program in machine code need not be readable
    try:
        head = os.read(descriptor, _FIRST_LINE)
    finally:
        os.close(descriptor)
    if not head.startswith(b"#!"):
        return "", ""
    words = head[2:].partition(b"\n")[0].partition(b"\0")[0]  # a NUL ends the kernel's string
    line = os.fsdecode(words).strip(" \t").replace("\t", " ")
    interpreter, _, argument = line.partition(" ")
    return interpreter, argument.strip(" ")
