"""Processes that should not be there: outside the app's slice, or started from an old revision.

A worker may overwrite what /proc shows of its command line and its environment (php-resque does:
its process title runs over both), a daemon changes its parent, session and directory. So a test
looks by several marks at once and takes what any of them finds.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

MARK = "TEST_MARK_OF_UNITQ"

_STDIN = re.compile(r"/revisions/(?P<revision>[^/]+)/[^/]+/stdin")


@dataclass(frozen=True, slots=True)
class Process:
    """A living process, as /proc shows it. What we may not read is empty."""

    pid: int
    parent: int
    command: tuple[str, ...]
    cgroup: str
    """The path in the cgroup v2 tree, from the root that this mount namespace sees."""
    directory: str
    stdin: str
    """What descriptor 0 is open on: it survives a process title, and is inherited."""
    environment: Mapping[str, str] = field(repr=False)

    @property
    def mark(self) -> str:
        """The test that it belongs to."""
        return self.environment.get(MARK, "")

    @property
    def revision(self) -> str:
        """The revision that its environment names; where that is overwritten, its stdin's path."""
        named = self.environment.get("UNITQ_REVISION", "")
        found = _STDIN.search(self.stdin)
        return named or (found["revision"] if found else "")

    def below(self, cgroup: str) -> bool:
        """Whether it lives in this cgroup or below."""
        return f"{self.cgroup}/".startswith(f"/{cgroup.strip('/')}/")


def find(
    *,
    mark: str = "",
    commands: Collection[str] = (),
    cgroup: str = "",
    directory: Path | None = None,
) -> tuple[Process, ...]:
    """The processes that any of the marks fits; this one and its parents are left out.

    `mark` is the value of the variable MARK, `commands` are parts of the command line, `cgroup` is
    a slice's path, `directory` one that the process works in or below.
    """
    ours = set(_lineage(os.getpid()))

    def fits(process: Process) -> bool:
        line = " ".join(process.command)
        return (
            (mark != "" and process.mark == mark)
            or any(part in line for part in commands)
            or (cgroup != "" and process.below(cgroup))
            # A directory that was removed meanwhile reads "/srv/shop/1 (deleted)".
            or (directory is not None and f"{process.directory}/".startswith(f"{directory}/"))
            or (directory is not None and process.directory == f"{directory} (deleted)")
        )

    return tuple(each for each in every() if each.pid not in ours and fits(each))


def every() -> Iterator[Process]:
    """Every process of this PID namespace that is no zombie."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            process = _process(int(entry.name))
            if process is not None:
                yield process


def outside(processes: Sequence[Process], cgroup: str) -> tuple[Process, ...]:
    """Those that live elsewhere than in the app's slice or below it."""
    return tuple(each for each in processes if not each.below(cgroup))


def not_of_revision(processes: Sequence[Process], *revisions: str) -> tuple[Process, ...]:
    """Those started from another revision than these, or from one that nothing tells."""
    return tuple(each for each in processes if each.revision not in revisions)


def own_cgroup() -> str:
    """Where this very process lives."""
    process = _process(os.getpid())
    assert process is not None
    return process.cgroup


def slice_path(app: str, manager: str = "") -> str:
    """The cgroup of an app's slice. `manager` is that of a user's manager, if it is one."""
    escaped = app.replace("-", r"\x2d")
    return f"{manager.rstrip('/')}/unitq.slice/unitq-{escaped}.slice"


def wait_gone(look: Callable[[], Sequence[Process]], timeout: float) -> tuple[Process, ...]:
    """Look until nothing is found; what is still there at the end is returned."""
    deadline = time.monotonic() + timeout
    while True:
        found = tuple(look())
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.02)


def _process(pid: int) -> Process | None:
    root = Path("/proc", str(pid))
    try:
        # The name in parentheses may hold anything, blanks and ")" too.
        state, parent, *_ = (root / "stat").read_text(errors="replace").rpartition(")")[2].split()
        if state in "ZX":
            return None
        lines = (root / "cgroup").read_text().splitlines()
    except OSError:
        return None
    cgroup = next((line[3:] for line in lines if line.startswith("0::")), "")
    pairs = (item.partition("=") for item in _strings(root / "environ") if not item.startswith("="))
    process = Process(
        pid=pid,
        parent=int(parent),
        command=_strings(root / "cmdline"),
        cgroup=cgroup,
        directory=_link(root / "cwd"),
        stdin=_link(root / "fd" / "0"),
        environment={name: value for name, sign, value in pairs if sign},
    )
    # Asked last: what ended while it was being read would be a process without a past.
    return process if _runs_a_program(root) else None


def _runs_a_program(root: Path) -> bool:
    """Not a kernel thread, and not on its way out: then its memory goes first (do_exit)."""
    try:
        (root / "exe").readlink()
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _strings(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_bytes().decode(errors="surrogateescape")
    except OSError:
        return ()
    return tuple(text.rstrip("\0").split("\0")) if text else ()


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _lineage(pid: int) -> Iterator[int]:
    while pid > 0:
        yield pid
        process = _process(pid)
        pid = process.parent if process else 0
