"""What must be true of every rollout in every test, judged from what an observer saw.

The observer of a scope runs through the whole session and sees all apps (tests/harness/observer.py:
its own connection, its own samples of the cgroups). When a test is over, the story of each of its
apps is held against the rules here; what breaks one fails the test, whatever else it asserts:

- capacity: a rollout never has more instances out of service than max_unavailable;
- processes: never more instances of a worker than `instances` and max_surge, never two of one;
- killed: a process that systemd killed at its stop_timeout is named by the unitq that stopped it;
- unchanged: who says "unchanged" has touched nobody;
- old code: after a rollout that says it is well, each process works in the release of its pin.

What a test does itself (systemctl, kill) is known from the story or from how a process ended, and
held against nobody. The rules share no code with unitq.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.harness.observed import Change, Summary

ROLLING = frozenset({"deploy", "restart", "rollback", "rollout", "recycle"})
_NOT_ROLLING = frozenset({"--dry-run", "--all-at-once"})

# A command that ended so did not come to its report: kill -9, two Ctrl-C.
_SILENT = frozenset({-9, 130})


@dataclass(frozen=True, slots=True)
class Told:
    """A unitq command of the test: when it ran, what it said, by which unitq.toml."""

    arguments: tuple[str, ...]
    begun: float
    ended: float
    code: int | None
    """None: it never ended."""
    output: str
    config: Mapping[str, Any] = field(repr=False)
    strays: tuple[str, ...] = ()
    """The processes on another release than their pin's when it had ended."""

    @property
    def words(self) -> tuple[str, ...]:
        """What it was told to do, without options."""
        return tuple(word for word in self.arguments if not word.startswith("-"))

    def scaled(self, worker: str) -> int:
        """What `scale WORKER=N` asked for; 0: nothing."""
        asked = [word.partition("=")[2] for word in self.words if word.startswith(f"{worker}=")]
        # What is longer is refused.
        right = "scale" in self.words and asked and asked[-1].isdigit() and len(asked[-1]) < 5
        return int(asked[-1]) if right else 0

    @property
    def rolls(self) -> bool:
        """Whether it may replace instances, and how many at a time is limited."""
        return ROLLING & set(self.words) != set() and _NOT_ROLLING.isdisjoint(self.arguments)


@dataclass(frozen=True, slots=True)
class Meddled:
    """What the test did to systemd by hand, and to which units."""

    begun: float
    ended: float
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """One app in one test."""

    seen: Summary
    told: Sequence[Told]
    meddled: Sequence[Meddled] = ()
    excused: frozenset[str] = frozenset()

    def broken(self) -> list[str]:
        """Each rule that was broken, in words."""
        rules = {
            "capacity": _capacity,
            "processes": _processes,
            "killed": _killed,
            "unchanged": _unchanged,
            "old code": _old_code,
        }
        unknown = self.excused - rules.keys()
        assert not unknown, f"there is no such rule: {unknown}"
        return [
            f"{name}: {problem}"
            for name, rule in rules.items()
            if name not in self.excused
            for problem in rule(self)
        ]

    def quiet(self, told: Told) -> bool:
        """Whether nobody but unitq gave orders while it ran, and the bus was there."""
        away = any(gap.start <= told.ended and gap.end >= told.begun for gap in self.seen.outages)
        return not away and not any(
            one.begun <= told.ended and one.ended >= told.begun for one in self.meddled
        )


def _capacity(story: Story) -> Iterator[str]:
    for told in story.told:
        if not told.rolls or not story.quiet(told):
            continue
        window = story.seen.between(told.begun, told.ended)
        for worker, table in _workers(told.config):
            # A rollback may go to fewer, and so may the deploy of another file.
            wanted = min(_instances(table), *_ever(story, worker))
            before = story.seen.between(told.begun, told.begun).least_active_signalled(worker)
            share = _after(told.arguments, "--max-unavailable") or _rollout(told).get(
                "max_unavailable", 1
            )
            allowed = _unavailable(share, _instances(table), _surge(told, table))
            trouble = _in_trouble(window.changes, story.seen.prefix(worker), told)
            least = _least_active(window, worker)
            if least < min(before, wanted) - allowed - len(trouble):
                yield (
                    f"`unitq {' '.join(told.arguments)}` left {least} of {wanted} {worker} active: "
                    f"{before} were, {allowed} may be down, {len(trouble)} failed by themselves"
                )


