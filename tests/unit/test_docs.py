"""Generated pages are what the code says. `UNITQ_UPDATE_DOCS=1` writes them."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from tests.harness.build import PRESETS, app, rendered
from unitq.cli.main import cli
from unitq.cli.presets import job_in_hand, queues, quiet
from unitq.errors import Exit
from unitq.presets.detect import recognised
from unitq.presets.file import parse
from unitq.presets.model import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unitq.presets.model import Check, Preset

DOCS = Path(__file__).parents[2] / "docs"


def commands_page() -> str:
    """docs/commands.md, from `--help`."""
    parts = [
        "# Commands\n",
        "Written from `unitq --help` and `unitq COMMAND --help`.\n",
        _section("unitq", cli, None),
    ]
    group = click.Context(cli, info_name="unitq", **cli.context_settings)
    for name in cli.list_commands(group):
        command = cli.get_command(group, name)
        assert command is not None
        parts.append(_section(f"unitq {name}", command, group))
    return "\n".join(parts)


def _section(title: str, command: click.Command, parent: click.Context | None) -> str:
    context = click.Context(
        command,
        parent=parent,
        info_name=title.rsplit(maxsplit=1)[-1],
        **{**cli.context_settings, "terminal_width": 98, "max_content_width": 98},
    )
    lines = [line.rstrip() for line in command.get_help(context).splitlines()]
    return f"## {title}\n\n```\n" + "\n".join(lines) + "\n```\n"


def test_the_page_of_commands_is_what_help_says() -> None:
    page = DOCS / "commands.md"
    if os.environ.get("UNITQ_UPDATE_DOCS"):
        page.write_text(commands_page(), encoding="utf-8")
    assert page.read_text(encoding="utf-8") == commands_page()


MARK = "<!-- From here on: written from presets/*.toml"


COMMON = "<!-- checks of none -->"  # a table of what `check` says of every worker
CHECKS = ["| `check` says | of what | source |", "| --- | --- | --- |"]


def frameworks_page() -> str:
    """docs/frameworks.md: its own beginning, and a section for each preset."""
    text = (DOCS / "frameworks.md").read_text(encoding="utf-8")
    head, mark, rest = text.partition(MARK)
    assert mark, "the line from which on the page is written is gone"
    before, here, after = head.partition(COMMON)
    table = "\n".join([*CHECKS, *map(_check, PRESETS[NONE].checks)])
    after = after.partition("\n## ")[2]
    head = f"{before}{here}\n\n{table}\n\n## {after}"
    parts = [head + mark + rest.splitlines()[0], ""]
    shown = [preset for preset in PRESETS.values() if preset.name != NONE]
    parts += ["| preset | framework | stop | time | queues |", "| --- | --- | --- | --- | --- |"]
    for preset in shown:
        stop = preset.stop
        parts.append(
            f"| [`{preset.name}`](#{preset.name}) | {preset.title} | {stop.signal}, "
            f"{stop.kill_mode} | {stop.timeout} | {queues(preset).partition('. ')[0]} |"
        )
    for preset in shown:
        parts += ["", *_framework(preset)]
    return "\n".join(parts) + "\n"


def _framework(preset: Preset) -> list[str]:
    stop = preset.stop
    lines = [f"## {preset.name}", "", f"{preset.title}. {preset.about}"]
    if preset.versions:
        lines[-1] += f" Tried with {'; '.join(preset.versions)}."
    unit = app(f'[workers.w]\npreset = "{preset.name}"\ncommand = "{preset.command}"')
    shown = re.findall(
        r"(?m)^(?:Type|NotifyAccess|WatchdogSec|KillMode|KillSignal|TimeoutStopSec|"
        r"SuccessExitStatus|ExecStart)=.*",
        rendered(unit).workers[0].unit.text.replace("/var/lib/unitq/shop/pins/w/%i/release/", "…/"),
    )
    lines += ["", "```ini", *shown, "```", ""]
    lines.append(f"- **Why:** {stop.why} [{stop.source}]")
    lines.append(f"- **Time:** {stop.timeout_why}")
    lines.append(f"- **Queues:** {queues(preset)}")
    lines.append(f"- **Job in hand:** {job_in_hand(preset)}")
    lines.append(f"- **Pause:** {quiet(preset)}")
    if preset.environment:
        pairs = ", ".join(f"`{name}={value}`" for name, value in preset.environment)
        lines.append(f"- **Environment:** {pairs}")
    if preset.hardening.leave_out:
        left_out = ", ".join(f"`{directive}`" for directive in preset.hardening.leave_out)
        hardened = preset.hardening
        lines.append(f"- **Hardening** leaves {left_out} out: {hardened.why} [{hardened.source}]")
    lines += [f"- **Other commands:** {case.why} [{case.source}]" for case in preset.cases]
    if preset.prints.needs:
        lines.append(
            f"- **`check` notes:** a command without `{preset.prints.needs}`, as the job of a "
            f"worker that was killed cannot be named then [{preset.prints.source}]"
        )
    if preset.checks:
        lines += ["", *CHECKS]
        lines += [_check(check) for check in preset.checks]
    lines += ["", "| signal | what it does |", "| --- | --- |"]
    lines += [f"| {signal} | {does} |" for signal, does in preset.signals]
    lines += ["", "| fact | known | source |", "| --- | --- | --- |"]
    lines += [
        f"| {fact.says.replace('|', chr(92) + '|')} | {fact.basis} | {fact.source} |"
        for fact in preset.facts
    ]
    return lines


def _check(check: Check) -> str:
    of = " from two instances on" if check.instances > 1 else ""
    text = f"{check.says}{of}. {check.why}" if check.why else f"{check.says}{of}"
    cells = (f"{check.level} `{check.name}`", text, check.source)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def test_the_page_of_frameworks_is_what_the_presets_say() -> None:
    page = DOCS / "frameworks.md"
    if os.environ.get("UNITQ_UPDATE_DOCS"):
        page.write_text(frameworks_page(), encoding="utf-8")
    assert page.read_text(encoding="utf-8") == frameworks_page()


def example_preset() -> str:
    """The preset that docs/frameworks.md shows."""
    page = (DOCS / "frameworks.md").read_text(encoding="utf-8")
    blocks: list[str] = re.findall(r"(?s)```toml\n(.*?)```", page)
    return next(block for block in blocks if block.startswith('title = "Acme Queue"'))


def test_the_preset_that_the_page_shows_is_a_good_one() -> None:
    preset = parse(example_preset(), name="acme", source="acme.toml")
    presets = {"acme": preset, **PRESETS}
    # Every key of the format is in it, be it behind a "#".
    text = re.sub(r"(?m)^# (?=\w+ = )", "", example_preset())
    given = {key for table in _tables(tomllib.loads(text)) for key in table}
    source = (DOCS.parent / "unitq/presets/file.py").read_text()
    assert given >= set(re.findall(r'\b(?:get|need|table|tables)\("(\w+)"', source)) - {"redis"}
    found = recognised(presets, "bundle exec bin/acme-worker --verbose", {})
    assert found is not None
    assert found[0] is preset


def _tables(table: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield table
    for value in table.values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                yield from _tables(item)


@pytest.mark.parametrize("code", list(Exit))
def test_every_exit_code_is_in_the_table(code: Exit) -> None:
    assert f"| {int(code)} |" in (DOCS / "exit-codes.md").read_text(encoding="utf-8")


def test_every_link_between_the_pages_leads_somewhere() -> None:
    for page in [DOCS.parent / "README.md", *DOCS.glob("*.md")]:
        text = re.sub(r"(?s)```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"))
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
