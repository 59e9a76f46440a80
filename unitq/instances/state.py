"""An instance as it is observed: how its process ended, and why it does not run."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline.wrappers import SHELLS, wrapper_of
from unitq.model import signals
from unitq.systemd.exit_status import (
    AT_STOP_TIMEOUT,
    RESULTS,
    End,
    Ending,
    exit_status,
    result,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


# waitid(2): how ExecMainCode says that a process ended.
EXITED, _KILLED, _DUMPED = 1, 2, 3

# SubStates in which systemd has reached for SIGKILL (systemd's service-state table).
_KILLING = frozenset({"stop-sigkill", "final-sigkill"})

# SubStates in which systemd stops a service because it was told to. A service whose main process
# ends by itself may show them too, for what it leaves behind; but then without a main process.
STOPPING = frozenset({"stop", "stop-sigterm", "stop-sigkill"})


class Wrapper(NamedTuple):
    """A main process that is no worker, but has one below it."""

    program: str  # bash, watchmedo
    kills: bool = False  # it ends what is below it when it is told to stop, and exits as it likes
    # Signals that all processes below it have a handler for: bit 0 is signal 1 (proc(5), SigCgt).
    caught: int = 0

    def handled(self, number: int) -> bool:
        """Whether a signal ends none of them: each has a handler for it."""
        return bool(self.caught >> (number - 1) & 1)


def wrapper(names: Iterable[str], caught: int) -> Wrapper | None:
    """Returns what a main process with processes below it is; None: the worker itself.

    `names` are those of its interpreter and its program. What passes a signal on is no wrapper: it
    ends with the worker, and as the worker did.
    """
    for name in names:
        row = wrapper_of(name)
        if name in SHELLS:
            return Wrapper(name, caught=caught)
        if row is not None and row.keeps:
            return Wrapper(name, kills=bool(row.kills_on), caught=caught)
    return None


class UnsafeStop(NamedTuple):
    """A worker that the stop signal of its unit does not reach, or that gets no time after it."""

    wrapper: Wrapper  # its unit's main process
    worker: str  # the program below it: php
    signal: str  # SIGQUIT

    def words(self, pid: int) -> str:
        """Returns what is wrong, of a main process with this PID."""
        main = f"its main process is {self.wrapper.program} (PID {pid})"
        if self.wrapper.kills:
            return f"{main}, which soon ends {self.worker} below it once it gets {self.signal}"
        return f"{main}; {self.worker} below it does not get {self.signal}"


def unsafe_stop(
    wrapper: Wrapper, worker: str, number: int, *, mixed: bool, caught: int
) -> UnsafeStop | None:
    """Returns what keeps the stop signal from a worker below a wrapper; None: nothing is known.

    `mixed`: only the main process gets the signal (systemd.kill(5)); `caught` are the signals that
    the main process handles, as Wrapper.caught. What handles a signal may pass it on: bash, dash
    and zsh handle some for their own purposes only (CHLD, WINCH, HUP; INT while they wait), unless
    a script has a `trap` (measured).
    """
    traps = number != signal.SIGINT and bool(caught >> (number - 1) & 1)
    if wrapper.kills or (mixed and not traps):
        return UnsafeStop(wrapper, worker, signals.name(number))
    return None


# Their arguments name the program: python3 /usr/bin/watchmedo, node /usr/bin/nodemon.
_INTERPRETERS = frozenset({"python", "pypy", "ruby", "node", "nodejs", "perl"})


def program_names(words: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of a process by its words: its program, and its interpreter's script."""
    if not words:
        return ()
    name = words[0].rpartition("/")[2].lstrip("-")
    script = next((word for word in words[1:] if not word.startswith("-")), "")
    if not script or name.rstrip("0123456789.") not in _INTERPRETERS:
        return (name,)
    # As a module too: `python -m watchdog.watchmedo`.
    inner = script.rpartition("/")[2]
    return name, inner, inner.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Observed:
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
    wrapper: Wrapper | None = None  # since it was told to stop: what its main process is
    elsewhere: str = ""  # where the worker runs that has left its unit, in words
    unsafe_stop: UnsafeStop | None = None  # since it was about to be called healthy

    @property
    def serving(self) -> bool:
        """Takes jobs, as far as systemd can tell."""
        return self.active == "active" and self.sub == "running"

    @property
    def down(self) -> bool:
        """Whether it does not run, and nothing is about to start it."""
        return self.active in ("inactive", "failed") and not self.job

    @property
    def stop_requested(self) -> bool:
        """Whether systemd stops it because of an order: it is being stopped, and did nothing wrong.

        Also in the first half of a restart. Not after a crash, an exit, a time-out, an OOM kill.
        """
        stops = self.active == "deactivating" and self.sub in STOPPING
        return stops and bool(self.pid) and self.result == "success"


