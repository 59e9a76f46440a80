"""All processes of this host in one pass over /proc.

A process is read through a descriptor of its folder: that stays this process's, so that what is
read of one is never that of another with its PID (proc(5)). Most are over after what is cheap; only
of those that may be a worker the rest is read.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline.invocation import interpreter, program
from unitq.linux import proc
from unitq.linux.proc import folder, parse_status
from unitq.model.process import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

_LINKS_MAX = 40  # as the kernel (path_resolution(7))


class Wanted(NamedTuple):
    """Of which processes more is to be read, and what."""

    executable: Callable[[str], bool]  # may it be a worker?
    variables: frozenset[str]  # whose values tell
    before: Mapping[str, frozenset[int]] = {}  # words before a script, by other interpreters


class Table(NamedTuple):
    """All processes of this host."""

    processes: dict[int, Process]  # by PID; without zombies and kernel threads
    hidden: int  # so many may not be read


class _Here(NamedTuple):
    """What is the same for all."""

    wanted: Wanted
    booted: float  # seconds since 1970, by the clock that nobody sets
    ticks: int  # a second
    mounts: str
    pids: str


def table(wanted: Wanted) -> Table:
    """Reads every process."""
    here = _here(wanted)
    read = (_read(pid, here) for pid in proc.all_pids())
    processes = {process.pid: process for process in read if process}
    hidden = sum(not process.executable for process in processes.values())
    return Table(processes, hidden)


def again(pid: int, wanted: Wanted) -> Process | None:
    """Returns the process that has this PID now; None: there is none."""
    return _read(pid, _here(wanted))


def _here(wanted: Wanted) -> _Here:
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    mounts, pids = os.readlink("/proc/self/ns/mnt"), os.readlink("/proc/self/ns/pid")
    return _Here(wanted, booted, os.sysconf("SC_CLK_TCK"), mounts, pids)


def _read(pid: int, here: _Here) -> Process | None:
    try:
        with folder(pid) as opened:
            return _process(pid, opened, here)
    except (OSError, ValueError, IndexError):
        return None  # it has ended meanwhile


def _process(pid: int, folder: int, here: _Here) -> Process | None:
    try:
        executable = os.readlink("exe", dir_fd=folder).removesuffix(proc.DELETED)
    except PermissionError:
        executable = ""
    except FileNotFoundError:
        return None  # a kernel thread, a zombie, or on its way out
    stat = proc.parse_stat(proc.content("stat", folder))
    closer = executable and here.wanted.executable(executable)
    words: tuple[str, ...] = ()
    if closer or _interpreter(executable):
        # An interpreter may be what keeps a worker: supervisord is one's script.
        words = proc.command_line(proc.content("cmdline", folder))
    basic = Process(
        pid, stat.parent, stat.ticks, stat.state, stat.group,
        executable=executable, words=words, began=here.booted + stat.ticks / here.ticks,
    )  # fmt: skip
    if not closer:
        return basic
    try:
        return _closer(basic, folder, here)
    except PermissionError:
        return replace(basic, executable="")


def _closer(process: Process, folder: int, here: _Here) -> Process:
    """Returns the same with what takes longer to read. Raises PermissionError."""
    contained = os.readlink("ns/pid", dir_fd=folder) != here.pids
    same_files = os.readlink("ns/mnt", dir_fd=folder) == here.mounts
    written = os.readlink("cwd", dir_fd=folder)
    deleted = written.endswith(proc.DELETED)
    directory = written.removesuffix(proc.DELETED)
    if not same_files and not _same(f"/proc/self/fd/{folder}/cwd", directory, deleted=deleted):
        directory = ""  # a path of another file system that only looks like ours
    paths, moved = _script(process, folder, directory, here.wanted.before, same_files=same_files)
    environment = _environment(proc.content("environ", folder), here.wanted.variables)
    app = revision = worker = ""
    with suppress(OSError):
        app, revision, worker = proc.stdin_origin(os.readlink("fd/0", dir_fd=folder))
    if worker:
        environment.setdefault("UNITQ_WORKER", worker)
    raw = proc.content("status", folder)
    status = parse_status(raw)
    inner = proc.numbers(raw, b"NSpid")  # its PID in each namespace, its own last (proc(5))
    return replace(
        process,
        uids=status.uids,
        uid=status.uid,
        caught=status.caught,
        cgroup=proc.parse_cgroup(proc.content("cgroup", folder)),
        directory=directory,
        deleted=deleted,
        paths=paths,
        moved=moved,
        environment=environment,
        app=environment.get("UNITQ_APP") or app,
        revision=environment.get("UNITQ_REVISION") or revision,
        contained=contained,
        inner=inner[-1] if contained and inner else 0,
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
    """Returns the paths of its script, and whether one of the links there is younger than it."""
    invocation = program(process.words, process.executable)
    if invocation is None:
        return (), False
    scripts = [invocation.script]
    if not invocation.interpreter:
        counts = before.get(os.path.basename(process.executable), ())
        scripts += [process.words[n] for n in sorted(counts) if n < len(process.words)]
    paths: dict[str, None] = {}
    moved = False
    for script in scripts:
        if not script or "\0" in script or (not script.startswith("/") and not directory):
            continue
        path = os.path.normpath(os.path.join(directory, script))
        if not same_files and not _same(f"/proc/self/fd/{folder}/root{path}", path, deleted=False):
            continue
        real, youngest = _follow(path)
        paths |= dict.fromkeys((path, real))
        moved = moved or youngest > process.began
    return tuple(paths), moved


def _follow(path: str) -> tuple[str, float]:
    """Returns the path with all links followed, and when the youngest of them was made."""
    at, rest, youngest, hops = "", path.split("/")[1:], 0.0, 0
    while rest:
        part = rest.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            at = os.path.dirname(at)
            continue
        try:
            entry = os.lstat(f"{at}/{part}")
            target = os.readlink(f"{at}/{part}") if stat.S_ISLNK(entry.st_mode) else None
        except OSError:
            return os.path.normpath("/".join((at, part, *rest))), youngest
        if target is None:
            at = f"{at}/{part}"
            continue
        hops += 1
        if hops > _LINKS_MAX:
            return path, youngest
        youngest = max(youngest, entry.st_mtime)
        rest = [*target.split("/"), *rest]
        if target.startswith("/"):
            at = ""
    return at or "/", youngest


def _environment(raw: bytes, names: Collection[str]) -> dict[str, str]:
    """Returns these variables, as they were at exec; what a title was written over has none."""
    values = {}
    for item in raw.split(b"\0"):
        name, sign, value = item.partition(b"=")
        text = name.decode(errors="replace")
        if sign and text in names:
            values[text] = value.decode(errors="replace")
    return values
