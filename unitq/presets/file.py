"""The file of a preset: TOML text in, a `Preset` out, or a ConfigError with every mistake in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from unitq.model.app import NAME_RE, KillMode
from unitq.model.finding import Level
from unitq.model.settings import Duration
from unitq.model.suggest import either, nearest
from unitq.presets import field_checks, redis_keys
from unitq.presets.model import (
    Basis,
    Case,
    Check,
    Fact,
    Hardened,
    Limit,
    Preset,
    Prints,
    Queues,
    Quiet,
    Recognise,
    Stop,
)
from unitq.toml import document as toml_document
from unitq.toml import values
from unitq.toml.document import found
from unitq.toml.messages import said
from unitq.toml.values import MistakeError, MistakesError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from unitq.toml.values import Path

T = TypeVar("T")
D = TypeVar("D")

_SPAN = values.span(zero=False, infinite=False)
_MARGIN = values.span(infinite=False)
UNITS = ("ms", "s", "min", "h")


def parse(text: str, *, name: str, source: str) -> Preset:
    """The preset that the text describes. `source` is what messages call the file."""
    if not NAME_RE.fullmatch(name):
        what = 'letters, digits, "-" and "_", first a letter or digit'
        raise toml_document.refusal(source, [f"not a name for a preset: {what}"])
    data, order, problems = toml_document.read(text, source)
    # The keys of Redis may hold any character: they reach no unit.
    problems = {path: said for path, said in problems.items() if path[:1] != ("redis",)}
    top = _Table(data, (), problems)
    preset = _preset(name, top)
    if problems:
        raise toml_document.refusal(source, toml_document.lines(problems, order))
    assert preset is not None
    return preset


class _Table:
    """A table of the file. What is wrong in it is noted, and the rest still looked at."""

    def __init__(self, data: Mapping[str, Any], path: Path, problems: dict[Path, str]) -> None:
        self.data = data
        self.path = path
        self.problems = problems
        self.asked: list[str] = []

    def get(self, key: str, check: Callable[[object], T], default: D) -> T | D:
        """The value, checked; `default` where it is not there or wrong."""
        self.asked.append(key)
        if key not in self.data:
            return default
        value = self.data[key]
        path = (*self.path, key)
        try:
            return check(value)
        except MistakesError as several:
            every = several.every
        except MistakeError as only:
            every = [only]
        for mistake in every:
            place, problem = said(mistake, path, value)
            self.problems.setdefault(place, problem)
        return default

    def need(self, key: str, check: Callable[[object], T], example: str) -> T | None:
        """The same of a key that must be there."""
        self.asked.append(key)
        if key not in self.data:
            if nearest(key, set(self.data) - set(self.asked)) is None:
                self.problems.setdefault((*self.path, key), f"missing, for example {example}")
            return None
        return self.get(key, check, None)

    def table(self, key: str) -> _Table:
        """A table in it; an empty one where there is none."""
        self.asked.append(key)
        value = self.data.get(key, {})
        path = (*self.path, key)
        if not isinstance(value, dict):
            self.problems.setdefault(path, f"expected a table, got {found(value)}")
            value = {}
        return _Table(value, path, self.problems)

    def tables(self, key: str) -> list[_Table]:
        """A list of tables: `[[key]]`."""
        self.asked.append(key)
        value = self.data.get(key, [])
        path = (*self.path, key)
        if not isinstance(value, list):
            self.problems.setdefault(path, f"expected tables such as [[{key}]], got {found(value)}")
            value = []
        every = []
        for index, item in enumerate(value):
            if isinstance(item, dict):
                every.append(_Table(item, (*path, index), self.problems))
            else:
                wrong = f"expected a table, got {found(item)}"
                self.problems.setdefault((*path, index), wrong)
        return every

    def wrong(self, key: str, problem: str) -> None:
        """Notes what is wrong with a value that is of the right kind."""
        self.problems.setdefault((*self.path, key), problem)

    def done(self) -> None:
        """Every other key is a mistake."""
        keys = list(dict.fromkeys(self.asked))
        for key in self.data:
            if key not in keys:
                near = nearest(key, keys)
                known = f'did you mean "{near}"?' if near else f"the keys are {either(keys)}"
                self.wrong(key, f"unknown key, {known}")


def _preset(name: str, top: _Table) -> Preset | None:
    title = top.need("title", field_checks.text, 'title = "Our framework"')
    about = top.get("about", field_checks.text, "")
    command = top.get("command", values.command, "")
    versions = top.get("versions", field_checks.words, ())
    recognise = _recognise(top.table("recognise"))
    signals = top.get("signals", field_checks.notes, ())
    stop = _stop(top, signals)
    service = _service(top.table("service"))
    quiet = _quiet(top.table("quiet"))
    environment = top.get("environment", values.environment, ())
    queues = _queues(top.table("queues"))
    cases = tuple(_case(table) for table in top.tables("cases"))
    checks = tuple(_check(table) for table in top.tables("checks"))
    limits = tuple(_limit(table) for table in top.tables("limits"))
    facts = tuple(_fact(table) for table in top.tables("facts"))
    prints = _prints(top.table("prints"))
    hardening = _hardening(top.table("hardening"))
    redis = top.get("redis", redis_keys.parse, None)
    top.done()
    if top.problems or title is None or stop is None:
        return None
    return Preset(
        name, title, stop, about, command, versions, recognise, service, quiet, environment,
        queues, signals, cases, checks, limits, facts, prints, hardening, redis,
    )  # fmt: skip


def _recognise(table: _Table) -> Recognise:
    found = Recognise(
        command=table.get("command", field_checks.commands, ()),
        script=table.get("script", field_checks.patterns, ()),
        arguments=_maybe(table, "arguments"),
        title=table.get("title", field_checks.patterns, ()),
        valued=frozenset(table.get("valued", field_checks.options, ())),
    )
    table.done()
    return found


def _maybe(table: _Table, key: str) -> re.Pattern[str] | None:
    return table.get(key, field_checks.pattern, None)


def _stop(top: _Table, signals: Iterable[tuple[str, str]]) -> Stop | None:
    if "stop" not in top.data:
        top.asked.append("stop")
        if nearest("stop", top.data) is None:
            top.wrong("stop", 'missing; at least [stop] with signal = "SIGTERM" is needed')
        return None
    table = top.table("stop")
    signal = table.need("signal", values.stop_signal, 'signal = "SIGTERM"')
    mode = table.get("kill_mode", values.kill_mode, KillMode.CONTROL_GROUP)
    own = (signal,) if signal else ()
    drains = table.get("drains", field_checks.signals, own)
    # What is right for every process is what the preset itself asks for.
    drains_all = table.get(
        "drains_all", field_checks.signals, own if mode is KillMode.CONTROL_GROUP else ()
    )
    stop = Stop(
        signal=signal or "",
        kill_mode=mode,
        drains=drains,
        drains_all=drains_all,
        timeout=table.get("timeout", values.span(zero=False), Duration("5min", 300.0)),
        why=table.get("why", field_checks.text, ""),
        timeout_why=table.get("timeout_why", field_checks.text, ""),
        success_exit_status=table.get("success_exit_status", field_checks.statuses, ()),
        source=table.get("source", field_checks.text, ""),
        loses=table.get("loses", field_checks.any_signals, ()),
    )
    _refuse_contradictions(table, stop, {name for name, _ in signals})
    if signal and signal not in drains:
        table.wrong("drains", f"must name {signal}, which is the preset's own signal")
    if signal and mode is KillMode.CONTROL_GROUP and signal not in drains_all:
        problem = f'must name {signal}, which "control-group" sends to every process'
        table.wrong("drains_all", problem)
    table.done()
    return stop if signal else None


def _refuse_contradictions(table: _Table, stop: Stop, explained: Iterable[str]) -> None:
    if both := sorted({*stop.loses} & {*stop.drains, *stop.drains_all}):
        table.wrong("loses", f"{either(both, last='and')} cannot be in drains as well")
    elif unsaid := sorted({*stop.loses} - {*explained}):
        problem = f"[signals] has to say what {either(unsaid, last='and')} does"
        table.wrong("loses", problem)


def _service(table: _Table) -> tuple[tuple[str, str], ...]:
    watchdog = table.get("watchdog", _SPAN, None)
    pairs = (
        ("Type", table.get("type", field_checks.unit_type, "")),
        (
            "NotifyAccess",
            table.get("notify_access", field_checks.word_of(("main", "exec", "all")), ""),
        ),
        ("WatchdogSec", str(watchdog) if watchdog else ""),
    )
    table.done()
    return tuple((directive, value) for directive, value in pairs if value)


def _quiet(table: _Table) -> Quiet:
    quiet = Quiet(
        signal=table.get("signal", values.any_signal, ""),
        resume=table.get("resume", values.any_signal, ""),
        instead=table.get("instead", field_checks.text, ""),
    )
    if quiet.resume and not quiet.signal:
        table.wrong("resume", "means nothing without signal")
    table.done()
    return quiet


def _queues(table: _Table) -> Queues:
    queues = Queues(
        variable=table.get("variable", field_checks.variable, ""),
        separator=table.get("separator", field_checks.separator, ","),
        arguments=table.get("arguments", field_checks.words, ()),
        each=table.get("each", field_checks.words, ()),
        given=_maybe(table, "given"),
        note=table.get("note", field_checks.text, ""),
    )
    if queues.variable and queues.by_arguments:
        table.wrong("variable", "means something else than arguments; only one of them can be")
    if queues.arguments and not queues.each and "{queues}" not in " ".join(queues.arguments):
        table.wrong("arguments", 'expected "{queues}" somewhere in it, or each beside it')
    if queues.each and "{queue}" not in " ".join(queues.each):
        table.wrong("each", 'expected "{queue}" somewhere in it')
    table.done()
    return queues


def _case(table: _Table) -> Case:
    case = Case(
        command=table.need("command", field_checks.pattern, "command = '--workers[ =]'")
        or re.compile(""),
        why=table.need("why", field_checks.text, 'why = "the children must be told, too"') or "",
        signal=table.get("signal", values.stop_signal, ""),
        kill_mode=table.get("kill_mode", values.kill_mode, None),
        drains=table.get("drains", field_checks.signals, None),
        drains_all=table.get("drains_all", field_checks.signals, None),
        source=table.get("source", field_checks.text, ""),
    )
    if case.signal and case.signal not in (case.drains or ()):
        table.wrong("drains", f"must name {case.signal}, which is the case's own signal")
    table.done()
    return case


def _check(table: _Table) -> Check:
    check = Check(
        says=table.need("says", field_checks.text, 'says = "loses the job"') or "",
        name=table.get("name", field_checks.finding_name, ""),
        level=table.get("level", field_checks.level, Level.WARNING),
        sure=table.get("sure", field_checks.certainty, None),
        why=table.get("why", field_checks.text, ""),
        instead=table.get("instead", field_checks.text, ""),
        source=table.get("source", field_checks.text, ""),
        command=_maybe(table, "command"),
        options=table.get("options", field_checks.options, ()),
        lacks=table.get("lacks", field_checks.options, ()),
        variable=table.get("variable", field_checks.variable, ""),
        directive=table.get("directive", field_checks.directive, ""),
        value=_maybe(table, "value"),
        instances=table.get("instances", values.whole(1, 1000), 1) or 1,
        kill_mode=table.get("kill_mode", values.kill_mode, None),
        stop_signal=table.get("stop_signal", values.stop_signal, ""),
        unless=table.get("unless", field_checks.text, ""),
    )
    if not table.data.keys() & set(_CONDITIONS):
        table.wrong("says", f"of what? {either(_CONDITIONS)} is needed")
    if check.value and not (check.options or check.variable or check.directive):
        table.wrong("value", "of what? options, variable or directive is needed beside it")
    if check.value and check.variable and check.directive:
        table.wrong("value", "of which? only one of variable and directive can be")
    if check.level is Level.ERROR and "name" not in table.data:
        table.wrong("name", 'missing; who knows better has to silence it: allow = ["its-name"]')
    table.done()
    return check


_CONDITIONS = (
    "command", "options", "lacks", "variable", "directive", "kill_mode", "stop_signal",
)  # fmt: skip


def _limit(table: _Table) -> Limit:
    limit = Limit(
        command=_maybe(table, "command"),
        unit=table.get("unit", field_checks.word_of(UNITS), "s"),
        margin=table.get("margin", _MARGIN, Duration("5s", 5.0)),
        options=table.get("options", field_checks.options, ()),
        files=table.get("files", field_checks.files, ()),
        file_options=table.get("file_options", field_checks.options, ()),
        line=_maybe(table, "line"),
        default=table.get("default", field_checks.count, None),
        says=table.get("says", field_checks.text, ""),
        source=table.get("source", field_checks.text, ""),
    )
    for key, pattern in (("command", limit.command), ("line", limit.line)):
        if pattern and pattern.groups < 1:
            table.wrong(key, r"needs a group that is the number, such as (\d+)")
    if not table.data.keys() & {"command", "options", "default", "files"}:
        table.wrong("command", "missing; command, options, files or default is needed")
    if bool(limit.files) != bool(limit.line):
        table.wrong("line", "needs files beside it, and files need line")
    if limit.file_options and not limit.files:
        table.wrong("file_options", "means nothing without files")
    table.done()
    return limit


def _prints(table: _Table) -> Prints:
    prints = Prints(
        begun=table.get("begun", field_checks.patterns_of("id"), ()),
        ended=table.get("ended", field_checks.patterns_of("id"), ()),
        ahead=table.get("ahead", values.flag, False),
        needs=table.get("needs", field_checks.text, ""),
        given=_maybe(table, "given"),
        source=table.get("source", field_checks.text, ""),
    )
    if "begun" in table.data and "ended" not in table.data:
        table.wrong("ended", "missing; without it every job would be in hand for ever")
    if "ended" in table.data and "begun" not in table.data:
        table.wrong("begun", "missing; ended alone tells of no job")
    if bool(prints.needs) != bool(prints.given):
        table.wrong("needs", "needs given beside it, a command that has that option")
    table.done()
    return prints


def _hardening(table: _Table) -> Hardened:
    hardened = Hardened(
        leave_out=table.get("leave_out", field_checks.hardening, ()),
        why=table.get("why", field_checks.text, ""),
        source=table.get("source", field_checks.text, ""),
    )
    table.done()
    return hardened


def _fact(table: _Table) -> Fact:
    fact = Fact(
        says=table.need("says", field_checks.text, 'says = "a second SIGTERM kills the job"') or "",
        basis=table.get("basis", field_checks.basis, Basis.UNVERIFIED),
        source=table.get("source", field_checks.text, ""),
    )
    table.done()
    return fact
