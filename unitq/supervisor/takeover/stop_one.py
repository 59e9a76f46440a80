"""Stops one process of Supervisor's, so that no job is lost and no other takes its place.

How, and why so: strategy.py. An error on the way leaves the process to Supervisor as it was: what
is held is let go.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import UnitqError
from unitq.linux import files, pidfd, proc
from unitq.linux.proc import alive, process
from unitq.model import signals
from unitq.printable import one_line
from unitq.supervisor.takeover import process_tree
from unitq.supervisor.takeover.strategy import Way, between, way, workers_of
from unitq.supervisor.takeover.waiting import HandoverError, pause, wait_for_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from unitq.linux.pidfd import Handle
    from unitq.model.app import Worker
    from unitq.model.process import Process
    from unitq.presets.model import Preset
    from unitq.supervisor.conf.programs import Settings
    from unitq.supervisor.takeover.rpc import Info, Supervisord
    from unitq.supervisor.takeover.waiting import Steps

_TRIES = 10  # successors that have begun to work before they could be held
_ROUNDS = 5  # workers that a shell below the held one starts again
_PROOFS = 3  # looks at EXITED, with a turn of supervisord's loop between them
_READY = 10.0  # seconds in which a worker that has just begun gets its handlers
_ALONE = 2.0  # seconds in which a shell has nothing below it, and is taken to be done
_PROMPT = 10.0  # seconds for what takes no time: a SIGSTOP, a SIGKILL, supervisord's own notice
_PAUSE = 0.05
_MOMENT = 0.001
_REMAINS = 5.0  # seconds in which what a worker has started may end on its own
_SHOWN = 60  # characters of a command line
_GONE = ("STOPPED", "FATAL")


@dataclass(frozen=True, slots=True)
class Task:
    """One process, and what is known of it."""

    process: str  # group:name
    settings: Settings
    worker: Worker
    preset: Preset | None
    known: bool  # supervisord goes by the settings that are in the file now
    accounts: frozenset[int]  # user IDs that its processes run as

    @property
    def strict(self) -> bool:
        """Whether a process without a handler would lose a job."""
        return self.preset is not None

    @property
    def number(self) -> int:
        """The signal that lets it finish its job."""
        return signals.number(self.worker.stop_signal)


class Stopped(NamedTuple):
    """How a process ended."""

    signalled: tuple[int, ...]  # who got the signal
    left: tuple[Process, ...]  # what still lives of what Supervisor had started
    killed: bool = False  # Supervisor's own SIGKILL may have come first
    successors: int = 0  # that were started in between, and held before they could take a job


class Hold:
    """A process that is held by SIGSTOP."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._over = False
        handle.send(signal.SIGSTOP)

    def let_go(self) -> None:
        """Lets it run on, unless it was killed."""
        if not self._over:
            self._over = True
            with suppress(UnitqError):
                self._handle.send(signal.SIGCONT)

    def kill(self) -> None:
        """Kills it: it has no job, and Supervisor has been told to stop it."""
        self._over = True
        self._handle.send(signal.SIGKILL)


