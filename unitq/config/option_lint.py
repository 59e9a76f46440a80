"""Options that contradict being managed: a worker against the `[[checks]]` of presets. Pure.

Those of its own preset, and those of the preset "none", which are of no framework and hold for all.
"""

from __future__ import annotations

import re
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline.invocation import invocations
from unitq.model import duration
from unitq.model.app import Worker
from unitq.model.finding import Certainty, Finding, Level, WorkerFacts, warning
from unitq.presets import NONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from unitq.cmdline.invocation import Invocation
    from unitq.model.app import Directives
    from unitq.model.settings import RolloutSettings
    from unitq.presets.model import Check, Limit, Preset

_NUMBER_MAX = 10**9  # of a limit; nobody waits so long
_DIGITS_MAX = 9
_YES = frozenset({"yes", "true", "on", "1"})


class _Program(NamedTuple):
    """A program that the command runs, or a script below it."""

    texts: tuple[str, ...]  # what patterns are matched with
    options: tuple[str, ...]  # its words, as systemd's `%` stands in them
    own: bool  # whether it is the framework's


def of_worker(
    worker: Worker,
    presets: Mapping[str, Preset],
    seen: WorkerFacts,
    rollout: RolloutSettings,
    *,
    wait: bool,
) -> Iterator[Finding]:
    """Yields what contradicts being managed. `wait`: its jobs are never killed."""
    preset = presets.get(worker.preset) if worker.preset else None
    surge = 0 if worker.singleton else rollout.surge(worker.instances)
    common = presets.get(NONE)
    for rules in filter(None, (common, None if preset is common else preset)):
        programs = _programs(worker, rules, seen.heads)
        named: set[str] = set()
        for check in rules.checks:
            if check.name in named or worker.instances + surge < check.instances:
                continue
            for finding in _of_check(worker, check, rules, programs, seen):
                named |= {check.name} - {""}
                yield finding
    if preset is not None and not wait:
        yield from _of_limits(worker, preset, seen)


def _programs(worker: Worker, preset: Preset, heads: Mapping[str, str]) -> list[_Program]:
    written = len(invocations(worker.command, {}))
    # What `queues` adds stands behind the last, each a word for patterns, whatever is in it.
    added = [re.sub(r"\s", "_", word) for word in worker.from_preset.arguments]
    programs = [
        _Program(
            tuple(
                " ".join((text, *added)) if number == written - 1 else text
                for text in program.texts()
            ),
            # Only systemd expands `%i`, and only what stands in its unit.
            program.arguments
            if number < written
            else tuple(word.replace("%", "%%") for word in program.arguments),
            _is_own(program, preset),
        )
        for number, program in enumerate(invocations(worker.command, heads))
    ]
    return [program for program in programs if program.own] or programs[:written][-1:]


def _is_own(program: Invocation, preset: Preset) -> bool:
    patterns = preset.recognise.command
    return any(pattern.match(text) for pattern in patterns for text in program.texts())


def _of_check(
    worker: Worker, check: Check, preset: Preset, programs: Sequence[_Program], seen: WorkerFacts
) -> Iterator[Finding]:
    """Yields the finding, where all conditions of the check hold."""
    if check.kill_mode and worker.kill_mode is not check.kill_mode:
        return
    if check.stop_signal and worker.stop_signal != check.stop_signal:
        return
    if check.unless and _has_directive(worker.service, check.unless):
        return
    where = "kill_mode" if check.kill_mode else "stop_signal" if check.stop_signal else "command"
    if check.directive:
        table = _table_with(worker, check)
        if not table:
            return
        where = f"{table}.{check.directive}"
    if check.variable:
        where = "environment"
        if not _has_variable(worker, check, seen):
            return
    sure = check.sure
    level = check.level
    if check.command or check.options or check.lacks:
        program = _matching(worker, check, preset, programs, seen)
        if program is None:
            return
        # A script that hands its options on, perhaps; or one that may start another one instead.
        handed_on = not program.own and (check.options or check.lacks)
        others = [other for other in programs if other.own and other is not program]
        if handed_on or (program.own and not all(_matches(o, check, preset) for o in others)):
            level, sure = min(level, Level.WARNING, key=_MILD.index), Certainty.POSSIBLE
    yield Finding(
        level,
        f"workers.{worker.name}.{where}",
        check.says,
        check.instead,
        f"{check.why}{f' [{check.source}]' if check.source else ''}".strip(),
        check.name,
        sure,
    )


_MILD = (Level.NOTE, Level.WARNING, Level.ERROR)


def _has_directive(directives: Directives, wanted: str) -> bool:
    """Whether it is given; with `=VALUE`, given with this value."""
    name, _, value = wanted.partition("=")
    given = [values[-1] for directive, values in directives if directive == name]
    return any(not value or last == value or {last, value} <= _YES for last in given)


def _table_with(worker: Worker, check: Check) -> str:
    """The table that has the check's directive with its value; empty: none has."""
    for table, directives in (("service", worker.service), ("unit", worker.unit)):
        for directive, values in directives:
            if directive == check.directive and any(
                check.value is None or check.value.fullmatch(value) for value in values
            ):
                return table
    return ""


def _has_variable(worker: Worker, check: Check, seen: WorkerFacts) -> bool:
    variables = (
        dict(seen.environment) | dict(worker.environment) | dict(worker.from_preset.environment)
    )
    # Before a command in a shell's script, too, or as rake takes it.
    inline = re.search(rf"(?<!\w){check.variable}=[\"']?([^\s\"';]*)", worker.command)
    value = inline[1] if inline else variables.get(check.variable)
    return value is not None and (check.value is None or bool(check.value.fullmatch(value)))


