"""What is to be done to get from what is there to what is wanted, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from unitq.model import names
from unitq.units.changes import PIN, FileChange
from unitq.units.same_stop import stop_timeout, with_longer_limit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from unitq.model.names import InstanceName
    from unitq.model.settings import RolloutSettings
    from unitq.revisions.model import Revision


class Do(StrEnum):
    """What happens to one instance."""

    KEEP = "keep"
    START = "start"
    RESTART = "restart"
    STOP = "stop"
    SURGE = "surge"  # one more, on the new revision, while the others are replaced


@dataclass(frozen=True, slots=True)
class Running:
    """What a plan needs to know of an instance that systemd knows."""

    active: bool  # the process is there, be it starting, running or draining
    revision: str | None  # from the process itself; None: not to be found out
    young: bool = False  # it has not run for min_healthy yet
    paused: bool = False  # it takes no jobs, and what takes its place will
    moved: str = ""  # the commit that it runs, where its checkout was moved before it was started
    serving: bool = True  # it takes jobs now, as far as systemd can tell
    ending: bool = False  # it has been told to stop, and has not ended yet
    replaced: bool = False  # its release was deleted since, and another is in its place


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to one instance, and why."""

    instance: InstanceName
    do: Do
    why: str
    young: bool = False  # kept, but it has not proved itself: it may be crashing in a loop
    switch: bool = False  # its unit text changes between the old process and the new one
    urgent: bool = False  # it failed: it has no capacity to lose, so it goes first
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
    steps: tuple[Step, ...]
    links: tuple[str, ...] = ()  # units whose start at boot is switched on or off
    reload: bool = False  # a daemon-reload is due from an interrupted deploy
    pins: tuple[FileChange, ...] = ()  # see `_pins`
    limits: tuple[DrainLimit, ...] = ()  # of the workers whose stop_timeout changes

    @property
    def steps_to_take(self) -> tuple[Step, ...]:
        """The steps that change something."""
        return tuple(step for step in self.steps if step.do is not Do.KEEP)

    @property
    def reloads(self) -> int:
        """How many daemon-reloads it takes at the most: instances that switch at once share one."""
        written = [change for change in self.files if change.after is not None]
        touched = bool(written or self.pins or self.links or self.reload)
        # What only goes waits for the reload that the deleted files need.
        first = touched and (bool(written or self.pins) or not self.files)
        switched = {change.name for change in self.pins if change.after is not None}
        stopped = {
            names.unit(self.target.app, step.instance)
            for step in self.steps
            if step.do in (Do.STOP, Do.SURGE)
        }
        last = any(change.after is None for change in self.files) or bool(switched & stopped)
        return first + len(switched - stopped) + last

    @property
    def unproved(self) -> bool:
        """Whether an instance that is kept has to show yet that it stays."""
        return any(step.young for step in self.steps)

    @property
    def pending(self) -> bool:
        """Whether a deploy would change anything."""
        return bool(
            self.files
            or self.pins
            or self.links
            or self.reload
            or self.steps_to_take
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
    """The plan from what is there to `target`.

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
    every = sorted(set(target.instances) | running.keys())
    steps = [step(instance, target, running.get(instance)) for instance in every]
    links = set(target.links) ^ set(linked)
    steps += _surges(steps, target, settings or target.rollout, running)
    pins = _pins(target.app, files, pinned, steps, running, units)
    limits = _limits(target.app, steps, running, installed, units)
    return Plan(current, target, files, tuple(steps), tuple(sorted(links)), reload, pins, limits)


def _surges(
    steps: list[Step],
    target: Revision,
    settings: RolloutSettings,
    running: Mapping[InstanceName, Running],
) -> list[Step]:
    """The instances that there are more while others are replaced; they take the next numbers.

    One that an interrupted rollout has started already is used again: its step changes in `steps`.
    """
    found = []
    for worker in target.workers:
        replaced = sum(
            each.do is Do.RESTART and each.instance.worker == worker.name for each in steps
        )
        wanted = 0 if worker.singleton else min(settings.surge(worker.instances), replaced)
        number = worker.instances
        while wanted:
            number += 1
            name = names.InstanceName(worker.name, number)
            there = running.get(name)
            if there and there.active and there.revision != worker.revision:
                continue  # one that is no longer wanted: it stops in its turn
            steps[:] = [each for each in steps if each.instance != name]
            found.append(Step(name, Do.SURGE, "one more while the others are replaced"))
            wanted -= 1
    return found


def _pins(
    app: str,
    files: Iterable[FileChange],
    pinned: Mapping[str, str],
    steps: Iterable[Step],
    running: Mapping[InstanceName, Running],
    units: Mapping[str, str],
) -> tuple[FileChange, ...]:
    """The unit files of single instances that hold them to the text that they run by.

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
    changes = []
    for each in steps:
        unit = names.unit(app, each.instance)
        there = running.get(each.instance)
        template = names.template(app, each.instance.worker)
        before = after = pinned.get(unit)
        if each.do is Do.KEEP:
            after = None
        elif before is None and there is not None and there.active and template in replaced:
            after = PIN + replaced[template]
        if after is not None and template in units:
            after = with_longer_limit(after, units[template])
        if after != before:
            changes.append(FileChange(unit, before, after))
    return tuple(changes)


def _limits(
    app: str,
    steps: Iterable[Step],
    running: Mapping[InstanceName, Running],
    installed: Mapping[str, str],
    units: Mapping[str, str],
) -> tuple[DrainLimit, ...]:
    """What changes for the processes that are about to end."""
    found = set()
    for each in steps:
        there = running.get(each.instance)
        if each.do is Do.KEEP or there is None or not there.active:
            continue
        worker = each.instance.worker
        template = names.template(app, worker)
        unit = names.unit(app, each.instance)
        if unit in installed and not installed[unit].startswith(PIN):
            continue  # an operator's own file, which stays
        old = installed.get(unit, installed.get(template, ""))
        before, after = stop_timeout(old), stop_timeout(units.get(template, ""))
        if before is not None and after is not None and before != after:
            found.add(DrainLimit(worker, before, after))
    return tuple(sorted(found))


def keep(instance: InstanceName) -> Step:
    """Returns a step that leaves the instance alone but counts it."""
    return Step(instance, Do.KEEP, "not asked for")


def step(instance: InstanceName, target: Revision, running: Running | None) -> Step:
    """What happens to one instance."""
    wanted = target.wanted(instance)
    if wanted is None:
        return Step(instance, Do.STOP, "no longer wanted")
    if running is None or not running.active:
        return Step(instance, Do.START, "not running")
    paused = "; it is paused, and its successor will take jobs" if running.paused else ""
    serving = running.serving and not running.paused
    restart = partial(Step, instance, Do.RESTART, serving=serving)
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
    why = f"runs {wanted}, since a moment ago" if running.young else f"runs {wanted}"
    return Step(instance, Do.KEEP, why, running.young, serving=serving)
