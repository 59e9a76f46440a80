"""presets: the queue frameworks that unitq knows, and what each fact about them rests on."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING, Any

import click

from unitq.cli import completions
from unitq.cli.output import echo, echo_json, echo_lines
from unitq.cli.scope import current, scope_options
from unitq.errors import Exit, NoMatchError
from unitq.model.suggest import either, nearest
from unitq.presets import NONE
from unitq.presets.redis_keys import WITH_PIDS
from unitq.text import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from unitq.presets.model import Preset

_HEADER = ("NAME", "FRAMEWORK", "STOP SIGNAL", "KILL MODE", "STOP TIMEOUT", "QUIET", "REDIS")


@click.command(
    epilog="""\b
Examples:
  unitq presets               all of them
  unitq presets celery        what is known of Celery, how, and from where
  unitq presets --json
"""
)
@scope_options
@click.argument("name", required=False, shell_complete=completions.presets)
@click.option("--json", "as_json", is_flag=True, help="A JSON object; see docs/json.md.")
def presets(name: str | None, as_json: bool) -> int:
    """List the presets for queue frameworks; with NAME, each fact with its evidence.

    Those in the `presets` folder of the configuration (/etc/unitq/presets) are an operator's own,
    and win over ours. docs/extending.md says how to write one.
    """
    from unitq.presets import store as files

    scope = current()
    found = scope.presets()
    own = files.own(scope.layout.config_dir)
    if name is not None:
        return _one(known(found, name), own, as_json)
    if as_json:
        rows = [_document(preset, own) for preset in found.values()]
        echo_json({"format": 1, "presets": rows})
    else:
        echo_lines(table(_HEADER, map(_row, found.values())))
    for name, error in found.broken.items():
        echo(f"{name}: {error.in_short}; `unitq presets {name}` says all", err=True)
    return Exit.USAGE if found.broken else Exit.OK


def known(found: Mapping[str, Preset], name: str) -> Preset:
    """The preset of that name. Raises NoMatchError with the nearest name and all there are."""
    if name not in found:
        near = nearest(name, found)
        meant = f"did you mean {near}? " if near else ""
        raise NoMatchError(
            f"no such preset: {name}", hint=f"{meant}there are {either(list(found), last='and')}"
        )
    return found[name]


def _row(preset: Preset) -> tuple[str, ...]:
    stop = preset.stop
    return (
        preset.name,
        preset.title,
        stop.signal,
        str(stop.kill_mode),
        str(stop.timeout),
        preset.quiet.signal or "-",
        "yes" if preset.redis else "no",
    )


def _one(preset: Preset, own: set[str], as_json: bool) -> int:
    if as_json:
        document = {"format": 1, "preset": _document(preset, own)}
        echo_json(document)
    else:
        width = min(100, shutil.get_terminal_size((100, 24)).columns)
        echo_lines(_lines(preset, own, width))
    return Exit.OK


def _lines(preset: Preset, own: set[str], width: int) -> Iterator[str]:
    def item(head: str, text: str, indent: int = 15) -> Iterator[str]:
        blank = " " * indent
        yield from textwrap.wrap(
            text, width, initial_indent=f"{head:{indent}}", subsequent_indent=blank,
            break_on_hyphens=False, break_long_words=False,
        ) or [head]  # fmt: skip

    stop = preset.stop
    origin = " (an operator's own)" if preset.name in own else ""
    yield f"{preset.name}: {preset.title}{origin}"
    if preset.about:
        yield from textwrap.wrap(preset.about, width)
    yield ""
    if preset.versions:
        yield from item("tried with", "; ".join(preset.versions))
    if preset.command:
        yield from item("command", preset.command)
    yield from item("stop_signal", f"{stop.signal} {_source(stop.source)}".strip())
    yield from item("kill_mode", f"{stop.kill_mode}{': ' if stop.why else ''}{stop.why}")
    yield from item(
        "stop_timeout", f"{stop.timeout}{': ' if stop.timeout_why else ''}{stop.timeout_why}"
    )
    for directive, value in preset.service:
        yield from item(directive, value)
    if stop.success_exit_status:
        yield from item("no failure", ", ".join(stop.success_exit_status))
    yield from item("quiet", quiet(preset))
    if preset.environment:
        yield from item("environment", " ".join("=".join(pair) for pair in preset.environment))
    if preset.name != NONE:
        yield from item("queues", queues(preset))
        yield from item("job in hand", job_in_hand(preset))
    if preset.hardening.leave_out:
        hard = preset.hardening
        text = f"leaves {', '.join(hard.leave_out)} out: {hard.why} {_source(hard.source)}"
        yield from item("hardening", text.strip())
    if preset.signals:
        marks = {"!": "loses jobs", "+": "loses them while it drains"}
        used = {"!": stop.loses, "+": stop.again}
        said = ", ".join(f"{mark} {text}" for mark, text in marks.items() if used[mark])
        more = f" ({said}: `unitq signal` wants --force)" * bool(said)
        yield from ("", f"signals, to the main process{more}:")
        for signal, does in preset.signals:
            mark = next((mark for mark, named in used.items() if signal in named), " ")
            yield from item(f"{mark} {signal}", does, 13)
    if preset.cases:
        yield from ("", "other settings for some commands:")
        for case in preset.cases:
            yield from item("  -", f"{case.why} {_source(case.source)}", 4)
    if preset.checks or preset.limits or preset.prints.needs:
        yield from ("", "`unitq check` warns of:")
        for check in preset.checks:
            named = f" [{check.name}, {check.certainty}]" if check.name else ""
            why = f": {check.why}" if check.why else ""
            yield from item("  -", f"{check.says}{named}{why} {_source(check.source)}", 4)
        if preset.prints.needs:
            text = (
                f"a command without {preset.prints.needs}: the job of a killed worker has no name"
            )
            yield from item("  -", f"{text} {_source(preset.prints.source)}", 4)
        for limit in preset.limits:
            text = "a stop_timeout that is shorter than the framework's own limit"
            yield from item("  -", f"{text} {_source(limit.source)}", 4)
    if preset.facts:
        yield from ("", "facts:")
        for fact in preset.facts:
            yield from item("  -", f"{fact.says} [{fact.basis}{_from(fact.source)}]", 4)


def quiet(preset: Preset) -> str:
    """How it is told to take no new jobs."""
    if preset.quiet.signal:
        back = f"; {preset.quiet.resume} ends that" if preset.quiet.resume else "; for good"
        return f"{preset.quiet.signal}{back}"
    return preset.quiet.instead or "no signal for that"


def job_in_hand(preset: Preset) -> str:
    """Where it is to be read which job a worker has."""
    prints = preset.prints
    registry = preset.redis.registry if preset.redis else ""
    if prints.begun:
        needs = f", with {prints.needs}" if prints.needs else ""
        return f"in its lines in the journal{needs} {_source(prints.source)}".strip()
    if registry in WITH_PIDS:
        return "in Redis, with the worker's host and PID"
    return "in Redis, but not whose it is" if registry else "nobody knows"


def queues(preset: Preset) -> str:
    """How `queues` reaches the worker."""
    how = preset.queues
    if how.variable:
        text = f"{how.variable}=a{how.separator}b in its environment"
    elif how.by_arguments:
        words = [word.replace("{queues}", f"a{how.separator}b") for word in how.arguments]
        for queue in ("a", "b"):
            words += [word.replace("{queue}", queue) for word in how.each]
        text = f"`{' '.join(words)}` behind its command"
    else:
        text = "from its own code; `queues` only says which ones to look at"
    return f"{text}. {how.note}" if how.note else text


def _source(source: str) -> str:
    return f"[{source}]" if source else ""


def _from(source: str) -> str:
    return f": {source}" if source else ""


def _document(preset: Preset, own: set[str]) -> dict[str, Any]:
    stop = preset.stop
    return {
        "name": preset.name,
        "own": preset.name in own,
        "title": preset.title,
        "about": preset.about,
        "versions": list(preset.versions),
        "command": preset.command,
        "stop_signal": stop.signal,
        "kill_mode": str(stop.kill_mode),
        "why": stop.why,
        "stop_timeout": str(stop.timeout),
        "stop_timeout_why": stop.timeout_why,
        "drains": list(stop.drains),
        "drains_all": list(stop.drains_all),
        "loses": list(stop.loses),
        "again": list(stop.again),
        "success_exit_status": list(stop.success_exit_status),
        "source": stop.source,
        "service": dict(preset.service),
        "quiet": preset.quiet.signal or None,
        "resume": preset.quiet.resume or None,
        "quiet_instead": preset.quiet.instead,
        "environment": dict(preset.environment),
        "queues": queues(preset),
        "hardening_leaves_out": list(preset.hardening.leave_out),
        "redis": bool(preset.redis),
        "job_in_hand": job_in_hand(preset),
        "signals": dict(preset.signals),
        "cases": [{"why": case.why, "source": case.source} for case in preset.cases],
        "checks": [
            {
                "name": each.name or None,
                "level": str(each.level),
                "certainty": str(each.certainty),
                "says": each.says,
                "why": each.why,
                "instead": each.instead,
                "source": each.source,
            }
            for each in preset.checks
        ],
        "facts": [
            {"says": fact.says, "basis": str(fact.basis), "source": fact.source}
            for fact in preset.facts
        ],
    }
