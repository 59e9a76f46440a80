"""Presets: what one queue framework needs of systemd. TOML text in, a `Preset` out.

A preset is data: unitq has a file for each framework that it knows, and an operator may write
more. docs/frameworks.md describes the format. Nothing here is code that a framework could need.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from unitq.model.finding import BY_LEVEL, Level

if TYPE_CHECKING:
    import re

    from unitq.model.app import KillMode
    from unitq.model.finding import Certainty
    from unitq.model.settings import Duration
    from unitq.presets.redis_keys import Keys

NONE = "none"  # the preset that says: no framework, all as without one


class Basis(StrEnum):
    """How a fact is known."""

    MEASURED = "measured"  # on a real systemd
    READ = "read"  # in the framework's source
    DOCUMENTED = "documented"  # by the framework's authors
    UNVERIFIED = "unverified"


@dataclass(frozen=True, slots=True)
class Recognise:
    """How a command line, or the script that it runs, gives the framework away."""

    command: tuple[re.Pattern[str], ...] = ()  # see `recognise.Invocation.texts`
    script: tuple[re.Pattern[str], ...] = ()  # anywhere in the head of a script
    arguments: re.Pattern[str] | None = None  # which the script then needs as well
    title: tuple[re.Pattern[str], ...] = ()  # the beginning of what it calls itself in `ps`
    valued: frozenset[str] = frozenset()  # its options whose value may be the next word


@dataclass(frozen=True, slots=True)
class Stop:
    """How it is told to finish the job in hand and exit."""

    signal: str
    kill_mode: KillMode
    drains: tuple[str, ...]  # signals that let the job finish, sent to the main process
    drains_all: tuple[str, ...]  # the same where every process of the cgroup gets them
    timeout: Duration
    why: str = ""
    timeout_why: str = ""
    success_exit_status: tuple[str, ...] = ()
    source: str = ""
    loses: tuple[str, ...] = ()  # signals that end it in the middle of a job, or cost a job


@dataclass(frozen=True, slots=True)
class Quiet:
    """How it is told to take no new jobs, and to go on; "" where it has no such signal."""

    signal: str = ""
    resume: str = ""
    instead: str = ""


@dataclass(frozen=True, slots=True)
class Hardened:
    """Directives of `hardening` with which it does not work."""

    leave_out: tuple[str, ...] = ()
    why: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Queues:
    """How `queues = […]` reaches the worker: by a variable, by arguments, or not at all."""

    variable: str = ""
    separator: str = ","
    arguments: tuple[str, ...] = ()  # "{queues}" stands for all of them
    each: tuple[str, ...] = ()  # once for each of them, as "{queue}"
    given: re.Pattern[str] | None = None  # a command that names queues itself
    note: str = ""

    @property
    def by_arguments(self) -> bool:
        return bool(self.arguments or self.each)

    def named(self, command: str) -> tuple[str, ...]:
        """Those that the command names itself, where the preset tells how to read them."""
        if self.given is None or "queues" not in self.given.groupindex:
            return ()
        found = [each["queues"] or "" for each in self.given.finditer(command)]
        names = " ".join(found).replace(self.separator, " ").split()
        return tuple(dict.fromkeys(name for each in names if (name := each.strip("\"'"))))


@dataclass(frozen=True, slots=True)
class Case:
    """A command line to which something else applies."""

    command: re.Pattern[str]
    why: str
    signal: str = ""
    kill_mode: KillMode | None = None
    drains: tuple[str, ...] | None = None
    drains_all: tuple[str, ...] | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """Settings that are known to lose jobs, or to do something else than they seem to.

    All the conditions that a row has must hold; those of the command line for one program of it.
    """

    says: str
    name: str = ""  # for `allow`; of the rows with one name the first that holds counts
    level: Level = Level.WARNING
    sure: Certainty | None = None  # None: as the level says
    why: str = ""
    instead: str = ""
    source: str = ""
    command: re.Pattern[str] | None = None  # anywhere in the command, or in a program it runs
    options: tuple[str, ...] = ()  # one of these is given
    lacks: tuple[str, ...] = ()  # none of these is given
    variable: str = ""
    directive: str = ""  # the worker has it in its `service` or `unit`
    value: re.Pattern[str] | None = None  # all of the variable's, directive's or option's value
    instances: int = 1  # only where so many may run at a time
    kill_mode: KillMode | None = None  # only under this one
    stop_signal: str = ""  # only with this one
    unless: str = ""  # not where the user gives this directive; or DIRECTIVE=VALUE

    @property
    def certainty(self) -> Certainty:
        return self.sure or BY_LEVEL[self.level]


@dataclass(frozen=True, slots=True)
class Limit:
    """A time limit of the framework's own that `stop_timeout` must leave room for."""

    command: re.Pattern[str] | None  # its first group is the number
    unit: str
    margin: Duration
    options: tuple[str, ...] = ()  # that have the number as their value
    files: tuple[str, ...] = ()  # below the release, where no option says it; the first that is
    file_options: tuple[str, ...] = ()  # that name another file
    line: re.Pattern[str] | None = None  # of the file; its first group is the number
    default: int | None = None  # the framework's own, where nothing says it
    says: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Prints:
    """What a worker prints of its jobs, for frameworks that keep nothing of them in Redis."""

    begun: tuple[re.Pattern[str], ...] = ()  # their groups: id, and name
    ended: tuple[re.Pattern[str], ...] = ()  # their group: id
    ahead: bool = False  # the beginning is printed of what is fetched, and may begin later
    needs: str = ""  # an option without which it does not print that …
    given: re.Pattern[str] | None = None  # … and a command that has it
    source: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """What is known, how, and from where."""

    says: str
    basis: Basis
    source: str = ""


@dataclass(frozen=True, slots=True)
class Preset:
    """What one queue framework needs."""

    name: str
    title: str
    stop: Stop
    about: str = ""
    command: str = ""  # an example
    versions: tuple[str, ...] = ()  # that it was tried with
    recognise: Recognise = Recognise()
    service: tuple[tuple[str, str], ...] = ()  # directives
    quiet: Quiet = Quiet()
    environment: tuple[tuple[str, str], ...] = ()
    queues: Queues = Queues()
    signals: tuple[tuple[str, str], ...] = ()
    cases: tuple[Case, ...] = ()
    checks: tuple[Check, ...] = ()
    limits: tuple[Limit, ...] = ()
    facts: tuple[Fact, ...] = ()
    prints: Prints = Prints()
    hardening: Hardened = Hardened()
    redis: Keys | None = None  # where its queues are; None: not known, or not in Redis

    def case(self, command: str) -> Case | None:
        """The case that this command line is, if it is one."""
        return next((case for case in self.cases if case.command.search(command)), None)

    def fitted(self, command: str) -> Preset:
        """The preset as it applies to this command line."""
        case = self.case(command)
        if case is None:
            return self
        stop = replace(
            self.stop,
            signal=case.signal or self.stop.signal,
            kill_mode=case.kill_mode or self.stop.kill_mode,
            drains=self.stop.drains if case.drains is None else case.drains,
            drains_all=self.stop.drains_all if case.drains_all is None else case.drains_all,
            why=case.why,
            source=case.source or self.stop.source,
        )
        return replace(self, stop=stop)
