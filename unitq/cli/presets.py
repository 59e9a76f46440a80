"""presets: the queue frameworks that unitq knows, and the evidence for each fact."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING

import click

from unitq.cli import completions
from unitq.cli.output import echo, echo_json, echo_lines
from unitq.cli.scope import json_option, scope_options
from unitq.errors import Exit
from unitq.text import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unitq.api import App
    from unitq.presets.facts import PresetFacts
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
@json_option
def presets(app: App, name: str | None, as_json: bool) -> int:
    """List the presets for queue frameworks; with NAME, each fact with its evidence.

    Those in the `presets` folder of the configuration (/etc/unitq/presets) are an operator's own,
    and win over ours. docs/extending.md says how to write one.
    """
    catalog = app.presets()
    if name is not None:
        facts = catalog.named(name)
        if as_json:
            echo_json({"format": 1, "preset": facts.to_json()})
        else:
            width = min(100, shutil.get_terminal_size((100, 24)).columns)
            echo_lines(_lines(facts, width))
        return Exit.OK
    if as_json:
        echo_json(catalog.to_json())
    else:
        echo_lines(table(_HEADER, (_row(facts.preset) for facts in catalog)))
    for name, error in catalog.broken.items():
        echo(f"{name}: {error.in_short}; `unitq presets {name}` says all", err=True)
    return Exit.USAGE if catalog.broken else Exit.OK


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


def _lines(facts: PresetFacts, width: int) -> Iterator[str]:
    def item(head: str, text: str, indent: int = 15) -> Iterator[str]:
        blank = " " * indent
        yield from textwrap.wrap(
            text, width, initial_indent=f"{head:{indent}}", subsequent_indent=blank,
            break_on_hyphens=False, break_long_words=False,
        ) or [head]  # fmt: skip

    preset, stop = facts.preset, facts.preset.stop
    origin = " (an operator's own)" * facts.own
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
    yield from item("quiet", facts.quiet)
    if preset.environment:
        yield from item("environment", " ".join("=".join(pair) for pair in preset.environment))
    if preset.name != "none":
        yield from item("queues", facts.queues)
        yield from item("job in hand", facts.job_in_hand)
    if preset.hardening.leave_out:
        hard = preset.hardening
        text = f"leaves {', '.join(hard.leave_out)} out: {hard.why} {_source(hard.source)}"
        yield from item("hardening", text.strip())
    if preset.signals:
        marks = {"!": "loses jobs", "+": "loses them while it drains"}
        used = {"!": stop.loses, "+": stop.again}
        legend = ", ".join(f"{mark} {text}" for mark, text in marks.items() if used[mark])
        more = f" ({legend}: `unitq signal` wants --force)" * bool(legend)
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


def _source(source: str) -> str:
    return f"[{source}]" if source else ""


def _from(source: str) -> str:
    return f": {source}" if source else ""
