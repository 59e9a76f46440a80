"""Presets: what one queue framework needs of systemd, as its file says it.

A preset is data: unitq has a file for each framework that it knows, and an operator may write
more. docs/extending.md describes the format. Nothing here is code that a framework could need.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from unitq.model.app import KillMode
from unitq.model.finding import BY_LEVEL, Certainty, Level
from unitq.model.settings import Duration
from unitq.model.suggest import either
from unitq.presets import types
from unitq.presets.redis_keys import Keys
from unitq.toml.types import (
    AnySignal,
    AnySpan,
    Command,
    Flag,
    Items,
    KillModeWord,
    Kind,
    LongSpan,
    ShortSpan,
    StopSignal,
    Table,
    Variables,
    Word,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class Basis(StrEnum):
    """How a fact is known."""

    MEASURED = "measured"  # on a real systemd
    READ = "read"  # in the framework's source
    DOCUMENTED = "documented"  # by the framework's authors
    UNVERIFIED = "unverified"


class Part(Table):
    """A table of a preset's file."""

    def clashes(self) -> Iterator[tuple[str, ...]]:
        """What only several keys together can get wrong: the key, why, other keys that matter."""
        return iter(())


class Recognise(Part):
    """How a command line, or the script that it runs, gives the framework away."""

    command: types.CommandPatterns = ()  # see `recognise.Invocation.texts`
    script: types.Patterns = ()  # anywhere in the head of a script
    arguments: types.Pattern | None = None  # which the script then needs as well
    title: types.Patterns = ()  # the beginning of what it calls itself in `ps`
    valued: types.OptionSet = frozenset()  # its options whose value may be the next word


def _signal(given: dict[str, Any]) -> tuple[str, ...]:
    return (given["signal"],) if "signal" in given else ()


def _signal_to_all(given: dict[str, Any]) -> tuple[str, ...]:
    # What is right for every process is what the preset itself asks for.
    return _signal(given) if given.get("kill_mode") is KillMode.CONTROL_GROUP else ()


class Stop(Part):
    """How it gets to finish its in-flight job and exit."""

    signal: StopSignal = Field(examples=["SIGTERM"])
    kill_mode: KillModeWord = KillMode.CONTROL_GROUP
    # Signals that let the job finish, sent to the main process …
    drains: types.Signals = Field(default_factory=_signal)
    # … and where every process of the cgroup gets them.
    drains_all: types.Signals = Field(default_factory=_signal_to_all)
    timeout: AnySpan = Duration("5min", 300.0)
    why: types.Text = ""
    timeout_why: types.Text = ""
    success_exit_status: types.Statuses = ()
    source: types.Text = ""
    loses: types.AnySignals = ()  # signals that end it in the middle of a job, or cost a job
    again: types.AnySignals = ()  # signals that do so after a first stop signal

    def clashes(self) -> Iterator[tuple[str, ...]]:
        """Signals that are said to do two things."""
        if self.signal not in self.drains:
            why = f"must name {self.signal}, which is the preset's own signal"
            yield "drains", why, "signal"
        if self.kill_mode is KillMode.CONTROL_GROUP and self.signal not in self.drains_all:
            why = f'must name {self.signal}, which "control-group" sends to every process'
            yield "drains_all", why, "signal", "kill_mode"
        if both := sorted({*self.loses} & {*self.drains, *self.drains_all}):
            yield "loses", f"{either(both, last='and')} cannot be in drains as well"


class Service(Part):
    """Directives that it needs."""

    type: types.UnitType | None = None
    notify_access: Annotated[str, types.word("main", "exec", "all")] | None = None
    watchdog: LongSpan | None = None


def _directives(table: Service) -> tuple[tuple[str, str], ...]:
    pairs = zip(("Type", "NotifyAccess", "WatchdogSec"), dict(table).values(), strict=True)
    return tuple((directive, str(value)) for directive, value in pairs if value)


class Quiet(Part):
    """The signals to take no new jobs, and to take them again; "": it has none."""

    signal: AnySignal = ""
    resume: AnySignal = ""
    instead: types.Text = ""

    def clashes(self) -> Iterator[tuple[str, ...]]:
        """One signal without the other."""
        if self.resume and not self.signal:
            yield "resume", "means nothing without signal", "signal"


