"""What the kernel shows of processes and cgroups: files of /proc and of the cgroup file system.

A fact at a time, by PID. Where all has to be of one process, whose PID another may get meanwhile,
`process` reads it through a descriptor.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from unitq.model.process import Process

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Where cgroup v2 is mounted: the usual place, and that of a hybrid hierarchy (systemd's own
# "unified" mount, systemd(1)).
_CGROUP_ROOTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd")

DELETED = " (deleted)"  # behind a path that is no more (proc(5))
_NO_DISK = ("/dev/", "/proc/", "/sys/", "/memfd:")


class Evidence(NamedTuple):
    """What a process itself tells of where it comes from."""

    revision: str | None = None
    main_pid: int | None = None  # the unit's main process, from $SYSTEMD_EXEC_PID
    readable: bool = True  # False: another user's process, and we are not root
    invocation: str | None = None  # of its unit, from $INVOCATION_ID


class Stat(NamedTuple):
    """What /proc/PID/stat says."""

    state: str  # S, R, T, Z … (proc(5))
    parent: int
    group: int
    ticks: int  # when it began, since the boot: with the PID it is this process and no other


def all_pids() -> Iterator[int]:
    """All processes of this host, as far as they are not hidden."""
    return map(int, filter(str.isdecimal, os.listdir("/proc")))


def stat(pid: int) -> Stat | None:
    """Returns it of a process, of a zombie too; None: there is none."""
    try:
        return parse_stat(content(f"/proc/{pid}/stat"))
    except (OSError, ValueError, IndexError):
        return None


def parse_stat(text: bytes) -> Stat:
    """Raises ValueError and IndexError where it is cut off."""
    # What follows the name, which may hold anything: state, parent, …; starttime is field 22.
    fields = text.rpartition(b")")[2].split()
    return Stat(fields[0].decode(), int(fields[1]), int(fields[2]), int(fields[19]))


def cgroup_root() -> str:
    """The mount point below which systemd's cgroups are."""
    for root in _CGROUP_ROOTS:
        if os.path.exists(f"{root}/cgroup.procs"):
            return root
    return _CGROUP_ROOTS[0]


def pids(cgroup: str) -> tuple[int, ...]:
    """Every process in this cgroup and in those below it; none where there is no such cgroup."""
    own = _pids_of(cgroup)
    try:
        # "." and the entry above: a folder without folders has two links. Spares a listing.
        if os.stat(cgroup).st_nlink == 2:
            return own
        with os.scandir(cgroup) as entries:
            below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return ()
    return own + tuple(pid for path in below for pid in pids(path))


def evidence(pid: int) -> Evidence:
    """What the process tells of its revision and of its unit's main process.

    First its environment, as it was at exec (proc(5)). A process that writes a title over it, as
    PHP's cli_set_process_title() does, still has the revision's own empty file as its standard
    input; see units/worker@.service.j2.
    """
    try:
        environ = content(f"/proc/{pid}/environ")
    except PermissionError:
        return Evidence(readable=False)
    except OSError:
        return Evidence()
    # Searched, not split: most of it is of no interest, and there may be thousands.
    environ = b"\0" + environ
    revision = _value(environ, b"\0UNITQ_REVISION=")
    main_pid = _value(environ, b"\0SYSTEMD_EXEC_PID=")
    return Evidence(
        revision or _revision_of_stdin(pid),
        int(main_pid) if main_pid and main_pid.isdigit() else None,
        invocation=_value(environ, b"\0INVOCATION_ID="),
    )


def _value(environ: bytes, name: bytes) -> str | None:
    begin = environ.find(name)
    if begin < 0:
        return None
    begin += len(name)
    return environ[begin : environ.find(b"\0", begin)].decode(errors="replace")


def _revision_of_stdin(pid: int) -> str | None:
    try:
        return stdin_origin(os.readlink(f"/proc/{pid}/fd/0"))[1] or None
    except OSError:
        return None


def stdin_origin(stdin: str) -> tuple[str, str, str]:
    """App, revision and worker by a standard input (units/worker@.service.j2), or nothing."""
    parts = stdin.removesuffix(DELETED).split("/")
    # …/shop/revisions/42-3fa9c1/sms/stdin
    if len(parts) > 5 and parts[-1] == "stdin" and parts[-4] == "revisions":
        return parts[-5], parts[-3], parts[-2]
    return "", "", ""


