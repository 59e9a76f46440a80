"""Carries out a rollout: the only loop, the only clock.

What may be done next is decided in rollout/engine/. This file gives the orders, listens, and feeds
back what it sees. Signals from systemd only shorten the wait: after a lost connection, and before
anything is called done, the state itself is read again.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, NamedTuple, Protocol

from unitq.errors import NoMatchError, SystemdError, UnitqError
from unitq.instances import observe
from unitq.instances.state import LEFT_BEHIND, keeper, left_behind, program_names, unreached
from unitq.linux import proc
from unitq.model import names
from unitq.revisions import state
from unitq.rollout import out_of_memory
from unitq.rollout.advisory import Advisory, end_in_words
from unitq.rollout.engine.rollout import (
    IN_FLIGHT,
    Order,
    Phase,
    Rollout,
    What,
    advance,
    confirmed,
    ended,
    ordered,
    probed,
    refused,
)
from unitq.rollout.engine.schedule import deadline, orders
from unitq.rollout.in_flight import Draining
from unitq.rollout.ledger_store import LedgerError
from unitq.rollout.orders import Orders
from unitq.rollout.outcome import Outcome
from unitq.rollout.tracker import Sights
from unitq.systemd import journal
from unitq.systemd.errors import BusLostError
from unitq.systemd.exit_status import End
from unitq.systemd.manager import Event, JobDone, Systemd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from unitq.instances.state import Keeper, Seen
    from unitq.linux.interrupts import Interrupts
    from unitq.model.layout import Layout
    from unitq.model.names import InstanceName
    from unitq.rollout.engine.instance import Slot
    from unitq.rollout.in_flight import Hands, Presence
    from unitq.rollout.ledger_store import Ledger

# Looks at what is there until one finds it at rest; a host where units never rest must not hold
# us up for ever.
_LOOKS = 10

_CLOCKS_DIFFER = 5.0  # seconds more of the kernel's log than a rollout took


def out_of_reach(systemd: Systemd) -> bool:
    """Whether systemd stops everything, or does not answer any more."""
    try:
        return systemd.stopping()
    except SystemdError:
        return True


class _End(NamedTuple):
    """Why the loop ended before the rollout did."""

    detached: bool = False
    gave_up: bool = False


class Stop(NamedTuple):
    """A rollout that somebody has asked to stop, and what it still finishes."""

    interrupted: bool  # by a signal; else paused
    draining: tuple[str, ...]
    starting: tuple[str, ...]  # or about to prove themselves
    seconds: float | None  # that the drains may take at most; None: any time


class Progress(Protocol):
    """Shows what happens while it happens."""

    # Seconds between two looks though nothing happens, for what counts time; None: not needed.
    interval: float | None

    def update(self, rollout: Rollout, seen: Mapping[InstanceName, Seen], now: float) -> None:
        """Called after each step of the loop."""

    def stopping(self, stop: Stop) -> None:
        """Called once, where somebody has asked the rollout to stop."""


class Applier:
    """Runs rollouts of one app over one connection."""

    def __init__(
        self,
        systemd: Systemd,
        layout: Layout,
        app: str,
        book: Ledger | None = None,
        hands: Hands | None = None,
        presence: Presence | None = None,
        advisory: Advisory | None = None,
    ) -> None:
        """With a ledger, each order is written down there before it is given.

        `hands` look at the jobs of those that are told to stop; `presence` is the probe of the
        workers that have to register themselves.
        """
        self._hands = hands
        self._presence = presence
        self._advisory = advisory or Advisory(lambda _: None)
        self._rollout: Rollout | None = None
        self._orders = Orders(systemd, layout, app, book)
        self._systemd = systemd
        self._layout = layout
        self._place = layout.app(app)
        self._app = app
        self._where = observe.machine(systemd, layout)
        self._sights = Sights(systemd, self._where, app, ())
        self._probes: dict[str, InstanceName] = {}  # by the path of their unit job
        self._started: set[InstanceName] = set()  # and not yet looked for in their units

    def run(
        self,
        rollout: Rollout,
        progress: Progress,
        *,
        interrupts: Interrupts,
        limit: float | None = None,
    ) -> Outcome:
        """Carries the rollout out and says what became of it; waits at most `limit` seconds.

        With the limit or a second Ctrl-C the wait ends, not the work: what was ordered goes on in
        systemd. What nobody expected ends the rollout, and is in the outcome: `broken`.
        """
        begun = monotonic()
        self._sights = Sights(self._systemd, self._where, self._app, rollout.slots)
        self._rollout = rollout
        end, broken = _End(), ""
        try:
            end = self._roll(rollout, progress, interrupts, begun, limit)
        except (SystemdError, NoMatchError) as error:
            if out_of_reach(self._systemd):
                raise
            broken = error.message
        except LedgerError as error:
            broken = error.message
        except UnitqError:
            raise  # told in words of its own
        except Exception as error:  # noqa: BLE001  (a rollout without its end helps nobody)
            broken = end_in_words(error)
        rollout = self._rollout
        ask = self._advisory.ask
        if not end.detached:
            rollout = ask(
                "how some processes ended is not known", partial(self._endings, rollout), rollout
            )
            rollout = ask(
                "whether any of them ran out of memory is not known",
                partial(self._out_of_memory, rollout, monotonic() - begun),
                rollout,
            )
        ask("systemd still tells unitq what happens", self._systemd.unsubscribe, None)
        if self._hands:
            self._hands.after(n for n, slot in rollout.slots.items() if not _drained(slot))
        workers = {name.worker for name in rollout.slots}
        ask(
            "a power cut could bring older pins back",
            partial(state.sync_pins, self._place, workers),
            None,
        )
        progress.update(rollout, self._sights.seen, monotonic())
        return Outcome(
            rollout=rollout,
            seen=dict(self._sights.seen),
            seconds=monotonic() - begun,
            least_serving=self._sights.least,
            interrupted=interrupts.count > 0,
            paused=(interrupts.paused and not interrupts.count) or rollout.awaiting,
            detached=end.detached,
            gave_up=end.gave_up and not end.detached,
            broken=broken,
            logs=ask("what failed workers printed is not known", partial(self._logs, rollout), {}),
            jobs=dict(self._hands.jobs) if self._hands else {},
            possible=dict(self._hands.possible) if self._hands else {},
            dropped=self._hands.dropped(sleep) if self._hands else (),
        )

    def _roll(
        self,
        rollout: Rollout,
        progress: Progress,
        interrupts: Interrupts,
        begun: float,
        limit: float | None,
    ) -> _End:
        """The loop. Where the rollout stands is in self._rollout, also when this raises."""
        sights = self._sights
        try:
            self._systemd.subscribe(sights.units)
            rollout = self._looked(rollout, everything=True)
        except BusLostError:
            rollout = self._reconnected(rollout)
        sights.count_from_now()
        while True:
            now = monotonic()
            self._look_for_started(rollout, now)
            rollout = self._rollout = advance(rollout, sights.seen, now)
            due = orders(rollout, sights.seen, now)
            self._orders.write_down(due, sights.seen)
            self._look_at_mains(due)
            self._look_at_hands(rollout, due)
            rollout, together = self._switched(rollout, due)
            for order in due:
                rollout = self._rollout = self._order(rollout, order)
                progress.update(rollout, sights.seen, monotonic())
                if together:
                    continue
                # Heard now, while systemd is busy with the order, and not in a pause afterwards.
                rollout = self._listen(rollout, 0.0, interrupts)
                if rollout.failed:
                    break
            self._orders.unless_going_down()
            progress.update(rollout, sights.seen, now)
            if rollout.finished:
                again = self._confirmed(rollout)
                rollout = self._rollout = again
                if again.finished:
                    return _End()
                continue
            end = _End(interrupts.count > 1, limit is not None and now - begun >= limit)
            if any(end):
                return end
            if (interrupts.count or interrupts.paused) and not rollout.halted:
                rollout = replace(rollout, halted=True)
                progress.stopping(self._stop(rollout, now, interrupted=interrupts.count > 0))
                continue
            watched = progress.interval is not None
            times = [deadline(rollout, sights.seen), None if limit is None else begun + limit]
            if self._hands:
                self._hands.again(rollout, monotonic(), watched=watched)
                times.append(self._hands.due(rollout, watched=watched))
            rollout = self._listen(rollout, _wait(times, progress.interval), interrupts)

    def _look_for_started(self, rollout: Rollout, now: float) -> None:
        """Notes of those about to be called healthy what they run, and whether in their units."""
        for name in tuple(self._started):
            seen, phase = self._sights.of(name), rollout.slots[name].phase
            if phase in (Phase.DRAINING, Phase.DRAINED, Phase.STARTING):
                continue
            if phase is Phase.SETTLING:
                if not seen.serving or now < seen.since + rollout.settings.min_healthy.seconds:
                    continue
                self._sights.note_code(name)
                with suppress(SystemdError):  # then nothing is known of it
                    self._look_inside(name, seen.pid)
            self._started.discard(name)

    def _look_inside(self, name: InstanceName, main_pid: int) -> None:
        """Notes whether the worker is in its unit, and whether a stop will reach it."""
        unit = names.unit(self._app, name)
        found = proc.pids(self._cgroup(name))
        if main_pid not in found:
            found = observe.members(self._systemd, unit)
        self._sights.elsewhere(name, observe.elsewhere(found, main_pid))
        above = _keeper(main_pid, found)
        why = None
        if above and (worker := _worker_below(main_pid, found)):
            kill = self._systemd.properties(unit, "KillMode", "KillSignal")
            why = unreached(
                above,
                worker,
                kill["KillSignal"],
                mixed=kill["KillMode"] == "mixed",
                caught=proc.caught(main_pid),
            )
        self._sights.unreached(name, why)

    def _look_at_mains(self, due: tuple[Order, ...]) -> None:
        """Notes what the main processes are that are about to be told to stop."""
        for slot, what in due:
            name, seen = slot.instance, self._sights.of(slot.instance)
            if what not in (What.STOP, What.RESTART) or not seen.pid:
                continue
            found = _keeper(seen.pid, self._members(name, seen))
            self._sights.more(name, found)

    def _stop(self, rollout: Rollout, now: float, *, interrupted: bool) -> Stop:
        """What is finished before the rollout stops, and how long it may take."""
        moving = [slot for slot in rollout.slots.values() if slot.phase in IN_FLIGHT]
        draining = [slot for slot in moving if slot.phase is Phase.DRAINING]
        limits = [self._orders.limit(slot.instance) for slot in draining]
        left = [
            None if limit is None else max(0.0, limit - (now - slot.touched))
            for slot, limit in zip(draining, limits, strict=True)
        ]
        longest = max((each for each in left if each is not None), default=0.0)
        return Stop(
            interrupted,
            tuple(str(slot.instance) for slot in draining),
            tuple(str(slot.instance) for slot in moving if slot not in draining),
            None if None in left else longest,
        )

    def _look_at_hands(self, rollout: Rollout, due: tuple[Order, ...]) -> None:
        """Notes what those have in hand that are about to be told to stop."""
        if self._hands is None:
            return
        told = []
        for slot, what in due:
            name, seen = slot.instance, self._sights.of(slot.instance)
            if what not in (What.STOP, What.RESTART) or not seen.pid:
                continue
            members, limit = self._members(name, seen), self._orders.limit(name)
            told.append(Draining(name, members, limit, seen.invocation))
        if told:
            self._hands.before(rollout, told, monotonic())

    def _members(self, name: InstanceName, seen: Seen) -> tuple[int, ...]:
        """The processes of an instance."""
        return proc.pids(self._cgroup(name)) or (seen.pid,)

    def _cgroup(self, name: InstanceName) -> str:
        return f"{self._where.cgroup}/{names.cgroup_path(self._app, name)}"

    def _switched(self, rollout: Rollout, due: tuple[Order, ...]) -> tuple[Rollout, bool]:
        """The rollout once the next starts go by the new unit texts, and whether any did not."""
        pinned = self._orders.pinned(due)
        while pinned:
            try:
                self._orders.switch(pinned, rollout.wanted)
                break
            except BusLostError:
                rollout = self._reconnected(rollout)
            except (OSError, SystemdError) as error:
                for slot, _ in pinned:
                    rollout = refused(rollout, slot, f"its unit cannot be changed: {error}")
                break
        return rollout, bool(pinned)

    def _order(self, rollout: Rollout, order: Order) -> Rollout:
        """Tells systemd what is to happen to one instance; one unit job each."""
        slot, what = order
        name = slot.instance
        if rollout.slots[name].phase is Phase.FAILED and slot.phase is not Phase.FAILED:
            return rollout  # refused a moment ago
        seen = self._sights.of(name)
        if what is What.PROBE and self._presence and name.worker in self._presence.workers:
            why = self._presence.missing(self._members(name, seen))
            rollout = ordered(rollout, order, seen, monotonic())
            return probed(rollout, name, not why, why, monotonic())
        while True:
            try:
                job = self._orders.give(order, rollout.wanted.get(name), seen)
            except BusLostError:
                rollout = self._reconnected(rollout)
                again = self._sights.seen[name]
                if again.serving and again.invocation != seen.invocation:
                    break  # the order arrived before the connection broke, and was carried out
                # If it arrived and is under way, systemd merges the second one into it.
                continue
            except NoMatchError:
                if what is not What.STOP:
                    raise
                break  # not loaded: nothing to stop
            except SystemdError as error:
                return refused(rollout, slot, error.message)
            except OSError as error:
                return refused(rollout, slot, f"its pin cannot be moved: {error}")
            if what is What.PROBE:
                self._probes[job] = name
            else:
                self._sights.ordered(name, job)
                if what is not What.STOP:
                    self._started.add(name)
            break
        return ordered(rollout, order, seen, monotonic())

    def _listen(self, rollout: Rollout, timeout: float | None, interrupts: Interrupts) -> Rollout:
        try:
            events = self._systemd.events(timeout, interrupts.wake)
            interrupts.clear()
        except BusLostError:
            return self._reconnected(rollout)
        return self._heard(rollout, events)

    def _heard(self, rollout: Rollout, events: Iterable[Event]) -> Rollout:
        """The rollout after what systemd told."""
        for event in events:
            if isinstance(event, JobDone) and event.job in self._probes:
                rollout = self._probed(rollout, self._probes.pop(event.job), event.result)
            # One by one: how a process ended, or that it was down, shows in passing only.
            if name := self._sights.units.get(event.unit):
                self._sights.note(name, event)
                rollout = advance(rollout, self._sights.seen, monotonic(), (name,))
        return rollout

    def _probed(self, rollout: Rollout, name: InstanceName, result: str) -> Rollout:
        """The rollout after a probe has ended."""
        if result == "done":
            return probed(rollout, name, True, "", monotonic())
        try:
            said = self._orders.probe_failed(name)
        except BusLostError:
            said = "the connection to systemd broke while it was asked"
        return probed(rollout, name, False, said, monotonic())

    def _reconnected(self, rollout: Rollout) -> Rollout:
        """The rollout after a lost connection: connected again, and what was missed read."""
        for name in self._probes.values():
            # Its answer may be lost: it is asked again.
            rollout = probed(rollout, name, False, "nobody heard what it said", monotonic())
        self._probes.clear()
        while True:
            self._systemd.reconnect()
            with suppress(BusLostError):
                return self._looked(rollout, everything=True)

    def _looked(self, rollout: Rollout, *, everything: bool = False) -> Rollout:
        """The rollout after the state itself was read, of all instances concerned.

        Signals that were sent before the state was read say what was, not what is, and arrive
        after it: so it is read again until nothing is told meanwhile.
        """
        workers = {name.worker for name in rollout.slots}
        for _ in range(_LOOKS):
            found = observe.instances(self._systemd, self._where, self._app, workers, rollout.slots)
            sights = {
                name: self._sights.sight(
                    found[name],
                    # All that nobody has seen yet, but not of each instance that only goes on.
                    everything=everything
                    and (
                        name in self._sights.seen
                        or not found[name].serving
                        or slot.phase is Phase.SETTLING
                    ),
                )
                for name, slot in rollout.slots.items()
            }
            events = [each for each in self._systemd.events(0.0) if self._concerns(each)]
            if not events:
                break
            rollout = self._heard(rollout, events)
        self._sights.note_all(sights, [name for name in rollout.slots if not found[name].job])
        return rollout

    def _concerns(self, event: Event) -> bool:
        return event.unit in self._sights.units or (
            isinstance(event, JobDone) and event.job in self._probes
        )

    def _confirmed(self, rollout: Rollout) -> Rollout:
        """The rollout after a last look at the state itself: nothing is done by hearsay."""
        try:
            rollout = self._looked(rollout)
        except BusLostError:
            rollout = self._reconnected(rollout)
        return confirmed(rollout, self._sights.seen, monotonic())

    def _endings(self, rollout: Rollout) -> Rollout:
        """Asks the journal how a process ended where no signal told us, and what it left behind."""
        for slot in rollout.slots.values():
            if not slot.before or slot.gone is None:
                continue
            user, since = self._layout.user, slot.touched
            if slot.ending is None:
                found = journal.ending(slot.before, since, user=user)
                rollout = ended(rollout, slot, found)
            elif slot.ending.detail == LEFT_BEHIND:
                killed = journal.killed(slot.before, since, user=user)
                rollout = ended(rollout, slot, left_behind(killed))
        return rollout

    def _out_of_memory(self, rollout: Rollout, seconds: float) -> Rollout:
        """Asks systemd and the kernel why those died that nobody told SIGKILL."""
        slots = out_of_memory.suspects(rollout)
        if not slots:
            return rollout
        new = {slot.instance: slot.invocation or self._last_start(slot) for slot in slots}
        starts = [each for slot in slots for each in (slot.before, new[slot.instance]) if each]
        named = journal.out_of_memory(starts, user=self._layout.user)
        pids = out_of_memory.killed_pids(journal.of_the_kernel(seconds + _CLOCKS_DIFFER))
        return out_of_memory.told(
            rollout,
            {s.instance for s in slots if s.before in named or s.pid_before in pids},
            {name for name, start in new.items() if start in named},
        )

    def _last_start(self, slot: Slot) -> str:
        invocation = self._sights.seen[slot.instance].invocation
        return "" if invocation == slot.before else invocation

    def _logs(self, rollout: Rollout) -> dict[InstanceName, tuple[str, ...]]:
        """What the failed ones printed; and those killed of whose job nobody knows."""
        known = self._hands.jobs if self._hands else {}
        logs = {}
        for name, slot in rollout.slots.items():
            lines: tuple[str, ...] = ()
            if slot.phase is Phase.FAILED:
                lines = self._log(slot)
            elif _killed(slot) and name not in known:
                lines = self._orders.last_words(slot.before)
            if lines:
                logs[name] = lines
        return logs

    def _log(self, slot: Slot) -> tuple[str, ...]:
        invocation = slot.invocation or self._last_start(slot)
        return self._orders.logs(slot.instance, invocation, probed=bool(slot.detail))


def _keeper(main_pid: int, members: Iterable[int]) -> Keeper | None:
    """What a main process is that has processes below it; None: it has none, or is the worker."""
    below = [pid for pid in members if pid != main_pid]
    if not below or (found := keeper(program_names(proc.words_of(main_pid)), 0)) is None:
        return None
    caught = -1
    for pid in below:
        # A loop sleeps between two workers.
        if proc.name_of(pid) != "sleep":
            caught &= proc.caught(pid)
    return found._replace(caught=caught)


def _worker_below(main_pid: int, members: Iterable[int]) -> str:
    """The program of the worker below a keeper; empty: there is none just now."""
    names_of_programs = (proc.name_of(pid) for pid in members if pid != main_pid)
    return next(
        (name for name in names_of_programs if name != "sleep" and not keeper((name,), 0)), ""
    )


def _drained(slot: Slot) -> bool:
    """Whether it ended by itself, as far as anybody saw it end."""
    return slot.ending is None or slot.ending.end is End.DRAINED


def _killed(slot: Slot) -> bool:
    return slot.ending is not None and slot.ending.end is End.KILLED


def _wait(times: Iterable[float | None], interval: float | None) -> float | None:
    """Seconds until the first of these times; None: until something happens."""
    now = monotonic()
    known = [time for time in times if time is not None]
    if interval is not None:
        known.append(now + interval)
    return max(0.0, min(known) - now) if known else None


class Quiet:
    """No progress shown."""

    interval: float | None = None

    def update(self, rollout: Rollout, seen: Mapping[InstanceName, Seen], now: float) -> None:
        """Shows nothing."""

    def stopping(self, stop: Stop) -> None:
        """Shows nothing."""


def forget(systemd: Systemd, layout: Layout, app: str, gone: Iterable[InstanceName]) -> None:
    """Clears up after instances that are no longer wanted and have stopped."""
    for name in gone:
        state.unpin(layout.app(app), name)
        with suppress(SystemdError):
            systemd.reset_failed(names.unit(app, name))
