"""All processes of this host in one pass over /proc.

A process is read through a descriptor of its folder: that stays this process's, so that what is
read of one is never that of another with its PID (proc(5)). Most are over after what is cheap; only
of those that may be a worker the rest is read.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from unitq.linux.identity import content, user_ids
from unitq.orphans.evidence import Process
from unitq.presets.detect import interpreter, program

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

_DELETED = " (deleted)"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_LINKS_MAX = 40  # as the kernel (path_resolution(7))


class Wanted(NamedTuple):
    """Of which processes more is to be read, and what."""

    executable: Callable[[str], bool]  # may it be a worker?
    variables: frozenset[str]  # whose values tell
    before: Mapping[str, frozenset[int]] = {}  # words before a script, by other interpreters


class Table(NamedTuple):
    """What there is."""

    processes: dict[int, Process]  # by PID; without zombies and kernel threads
    hidden: int  # so many may not be looked at


class _Here(NamedTuple):
    """What is the same for all."""

    wanted: Wanted
    booted: float  # seconds since 1970, by the clock that nobody sets
    ticks: int  # a second
    mounts: str
    pids: str


def table(wanted: Wanted) -> Table:
    """Every process that there is."""
    here = _here(wanted)
    found: dict[int, Process] = {}
    hidden = 0
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        process = _read(int(name), here)
        if process is None:
            continue
        found[process.pid] = process
        hidden += not process.executable
    return Table(found, hidden)


def again(pid: int, wanted: Wanted) -> Process | None:
    """The process that has this PID now; None: there is none."""
    return _read(pid, _here(wanted))


def _here(wanted: Wanted) -> _Here:
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    mounts, pids = os.readlink("/proc/self/ns/mnt"), os.readlink("/proc/self/ns/pid")
    return _Here(wanted, booted, os.sysconf("SC_CLK_TCK"), mounts, pids)


def _read(pid: int, here: _Here) -> Process | None:
    try:
        with _opened(f"/proc/{pid}") as folder:
            return _process(pid, folder, here)
    except (OSError, ValueError, IndexError):
        return None  # it has ended meanwhile


@contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, _FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _process(pid: int, folder: int, here: _Here) -> Process | None:
    try:
        executable = os.readlink("exe", dir_fd=folder).removesuffix(_DELETED)
    except PermissionError:
        executable = ""
    except FileNotFoundError:
        return None  # a kernel thread, a zombie, or on its way out
    # What follows the name, which may hold anything: state, parent, …; starttime is field 22.
    fields = content("stat", folder).rpartition(b")")[2].split()
    ticks = int(fields[19])
    basic = Process(
        pid=pid,
        parent=int(fields[1]),
        began=here.booted + ticks / here.ticks,
        ticks=ticks,
        executable=executable,
    )
    closer = executable and here.wanted.executable(executable)
    if closer or _interpreter(executable):
        # An interpreter may be what keeps a worker: supervisord is one's script.
        basic = replace(basic, words=_words(content("cmdline", folder)))
    if not closer:
        return basic
    try:
        return _closer(basic, folder, here)
    except PermissionError:
        return replace(basic, executable="")


def _closer(process: Process, folder: int, here: _Here) -> Process:
    """The same with what takes longer to read. Raises PermissionError."""
    contained = os.readlink("ns/pid", dir_fd=folder) != here.pids
    same_files = os.readlink("ns/mnt", dir_fd=folder) == here.mounts
    written = os.readlink("cwd", dir_fd=folder)
    deleted = written.endswith(_DELETED)
    directory = written.removesuffix(_DELETED)
    if not same_files and not _same(f"/proc/self/fd/{folder}/cwd", directory, deleted=deleted):
        directory = ""  # a path of another file system that only looks like ours
    paths, moved = _script(process, folder, directory, here.wanted.before, same_files=same_files)
    environment = _environment(content("environ", folder), here.wanted.variables)
    app, revision, worker = _of_stdin(folder)
    if worker:
        environment.setdefault("UNITQ_WORKER", worker)
    status = content("status", folder)
    users = user_ids(status)
    return replace(
        process,
        uid=users[1] if users else -1,
        uids=frozenset(users),
        cgroup=_cgroup(content("cgroup", folder).decode(errors="replace")),
        directory=directory,
        deleted=deleted,
        paths=paths,
        moved=moved,
        environment=environment,
        app=environment.get("UNITQ_APP") or app,
        revision=environment.get("UNITQ_REVISION") or revision,
        contained=contained,
        inner=_inner(status) if contained else 0,
    )


@cache
def _interpreter(executable: str) -> str:
    # Remembered: the same few run most processes.
    return interpreter(executable)


def _same(theirs: str, ours: str, *, deleted: bool) -> bool:
    """Whether a file that another process sees is the one of that path here."""
    try:
        there = os.stat(theirs)
        if not deleted:
            here = os.stat(ours)
            return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
        # What is deleted can only be told by the file system that it was on.
        while not os.path.isdir(ours):
            ours = os.path.dirname(ours)
        return there.st_dev == os.stat(ours).st_dev
    except OSError:
        return False


def _script(
    process: Process,
    folder: int,
    directory: str,
    before: Mapping[str, frozenset[int]],
    *,
    same_files: bool,
) -> tuple[tuple[str, ...], bool]:
    """The paths of the script that it runs, and whether one of the links there is younger."""
    one = program(process.words, process.executable)
    if one is None:
        return (), False
    scripts = [one.script]
    if not one.interpreter:
        counts = before.get(os.path.basename(process.executable), ())
        scripts += [process.words[n] for n in sorted(counts) if n < len(process.words)]
    found: dict[str, None] = {}
    moved = False
    for script in scripts:
        if not script or "\0" in script or (not script.startswith("/") and not directory):
            continue
        path = os.path.normpath(os.path.join(directory, script))
        if not same_files and not _same(f"/proc/self/fd/{folder}/root{path}", path, deleted=False):
            continue
        real, youngest = _followed(path)
        found |= dict.fromkeys((path, real))
        moved = moved or youngest > process.began
    return tuple(found), moved


def _followed(path: str) -> tuple[str, float]:
    """The path with all links followed, and when the youngest of them was made."""
    at, rest, youngest, hops = "", path.split("/")[1:], 0.0, 0
    while rest:
        part = rest.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            at = os.path.dirname(at)
            continue
        try:
            found = os.lstat(f"{at}/{part}")
            target = os.readlink(f"{at}/{part}") if stat.S_ISLNK(found.st_mode) else None
        except OSError:
            return os.path.normpath("/".join((at, part, *rest))), youngest
        if target is None:
            at = f"{at}/{part}"
            continue
        hops += 1
        if hops > _LINKS_MAX:
            return path, youngest
        youngest = max(youngest, found.st_mtime)
        rest = [*target.split("/"), *rest]
        if target.startswith("/"):
            at = ""
    return at or "/", youngest


def _of_stdin(folder: int) -> tuple[str, str, str]:
    """App, revision and worker by its standard input (units/worker@.service.j2), or nothing."""
    with suppress(OSError):
        parts = os.readlink("fd/0", dir_fd=folder).removesuffix(_DELETED).split("/")
        # …/shop/revisions/42-3fa9c1/sms/stdin
        if len(parts) > 5 and parts[-1] == "stdin" and parts[-4] == "revisions":
            return parts[-5], parts[-3], parts[-2]
    return "", "", ""


def _environment(raw: bytes, names: Collection[str]) -> dict[str, str]:
    """These variables of it, as they were at exec; what a title was written over has none."""
    found = {}
    for item in raw.split(b"\0"):
        name, sign, value = item.partition(b"=")
        text = name.decode(errors="replace")
        if sign and text in names:
            found[text] = value.decode(errors="replace")
    return found


def _words(raw: bytes) -> tuple[str, ...]:
    # A title leaves what was behind it as NULs, or as blanks.
    text = raw.decode(errors="replace").rstrip("\0 ")
    return tuple(text.split("\0")) if text else ()


def _inner(status: bytes) -> int:
    """The PID that a process has in its own namespace (proc(5), NSpid); 0: not known."""
    for line in status.splitlines():
        if line.startswith(b"NSpid:"):
            return int(line.split()[-1])
    return 0


def _cgroup(text: str) -> str:
    """From the root of systemd's own hierarchy (cgroups(7))."""
    lines = text.splitlines()
    for prefix in ("0::", "1:name=systemd:"):
        for line in lines:
            if line.startswith(prefix) and (line != "0::/" or len(lines) == 1):
                return line.removeprefix(prefix)
    return ""
