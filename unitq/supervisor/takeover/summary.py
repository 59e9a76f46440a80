"""What a takeover would do, and what it did, as values."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unitq.errors import Exit, PreflightError
from unitq.linux.interrupts import Interrupts
from unitq.revisions import state
from unitq.supervisor.takeover import process_tree
from unitq.supervisor.takeover.plan import environment_for, load_configuration, plan
from unitq.supervisor.takeover.run import TakeoverRunner
from unitq.supervisor.takeover.strategy import Way, command, way, workers_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unitq.context import Scope
    from unitq.model.settings import Share
    from unitq.rollout.presenter import Presenter
    from unitq.supervisor.takeover.plan import TakeoverPlan
    from unitq.supervisor.takeover.run import TakeoverResult
    from unitq.supervisor.takeover.strategy import Move, Pair


@dataclass(frozen=True, slots=True)
class TakeoverSummary:
    """A takeover: planned, or (`done`) carried out."""

    planned: TakeoverPlan
    exit_code: Exit
    rows: tuple[dict[str, Any], ...]  # its programs, as they were before
    dry_run: bool = False
    done: TakeoverResult | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        planned, done = self.planned, self.done
        moved = set(done.moved) if done else set()
        programs = [
            program
            | {
                "processes": [
                    process | {"moved": process["moved"] or process["process"] in moved}
                    for process in program["processes"]
                ]
            }
            for program in self.rows
        ]
        return {
            "format": 1,
            "app": planned.app.name,
            "config": str(planned.toml),
            "supervisor": {
                "config": str(planned.conf.path),
                "address": str(planned.supervisord.address),
                "pid": planned.supervisord.pid,
            },
            "dry_run": self.dry_run,
            "exit_code": int(self.exit_code),
            "programs": programs,
            "staying": [{"program": name, "why": why} for name, why in planned.staying],
            "files": [{"file": kept.file, "copy": kept.copy} for kept in done.files]
            if done
            else [],
            "left": [
                {"process": process, "pid": member.pid, "command": command(member)}
                for process, member in done.left
            ]
            if done
            else [],
            "killed": list(done.killed) if done else [],
            "failure": (done.failure or None) if done else None,
            "back": list(done.back) if done else [],
        }


class Takeover:
    """Moves programs of a Supervisor to an app, as they are planned at each call."""

    def __init__(
        self,
        scope: Scope,
        file: str | None,
        variables: Mapping[str, str],
        programs: Sequence[str],
        max_unavailable: Share | None,
    ) -> None:
        """Reads unitq.toml and Supervisor's configuration. Raises ConfigError."""
        self._began = time.monotonic()
        self._scope = scope
        self._app, self._toml = scope.load()
        environment = environment_for(file) | dict(variables)
        load_configuration(file, environment)  # before all else: it may be no configuration at all
        self._systemd = scope.systemd()
        self._arguments = (file, environment, programs, max_unavailable)

    def plan(self, *, dry_run: bool = False) -> TakeoverSummary:
        """Returns what would happen now."""
        planned = self._plan()
        code = Exit.OK if planned.moved else Exit.PENDING
        return TakeoverSummary(planned, code, _programs(planned), dry_run)

    def run(
        self, presenter: Presenter, *, timeout: float | None, fail_on_kill: bool
    ) -> TakeoverSummary:
        """Moves them, under the app's lock. Raises LockedError, PreflightError."""
        scope, app = self._scope, self._app
        with state.lock(scope.layout, app.name, state.command_name()):
            # What was shown may have changed meanwhile.
            planned = self._plan()
            rows = _programs(planned)
            deadline = None if timeout is None else self._began + timeout
            with Interrupts().caught() as interrupts:
                mover = TakeoverRunner(planned, self._systemd, interrupts, deadline, presenter)
                code = mover.run(fail_on_kill=fail_on_kill)
        return TakeoverSummary(planned, code, rows, done=mover.result())

    def _plan(self) -> TakeoverPlan:
        return plan(self._scope, self._systemd, self._app, self._toml, *self._arguments)


def way_of(planned: TakeoverPlan, move: Move, pair: Pair) -> tuple[Way, tuple[int, ...]]:
    """How a process is ended, and the PIDs that get the signal. Raises PreflightError."""
    task = planned.task(move, pair)
    members = process_tree.below(pair.pid)
    if members:
        process_tree.check_child(pair.pid, planned.supervisord.daemon, task.accounts)
    found = way(members, task.settings, task.worker, task.preset, known=task.known)
    return found, tuple(one.pid for one in workers_of(members, task.number, strict=task.strict))


def _programs(planned: TakeoverPlan) -> tuple[dict[str, Any], ...]:
    return tuple(_program(planned, move) for move in planned.moves)


def _program(planned: TakeoverPlan, move: Move) -> dict[str, Any]:
    return {
        "program": move.program,
        "section": move.section,
        "file": move.file,
        "autostart": move.autostart,
        "width": planned.width(move),
        "processes": [_process(planned, move, pair) for pair in move.pairs],
    }


def _process(planned: TakeoverPlan, move: Move, pair: Pair) -> dict[str, Any]:
    found: Way | None = None
    told: tuple[int, ...] = ()
    if pair.pid and not pair.moved:
        with suppress(PreflightError):
            found, told = way_of(planned, move, pair)
    return {
        "process": pair.process,
        "instance": str(pair.instance),
        "state": pair.state,
        "pid": pair.pid or None,
        "moved": pair.moved,
        "way": str(found) if found else None,
        "tells": list(told),
    }
