"""Carries a takeover out, program by program; batch.py has the processes of each."""

from __future__ import annotations

import os
import shlex
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import Exit, PreflightError, UnitqError
from unitq.instances import observe
from unitq.linux import files
from unitq.printable import one_line
from unitq.revisions import state, store
from unitq.rollout import blocking_rollout, install, ledger_store
from unitq.rollout.operation import Operation
from unitq.rollout.plan import Change
from unitq.rollout.prepare import Request, prepare
from unitq.rollout.reports.observed_report import Run, report_of
from unitq.supervisor.takeover import autostart
from unitq.supervisor.takeover.batch import BatchMover
from unitq.supervisor.takeover.strategy import UP
from unitq.supervisor.takeover.waiting import HandoverError
from unitq.text import unitq

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from unitq.linux.interrupts import Interrupts
    from unitq.model.process import Process
    from unitq.revisions.model import Revision
    from unitq.rollout.prepare import Prepared
    from unitq.rollout.presenter import Presenter
    from unitq.supervisor.takeover.autostart import Kept
    from unitq.supervisor.takeover.plan import TakeoverPlan
    from unitq.supervisor.takeover.strategy import Move
    from unitq.systemd.manager import Systemd


class TakeoverResult(NamedTuple):
    """What has become of a takeover."""

    moved: frozenset[str]  # Supervisor's names of the processes
    files: tuple[Kept, ...]  # Supervisor's files that were changed, and their copies
    left: tuple[tuple[str, Process], ...]  # what a process has left behind
    killed: tuple[str, ...]
    failure: str
    back: tuple[str, ...]  # commands that undo what was done to the program that failed


