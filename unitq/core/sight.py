"""An instance as it is seen, and what that says: how a process ended, why one is not there."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import StrEnum


class End(StrEnum):
    """How an old process ended."""

    DRAINED = "drained"  # exited by itself after the stop signal
    KILLED = "killed"  # SIGKILL, at stop_timeout or by somebody else
    DIED = "died"  # of the stop signal itself, or with an error: its job may be lost
    UNKNOWN = "unknown"  # nobody saw it


# waitid(2): how ExecMainCode says that a process ended.
EXITED, _KILLED, _DUMPED = 1, 2, 3

# SubStates in which systemd has reached for SIGKILL (systemd's service-state table).
_KILLING = frozenset({"stop-sigkill", "final-sigkill"})

# SubStates in which systemd stops a service because it was told to. A service whose main process
# ends by itself may show them too, for what it leaves behind; but then without a main process.
_STOPPING = frozenset({"stop", "stop-sigterm", "stop-sigkill"})

# systemd.exec(5), "Process exit codes": what went wrong before the worker's own code ran.
_SETUP = {
    200: "the working directory cannot be entered (200/CHDIR)",
    203: "the command cannot be executed (203/EXEC)",
    208: "the standard input cannot be opened (208/STDIN)",
    216: "the group does not exist (216/GROUP)",
    217: "the user does not exist (217/USER)",
    226: "the mount namespace cannot be set up (226/NAMESPACE)",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """An instance as systemd and /proc show it now."""

    active: str = "inactive"  # ActiveState
    sub: str = "dead"  # SubState
    job: bool = False  # the unit job that we ordered is not done yet
    invocation: str = ""
    pid: int = 0
    since: float = 0.0  # CLOCK_MONOTONIC seconds when it became active
    revision: str | None = None
    result: str = "success"
    code: int = 0  # ExecMainCode
    status: int = 0  # ExecMainStatus

    @property
    def serving(self) -> bool:
        """Takes jobs, as far as systemd can tell."""
        return self.active == "active" and self.sub == "running"

    @property
    def down(self) -> bool:
        """Not there, and nothing is about to start it."""
        return self.active in ("inactive", "failed") and not self.job

    @property
    def told_to_stop(self) -> bool:
        """Whether somebody told systemd to stop it: it is being stopped, and did nothing wrong.

        Also in the first half of a restart. Not after a crash, an exit, a time-out, an OOM kill.
        """
        told = self.active == "deactivating" and self.sub in _STOPPING
        return told and bool(self.pid) and self.result == "success"


@dataclass(frozen=True, slots=True)
class Ending:
    """How the old process of an instance ended, in words too."""

    end: End
    detail: str = ""


def ending_of(seen: Seen) -> Ending | None:
    """How the process of this invocation ended; None: not to be seen (yet)."""
    if seen.sub in _KILLING or seen.result == "timeout":
        return Ending(End.KILLED, "SIGKILL at stop_timeout")
    if seen.code == EXITED:
        # With another status it is a success if the unit says so (SuccessExitStatus=). The result
        # is forgotten when the next start begins, the status a moment later.
        success = seen.result == "success" and seen.active in ("deactivating", "inactive")
        if seen.status == 0 or success:
            return Ending(End.DRAINED)
        return Ending(End.DIED, f"exited with status {seen.status}")
    if seen.code in (_KILLED, _DUMPED):
        end = End.KILLED if seen.status == signal.SIGKILL else End.DIED
        return Ending(end, f"died of {signal_name(seen.status)}")
    return None


def failure(seen: Seen) -> str:
    """Why a process is not running, in words."""
    if seen.result == "start-limit-hit":
        return "it crashed too often in too short a time (start-limit-hit)"
    if seen.result == "oom-kill":
        return "it ran out of memory (oom-kill)"
    if seen.result == "timeout":
        return "systemd gave up on it (timeout)"
    if seen.code == EXITED:
        return _SETUP.get(seen.status, f"exited with status {seen.status}")
    if seen.code in (_KILLED, _DUMPED):
        return f"died of {signal_name(seen.status)}"
    if seen.result != "success":
        return f"systemd says: {seen.result}"
    return f"it is {seen.active} ({seen.sub})"


def signal_name(number: int) -> str:
    """`SIGQUIT` for 3."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