def name_of(pid: int) -> str:
    """The name of its program, 15 characters at most (proc(5), comm); empty: it is gone."""
    try:
        return content(f"/proc/{pid}/comm").decode(errors="replace").rstrip("\n")
    except OSError:
        return ""


def words_of(pid: int) -> tuple[str, ...]:
    """Its command line, as it is now; none: it is gone."""
    try:
        return command_line(content(f"/proc/{pid}/cmdline"))
    except OSError:
        return ()


def command_line(raw: bytes) -> tuple[str, ...]:
    """The words of /proc/PID/cmdline."""
    # A title leaves what was behind it as NULs, or as blanks.
    text = raw.decode(errors="replace").rstrip("\0 ")
    return tuple(text.split("\0")) if text else ()


def handled_signals(pid: int) -> int:
    """The signals that it has a handler for, bit 0 is signal 1 (proc(5), SigCgt); 0: it is gone."""
    try:
        return signals(content(f"/proc/{pid}/status"), b"SigCgt")
    except OSError:
        return 0


def handles(pid: int, number: int) -> bool | None:
    """Whether a signal does not end it as one without a handler would; None: not to be found out.

    It has a handler for it, ignores it, or blocks it to fetch it when it likes (sigwait(3),
    signalfd(2)), by proc(5): SigCgt, SigIgn, SigBlk.
    """
    try:
        status = content(f"/proc/{pid}/status")
    except OSError:
        return None
    mask = signals(status, b"SigCgt") | signals(status, b"SigIgn") | signals(status, b"SigBlk")
    return bool(mask >> (number - 1) & 1)


def signals(status: bytes, field: bytes) -> int:
    """A set of signals out of /proc/PID/status, bit 0 is signal 1."""
    values = numbers(status, field, 16)
    return values[0] if values else 0


def numbers(status: bytes, field: bytes, base: int = 10) -> tuple[int, ...]:
    """The numbers of a field of /proc/PID/status; none where it has no such field."""
    _, colon, rest = status.partition(b"\n" + field + b":")
    return tuple(int(number, base) for number in rest.partition(b"\n")[0].split()) if colon else ()


def working_directory(pid: int) -> str | None:
    """Where the process is; None: it is gone. Raises PermissionError: it is another user's."""
    try:
        return os.readlink(f"/proc/{pid}/cwd").removesuffix(DELETED)
    except PermissionError:
        raise
    except OSError:
        return None


def directory_link(pid: int) -> str:
    """Where the process is, with DELETED behind a directory that is no more (proc(5), cwd).

    Empty where it may not be read, or there is no such process.
    """
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def places(pid: int) -> tuple[str, ...]:
    """The directory of a process and the files that it has open; none where they may not be read.

    Without its standard streams, and what is no file of a disk. A file that is deleted has
    " (deleted)" behind its name (proc(5)).
    """
    paths = []
    with suppress(OSError):  # it is gone, or another user's
        paths.append(os.readlink(f"/proc/{pid}/cwd"))
        paths += [path for number, path in open_files(pid) if number > 2]
    shown = (path.removesuffix(DELETED) for path in paths)
    return tuple(path for path in shown if path.startswith("/") and not path.startswith(_NO_DISK))


def all_paths(pid: int) -> set[str]:
    """The directory of a process, its root, program, open and mapped files; what may be read."""
    paths = set()
    for name in ("cwd", "root", "exe"):
        with suppress(OSError):
            paths.add(os.readlink(f"/proc/{pid}/{name}"))
    with suppress(OSError):
        paths.update(path for _, path in open_files(pid))
    # A line of it may be longer than what content() takes for the end.
    with suppress(OSError), open(f"/proc/{pid}/maps", "rb") as file:
        lines = os.fsdecode(file.read()).split("\n")
        paths.update(line.split(maxsplit=5)[5] for line in lines if "/" in line)
    return {path.removesuffix(DELETED) for path in paths}


