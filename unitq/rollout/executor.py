"""Executes a rollout: the only loop, the only clock.

rollout/engine/schedule.py decides what to do next. The executor orders it, listens, and tells the
rollout what it observes. Signals from systemd only shorten the wait: after a lost connection, and
before anything counts as done, the state itself is read again.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, NamedTuple, Protocol

from unitq.errors import NoMatchError, SystemdError, UnitqError
from unitq.instances import observe
from unitq.instances.state import LEFT_BEHIND, left_behind, program_names, unsafe_stop, wrapper
from unitq.linux import proc
from unitq.linux.interrupts import Interrupts
from unitq.model import names
from unitq.revisions import state as state_files
from unitq.rollout.advisory import Advisory, end_in_words
from unitq.rollout.engine.groups import Trait
from unitq.rollout.engine.instance import Action, ActionKind, Phase
from unitq.rollout.engine.schedule import deadline, next_actions
from unitq.rollout.in_flight import Draining
from unitq.rollout.ledger_store import LedgerError
from unitq.rollout.orders import Orders
from unitq.rollout.reports import out_of_memory
from unitq.rollout.reports.outcome import Outcome
from unitq.rollout.tracker import StateTracker
from unitq.systemd import journal
from unitq.systemd.errors import BusLostError
from unitq.systemd.exit_status import End
from unitq.systemd.manager import Event, JobDone, Systemd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from unitq.instances.state import Observed, Wrapper
    from unitq.model.layout import Layout
    from unitq.model.names import InstanceName
    from unitq.rollout.engine.instance import InstanceState
    from unitq.rollout.engine.rollout import Rollout
    from unitq.rollout.in_flight import InFlightTracker, Presence
    from unitq.rollout.ledger_store import Ledger

# Reads of the state until nothing changes meanwhile; a host where units never rest must not hold
# a rollout up for ever.
_READS = 10

_CLOCKS_DIFFER = 5.0  # seconds more of the kernel's log than a rollout took


def is_unreachable(systemd: Systemd) -> bool:
    """Returns whether systemd is shutting down, or does not answer."""
    try:
        return systemd.stopping()
    except SystemdError:
        return True


class _End(NamedTuple):
    """Why the loop ended before the rollout did."""

    detached: bool = False
    gave_up: bool = False


class Stop(NamedTuple):
    """What a rollout still finishes once it was asked to stop."""

    interrupted: bool  # by a signal; else paused
    draining: tuple[str, ...]
    starting: tuple[str, ...]  # or not healthy yet
    seconds: float | None  # that the drains may take at most; None: any time


class Progress(Protocol):
    """Shows what happens while it happens."""

    # Seconds between two updates though nothing happens, to count time; None: not needed.
    interval: float | None

    def update(self, rollout: Rollout, seen: Mapping[InstanceName, Observed], now: float) -> None:
        """Called after each step of the loop."""

    def stopping(self, stop: Stop) -> None:
        """Called once, when the rollout was asked to stop."""


class Executor:
    """Runs rollouts of one app over one connection."""

    def __init__(
        self,
        systemd: Systemd,
        layout: Layout,
        app: str,
        ledger: Ledger | None = None,
        jobs: InFlightTracker | None = None,
        presence: Presence | None = None,
        advisory: Advisory | None = None,
    ) -> None:
        """With a ledger, each action is written down there before it is ordered.

        `jobs` tracks the jobs of instances that drain; `presence` is the probe of the workers that
        have to register themselves.
        """
        self._jobs = jobs
        self._presence = presence
        self._advisory = advisory or Advisory(lambda _: None)
        self._orders = Orders(systemd, layout, app, ledger)
        self._systemd = systemd
        self._layout = layout
        self._place = layout.app(app)
        self._app = app
        self._where = observe.machine(systemd, layout)
        self._tracker = StateTracker(systemd, self._where, app, ())
        self._probes: dict[str, InstanceName] = {}  # by the path of their unit job
        self._started: set[InstanceName] = set()  # and not yet inspected
        self._interrupts = Interrupts()

    def run(
        self,
        rollout: Rollout,
        progress: Progress,
        *,
        interrupts: Interrupts,
        limit: float | None = None,
    ) -> Outcome:
        """Executes the rollout and returns its outcome; waits at most `limit` seconds.

        At the limit, or at a second Ctrl-C, only the wait ends: systemd finishes what was ordered.
        An unexpected error ends the rollout and is in the outcome, as `broken`.
        """
        begun = monotonic()
        self._interrupts = interrupts
        self._tracker = StateTracker(self._systemd, self._where, self._app, rollout.instances)
        end, broken = _End(), ""
        try:
            end = self._roll(rollout, progress, interrupts, begun, limit)
        except (SystemdError, NoMatchError) as error:
            if is_unreachable(self._systemd):
                raise
            broken = error.message
        except LedgerError as error:
            broken = error.message
        except UnitqError:
            raise  # it carries its own message
        except Exception as error:  # noqa: BLE001  (a rollout without its end helps nobody)
            broken = end_in_words(error)
        ask = self._advisory.ask
        if not end.detached:
            ask("how some processes ended is not known", partial(self._endings, rollout), None)
            ask(
                "whether any of them ran out of memory is not known",
                partial(self._out_of_memory, rollout, monotonic() - begun),
                None,
            )
        ask("systemd still tells unitq what happens", self._systemd.unsubscribe, None)
        if self._jobs:
            states = rollout.instances.values()
            self._jobs.read_rest(state.instance for state in states if not _has_drained(state))
        workers = {name.worker for name in rollout.instances}
        ask(
            "a power cut could bring older pins back",
            partial(state_files.sync_pins, self._place, workers),
            None,
        )
        progress.update(rollout, self._tracker.seen, monotonic())
        return Outcome(
            rollout=rollout,
            seen=dict(self._tracker.seen),
            seconds=monotonic() - begun,
            least_serving=self._tracker.least,
            interrupted=interrupts.count > 0,
            paused=(interrupts.paused and not interrupts.count) or rollout.awaiting,
            detached=end.detached,
            gave_up=end.gave_up and not end.detached,
            broken=broken,
            logs=ask("what failed workers printed is not known", partial(self._logs, rollout), {}),
            jobs=dict(self._jobs.jobs) if self._jobs else {},
            possible=dict(self._jobs.possible) if self._jobs else {},
            dropped=self._jobs.find_dropped(sleep) if self._jobs else (),
        )

    def _roll(
        self,
        rollout: Rollout,
        progress: Progress,
        interrupts: Interrupts,
        begun: float,
        limit: float | None,
    ) -> _End:
        """Returns the loop."""
        tracker = self._tracker
        try:
            self._systemd.subscribe(tracker.units)
            self._read_state(rollout, everything=True)
        except BusLostError:
            self._reconnect(rollout)
        tracker.count_from_now()
        while True:
            now = self._advance(rollout)
            actions = next_actions(rollout, now)
            self._orders.write_down(actions, tracker.seen)
            self._look_at_main_processes(actions)
            self._look_at_jobs(rollout, actions)
            together = self._switch_unit_texts(rollout, actions)
            for action in actions:
                self._order(rollout, action)
                progress.update(rollout, tracker.seen, monotonic())
                if together:
                    continue
                # Listen now, while systemd is busy with the order, and not in a pause afterwards.
                self._listen(rollout, 0.0, interrupts)
                if rollout.failed:
                    break
            self._orders.unless_going_down()
            progress.update(rollout, tracker.seen, now)
            if rollout.finished:
                if self._confirm(rollout):
                    return _End()
                continue
            end = _End(interrupts.count > 1, limit is not None and now - begun >= limit)
            if any(end):
                return end
            if (interrupts.count or interrupts.paused) and not rollout.halted:
                rollout.halted = True
                progress.stopping(self._stop(rollout, now, interrupted=interrupts.count > 0))
                continue
            watched = progress.interval is not None
            times = [deadline(rollout), None if limit is None else begun + limit]
            if self._jobs:
                self._jobs.refresh(rollout, monotonic(), watched=watched)
                times.append(self._jobs.due(rollout, watched=watched))
            self._listen(rollout, _wait(times, progress.interval), interrupts)

    def _advance(self, rollout: Rollout) -> float:
        """Advances the rollout by what was observed; returns the time."""
        now = monotonic()
        for name in rollout.step_times.due(now):
            if name in self._started and rollout.instances[name].phase is Phase.SETTLING:
                self._inspect(rollout, name, now)
        rollout.advance(self._tracker.take_changes(), now)
        return now

    def _inspect(self, rollout: Rollout, name: InstanceName, now: float) -> None:
        """Records what code an instance runs, and where, before it counts as healthy."""
        seen = self._tracker.of(name)
        if not seen.serving or now < seen.since + rollout.settings.min_healthy.seconds:
            return
        self._started.discard(name)
        self._tracker.record_code(name)
        with suppress(SystemdError):  # then nothing is known of it
            self._look_inside(name, seen.pid)

    def _look_inside(self, name: InstanceName, main_pid: int) -> None:
        """Records whether the worker is in its unit, and whether a stop will reach it."""
        unit = names.unit(self._app, name)
        pids = proc.pids(self._cgroup(name))
        if main_pid not in pids:
            pids = observe.members(self._systemd, unit)
        above = _wrapper(main_pid, pids)
        why = None
        if above and (worker := _worker_below(main_pid, pids)):
            kill = self._systemd.properties(unit, "KillMode", "KillSignal")
            why = unsafe_stop(
                above,
                worker,
                kill["KillSignal"],
                mixed=kill["KillMode"] == "mixed",
                caught=proc.handled_signals(main_pid),
            )
        where = observe.elsewhere(pids, main_pid)
        self._tracker.record(name, elsewhere=where, unsafe_stop=why)

    def _stopping(self, actions: Iterable[Action]) -> list[tuple[InstanceName, Observed]]:
        """Returns the instances with a process that these actions stop."""
        kinds = (ActionKind.STOP, ActionKind.RESTART)
        stopped = (action.state.instance for action in actions if action.kind in kinds)
        return [(name, seen) for name in stopped if (seen := self._tracker.of(name)).pid]

    def _look_at_main_processes(self, actions: Iterable[Action]) -> None:
        """Records what the main processes are that are about to stop."""
        for name, seen in self._stopping(actions):
            self._tracker.record(name, wrapper=_wrapper(seen.pid, self._members(name, seen)))

    def _look_at_jobs(self, rollout: Rollout, actions: Iterable[Action]) -> None:
        """Records the in-flight jobs of the instances that are about to stop."""
        if self._jobs is None:
            return
        draining = [
            Draining(name, self._members(name, seen), self._orders.limit(name), seen.invocation)
            for name, seen in self._stopping(actions)
        ]
        if draining:
            self._jobs.track(rollout, draining, monotonic())

    def _stop(self, rollout: Rollout, now: float, *, interrupted: bool) -> Stop:
        """Returns what is finished before the rollout stops, and how long it may take."""
        draining = sorted(rollout.names(Phase.DRAINING))
        limits = [self._orders.limit(name) for name in draining]
        left = [
            None if limit is None else max(0.0, limit - (now - rollout.instances[name].touched))
            for name, limit in zip(draining, limits, strict=True)
        ]
        longest = max((seconds for seconds in left if seconds is not None), default=0.0)
        starting = sorted(set(rollout.names(Trait.IN_FLIGHT)) - set(draining))
        return Stop(
            interrupted,
            tuple(map(str, draining)),
            tuple(map(str, starting)),
            None if None in left else longest,
        )

    def _members(self, name: InstanceName, seen: Observed) -> tuple[int, ...]:
        """Returns the processes of an instance."""
        return proc.pids(self._cgroup(name)) or (seen.pid,)

    def _cgroup(self, name: InstanceName) -> str:
        return f"{self._where.cgroup}/{names.cgroup_path(self._app, name)}"

    def _switch_unit_texts(self, rollout: Rollout, actions: Sequence[Action]) -> bool:
        """Makes the next starts go by the new unit texts; returns whether any has another one."""
        pinned = self._orders.with_pin(actions)
        while pinned:
            try:
                self._orders.switch(pinned, rollout.wanted)
                break
            except BusLostError:
                self._reconnect(rollout)
            except (OSError, SystemdError) as error:
                for action in pinned:
                    reason = f"its unit cannot be changed: {error}"
                    rollout.record_refusal(action.state.instance, reason)
                break
        return bool(pinned)

    def _order(self, rollout: Rollout, action: Action) -> None:
        """Tells systemd what to do with one instance; one unit job each."""
        state, kind = action
        name = state.instance
        if rollout.instances[name].phase is Phase.FAILED and state.phase is not Phase.FAILED:
            return  # refused a moment ago
        seen = self._tracker.of(name)
        if kind is ActionKind.PROBE and self._presence and name.worker in self._presence.workers:
            why = self._presence.missing(self._members(name, seen))
            rollout.record_action(action, seen, monotonic())
            rollout.record_probe(name, not why, why, monotonic())
            return
        while True:
            try:
                job = self._orders.give(action, rollout.wanted.get(name), seen)
            except BusLostError:
                self._reconnect(rollout)
                again = self._tracker.seen[name]
                if again.serving and again.invocation != seen.invocation:
                    break  # the order arrived before the connection broke, and was carried out
                # If it arrived and is under way, systemd merges the second one into it.
                continue
            except NoMatchError:
                if kind is not ActionKind.STOP:
                    raise
                break  # not loaded: nothing to stop
            except SystemdError as error:
                rollout.record_refusal(name, error.message)
                return
            except OSError as error:
                rollout.record_refusal(name, f"its pin cannot be moved: {error}")
                return
            if kind is ActionKind.PROBE:
                self._probes[job] = name
            else:
                self._tracker.record_job(name, job)
                if kind is not ActionKind.STOP:
                    self._started.add(name)
            break
        rollout.record_action(action, seen, monotonic())

    def _listen(self, rollout: Rollout, timeout: float | None, interrupts: Interrupts) -> None:
        try:
            events = self._systemd.events(timeout, interrupts.wake)
            interrupts.clear()
        except BusLostError:
            self._reconnect(rollout)
        else:
            self._hear(rollout, events)

    def _hear(self, rollout: Rollout, events: Iterable[Event]) -> None:
        """Takes what systemd signals."""
        for event in events:
            if isinstance(event, JobDone) and event.job in self._probes:
                self._record_probe_end(rollout, self._probes.pop(event.job), event.result)
            # One by one: how a process ended, or that it was down, shows in passing only.
            if name := self._tracker.units.get(event.unit):
                self._tracker.hear(name, event)
                self._advance(rollout)

    def _record_probe_end(self, rollout: Rollout, name: InstanceName, result: str) -> None:
        if result == "done":
            rollout.record_probe(name, True, "", monotonic())
            return
        try:
            answer = self._orders.probe_failure(name)
        except BusLostError:
            answer = "the connection to systemd broke while it was asked"
        rollout.record_probe(name, False, answer, monotonic())

    def _reconnect(self, rollout: Rollout) -> None:
        """Connects again after a lost connection, and reads what was missed."""
        for name in self._probes.values():
            # Its answer may be lost: the probe runs again.
            rollout.record_probe(name, False, "its answer was lost", monotonic())
        self._probes.clear()
        while True:
            try:
                self._systemd.reconnect(lambda: self._interrupts.count > 0)
            except SystemdError as error:
                raise self._orders.cut_off("systemd does not answer any more") from error
            with suppress(BusLostError):
                self._read_state(rollout, everything=True)
                return

    def _read_state(self, rollout: Rollout, *, everything: bool = False) -> None:
        """Reads the state of all instances concerned.

        Signals that were sent before the state was read say what was, not what is, and arrive
        after it: so it is read again until no signal arrives meanwhile.
        """
        tracker, workers = self._tracker, set(rollout.groups)
        for _ in range(_READS):
            instances = observe.instances(
                self._systemd, self._where, self._app, workers, rollout.instances
            )
            states = {
                name: tracker.observed_state(
                    instances[name],
                    # All that was not seen yet, but not of each instance that just runs on.
                    everything=everything
                    and (
                        name in tracker.seen
                        or not instances[name].serving
                        or state.phase is Phase.SETTLING
                    ),
                )
                for name, state in rollout.instances.items()
            }
            events = [event for event in self._systemd.events(0.0) if self._concerns(event)]
            if not events:
                break
            self._hear(rollout, events)
        tracker.record_all(states, [name for name in states if not instances[name].job])

    def _concerns(self, event: Event) -> bool:
        return event.unit in self._tracker.units or (
            isinstance(event, JobDone) and event.job in self._probes
        )

    def _confirm(self, rollout: Rollout) -> bool:
        """Reads the state itself once more; returns whether nothing is left to do."""
        try:
            self._read_state(rollout)
        except BusLostError:
            self._reconnect(rollout)
        rollout.confirm(self._tracker.take_changes(), monotonic())
        return rollout.finished

    def _endings(self, rollout: Rollout) -> None:
        """Asks the journal how a process ended where no signal said so, and what it left behind."""
        for state in rollout.instances.values():
            if not state.before or state.gone is None:
                continue
            user, since = self._layout.user, state.touched
            if state.ending is None:
                ending = journal.ending(state.before, since, user=user)
                rollout.record_ending(state.instance, ending)
            elif state.ending.detail == LEFT_BEHIND:
                killed = journal.sigkills(state.before, since, user=user)
                rollout.record_ending(state.instance, left_behind(killed))

    def _out_of_memory(self, rollout: Rollout, seconds: float) -> None:
        """Asks systemd and the kernel why processes died of a SIGKILL without a known sender."""
        suspects = out_of_memory.suspects(rollout)
        if not suspects:
            return
        new = {state.instance: state.invocation or self._last_start(state) for state in suspects}
        starts = [
            start for state in suspects for start in (state.before, new[state.instance]) if start
        ]
        named = journal.out_of_memory(starts, user=self._layout.user)
        pids = out_of_memory.killed_pids(journal.kernel_messages(seconds + _CLOCKS_DIFFER))
        out_of_memory.record_causes(
            rollout,
            {
                state.instance
                for state in suspects
                if state.before in named or state.pid_before in pids
            },
            {name for name, start in new.items() if start in named},
        )

    def _last_start(self, state: InstanceState) -> str:
        invocation = self._tracker.seen[state.instance].invocation
        return "" if invocation == state.before else invocation

    def _logs(self, rollout: Rollout) -> dict[InstanceName, tuple[str, ...]]:
        """Returns what failed instances printed, and killed ones whose job is not known."""
        known = self._jobs.jobs if self._jobs else {}
        logs = {}
        for name, state in rollout.instances.items():
            lines: tuple[str, ...] = ()
            if state.phase is Phase.FAILED:
                lines = self._log(state)
            elif _was_killed(state) and name not in known:
                lines = self._orders.last_words(state.before)
            if lines:
                logs[name] = lines
        return logs

    def _log(self, state: InstanceState) -> tuple[str, ...]:
        invocation = state.invocation or self._last_start(state)
        return self._orders.logs(state.instance, invocation, probed=bool(state.detail))


def _wrapper(main_pid: int, members: Iterable[int]) -> Wrapper | None:
    """Returns what a main process is that has others below it; None: the worker, or alone."""
    below = [pid for pid in members if pid != main_pid]
    if not below or (kind := wrapper(program_names(proc.words_of(main_pid)), 0)) is None:
        return None
    caught = -1
    for pid in below:
        # A loop sleeps between two workers.
        if proc.name_of(pid) != "sleep":
            caught &= proc.handled_signals(pid)
    return kind._replace(caught=caught)


def _worker_below(main_pid: int, members: Iterable[int]) -> str:
    """Returns the program of the worker below a wrapper; empty: there is none just now."""
    names_of_programs = (proc.name_of(pid) for pid in members if pid != main_pid)
    return next(
        (name for name in names_of_programs if name != "sleep" and not wrapper((name,), 0)), ""
    )


def _has_drained(state: InstanceState) -> bool:
    """Returns whether it ended after its drain, as far as its end was observed."""
    return state.ending is None or state.ending.end is End.DRAINED


def _was_killed(state: InstanceState) -> bool:
    return state.ending is not None and state.ending.end is End.KILLED


def _wait(times: Iterable[float | None], interval: float | None) -> float | None:
    """Returns seconds until the first of these times; None: until something happens."""
    now = monotonic()
    known = [time for time in times if time is not None]
    if interval is not None:
        known.append(now + interval)
    return max(0.0, min(known) - now) if known else None


class Quiet:
    """No progress shown."""

    interval: float | None = None

    def update(self, rollout: Rollout, seen: Mapping[InstanceName, Observed], now: float) -> None:
        """Shows nothing."""

    def stopping(self, stop: Stop) -> None:
        """Shows nothing."""


def forget(systemd: Systemd, layout: Layout, app: str, gone: Iterable[InstanceName]) -> None:
    """Clears up after instances that are no longer wanted and have stopped."""
    for name in gone:
        state_files.unpin(layout.app(app), name)
        with suppress(SystemdError):
            systemd.reset_failed(names.unit(app, name))