def _least_active(window: Summary, worker: str) -> int:
    # The sample before the window is left out: what was about to come up is counted as there.
    within = tuple(sample for sample in window.samples if sample.at >= window.start)
    signalled = window.least_active_signalled(worker)
    if not any(sample.units is not None for sample in within):
        return signalled
    return min(signalled, replace(window, samples=within).least_active_sampled(worker))


def _processes(story: Story) -> Iterator[str]:
    names = {name for told in story.told for name, _ in _workers(told.config)}
    started = " ".join(word for one in story.meddled for word in one.arguments)
    for name in sorted(names):
        tables = [(told, dict(_workers(told.config)).get(name)) for told in story.told]
        most = max(_instances(table) + _surge(told, table) for told, table in tables if table)
        scaled = [told.scaled(name) + _surge(told, table or {}) for told, table in tables]
        most = max(most, *scaled)
        by_hand = sum(
            unit in started for unit in story.seen.units if unit.startswith(story.seen.prefix(name))
        )
        found = story.seen.most_instances(name)
        if found > most + by_hand:
            yield f"{found} instances of {name} at once, {most} were asked for"


def _killed(story: Story) -> Iterator[str]:
    for change in story.seen.changes:
        if change.properties.get("Result") != "timeout" or change.first:
            continue
        asked = [told for told in story.told if told.begun <= change.at <= told.ended]
        if not asked or not all(story.quiet(told) for told in asked):
            continue
        if any(told.code is None or told.code in _SILENT for told in asked):
            continue
        name = change.unit.removeprefix(f"unitq-{story.seen.app}-").removesuffix(".service")
        if not any(name in told.output and "kill" in told.output for told in asked):
            yield f"{name} was killed at its stop_timeout, and no command said so"


def _unchanged(story: Story) -> Iterator[str]:
    for told in story.told:
        if told.code != 0 or not story.quiet(told) or not _says_unchanged(told):
            continue
        window = story.seen.between(told.begun, told.ended)
        for unit, states in ((unit, window.states(unit)) for unit in window.units):
            if any(state.startswith("deactivating/stop") for state in states):
                yield f"`unitq {' '.join(told.arguments)}` says unchanged, and {unit} was stopped"


def _old_code(story: Story) -> Iterator[str]:
    for told in story.told:
        if told.strays and story.quiet(told):
            yield f"`unitq {' '.join(told.arguments)}` ended well with {', '.join(told.strays)}"


# --- what a command was asked for -----------------------------------------------------------------


def _says_unchanged(told: Told) -> bool:
    if "--json" in told.arguments:
        try:
            return bool(json.loads(told.output).get("result") == "unchanged")
        except ValueError:
            return False
    return "unchanged" in told.output


def _workers(config: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(name, table) for name, table in config.get("workers", {}).items() if table]


def _instances(table: Mapping[str, Any]) -> int:
    return int(table.get("instances", 1))


def _ever(story: Story, worker: str) -> list[int]:
    tables = [dict(_workers(told.config)) for told in story.told]
    return [_instances(table[worker]) for table in tables if worker in table]


def _rollout(told: Told) -> Mapping[str, Any]:
    found: Mapping[str, Any] = told.config.get("rollout", {})
    return found


def _after(arguments: Sequence[str], option: str) -> str:
    for at, word in enumerate(arguments[:-1]):
        if word == option:
            return arguments[at + 1]
    return ""


def _surge(told: Told, table: Mapping[str, Any]) -> int:
    if table.get("singleton"):
        return 0
    share = str(_surge_option(told.arguments) or _rollout(told).get("max_surge", 0))
    if share.endswith("%"):
        return -(-_instances(table) * int(share[:-1]) // 100)
    return int(share)


def _surge_option(arguments: Sequence[str]) -> str:
    joined = [word.partition("=")[2] for word in arguments if word.startswith("--max-surge=")]
    return joined[-1] if joined else _after(arguments, "--max-surge")


def _unavailable(share: object, instances: int, surge: int) -> int:
    text = str(share)
    number = instances * int(text[:-1]) // 100 if text.endswith("%") else int(text)
    return max(number, 0 if surge else 1)


def _in_trouble(changes: Sequence[Change], prefix: str, told: Told) -> set[str]:
    """Units that ended by themselves meanwhile, crashed, or were killed by somebody."""
    return {
        change.unit
        for change in changes
        if change.at >= told.begun and change.unit.startswith(prefix) and not change.first
        if change.properties.get("Result", "success") != "success"
        or change.properties.get("SubState") in ("auto-restart", "failed")
    }
