"""`unitq ctl` start, stop, restart, signal: unitq's own, printed in Supervisor's words."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from unitq.cli.ctl.call import refuse, why
from unitq.cli.output import echo
from unitq.cli.presenter import Notes
from unitq.errors import Exit
from unitq.model import signals
from unitq.model.names import InstanceName
from unitq.rollout.engine.instance import Phase
from unitq.rollout.operation import Operation
from unitq.rollout.plan import Change, PlannedChange, keep
from unitq.rollout.progress import stop_line
from unitq.rollout.reports import report_text
from unitq.rollout.workers import over, to_restart, to_start, to_stop
from unitq.supervisor.ctl.fleet import look
from unitq.supervisor.ctl.format import Code, State, error
from unitq.supervisor.ctl.names import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from unitq.cli.ctl.call import Call
    from unitq.instances import observe
    from unitq.instances.state import Observed
    from unitq.rollout.engine.rollout import Rollout
    from unitq.rollout.executor import Progress, Stop
    from unitq.rollout.in_flight import InFlightTracker
    from unitq.rollout.reports.report import Report
    from unitq.supervisor.ctl.fleet import Fleet

_CHOICES = {"start": to_start, "stop": to_stop, "restart": to_restart}
_NO_NAMES = {"start": Code.INVALID_ARGUMENTS, "stop": Code.GENERIC, "restart": Code.GENERIC}


class Teller(Notes):
    """Prints `x: stopped` and `x: started` as it happens; holds the exit code."""

    interval: float | None = None

    def __init__(self, name: Callable[[InstanceName], str]) -> None:
        self._name = name
        self._phases: dict[InstanceName, tuple[Phase, bool]] = {}
        self._read_up_to = 0  # of the rollout's phase changes
        self.code = Code.OK

    def update(
        self,
        rollout: Rollout,
        seen: Mapping[InstanceName, Observed],  # noqa: ARG002
        now: float,  # noqa: ARG002
    ) -> None:
        """Prints what has changed."""
        changed = dict.fromkeys(rollout.phase_changes[self._read_up_to :])
        self._read_up_to = len(rollout.phase_changes)
        for instance in changed:
            slot = rollout.instances[instance]
            state = (slot.phase, slot.drained_for is not None)
            before = self._phases.get(instance, (Phase.WAITING, False))
            if state == before or slot.planned.change is Change.KEEP:
                continue
            self._phases[instance] = state
            name = self._name(instance)
            if (state[1] and not before[1]) or (
                slot.phase is Phase.STOPPED and before[0] is not Phase.STOPPED and not state[1]
            ):
                echo(f"{name}: stopped")
            if slot.phase is before[0]:
                continue
            if slot.phase is Phase.HEALTHY:
                echo(f"{name}: started")
            elif slot.phase is Phase.FAILED:
                echo(error(name, "spawn error"))
                self.code = Code.NOT_RUNNING

    def stopping(self, stop: Stop) -> None:
        """Prints the stop to standard error: supervisorctl has no words for it."""
        with suppress(OSError):
            echo(stop_line(stop), err=True)

    @contextmanager
    def progress(
        self,
        jobs: InFlightTracker | None,  # noqa: ARG002
        keep: Callable[[str, str], None] | None,  # noqa: ARG002
    ) -> Iterator[Progress]:
        """Yields itself: it prints Supervisor's lines."""
        yield self

    def report(self, report: Report) -> None:
        """Prints what went wrong in unitq's own words, and which instances were not attempted."""
        with suppress(OSError):
            self._close(report)

    def _close(self, report: Report) -> None:
        well = report.exit_code == Exit.OK
        for row in report.instances:
            if row.phase == Phase.WAITING and not well:
                worker, _, number = row.instance.rpartition("@")
                name = self._name(InstanceName(worker, int(number)))
                echo(error(name, "left as it was"))
        for text, wrong in report_text.ending(report):
            if wrong or not well:
                echo(text, err=True)


def act(call: Call) -> Code:
    """Starts, stops or restarts processes."""
    if not call.words:
        return call.wrong(f"Error: {call.action} requires a process name", _NO_NAMES[call.action])
    fleet = look(call.scope)
    states = {process: state for process, (state, _) in fleet.states().items()}
    names: dict[Process, str] = {}
    everything = "all" in call.words
    asked: set[Process] = set(fleet.instances) if everything else set()
    answers = _Answers(call.action)
    if not everything:
        for word in call.words:
            asked |= _find(fleet, word, states, names, answers)
    code = answers.first()
    todo = {process for process in asked if _needs(call.action, states[process])}
    for app in fleet.revisions:
        mine = {process.instance for process in todo if process.app == app}
        if mine or everything:
            code = _over(fleet, call.action, app, mine, names, all_of_it=everything) or code
    return answers.last() or code


