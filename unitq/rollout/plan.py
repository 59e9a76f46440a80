"""Plans a deploy: the changes from the observed state to the desired one, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from unitq.model import names
from unitq.units.same_stop import stop_timeout, with_longer_limit
from unitq.units.text import PIN, FileChange

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from unitq.model.names import InstanceName
    from unitq.model.settings import RolloutSettings
    from unitq.revisions.model import Revision


class Change(StrEnum):
    """What happens to one instance."""

    KEEP = "keep"
    START = "start"
    RESTART = "restart"
    STOP = "stop"
    SURGE = "surge"  # one more, on the new revision, while the others are replaced


@dataclass(frozen=True, slots=True)
class Running:
    """What a plan needs to know of an instance that systemd knows."""

    active: bool  # the process is there: starting, running or draining
    revision: str | None  # from the process itself; None: unknown
    unproven: bool = False  # it has not run for min_healthy yet
    paused: bool = False  # it takes no jobs, and what takes its place will
    moved: str = ""  # the commit that it runs, where its checkout was moved before it was started
    serving: bool = True  # it takes jobs now, as far as systemd can tell
    ending: bool = False  # it has been told to stop, and has not ended yet
    replaced: bool = False  # its release was deleted since, and another is in its place


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """What happens to one instance, and why."""

    instance: InstanceName
    change: Change
    why: str
    unproven: bool = False  # kept, but it has not run for min_healthy: it may be crash-looping
    switches_unit_text: bool = False  # between the old process and the new one
    failed_before: bool = False  # it has no capacity to lose, so it goes first
    serving: bool = True  # it takes jobs now; of one that is to start it says nothing


@dataclass(frozen=True, slots=True, order=True)
class DrainLimit:
    """How long the old processes of a worker may take to end, where a deploy changes that."""

    worker: str
    before: float  # seconds, by the text that they were started by; inf: as long as it takes
    after: float  # by the new text

    @property
    def seconds(self) -> float:
        """What holds for the old processes: a longer limit at once, a shorter one never."""
        return max(self.before, self.after)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a deploy would do."""

    current: Revision | None
    target: Revision
    files: tuple[FileChange, ...]
    changes: tuple[PlannedChange, ...]
    links: tuple[str, ...] = ()  # units whose start at boot is switched on or off
    reload: bool = False  # a daemon-reload is due from an interrupted deploy
    pins: tuple[FileChange, ...] = ()  # see `_pins`
    limits: tuple[DrainLimit, ...] = ()  # of the workers whose stop_timeout changes

    @property
    def changes_to_make(self) -> tuple[PlannedChange, ...]:
        """All changes but KEEP."""
        return tuple(planned for planned in self.changes if planned.change is not Change.KEEP)

    @property
    def reloads(self) -> int:
        """How many daemon-reloads it takes at the most: instances that switch at once share one."""
        written = [change for change in self.files if change.after is not None]
        touched = bool(written or self.pins or self.links or self.reload)
        # What only goes waits for the reload that the deleted files need.
        first = touched and (bool(written or self.pins) or not self.files)
        switched = {change.name for change in self.pins if change.after is not None}
        stopped = {
            names.unit(self.target.app, planned.instance)
            for planned in self.changes
            if planned.change in (Change.STOP, Change.SURGE)
        }
        last = any(change.after is None for change in self.files) or bool(switched & stopped)
        return first + len(switched - stopped) + last

    @property
    def unproved(self) -> bool:
        """Whether an instance that is kept has to show yet that it stays."""
        return any(planned.unproven for planned in self.changes)

    @property
    def pending(self) -> bool:
        """Whether a deploy would change anything."""
        return bool(
            self.files
            or self.pins
            or self.links
            or self.reload
            or self.changes_to_make
            or self.target is not self.current
        )


def plan(
    current: Revision | None,
    target: Revision,
    *,
    units: Mapping[str, str],
    installed: Mapping[str, str],
    running: Mapping[InstanceName, Running],
    linked: Iterable[str],
    reload: bool,
    settings: RolloutSettings | None = None,
) -> Plan:
    """Returns the plan from the observed state to `target`.

    `units` are the unit texts of `target` by name, `installed` those on disk, `running` every
    instance that systemd knows or that is pinned, `linked` the units that start at boot,
    `reload` whether an interrupted deploy left a daemon-reload to be done. `settings` are those of
    this rollout, where they are not the target's own.
    """
    pinned = {name: text for name, text in installed.items() if text.startswith(PIN)}
    # An operator's own file for one instance (`systemctl edit --full`) is none of ours.
    known = {name for name in installed if not names.is_instance(name)}
    files = tuple(
        FileChange(name, installed.get(name), units.get(name))
        for name in sorted(units.keys() | known)
        if installed.get(name) != units.get(name)
    )
    instances = sorted(set(target.instances) | running.keys())
    changes = [planned_change(name, target, running.get(name)) for name in instances]
    links = set(target.links) ^ set(linked)
    changes += _surges(changes, target, settings or target.rollout, running)
    pins = _pins(target.app, files, pinned, changes, running, units)
    limits = _limits(target.app, changes, running, installed, units)
    return Plan(current, target, files, tuple(changes), tuple(sorted(links)), reload, pins, limits)


