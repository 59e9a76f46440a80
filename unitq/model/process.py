"""A process, as a value: what the kernel tells of it. linux/process.py reads it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Process:
    """A process, as the kernel shows it. What may not be read, or was not, is empty."""

    pid: int
    parent: int
    ticks: int  # of the clock from the boot to its start: with the PID it is this one and no other
    state: str = ""  # S, R, T, Z … (proc(5))
    group: int = 0
    uids: frozenset[int] = frozenset()  # real, effective, saved and of the file system
    uid: int = -1  # the effective one
    caught: int = 0  # the signals that it has a handler for, bit 0 is signal 1 (SigCgt)
    executable: str = ""
    words: tuple[str, ...] = ()  # its command line, which it may have written a title over
    # Only orphans/process_table.py reads these:
    began: float = 0.0  # seconds since 1970
    cgroup: str = ""
    directory: str = ""  # of this host's file system, also one that is deleted
    deleted: bool = False  # that directory is
    paths: tuple[str, ...] = ()  # of its script: as written, and with links followed
    moved: bool = False  # a link on the way to the script was made after the process began
    environment: Mapping[str, str] = field(default_factory=dict)  # those variables that tell
    app: str = ""  # of unitq's, that it was started for
    revision: str = ""
    contained: bool = False  # it has PIDs of its own
    inner: int = 0  # the one that it takes for its own, if so; 0: not known

    @property
    def identity(self) -> tuple[int, int]:
        """What makes it this one and no other that has its PID."""
        return self.pid, self.ticks

    @property
    def dead(self) -> bool:
        """Ended, and only not collected yet."""
        return self.state in ("Z", "X")

    @property
    def held(self) -> bool:
        """Stopped by SIGSTOP."""
        return self.state in ("T", "t")

    def catches(self, number: int) -> bool:
        """Whether it has a handler for a signal."""
        return bool(self.caught >> (number - 1) & 1)