class StopProcess:
    """One process of supervisord's, on its way to its end."""

    def __init__(
        self,
        supervisord: Supervisord,
        notes: Path,
        say: Callable[[str], None],
        task: Task,
        beside: int,
    ) -> None:
        """`notes` is a folder that goes with the boot; `beside`: how many others are on their way.

        Each of these may be looked after when our successor begins.
        """
        self._supervisord = supervisord
        self._notes = notes
        self._say = say
        self._task = task
        self._name = task.process
        self._tries = _TRIES + beside
        self.ending = 0  # the PID of what will end, by the signal or with all below it; 0: nothing
        self._signalled: list[int] = []
        self._killed = False
        self._successors = 0

    def steps(self) -> Steps[Stopped]:
        """Ends the process; when this returns Supervisor starts none in its place."""
        top = 0
        for _ in range(self._tries):
            info = yield from self._current()
            if info is None:
                break
            top = info.pid
            yield from self._end(info.pid)
        else:
            raise HandoverError(
                f"{self._name}: Supervisor starts it again, and it takes jobs, faster than it can "
                "be held",
                hint=f"`supervisorctl stop {self._name}` when its queue is empty, then again",
            )
        left = yield from self._remains(top)
        return Stopped(tuple(self._signalled), left, self._killed, self._successors)

    def _current(self) -> Steps[Info | None]:
        """What there is to end; None: nothing, and nothing comes."""
        exited = 0
        while True:
            info = self._supervisord.info(self._name)
            if info.state in _GONE:
                return None
            if info.state == "EXITED":
                # It is started again in the turn of supervisord's loop that follows, or never.
                exited += 1
                if exited >= _PROOFS:
                    return None
                continue
            exited = 0
            if info.state == "BACKOFF":
                # There is no process now, so this only makes it STOPPED.
                self._supervisord.stop(self._name)
            elif info.state in ("STARTING", "RUNNING"):
                if info.pid:
                    return info
            elif info.state != "STOPPING":
                raise HandoverError(f"{self._name} is {info.state}, Supervisor says")
            yield from pause(_PAUSE)

    def _end(self, pid: int) -> Steps[None]:
        """Ends this process; the state is to be looked at again afterwards."""
        with _handle(pid) as top:
            if top is None:
                return
            yield from self._check(pid)
            members = yield from self._ready(pid)
            if not members:
                return
            task = self._task
            method = way(members, task.settings, task.worker, task.preset, known=task.known)
            if method is Way.HOLD:
                yield from self._hold(top)
            elif method is Way.STOP:
                yield from self._stop(top)
            else:
                yield from self._drain(top, members)

    # --- the three ways ---------------------------------------------------------------------------

    def _stop(self, top: Handle) -> Steps[None]:
        begun = monotonic()
        settings = self._task.settings
        self._say(f"{self._name}: Supervisor stops it, with {settings.stopsignal}")
        if not self._supervisord.stop(self._name):
            return
        self._signalled.append(top.pid)
        self.ending = top.pid
        yield from wait_for_end([top], None)
        self._killed = monotonic() - begun >= settings.stopwaitsecs
        yield from self._wait_for_supervisor()

    def _drain(self, top: Handle, members: tuple[Process, ...]) -> Steps[None]:
        self._signal_workers(members, "")
        yield from self._wait_for_job([top])
        while True:
            info = self._supervisord.info(self._name)
            if info.pid == top.pid:
                yield from pause(_MOMENT)  # it is not collected yet
                continue
            if info.state not in ("EXITED", "STARTING", "RUNNING"):
                return
            if not info.pid:
                if (yield from self._current()) is None:
                    return
                continue
            if (yield from self._catch(info.pid)) is not None:
                return

    def _catch(self, pid: int) -> Steps[bool | None]:
        """Whether the successor was stopped before it could take a job; None: look again."""
        with _handle(pid) as fresh:
            if fresh is None:
                return None
            yield from self._check(pid)
            with _holding(fresh) as hold:
                yield from _wait_for_hold(fresh)
                if proc.words_of(pid) == proc.words_of(self._supervisord.pid):
                    hold.let_go()
                    yield from pause(_MOMENT)  # supervisord's own copy, which becomes the program
                    return None
                if process_tree.has_begun_work(pid) or len(process_tree.below(pid)) > 1:
                    return False
                if not self._supervisord.stop(self._name):
                    return None
                hold.kill()
                self._successors += 1
                yield from _wait_for_kill(fresh)
        yield from self._wait_for_supervisor()
        return True

    def _hold(self, top: Handle) -> Steps[None]:
        task = self._task
        with _holding(top) as hold:
            yield from _wait_for_hold(top)
            for _ in range(_ROUNDS):
                members = process_tree.below(top.pid)
                workers = workers_of(members, task.number, strict=task.strict)
                if not workers:
                    break
                self._signal_workers(members, f"; the shell above it, PID {top.pid}, is held")
                with pidfd.hold(worker.pid for worker in workers) as handles:
                    yield from self._wait_for_job(handles.values())
            else:
                raise HandoverError(
                    f"{self._name}: a shell below PID {top.pid} starts the worker again and again"
                )
            alive_below = [member for member in members[1:] if not member.dead]
            if task.strict and not self._signalled and not all(map(between, alive_below)):
                raise _no_handler(task, alive_below)
            if not self._supervisord.stop(self._name):
                return
            hold.kill()
            yield from _wait_for_kill(top)
        yield from self._wait_for_supervisor()

    # --- steps ------------------------------------------------------------------------------------

    def _check(self, pid: int) -> Steps[None]:
        """Waits until a process is no copy of supervisord's any more, which is to become the
        program and its account; raises PreflightError where it is not what it should be."""
        begun = monotonic()
        daemon = self._supervisord.daemon
        while proc.words_of(pid) == proc.words_of(daemon.pid) and monotonic() - begun < _PROMPT:
            yield from pause(_MOMENT)
        process_tree.check_child(pid, daemon, self._task.accounts)

    def _ready(self, pid: int) -> Steps[tuple[Process, ...]]:
        """The process and all below it once a signal would reach a worker; empty: it has ended."""
        task, begun = self._task, monotonic()
        while True:
            members = process_tree.below(pid)
            if not members or members[0].dead:
                return ()
            if workers_of(members, task.number, strict=task.strict):
                return members
            living = [member for member in members if not member.dead]
            waited = monotonic() - begun
            if members[0].held and len(living) == 1:
                return members  # by an earlier takeover, and its worker has ended
            if all(map(between, living)) and waited > _ALONE:
                return members
            if waited > _READY:
                raise _no_handler(task, living)
            yield from pause(_PAUSE)

    def _signal_workers(self, members: tuple[Process, ...], also: str) -> None:
        """Sends the signal to the workers that have not got it from an earlier takeover."""
        task = self._task
        for worker in workers_of(members, task.number, strict=task.strict):
            before = self._was_signalled(worker)
            self._signalled.append(worker.pid)
            self.ending = members[0].pid
            what = f"PID {worker.pid} ({one_line(' '.join(worker.words))[:_SHOWN]})"
            if before:
                self._say(f"{self._name}: {what} finishes its job already{also}")
                continue
            with _handle(worker.pid) as handle:
                if handle is None or not self._is_still(worker):
                    continue
                self._note(worker)
                self._say(f"{self._name}: {task.worker.stop_signal} to {what}{also}")
                handle.send(task.number)

    def _is_still(self, worker: Process) -> bool:
        """Whether what has this PID, now that it is held, is what was looked at.

        Raises PreflightError where it runs as another account than the program.
        """
        now = alive(worker.pid)
        if now is None or now.identity != worker.identity:
            return False
        process_tree.check_account(now, self._task.accounts)
        return True

    def _was_signalled(self, worker: Process) -> bool:
        """Some frameworks kill the job at the second signal."""
        try:
            return os.readlink(self._notes / str(worker.pid)) == str(worker.ticks)
        except OSError:
            return False

    def _note(self, worker: Process) -> None:
        with files.preflight_errors("cannot note who got the signal"):
            files.folder(self._notes)
            files.link(self._notes / str(worker.pid), str(worker.ticks), synced=False)

    def _wait_for_supervisor(self) -> Steps[None]:
        """Waits until supervisord has noticed the end."""
        begun = monotonic()
        while self._supervisord.info(self._name).state == "STOPPING":
            if monotonic() - begun > _PROMPT:
                raise HandoverError(f"{self._name} is STOPPING, though its process has ended")
            yield from pause(_PAUSE)

    def _remains(self, top: int) -> Steps[tuple[Process, ...]]:
        """What lives on; nothing is done to it."""
        begun = monotonic()
        while True:
            living = process_tree.relatives(self._name, top)
            if not living or monotonic() - begun > _REMAINS:
                return living
            yield from pause(_PAUSE)

    def _wait_for_job(self, handles: Iterable[Handle]) -> Steps[None]:
        """Waits until all have ended, for as long as their job may take."""
        worker = self._task.worker
        rest = yield from wait_for_end(handles, worker.stop_timeout.seconds)
        if rest:
            pids = ", ".join(f"PID {handle.pid}" for handle in rest)
            raise HandoverError(
                f"{self._name}: {pids} still works, {worker.stop_timeout} after "
                f"{worker.stop_signal}: its stop_timeout",
                hint="nothing was killed; once it has ended Supervisor starts another, and the "
                "same command continues",
            )