class Hardened(Part):
    """Directives of `hardening` with which it does not work."""

    leave_out: types.Hardenings = ()
    why: types.Text = ""
    source: types.Text = ""


class Queues(Part):
    """How `queues = […]` reaches the worker: by a variable, by arguments, or not at all."""

    variable: types.Variable = ""
    separator: types.Separator = ","
    arguments: types.Texts = ()  # "{queues}" stands for all of them
    each: types.Texts = ()  # once for each of them, as "{queue}"
    given: types.Pattern | None = None  # a command that names queues itself
    note: types.Text = ""

    def clashes(self) -> Iterator[tuple[str, ...]]:
        """Queues that reach the worker twice, or not at all."""
        if self.variable and self.by_arguments:
            yield "variable", "means something else than arguments; only one of them can be"
        if self.arguments and not self.each and "{queues}" not in " ".join(self.arguments):
            yield "arguments", 'expected "{queues}" somewhere in it, or each beside it', "each"
        if self.each and "{queue}" not in " ".join(self.each):
            yield "each", 'expected "{queue}" somewhere in it'

    @property
    def by_arguments(self) -> bool:
        return bool(self.arguments or self.each)

    def in_command(self, command: str) -> tuple[str, ...]:
        """Those that the command names itself, where the preset tells how to read them."""
        if self.given is None or "queues" not in self.given.groupindex:
            return ()
        lists = [text["queues"] or "" for text in self.given.finditer(command)]
        names = " ".join(lists).replace(self.separator, " ").split()
        return tuple(dict.fromkeys(name for text in names if (name := text.strip("\"'"))))


class Case(Part):
    """A command line to which something else applies."""

    command: types.Pattern = Field(examples=["--workers[ =]"])
    why: types.Text = Field(examples=["the children must be told, too"])
    signal: StopSignal = ""
    kill_mode: KillModeWord | None = None
    drains: types.Signals | None = None
    drains_all: types.Signals | None = None
    source: types.Text = ""

    def clashes(self) -> Iterator[tuple[str, ...]]:
        """A signal that would lose the job."""
        if self.signal and self.signal not in (self.drains or ()):
            yield "drains", f"must name {self.signal}, which is the case's own signal", "signal"


_CONDITIONS = (
    "command", "options", "lacks", "variable", "directive", "kill_mode", "stop_signal",
)  # fmt: skip


class Check(Part):
    """Settings that are known to lose jobs, or to do something else than they seem to.

    All the conditions that a row has must hold; those of the command line for one program of it.
    """

    says: types.Text = Field(examples=["loses the job"])
    name: types.FindingName = (
        ""  # for `allow`; of the rows with one name the first that holds counts
    )
    level: Word[Level] = Level.WARNING
    sure: Word[Certainty] | None = None  # None: as the level says
    why: types.Text = ""
    instead: types.Text = ""
    source: types.Text = ""
    command: types.Pattern | None = None  # anywhere in the command, or in a program it runs
    options: types.Options = ()  # one of these is given
    lacks: types.Options = ()  # none of these is given
    variable: types.Variable = ""
    directive: types.Directive = ""  # the worker has it in its `service` or `unit`
    value: types.Pattern | None = None  # all of the variable's, directive's or option's value
    instances: Annotated[int, whole(1, 1000)] = 1  # only where so many may run at a time
    kill_mode: KillModeWord | None = None  # only under this one
    stop_signal: StopSignal = ""  # only with this one
    unless: types.Text = ""  # not where the user gives this directive; or DIRECTIVE=VALUE

    @property
    def certainty(self) -> Certainty:
        """How sure the finding is."""
        return self.sure or BY_LEVEL[self.level]

    def clashes(self) -> Iterator[tuple[str, ...]]:
        """Conditions that are missing, or that do not go together."""
        if not self.model_fields_set & {*_CONDITIONS}:
            yield "says", f"of what? {either(_CONDITIONS)} is needed", *_CONDITIONS
        named = ("options", "variable", "directive")
        if self.value and not (self.options or self.variable or self.directive):
            yield "value", f"of what? {either(named)} is needed beside it", *named
        if self.value and self.variable and self.directive:
            yield "value", "of which? only one of variable and directive can be"
        if self.level is Level.ERROR and not self.name:
            yield "name", 'missing; who knows better has to silence it: allow = ["its-name"]'