def open_files(pid: int) -> Iterator[tuple[int, str]]:
    """The number of each descriptor that a process has open, and what of. Raises OSError."""
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            path = os.readlink(f"/proc/{pid}/fd/{number}")
        except FileNotFoundError:
            continue  # it was closed meanwhile
        yield int(number), path


def is_gone(pid: int) -> bool:
    """Whether it has ended, also where its parent has not waited for it yet."""
    try:
        os.readlink(f"/proc/{pid}/cwd")
    except PermissionError:
        return False
    except OSError:
        return True
    return False


def counts_memory(cgroup: str) -> bool:
    """Whether the memory of this cgroup and of those below it is counted by the kernel."""
    try:
        return b"memory" in content(f"{cgroup}/cgroup.controllers").split()
    except OSError:
        return False


def cgroup_memory(cgroup: str) -> int | None:
    """Bytes that the cgroup uses, page cache included, as the kernel counts them."""
    try:
        return int(content(f"{cgroup}/memory.current"))
    except (OSError, ValueError):
        return None


def cgroup_oom_kills(cgroup: str) -> int | None:
    """How many processes of a cgroup, and of those below it, died for want of memory.

    None where the kernel does not count (cgroup v2, memory.events).
    """
    try:
        fields = dict(line.split() for line in content(f"{cgroup}/memory.events").splitlines())
        return int(fields[b"oom_kill"])
    except (OSError, ValueError, KeyError):
        return None


def proportional_memory(members: Iterable[int]) -> int | None:
    """The sum of the processes' PSS in bytes (proc(5), smaps_rollup); None: not to be read.

    It shares what is shared fairly, where RSS would count it again for each process.
    """
    sizes = [size for pid in members if (size := _pss(pid)) is not None]
    return sum(sizes) if sizes else None


def _pss(pid: int) -> int | None:
    try:
        rollup = content(f"/proc/{pid}/smaps_rollup")
        begin = rollup.index(b"\nPss:") + 5
        return int(rollup[begin : rollup.index(b" kB", begin)]) * 1024
    except (OSError, ValueError):
        return None


def age(pid: int) -> float | None:
    """Seconds since the process was started, to a hundredth; None: it is gone.

    By the clock that nobody sets (CLOCK_BOOTTIME, proc(5)).
    """
    fields = stat(pid)
    if fields is None:
        return None
    started = fields.ticks / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)


def older_than(pid: int, link: str) -> bool:
    """Whether a process was started before a link was made that it may have followed."""
    seconds = age(pid)
    try:
        return seconds is None or time.time() - seconds < os.lstat(link).st_mtime
    except OSError:
        return True


def living(pid: int) -> tuple[float | None, str] | None:
    """When a process began, in seconds since 1970, and its cgroup; None: there is none.

    Both unknown where it is hidden from us (proc(5), hidepid=): that is not to be gone.
    """
    begun, cgroup = age(pid), cgroup_of(pid)
    if begun is not None and cgroup is not None:
        return time.time() - begun, cgroup
    if os.path.exists(f"/proc/{pid}/stat"):
        return None  # a zombie: dead, and only not collected yet
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except (PermissionError, OverflowError):
        return None, ""
    return None, ""


def cgroup_of(pid: int) -> str | None:
    """The cgroup that a living process is in, from the root of the hierarchy; None: it is gone."""
    fields = stat(pid)
    return None if fields is None or fields.state in ("Z", "X") else control_group(pid)


def control_group(pid: int) -> str | None:
    """The cgroup of a process, a zombie too, from the root of systemd's own hierarchy.

    None: it is gone. Empty: it is not to be found out.
    """
    try:
        return parse_cgroup(content(f"/proc/{pid}/cgroup"))
    except OSError:
        return None


def parse_cgroup(raw: bytes) -> str:
    """The one of systemd's own hierarchy in /proc/PID/cgroup; empty: there is none."""
    lines = os.fsdecode(raw).removesuffix("\n").split("\n")
    # Where there are several hierarchies (cgroups(7)), version 2 may be there and unused.
    for prefix in ("0::", "1:name=systemd:"):
        for line in lines:
            if line.startswith(prefix) and (line != "0::/" or len(lines) == 1):
                return line.removeprefix(prefix)
    return ""