def _surges(
    changes: list[PlannedChange],
    target: Revision,
    settings: RolloutSettings,
    running: Mapping[InstanceName, Running],
) -> list[PlannedChange]:
    """Returns the surge instances; they take the next numbers.

    One that an interrupted rollout has started already is used again: `changes` loses its entry.
    """
    surges = []
    for worker in target.workers:
        replaced = sum(
            planned.change is Change.RESTART and planned.instance.worker == worker.name
            for planned in changes
        )
        missing = 0 if worker.singleton else min(settings.surge(worker.instances), replaced)
        number = worker.instances
        while missing:
            number += 1
            name = names.InstanceName(worker.name, number)
            there = running.get(name)
            if there and there.active and there.revision != worker.revision:
                continue  # one that is no longer wanted: it stops in its turn
            surges.append(
                PlannedChange(name, Change.SURGE, "one more while the others are replaced")
            )
            missing -= 1
    reused = {planned.instance for planned in surges}
    changes[:] = [planned for planned in changes if planned.instance not in reused]
    return surges


def _pins(
    app: str,
    files: Iterable[FileChange],
    pinned: Mapping[str, str],
    changes: Iterable[PlannedChange],
    running: Mapping[InstanceName, Running],
    units: Mapping[str, str],
) -> tuple[FileChange, ...]:
    """Returns the unit files of single instances that hold them to the text that they run by.

    A template that changes would at once change how the running processes are stopped, and what a
    crash or a reboot in mid-rollout starts. So each instance keeps the old text, in a file of its
    own which wins over the template (systemd.unit(5)), until its old process is gone. What is
    kept as it is needs none: a pin that an interrupted rollout left there goes.

    A longer stop_timeout is written into the pin: it can only help the old process.
    """
    replaced = {
        change.name: change.before
        for change in files
        if change.before is not None and change.after is not None
    }
    pins = []
    for planned in changes:
        unit = names.unit(app, planned.instance)
        there = running.get(planned.instance)
        template = names.template(app, planned.instance.worker)
        before = after = pinned.get(unit)
        if planned.change is Change.KEEP:
            after = None
        elif before is None and there is not None and there.active and template in replaced:
            after = PIN + replaced[template]
        if after is not None and template in units:
            after = with_longer_limit(after, units[template])
        if after != before:
            pins.append(FileChange(unit, before, after))
    return tuple(pins)


def _limits(
    app: str,
    changes: Iterable[PlannedChange],
    running: Mapping[InstanceName, Running],
    installed: Mapping[str, str],
    units: Mapping[str, str],
) -> tuple[DrainLimit, ...]:
    """Returns what changes for the processes that are about to end."""
    limits = set()
    for planned in changes:
        current = running.get(planned.instance)
        if planned.change is Change.KEEP or current is None or not current.active:
            continue
        worker = planned.instance.worker
        template = names.template(app, worker)
        unit = names.unit(app, planned.instance)
        if unit in installed and not installed[unit].startswith(PIN):
            continue  # an operator's own file, which stays
        old = installed.get(unit, installed.get(template, ""))
        before, after = stop_timeout(old), stop_timeout(units.get(template, ""))
        if before is not None and after is not None and before != after:
            limits.add(DrainLimit(worker, before, after))
    return tuple(sorted(limits))


def keep(instance: InstanceName) -> PlannedChange:
    """Returns a step that leaves the instance alone but counts it."""
    return PlannedChange(instance, Change.KEEP, "not asked for")


def planned_change(
    instance: InstanceName, target: Revision, running: Running | None
) -> PlannedChange:
    """Returns what happens to one instance."""
    wanted = target.goal(instance)
    if wanted is None:
        return PlannedChange(instance, Change.STOP, "no longer wanted")
    if running is None or not running.active:
        return PlannedChange(instance, Change.START, "not running")
    paused = "; it is paused, and its successor will take jobs" if running.paused else ""
    serving = running.serving and not running.paused
    restart = partial(PlannedChange, instance, Change.RESTART, serving=serving)
    if running.revision is None:
        # In doubt, restart: a process that may run old code is the one thing never to keep.
        return restart(why=f"its process does not tell what it runs{paused}")
    if running.revision == wanted and running.moved:
        why = f"its checkout was moved before it was started: it runs {running.moved[:12]}"
        return restart(why=f"{why}{paused}")
    if running.revision == wanted and running.replaced:
        why = "its release was deleted or renamed, and made again, since it was started"
        return restart(why=f"{why}{paused}")
    if running.revision != wanted:
        return restart(why=f"runs {running.revision}, wanted {wanted}{paused}")
    if running.ending:
        # To keep it would be to lose it; and what it is stopped by must not change meanwhile.
        return restart(why=f"runs {wanted}, and was told to stop{paused}")
    why = f"runs {wanted}, since a moment ago" if running.unproven else f"runs {wanted}"
    return PlannedChange(instance, Change.KEEP, why, running.unproven, serving=serving)
