"""Brings one process of Supervisor's to its end, so that no job is lost and none takes its place.

How, and why so: strategy.py. Whatever ends this early leaves the process to Supervisor as it
was: what is held is let go.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from unitq.linux import files, pidfd, proc
from unitq.linux.process import alive, process
from unitq.model import signals
from unitq.printable import one_line
from unitq.supervisor.takeover import process_tree
from unitq.supervisor.takeover.process_tree import Hold
from unitq.supervisor.takeover.strategy import Way, between, way, workers_of
from unitq.supervisor.takeover.waiting import HandoverError, gone, pause

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
_LEFT = 5.0  # seconds in which what was left may end by itself
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


class Ended(NamedTuple):
    """How it went."""

    told: tuple[int, ...]  # who got the signal
    left: tuple[Process, ...]  # what still lives of what Supervisor had started
    killed: bool = False  # Supervisor's own SIGKILL may have come first
    successors: int = 0  # that were started in between, and held before they could take a job


class Ending:
    """One process of supervisord's, on its way."""

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
        self._tries = _TRIES + beside
        self.ends = 0  # the PID of what will end, as it was told to, or all below it; 0: nothing
        self._told: list[int] = []
        self._killed = False
        self._successors = 0

    def steps(self) -> Steps[Ended]:
        """Ends the process; when this returns Supervisor starts none in its place."""
        top = 0
        for _ in range(self._tries):
            info = yield from self._settled()
            if info is None:
                break
            top = info.pid
            yield from self._one(info.pid)
        else:
            raise HandoverError(
                f"{self._task.process}: Supervisor starts it again, and it takes jobs, faster than "
                "it can be held",
                hint=f"`supervisorctl stop {self._task.process}` when its queue is empty, then "
                "again",
            )
        left = yield from self._left(top)
        return Ended(tuple(self._told), left, self._killed, self._successors)

    def _settled(self) -> Steps[Info | None]:
        """What there is to end; None: nothing, and nothing comes."""
        exited = 0
        while True:
            info = self._supervisord.info(self._task.process)
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
                self._supervisord.stop(self._task.process)
            elif info.state in ("STARTING", "RUNNING"):
                if info.pid:
                    return info
            elif info.state != "STOPPING":
                raise HandoverError(f"{self._task.process} is {info.state}, Supervisor says")
            yield from pause(_PAUSE)

    def _one(self, pid: int) -> Steps[None]:
        """Ends this process; the state is to be looked at again afterwards."""
        with self._handle(pid) as top:
            if top is None:
                return
            yield from self._belongs(pid)
            members = yield from self._ready(pid)
            if not members:
                return
            task = self._task
            found = way(members, task.settings, task.worker, task.preset, known=task.known)
            if found is Way.HOLD:
                yield from self._hold(top)
            elif found is Way.STOP:
                yield from self._stop(top)
            else:
                yield from self._drain(top, members)

    # --- the three ways ---------------------------------------------------------------------------

    def _stop(self, top: Handle) -> Steps[None]:
        begun = monotonic()
        settings = self._task.settings
        self._say(f"{self._task.process}: Supervisor stops it, with {settings.stopsignal}")
        if not self._supervisord.stop(self._task.process):
            return
        self._told.append(top.pid)
        self.ends = top.pid
        yield from gone([top], None)
        self._killed = monotonic() - begun >= settings.stopwaitsecs
        yield from self._stopped()

    def _drain(self, top: Handle, members: tuple[Process, ...]) -> Steps[None]:
        self._tell(members, "")
        yield from self._finished([top])
        while True:
            info = self._supervisord.info(self._task.process)
            if info.pid == top.pid:
                yield from pause(_MOMENT)  # it is not collected yet
                continue
            if info.state not in ("EXITED", "STARTING", "RUNNING"):
                return
            if not info.pid:
                if (yield from self._settled()) is None:
                    return
                continue
            if (yield from self._caught(info.pid)) is not None:
                return

    def _caught(self, pid: int) -> Steps[bool | None]:
        """Whether the successor was stopped before it could take a job; None: look again."""
        with self._handle(pid) as fresh:
            if fresh is None:
                return None
            yield from self._belongs(pid)
            with self._held(fresh) as hold:
                yield from self._stands(fresh)
                if proc.words_of(pid) == proc.words_of(self._supervisord.pid):
                    hold.let_go()
                    yield from pause(_MOMENT)  # it is supervisord's own copy, and becomes ours
                    return None
                if process_tree.has_begun_work(pid) or len(process_tree.below(pid)) > 1:
                    return False
                if not self._supervisord.stop(self._task.process):
                    return None
                hold.end()
                self._successors += 1
                yield from self._ended(fresh)
        yield from self._stopped()
        return True

    def _hold(self, top: Handle) -> Steps[None]:
        with self._held(top) as hold:
            yield from self._stands(top)
            for _ in range(_ROUNDS):
                members = process_tree.below(top.pid)
                workers = workers_of(members, self._task.number, strict=self._task.strict)
                if not workers:
                    break
                self._tell(members, f"; the shell above it, PID {top.pid}, is held")
                with pidfd.hold(one.pid for one in workers) as handles:
                    yield from self._finished(handles.values())
            else:
                raise HandoverError(
                    f"{self._task.process}: a shell below PID {top.pid} starts the worker again "
                    "and again"
                )
            alive = [one for one in members[1:] if not one.dead]
            nobody = not self._told
            if self._task.strict and nobody and any(not between(one) for one in alive):
                raise _no_handler(self._task, alive)
            if not self._supervisord.stop(self._task.process):
                return
            hold.end()
            yield from self._ended(top)
        yield from self._stopped()

    # --- steps ------------------------------------------------------------------------------------

    def _belongs(self, pid: int) -> Steps[None]:
        """Waits until a process is no copy of supervisord's any more, which is to become the
        program and its account; raises PreflightError where it is not what it should be."""
        begun = monotonic()
        daemon = self._supervisord.daemon
        while proc.words_of(pid) == proc.words_of(daemon.pid) and monotonic() - begun < _PROMPT:
            yield from pause(_MOMENT)
        process_tree.belongs(pid, daemon, self._task.accounts)

    def _ready(self, pid: int) -> Steps[tuple[Process, ...]]:
        """The family once somebody in it can be told; nothing where it has ended."""
        begun = monotonic()
        while True:
            members = process_tree.below(pid)
            if not members or members[0].dead:
                return ()
            alive = [one for one in members if not one.dead]
            if workers_of(members, self._task.number, strict=self._task.strict):
                return members
            waited = monotonic() - begun
            if members[0].held and len(alive) == 1:
                return members  # by an earlier takeover, and its worker has ended
            if all(between(one) for one in alive) and waited > _ALONE:
                return members
            if waited > _READY:
                raise _no_handler(self._task, alive)
            yield from pause(_PAUSE)

    def _tell(self, members: tuple[Process, ...], also: str) -> None:
        """Sends the signal to the workers that have not got it from an earlier takeover."""
        task = self._task
        for one in workers_of(members, task.number, strict=task.strict):
            before = self._was_told(one)
            self._told.append(one.pid)
            self.ends = members[0].pid
            what = one_line(" ".join(one.words))[:_SHOWN]
            if before:
                self._say(f"{task.process}: PID {one.pid} ({what}) finishes its job already{also}")
                continue
            with self._handle(one.pid) as handle:
                if handle is None or not self._is_still(one):
                    continue
                self._note(one)
                self._say(
                    f"{task.process}: {task.worker.stop_signal} to PID {one.pid} ({what}){also}"
                )
                handle.send(task.number)

    def _is_still(self, one: Process) -> bool:
        """Whether what has this PID, now that it is held, is what was looked at.

        Raises PreflightError where it runs as another account than the program.
        """
        found = alive(one.pid)
        if found is None or found.identity != one.identity:
            return False
        process_tree.allowed(found, self._task.accounts)
        return True

    def _was_told(self, one: Process) -> bool:
        """Some frameworks kill the job at the second signal."""
        try:
            return os.readlink(self._notes / str(one.pid)) == str(one.ticks)
        except OSError:
            return False

    def _note(self, one: Process) -> None:
        with files.preflight_errors("cannot note who was told"):
            files.folder(self._notes)
            files.link(self._notes / str(one.pid), str(one.ticks), synced=False)

    def _stopped(self) -> Steps[None]:
        """Waits until supervisord has noticed."""
        begun = monotonic()
        process = self._task.process
        while self._supervisord.info(process).state == "STOPPING":
            if monotonic() - begun > _PROMPT:
                raise HandoverError(f"{process} is STOPPING, though its process has ended")
            yield from pause(_PAUSE)

    def _left(self, top: int) -> Steps[tuple[Process, ...]]:
        """What lives on; nothing is done to it."""
        begun = monotonic()
        while True:
            found = process_tree.kin(self._task.process, top)
            if not found or monotonic() - begun > _LEFT:
                return found
            yield from pause(_PAUSE)

    def _finished(self, handles: Iterable[Handle]) -> Steps[None]:
        """Waits until all have ended, for as long as their job may take."""
        worker = self._task.worker
        rest = yield from gone(handles, worker.stop_timeout.seconds)
        if rest:
            pids = ", ".join(f"PID {handle.pid}" for handle in rest)
            raise HandoverError(
                f"{self._task.process}: {pids} still works, {worker.stop_timeout} after "
                f"{worker.stop_signal}: its stop_timeout",
                hint="nothing was killed; once it has ended Supervisor starts another, and the "
                "same command goes on",
            )

    def _stands(self, handle: Handle) -> Steps[None]:
        """Waits until a process that got SIGSTOP is held, or has ended."""
        begun = monotonic()
        while (one := process(handle.pid)) and not (one.held or one.dead):
            if monotonic() - begun > _PROMPT:
                raise HandoverError(f"PID {handle.pid} cannot be held: it is in state {one.state}")
            yield from pause(_MOMENT)

    def _ended(self, handle: Handle) -> Steps[None]:
        """Waits for the end of what got SIGKILL."""
        if (yield from gone([handle], _PROMPT)):
            raise HandoverError(f"PID {handle.pid} does not end, though it got SIGKILL")

    # --- processes --------------------------------------------------------------------------------

    @contextmanager
    def _handle(self, pid: int) -> Iterator[Handle | None]:
        with pidfd.hold((pid,)) as held:
            yield held.get(pid)

    @contextmanager
    def _held(self, handle: Handle) -> Iterator[Hold]:
        """Holds a process by SIGSTOP; lets it go at the end, unless it was ended."""
        hold = Hold(handle)
        handle.send(signal.SIGSTOP)
        try:
            yield hold
        finally:
            hold.let_go()


def _no_handler(task: Task, alive: list[Process]) -> HandoverError:
    pids = ", ".join(str(one.pid) for one in alive)
    return HandoverError(
        f"{task.process}: none of its processes ({pids}) has a handler for "
        f"{task.worker.stop_signal}, and they would die of it",
        hint="is `preset` in unitq.toml the right one? SigCgt in /proc/PID/status says which "
        "signals a process handles",
    )