def _matching(
    worker: Worker, check: Check, preset: Preset, programs: Sequence[_Program], seen: WorkerFacts
) -> _Program | None:
    """The first program for which all that the check says of the command line holds."""
    candidates = list(programs)
    if not (check.options or check.lacks):
        # Any program of the command.
        candidates += [
            _Program(program.texts(), (), own=True)
            for program in invocations(worker.command, seen.heads)
        ]
        candidates.append(_Program((worker.command,), (), own=True))
    return next((program for program in candidates if _matches(program, check, preset)), None)


def _matches(program: _Program, check: Check, preset: Preset) -> bool:
    valued = preset.recognise.valued
    value_of = None if check.variable or check.directive else check.value
    # Other programs may mean something else by a letter.
    options = [name for name in check.options if program.own or name.startswith("--")]
    if check.command and not any(check.command.search(text) for text in program.texts):
        return False
    if check.options and not any(
        value_of is None or value_of.fullmatch(value)
        for value in option_values(program.options, options, valued)
    ):
        return False
    if not check.lacks:
        return True
    return program.own and not any(option_values(program.options, check.lacks, valued, given="x"))


def option_values(
    words: Sequence[str], names: Iterable[str], valued: frozenset[str], *, given: str = ""
) -> Iterator[str]:
    """Yields the values of these options, in each way to write them; `given` where it has none.

    `--opt=value`, `--opt value`, `-ovalue`, `-o value`, and `-bo value` where b has no value.
    `valued` are the options that have one.
    """
    wanted = frozenset(names)
    rest = iter(list(takewhile(lambda word: word != "--", words)))
    for word in rest:
        if not word.startswith("-") or word == "-":
            continue
        name, equals, value = word.partition("=")
        if name in valued and not equals:
            value = next(rest, "")
        if name in wanted:
            yield value or given
        if name.startswith("--") or name in wanted | valued:
            continue
        for place, letter in enumerate(word[1:], 2):
            option = f"-{letter}"
            value = ""
            if option in valued:
                value = word[place:].removeprefix("=") or next(rest, "")
            if option in wanted:
                yield value or given
            if option in valued:
                break


def _of_limits(worker: Worker, preset: Preset, seen: WorkerFacts) -> Iterator[Finding]:
    """Yields the longest of the framework's own limits, where stop_timeout is too short for it."""
    programs = [program for program in _programs(worker, preset, seen.heads) if program.own]
    needed: dict[float, Finding] = {}
    for limit in preset.limits:
        number, place = _own_limit(worker, limit, preset, programs, seen)
        if number is None:
            continue
        own = duration.parse(f"{number}{limit.unit}").seconds
        least = own + limit.margin.seconds
        if least <= worker.stop_timeout.seconds:
            continue
        needed[least] = warning(
            f"workers.{worker.name}.stop_timeout",
            f"{worker.stop_timeout} is too short",
            f'stop_timeout = "{least:.15g}s", or longer',
            f"{preset.title} gives a job {own:.15g} s {place}"
            + (f", and {limit.says}" if limit.says else "")
            + (f" [{limit.source}]" if limit.source else ""),
            "time-limit",
        )
    if needed:
        yield needed[max(needed)]


def time_limit(preset: Preset, command: str) -> float:
    """Returns the seconds that a stop must leave a job, by limits in the command; 0: none."""
    worker = Worker(name="", command=command, instances=1, directory="")
    programs = [program for program in _programs(worker, preset, {}) if program.own]
    longest = 0.0
    for limit in preset.limits:
        written = limit.model_copy(update={"default": None})
        number, _ = _own_limit(worker, written, preset, programs, WorkerFacts())
        if number:  # 0 is no limit, in all of them
            own = duration.parse(f"{number}{limit.unit}").seconds
            longest = max(longest, own + limit.margin.seconds)
    return longest


def _own_limit(
    worker: Worker, limit: Limit, preset: Preset, programs: Sequence[_Program], seen: WorkerFacts
) -> tuple[int | None, str]:
    """The framework's limit, and where it is said; None: nowhere."""
    by_command = "on its command line"
    if limit.command and (match := limit.command.search(worker.command)):
        text = next((group for group in match.groups() if group), "")
        if text.isdecimal():
            return _number(text), by_command
    for program in programs:
        given = option_values(program.options, limit.options, preset.recognise.valued)
        if numbers := [_number(value) for value in given if value.isdecimal()]:
            return numbers[-1], by_command
    for path in settings_files(worker, preset, seen.heads, (limit,)):
        if path in seen.settings:
            text = seen.settings[path]
            numbers = [_number(m[1]) for m in limit.line.finditer(text)] if limit.line else []
            if numbers:
                # Of several environments, say: the longest.
                return max(numbers), f"in {path}"
            break
    return limit.default, "by default"


def _number(digits: str) -> int:
    # int() refuses thousands of digits (sys.set_int_max_str_digits), and systemd the longest times.
    return int(digits) if len(digits) <= _DIGITS_MAX else _NUMBER_MAX


def settings_files(
    worker: Worker, preset: Preset, heads: Mapping[str, str], limits: Sequence[Limit] | None = None
) -> list[str]:
    """The files of the framework's settings that may say a limit, as written; the first counts."""
    programs = [own for own in _programs(worker, preset, heads) if own.own]
    paths: dict[str, None] = {}
    for limit in preset.limits if limits is None else limits:
        given = [
            value
            for program in programs
            for value in option_values(program.options, limit.file_options, preset.recognise.valued)
            if value and "%" not in value and "$" not in value
        ]
        paths |= dict.fromkeys(given or limit.files)
    return list(paths)