class Limit(Part):
    """A time limit of the framework's own that `stop_timeout` must leave room for."""

    command: types.NumberPattern | None = None  # its first group is the number
    unit: Annotated[str, types.word("ms", "s", "min", "h")] = "s"
    margin: ShortSpan = Duration("5s", 5.0)
    options: types.Options = ()  # that have the number as their value
    files: types.Files = ()  # below the release, where no option says it; the first that is
    file_options: types.Options = ()  # that name another file
    line: types.NumberPattern | None = None  # of the file; its first group is the number
    default: Annotated[int, whole(0, 10**9)] | None = None  # the framework's own
    says: types.Text = ""
    source: types.Text = ""

    def clashes(self) -> Iterator[tuple[str, ...]]:
        """A number that stands nowhere."""
        sources = ("command", "options", "default", "files")
        if not self.model_fields_set & {*sources}:
            yield "command", "missing; command, options, files or default is needed", *sources
        if bool(self.files) != bool(self.line):
            yield "line", "needs files beside it, and files need line", "files"
        if self.file_options and not self.files:
            yield "file_options", "means nothing without files", "files"


class Prints(Part):
    """What a worker prints of its jobs, for frameworks that keep nothing of them in Redis."""

    begun: types.JobPatterns = ()  # their groups: id, and name
    ended: types.JobPatterns = ()  # their group: id
    ahead: Flag = False  # the beginning is printed of what is fetched, and may begin later
    needs: types.Text = ""  # an option without which it does not print that …
    given: types.Pattern | None = None  # … and a command that has it
    source: types.Text = ""

    def clashes(self) -> Iterator[tuple[str, ...]]:
        """One half of a pair."""
        if self.begun and not self.ended:
            yield "ended", "missing; without it every job would stay in flight", "begun"
        if self.ended and not self.begun:
            yield "begun", "missing; ended alone tells of no job", "ended"
        if bool(self.needs) != bool(self.given):
            yield "needs", "needs given beside it, a command that has that option", "given"


class Fact(Part):
    """What is known, how, and from where."""

    says: types.Text = Field(examples=["a second SIGTERM kills the job"])
    basis: Word[Basis] = Basis.UNVERIFIED
    source: types.Text = ""


class File(Table):
    """What the file of a preset says."""

    title: types.Text = Field(examples=["Our framework"])
    stop: Stop = Field(examples=[{"signal": "SIGTERM"}])
    about: types.Text = ""
    command: Command = ""  # an example
    versions: types.Texts = ()  # that it was tried with
    recognise: Recognise = Recognise.model_construct()
    service: Annotated[tuple[tuple[str, str], ...], Kind("a table", Service, _directives)] = ()
    quiet: Quiet = Quiet.model_construct()
    environment: Variables = ()
    queues: Queues = Queues.model_construct()
    signals: types.Notes = ()
    cases: Items[Case] = ()
    checks: Items[Check] = ()
    limits: Items[Limit] = ()
    facts: Items[Fact] = ()
    prints: Prints = Prints.model_construct()
    hardening: Hardened = Hardened.model_construct()
    redis: Keys | None = None  # where its queues are; None: not known, or not in Redis


class Preset(File):
    """What one queue framework needs."""

    name: str

    def case(self, command: str) -> Case | None:
        """The case that this command line is, if it is one."""
        return next((case for case in self.cases if case.command.search(command)), None)

    def for_command(self, command: str) -> Preset:
        """The preset as it applies to this command line."""
        case = self.case(command)
        if case is None:
            return self
        keys = ("signal", "kill_mode", "drains", "drains_all", "why", "source")
        own = {key: value for key in keys if (value := getattr(case, key)) not in (None, "")}
        return self.model_copy(update={"stop": self.stop.model_copy(update=own)})
