"""Hooks: an operator's programs that unitq runs around a deploy. They inherit nothing of ours."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from unitq.errors import UnitqError
from unitq.linux import changes, programs
from unitq.linux.account import account as find_account
from unitq.linux.trust import absolute
from unitq.model import signals

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import PurePath

    from unitq.model.app import Hook

TAIL = 64 * 1024  # bytes of its output that are kept
GRACE = 5.0  # seconds between SIGTERM and SIGKILL

_PART = 64 * 1024
# What one that has ended has left in the pipe is no more than the pipe holds; what a daemon of its
# own goes on to write is nothing to wait for.
_PARTS = 16


class HookError(UnitqError):
    """A hook cannot be started."""


@dataclass(frozen=True, slots=True)
class HookResult:
    """What became of a hook: exactly one of `code`, `signal` is there."""

    code: int | None
    signal: int | None
    timed_out: bool
    seconds: float
    output: str  # standard output and error, the last 64 KiB

    @property
    def ok(self) -> bool:
        """Whether it did what it was run for."""
        return self.code == 0 and not self.timed_out

    def __str__(self) -> str:
        if self.timed_out:
            return f"not done in time: ended after {self.seconds:.1f} s"
        if self.signal is None:
            return f"exit status {self.code}"
        return f"ended by {signals.name(self.signal)}"


def program(hook: Hook, directory: PurePath) -> Path:
    """Returns the file that the hook runs; `directory` is the one of unitq.toml."""
    return Path(absolute(directory)) / hook.command[0]


def run(hook: Hook, document: Mapping[str, object], *, directory: PurePath) -> HookResult:
    """Runs the hook in `directory`, the document as JSON on its standard input, and waits.

    It gets a session of its own, so that a Ctrl-C is not for it, and no file descriptor of ours:
    a daemon that it leaves behind keeps no lock, is not waited for, and lives on. Only what takes
    longer than the time limit is ended, with all of its process group. Raises HookError where it
    cannot be started; nothing that it does is an error here.
    """
    path = program(hook, directory)
    rights = _rights(hook)
    begun = monotonic()
    with os.fdopen(os.memfd_create("unitq-hook"), "wb", buffering=0) as stdin:
        # A file and no pipe: nobody has to wait until it is read, or to hear that it is not.
        stdin.write(f"{json.dumps(document)}\n".encode())
        stdin.seek(0)
        changes.note()
        try:
            process = subprocess.Popen(
                hook.command,
                executable=path,
                cwd=directory,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                bufsize=0,
                **rights,
            )
        except OSError as error:
            raise HookError(
                f"hook {path} cannot be started: {error.strerror}",
                hint="it must be an executable file, and so must the program that its first "
                "line names after #!",
            ) from error
    assert process.stdout
    with process.stdout as stdout:
        os.set_blocking(stdout.fileno(), False)
        output = _Tail(stdout.fileno())
        try:
            in_time = _wait_for_end(process, output, begun + hook.timeout.seconds)
            if not in_time:
                _end(process, output)
            output.rest()
        finally:
            if process.poll() is None:  # only on our own way out
                _signal(process, signal.SIGKILL)
                process.wait()
    status = process.returncode
    return HookResult(
        code=status if status >= 0 else None,
        signal=-status if status < 0 else None,
        timed_out=not in_time,
        seconds=monotonic() - begun,
        output=output.text,
    )


def _rights(hook: Hook) -> dict[str, Any]:
    """Returns what Popen needs to give it its account's rights, and nothing of our environment."""
    if hook.user is None:
        return {"env": programs.environment(whole=True)}
    try:
        account = find_account(hook.user)
    except LookupError as error:
        raise HookError(f"hook {hook.command[0]}: there is no account {hook.user}") from error
    return {
        "user": account.uid,
        "group": account.gid,
        "extra_groups": account.groups,
        "umask": 0o022,
        "env": account.environment,
    }


class _Tail:
    """The end of what comes through a pipe that does not block."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.open = True
        self._kept = b""

    def read(self) -> bool:
        """Reads what can be read now; returns whether there was anything."""
        try:
            part = os.read(self.descriptor, _PART)
        except BlockingIOError:
            return False
        self.open = part != b""
        self._kept = (self._kept + part)[-TAIL:]
        return self.open

    def rest(self) -> None:
        """Takes what is left, and waits for nothing more."""
        for _ in range(_PARTS):
            if not self.read():
                return

    @property
    def text(self) -> str:
        return self._kept.decode(errors="replace")


def _wait_for_end(process: subprocess.Popen[bytes], output: _Tail, until: float) -> bool:
    """Reads until the process has ended, or until that time: then false. It is not reaped yet."""
    pidfd = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.register(output.descriptor, select.POLLIN)
        while True:
            left = until - monotonic()
            ready = {descriptor for descriptor, _ in poll.poll(max(0.0, left * 1000))}
            if pidfd in ready:
                return True
            if left <= 0:
                return False
            if output.descriptor in ready:
                output.read()
                if not output.open:
                    poll.unregister(output.descriptor)  # it has closed it, and goes on
    finally:
        os.close(pidfd)


def _end(process: subprocess.Popen[bytes], output: _Tail) -> None:
    """SIGTERM, and SIGKILL for what is left of its group once it has ended, or has not in time."""
    _signal(process, signal.SIGTERM)
    _wait_for_end(process, output, monotonic() + GRACE)
    # Until it is reaped, nobody else can have its number.
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