class TakeoverRunner:
    """One takeover."""

    def __init__(
        self,
        planned: TakeoverPlan,
        systemd: Systemd,
        interrupts: Interrupts,
        deadline: float | None,
        presenter: Presenter,
    ) -> None:
        """`deadline` is on the monotonic clock."""
        self._planned = planned
        self._scope = planned.scope
        self._systemd = systemd
        self._interrupts = interrupts
        self._say = presenter.say
        self._tell = presenter.note
        self._operation = Operation(
            "takeover", planned.scope, presenter, systemd=systemd, interrupts=interrupts
        )
        self._began = time()
        self._place = self._scope.layout.app(planned.app.name)
        self._notes = Path(self._scope.layout.takeover_notes(planned.app.name))
        self._batches = BatchMover(planned, systemd, interrupts, deadline, presenter)
        self._kept: list[Kept] = []
        self._failure = ""
        self._back: list[str] = []

    def run(self, *, fail_on_kill: bool) -> Exit:
        """Moves all; returns the exit code. Raises where nothing was changed yet."""
        planned = self._planned
        blocking_rollout.require_none(self._scope, planned.app.name)
        before = state.current(self._place)
        # Everything is checked before the first change.
        self._prepare(planned.moves, "", warn=True)
        code = Exit.OK
        for move in planned.moves:
            if move.moved:
                continue
            if self._interrupts.count:
                self._say_interrupt(move)
                code = Exit.INTERRUPTED
                break
            code = self._program(move)
            if code is not Exit.OK:
                break
        if code is Exit.OK:
            self._close(before)
            if self._batches.killed and fail_on_kill:
                code = Exit.KILLED
        return code

    def result(self) -> TakeoverResult:
        """Returns what has become of it so far."""
        batches = self._batches
        return TakeoverResult(
            frozenset(batches.moved), tuple(self._kept), tuple(batches.left),
            tuple(batches.killed), self._failure, tuple(self._back),
        )  # fmt: skip

    # --- one program ------------------------------------------------------------------------------

    def _program(self, move: Move) -> Exit:
        earlier = self._revision_without(move)
        changed = False
        try:
            if move.autostart:
                planned = self._planned
                kept = autostart.switch_off(planned.conf.path, planned.environment, [move.section])
                changed = True
                self._kept += [file for file in kept if file not in self._kept]
                for file, copy in kept:
                    self._say(f"{move.program}: autostart=false in {file}; was: {copy}")
            revision = self._install(move)
            changed = True
            if not self._batches.move(revision, move):
                self._say_interrupt(move)
                return Exit.INTERRUPTED
        except UnitqError as error:
            if not changed and not self._kept:
                raise
            return self._fail(move, earlier, error)
        return Exit.OK

    def _prepare(self, moves: Iterable[Move], why: str, *, warn: bool) -> Prepared:
        """The plan for these programs and for what is installed already; nothing is changed."""
        planned = self._planned
        before = state.current(self._place)
        taken = {worker.name for move in moves for worker in move.workers}
        wanted = taken | {worker.name for worker in (before.workers if before else ())}
        app = replace(
            planned.app,
            workers=tuple(worker for worker in planned.app.workers if worker.name in wanted),
        )
        request = Request(app, planned.toml, message=why, beside=before)
        prepared = prepare(self._operation, request, warn=warn)
        others = [
            f"{step.instance}: {step.change} ({step.why})"
            for step in prepared.plan.changes
            if step.change is not Change.KEEP and step.instance.worker not in taken
        ]
        if others:
            raise PreflightError(
                f"{app.name}: {planned.toml} is not what is installed",
                hint="the takeover only adds workers: leave the others in the file as they are",
                problems=tuple(others),
            )
        return prepared

    def _install(self, move: Move) -> Revision:
        """Installs the units of this program, and starts nothing."""
        prepared = self._prepare([move], f"takeover of {move.program}", warn=False)
        if prepared.plan.pending:
            install.install(self._systemd, self._scope.layout, prepared.plan, prepared.rendered)
        return prepared.plan.target

    # --- the end ----------------------------------------------------------------------------------

    def _close(self, before: Revision | None) -> None:
        """Looks at all once more, and keeps that this revision is a good one."""
        revision = state.require_current(self._scope.layout, self._planned.app.name)
        with files.preflight_errors("cannot write the ledger"):
            book = ledger_store.begin(
                self._place, "takeover", revision=revision.id,
                previous=before.id if before else None, instances=len(revision.instances),
                max_unavailable=None,
            )  # fmt: skip
        with book:
            outcome = self._batches.roll(revision, ())
            instances = self._operation.running(revision)
            run = Run("takeover", self._began, self._scope.user, book.number)
            report = report_of(
                run, revision, before.id if before else None, outcome,
                observe.leftovers(revision, instances.values()), outcome.exit(),
            )  # fmt: skip
            self._operation.keep(book, report, outcome, None)
        for path in self._notes.glob("*") if os.path.isdir(self._notes) else ():
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self._notes.rmdir()
        self._say(report.summary[0])
        again = [
            name
            for move in self._planned.moves
            for name, info in self._planned.supervisord.processes().items()
            if name in {pair.process for pair in move.pairs} and info.state in UP
        ]
        if again:
            raise HandoverError(f"somebody has started {', '.join(again)} under Supervisor again")
        rest = [
            worker.name
            for worker in self._planned.app.workers
            if revision.worker(worker.name) is None
        ]
        if rest:
            self._say(
                f"not installed: {', '.join(rest)}. `{self._typed} deploy` would start "
                f"{'it' if len(rest) == 1 else 'them'}: not while Supervisor does"
            )

    @property
    def _typed(self) -> str:
        return unitq(self._planned.app.name, user=self._scope.user)

    def _say_interrupt(self, move: Move) -> None:
        done = self._states(move)
        self._say(f"interrupted: {done}; the same command continues from there")

    def _states(self, move: Move) -> str:
        processes = self._planned.supervisord.processes()
        up = [pair.process for pair in move.pairs if processes[pair.process].state in UP]
        return (
            f"Supervisor still runs {', '.join(up)} of {move.program}"
            if up
            else f"Supervisor runs none of {move.program}"
        )

    def _fail(self, move: Move, earlier: Revision | None, error: UnitqError) -> Exit:
        """Says what failed, what runs where, and the way on and back; returns the exit code."""
        self._failure = error.message
        known = isinstance(error, HandoverError) and error.exit is not Exit.BROKEN
        code = error.exit if known else Exit.DEGRADED
        self._tell(f"unitq: {error.message}")
        for line in error.problems:
            self._tell(line)
        if error.hint:
            self._tell(f"  hint: {error.hint}")
        try:
            self._tell(self._states(move))
            processes = self._planned.supervisord.processes()
            down = [pair.process for pair in move.pairs if processes[pair.process].state not in UP]
            ending = {
                process: pid
                for process, pid in self._batches.unfinished.items()
                if processes[process].state in UP and processes[process].pid == pid
            }
        except UnitqError as second:
            self._tell(f"unitq: {second.message}")
            down, ending = [pair.process for pair in move.pairs], {}
        if before := self._programs_before(move):
            self._tell(f"unitq runs {', '.join(before)}, as moved before; that stays")
        self._back = self._way_back(move, earlier, down, ending)
        self._tell("to continue, once the cause is mended, the same command; to go back:")
        for line in self._back:
            self._tell(f"  {line}")
        return code

    def _programs_before(self, move: Move) -> list[str]:
        """The programs before this one, which are moved."""
        moves = self._planned.moves
        return [earlier.program for earlier in moves[: moves.index(move)]]

    def _revision_without(self, move: Move) -> Revision | None:
        """The last revision without this program's workers, to go back to."""
        names = {worker.name for worker in move.workers}
        known = [
            revision
            for revision in store.read_all(self._place, lambda _: None)
            if revision.workers and not names & {worker.name for worker in revision.workers}
        ]
        whole = store.complete(self._place, known)
        known = [revision for revision in known if revision.id in whole]
        return max(known, key=lambda revision: revision.number, default=None)

    def _way_back(
        self,
        move: Move,
        earlier: Revision | None,
        down: list[str],
        ending: Mapping[str, int],
    ) -> list[str]:
        """The commands that undo the takeover of this program, in their order.

        `ending` are those that Supervisor still runs, and that will end, with their PIDs.
        """
        back = []
        if state.current(self._place) is not None:
            verb = f"rollback {earlier.number}" if earlier else "remove --yes"
            back.append(f"{self._typed} {verb}")
        if down:
            back.append(self._ctl_start(down))
        planned = self._planned
        try:
            back += autostart.way_back(planned.conf.path, planned.environment, move.section)
        except (UnitqError, OSError, ValueError, KeyError) as error:
            # Another account may have changed a file of its own meanwhile; the rest is as true.
            why = error.message if isinstance(error, UnitqError) else repr(error)
            back.append(f"# autostart of [{move.section}] again as it was ({one_line(why)})")
        return back + [self._start_after(process, pid) for process, pid in ending.items()]

    def _start_after(self, process: str, pid: int) -> str:
        """The command that starts it under Supervisor again, when its job is done."""
        return f"tail --pid={pid} -f /dev/null; {self._ctl_start([process])}"

    def _ctl_start(self, processes: list[str]) -> str:
        conf = str(self._planned.conf.path.absolute())
        return shlex.join(
            [shutil.which("supervisorctl") or "supervisorctl", "-c", conf, "start", *processes]
        )