# What a worker that ended unasked had left running; systemd/journal.py names them.
LEFT_BEHIND = "it left processes behind, which systemd killed"


def ending_of(seen: Observed) -> Ending | None:
    """Returns how the process of this invocation ended; None: not known (yet).

    systemd sends SIGKILL to what is left of a worker whenever its main process has ended; only
    `Result=timeout` says that stop_timeout was over before (systemd's service_dispatch_timer).
    """
    killing = seen.sub in _KILLING
    timed_out = seen.result == "timeout"
    if killing and not seen.code:
        return Ending(End.KILLED, AT_STOP_TIMEOUT)  # its main process is still there
    if timed_out and (seen.status == signal.SIGKILL or (seen.wrapper and seen.code)):
        return Ending(End.KILLED, AT_STOP_TIMEOUT)
    if killing and seen.wrapper and seen.code:
        return Ending(End.KILLED, f"SIGKILL when {seen.wrapper.program} above it had ended")
    if seen.wrapper and seen.wrapper.kills and seen.code and seen.status != signal.SIGKILL:
        program = seen.wrapper.program
        return Ending(
            End.UNKNOWN,
            f"{program} ended the worker below it, and nobody saw whether its job was finished",
        )
    if seen.code == EXITED:
        return _after_exit(seen, left=killing or timed_out)
    if seen.code in (_KILLED, _DUMPED):
        if seen.status == signal.SIGKILL:
            return Ending(End.KILLED, "died of SIGKILL")
        clean = seen.result == "success" and seen.active in ("deactivating", "inactive")
        if clean and seen.wrapper and seen.wrapper.handled(seen.status):
            # The shell died of the signal, the worker below it has a handler for it.
            return Ending(End.DRAINED)
        return Ending(End.DIED, f"died of {signals.name(seen.status)}")
    return None


def left_behind(killed: Sequence[tuple[str, str]]) -> Ending:
    """Returns how a worker ended that left these behind: PID and name of each that was killed."""
    named = ", ".join(f"PID {pid} ({name})" for pid, name in killed)
    words = f"it left {named} behind, killed by systemd" if named else LEFT_BEHIND
    return Ending(End.DRAINED, words)


def _after_exit(seen: Observed, *, left: bool) -> Ending:
    # With another status it is a success if the unit says so (SuccessExitStatus=). The result
    # is forgotten when the next start begins, the status a moment later.
    success = seen.result == "success" and seen.active in ("deactivating", "inactive")
    if seen.status == 0 or success:
        return Ending(End.DRAINED, LEFT_BEHIND if left else "")
    return Ending(End.DIED, f"exited with status {seen.status}")


def failure(seen: Observed) -> str:
    """Returns why a process is not running, in words."""
    if seen.result in RESULTS:
        return RESULTS[seen.result]
    if seen.code == EXITED:
        return exit_status(seen.status)
    if seen.code in (_KILLED, _DUMPED):
        return f"died of {signals.name(seen.status)}"
    if seen.result != "success":
        return result(seen.result)
    return f"it is {seen.active} ({seen.sub})"