@contextmanager
def _handle(pid: int) -> Iterator[Handle | None]:
    with pidfd.hold((pid,)) as held:
        yield held.get(pid)


@contextmanager
def _holding(handle: Handle) -> Iterator[Hold]:
    """Holds a process by SIGSTOP; lets it go at the end, unless it was killed."""
    hold = Hold(handle)
    try:
        yield hold
    finally:
        hold.let_go()


def _wait_for_hold(handle: Handle) -> Steps[None]:
    """Waits until a process that got SIGSTOP is held, or has ended."""
    begun = monotonic()
    while (now := process(handle.pid)) and not (now.held or now.dead):
        if monotonic() - begun > _PROMPT:
            raise HandoverError(f"PID {handle.pid} cannot be held: it is in state {now.state}")
        yield from pause(_MOMENT)


def _wait_for_kill(handle: Handle) -> Steps[None]:
    """Waits for the end of what got SIGKILL."""
    if (yield from wait_for_end([handle], _PROMPT)):
        raise HandoverError(f"PID {handle.pid} does not end, though it got SIGKILL")


def _no_handler(task: Task, living: list[Process]) -> HandoverError:
    pids = ", ".join(str(member.pid) for member in living)
    return HandoverError(
        f"{task.process}: none of its processes ({pids}) has a handler for "
        f"{task.worker.stop_signal}, and they would die of it",
        hint="is `preset` in unitq.toml the right one? SigCgt in /proc/PID/status says which "
        "signals a process handles",
    )