def _needs(action: str, state: State) -> bool:
    """Returns whether the action changes a process in this state."""
    if action == "start":
        return not state.started
    if action == "stop":
        # Wait for one that is stopping: `stopped` must be true when it is printed.
        return state.started or state is State.STOPPING
    return True


class _Answers:
    """Lines about names that match nothing, or processes that need no action."""

    def __init__(self, action: str) -> None:
        self._stop: list[tuple[str, Code]] = []
        self._start: list[tuple[str, Code]] = []
        self._action = action

    def unknown(self, name: str, reason: str, *, group: bool) -> None:
        """Adds an unknown name: `restart` stops first, then starts, and prints it twice."""
        line = error(name, reason)
        self._stop.append((line, Code.GENERIC))
        self._start.append((line, Code.INVALID_ARGUMENTS if group else Code.GENERIC))

    def already(self, name: str, state: State) -> None:
        """Adds a process that was named and needs no action."""
        if state.started:
            self._start.append((error(name, "already started"), Code.OK))
        elif state is not State.STOPPING:
            self._stop.append((error(name, "not running"), Code.OK))

    def first(self) -> Code:
        """Prints the lines that come before the action; returns the exit code."""
        return self._print(self._start if self._action == "start" else self._stop)

    def last(self) -> Code:
        """Prints the lines that come after it: `restart` has started by then."""
        if self._action != "restart":
            return Code.OK
        return self._print([(line, code) for line, code in self._start if code])

    def _print(self, lines: Iterable[tuple[str, Code]]) -> Code:
        last = Code.OK
        for line, code in lines:
            echo(line)
            last = code or last
        return last


def _find(
    fleet: Fleet,
    word: str,
    states: Mapping[Process, State],
    names: dict[Process, str],
    answers: _Answers,
) -> set[Process]:
    match = fleet.names.find(word)
    if not match.processes:
        answers.unknown(match.name, why(match), group=not match.single)
    elif match.single:
        (process,) = match.processes
        names[process] = match.name  # as it was typed: a script looks for it
        answers.already(match.name, states[process])
    return set(match.processes)


def _over(
    fleet: Fleet,
    action: str,
    app: str,
    asked: set[InstanceName],
    names: dict[Process, str],
    *,
    all_of_it: bool,
) -> Code:
    def choose(name: InstanceName, instance: observe.Instance) -> PlannedChange:
        if name not in asked:
            return keep(name)
        return _CHOICES[action](name, instance)

    def name_of(instance: InstanceName) -> str:
        process = Process(app, instance)
        return names.get(process) or fleet.names.of(process)

    teller = Teller(name_of)
    targets = () if all_of_it else tuple(str(name) for name in sorted(asked))
    report = over(Operation(action, fleet.scope.replace(app=app), teller), targets, choose)
    if teller.code is Code.OK and report.exit_code != Exit.OK:
        return Code.GENERIC
    return teller.code


def signal(call: Call) -> Code:
    """Sends a signal to the main process of each instance."""
    if len(call.words) < 2:
        return call.wrong("Error: signal requires a signal name and a process name")
    number = _number(call.words[0])
    fleet = look(call.scope)
    states = {process: state for process, (state, _) in fleet.states().items()}
    if "all" in call.words[1:]:
        return _send(fleet, number, [(process, "") for process in fleet.names.in_order()], states)
    code = Code.OK
    for word in call.words[1:]:
        match = fleet.names.find(word)
        if not match.processes:
            refuse(match)
            code = Code.GENERIC
            continue
        single = match.name if match.single else ""
        chosen = [(process, single) for process in match.processes]
        code = _send(fleet, number, chosen, states) or code
    return code


def _send(
    fleet: Fleet,
    number: int | None,
    chosen: Sequence[tuple[Process, str]],
    states: Mapping[Process, State],
) -> Code:
    """Sends the signal; `chosen` has the typed name beside each process named alone, else ""."""
    code = Code.OK
    for process, typed in chosen:
        name = typed or fleet.names.of(process)
        if number is None and (typed or states[process].signallable):
            echo(error(name, "bad signal name"))
            code = Code.GENERIC
        elif not states[process].signallable or not fleet.pid(process):
            if typed:
                echo(error(name, "not running"))
                code = Code.NOT_RUNNING
        elif number is not None:
            if number:  # 0 only asks whether there is a process
                fleet.systemd.kill(fleet.instances[process].unit, "main", number)
            echo(f"{name}: signalled")
    return code


def _number(text: str) -> int | None:
    """Returns a signal's number, 0 for a test of the process, None for an unknown name."""
    try:
        return 0 if text == "0" else signals.number(text)
    except ValueError:
        return None