def _pids_of(cgroup: str) -> tuple[int, ...]:
    try:
        return tuple(map(int, content(f"{cgroup}/cgroup.procs").split()))
    except OSError:
        # Gone, or a threaded cgroup below a delegated one: nothing to count.
        return ()


def content(path: str, folder: int | None = None) -> bytes:
    """A file of /proc or of a cgroup, by a directory that is held where one is. Raises OSError."""
    # Half of what open() takes, which is felt where thousands are read.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        whole = part = os.read(descriptor, 65536)
        # The kernel hands such files out a page at a time: much less than a page was the last.
        while len(part) > 2048:
            part = os.read(descriptor, 65536)
            whole += part
        return whole
    finally:
        os.close(descriptor)


class Invocation(NamedTuple):
    """One life of a unit, from its start to its end."""

    id: str  # InvocationID; empty: only systemd knows
    begun: float  # seconds since 1970


def invocation(unit: str, runtime: str, pid: int = 0, own: str | None = None) -> Invocation | None:
    """Returns the invocation of an active unit; None: no file tells.

    From the link that systemd keeps for its journal while the unit is up. With RestartMode=direct
    (systemd 254) a crash begins another invocation and leaves the link as it was: there the
    main process `pid` knows better, whose $INVOCATION_ID is `own`. It may have changed that.
    """
    link = f"{runtime}/systemd/units/invocation:{unit}"
    try:
        linked = Invocation(os.readlink(link), os.lstat(link).st_mtime)
    except OSError:
        return None
    if not pid or own in (None, linked.id):
        return linked
    seconds = age(pid)
    return None if seconds is None else Invocation("", time.time() - seconds)


def runs(pid: int, name: str) -> bool:
    """Whether a process of that number lives, and has the name on its command line."""
    try:
        return name.encode() in content(f"/proc/{pid}/cmdline")
    except OSError:
        return False


# One process, and never another that has its PID by then

PID_MAX = 1 << 22  # of Linux on 64 bits, proc(5)

# A descriptor of a folder in /proc stays that process's, also if another gets its PID (proc(5)).
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def folder(pid: int) -> Iterator[int]:
    """Holds the folder of a process in / Raises OSError and ValueError: there is none."""
    descriptor = os.open(f"/proc/{pid}", _FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Status(NamedTuple):
    """What /proc/PID/status says of a process's accounts and handlers; see Process.

    Not the owner of /proc/PID: that is root for a process that may not be dumped (proc(5)).
    """

    uids: frozenset[int]
    uid: int
    caught: int


def parse_status(status: bytes) -> Status:
    """Returns it; without accounts where it is cut off."""
    users = numbers(status, b"Uid")
    caught = signals(status, b"SigCgt")
    return Status(frozenset(users), users[1] if users else -1, caught)


def process(pid: int, *, program: bool = False) -> Process | None:
    """Returns who has this PID now, also a zombie; None: there is none.

    `program`: with its file and its command line.
    """
    executable, words = "", tuple[str, ...]()
    try:
        with folder(pid) as here:
            if program:
                with suppress(OSError):
                    executable = os.readlink("exe", dir_fd=here).removesuffix(DELETED)
                with suppress(OSError):
                    words = command_line(content("cmdline", here))
            stat = parse_stat(content("stat", here))
            status = parse_status(content("status", here))
    except (OSError, ValueError, IndexError):
        return None
    return Process(pid, stat.parent, stat.ticks, stat.state, stat.group, *status, executable, words)


def alive(pid: int) -> Process | None:
    """Returns who has this PID now; None: there is none, or it is a zombie."""
    holder = process(pid)
    return None if holder is None or holder.dead else holder


def same(before: Process, now: Process | None) -> bool:
    """Whether who has a PID now is the process that had it before, of the same accounts."""
    return now is not None and (now.identity, now.uids) == (before.identity, before.uids)


def ancestry() -> frozenset[int]:
    """Returns the PIDs of this process and of all above it: the shell, sudo, sshd, PID 1."""
    pids = {1, os.getpid()}
    process = alive(os.getpid())
    while process and process.parent not in pids | {0}:
        pids.add(process.parent)
        process = alive(process.parent)
    return frozenset(pids)
