"""Generated pages are what the code says. `UNITQ_UPDATE_DOCS=1` writes them."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from tests.harness.build import PRESETS
from unitq.cli.main import _COMMANDS, GROUPS, cli
from unitq.errors import Exit
from unitq.presets import NONE
from unitq.presets.detect import framework_of
from unitq.presets.facts import PresetFacts
from unitq.presets.file import parse
from unitq.supervisor.importer import options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from unitq.presets.model import Check, Preset

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


_HEAD = """\
# Commands

<!-- Written from the commands by UNITQ_UPDATE_DOCS=1 python -m pytest tests/unit/test_docs.py -->

`unitq COMMAND --help` explains each option, with examples. Results go to standard output, errors to
standard error; [exit codes](runbook.md#exit-codes) say how it ended. Every command takes these,
before or behind its name:

| option | meaning |
| --- | --- |
{common}

Without `-c` and `-a` unitq takes `$UNITQ_CONFIG`, `./unitq.toml`, or the file in `/etc/unitq` whose
`directory` you stand in. As root it takes no `./unitq.toml` that another account can change. A
TARGET is a worker (`sms`), an instance (`sms@3`) or a pattern (`'sms@[12]'`). A command with `*`
has `--json` ([documents](json.md)), one with `+` also `--timeout` and `--fail-on-kill`.
"""


SHORT = {name: text for name, (_, text) in _COMMANDS.items()}


def commands_page() -> str:
    """docs/commands.md: a line for each command, with the options that it has of its own."""
    context = click.Context(cli, info_name="unitq", **cli.context_settings)
    common = [each for each in cli.params if isinstance(each, click.Option)]
    rows = [f"| `{', '.join(each.opts)}` | {each.help} |" for each in common]
    parts = [_HEAD.format(common="\n".join(rows))]
    known = {name for each in common for name in each.opts}
    for title, names in GROUPS.items():
        parts += [f"## {title}\n", "| command | what it does | options |", "| --- | --- | --- |"]
        for name in names:
            command = cli.get_command(context, name)
            assert command is not None
            parts += _commands(name, command, known)
        parts.append("")
    return "\n".join(parts)


def _commands(name: str, command: click.Command, known: set[str]) -> Iterator[str]:
    """The row of a command, and those of its own commands."""
    arguments = [
        each.make_metavar(click.Context(command))
        for each in command.params
        if isinstance(each, click.Argument)
    ]
    options = {
        each.opts[0]: f"`{_option(each)}`"
        for each in command.params
        if isinstance(each, click.Option) and not each.hidden and not known & set(each.opts)
    }
    acts = {"--json", "--timeout", "--fail-on-kill"} <= options.keys()
    mark = "+" if acts else "*" if "--json" in options else ""
    for shared in ("--json", "--timeout", "--fail-on-kill") if acts else ("--json",):
        options.pop(shared, None)
    words = " ".join([name, *arguments]).replace("|", "\\|")
    yield f"| `{words}`{mark} | {_in_short(name, command)} | {', '.join(options.values())} |"
    for inner in getattr(command, "commands", {}).values():
        yield from _commands(f"{name} {inner.name}", inner, known)


def _option(option: click.Option) -> str:
    return max(option.opts, key=len)


def _in_short(name: str, command: click.Command) -> str:
    """What `unitq --help` says of it, or the first sentence of its own help."""
    text = SHORT.get(name) or " ".join((command.help or "").split())
    return re.split(r"(?<=[.:]) ", text)[0].rstrip(".:")


def test_the_page_of_commands_is_what_help_says() -> None:
    page = DOCS / "commands.md"
    if os.environ.get("UNITQ_UPDATE_DOCS"):
        page.write_text(commands_page(), encoding="utf-8")
    assert page.read_text(encoding="utf-8") == commands_page()


MARK = "<!-- From here on: written from presets/*.toml"
CHECKS = ["| `check` says | of what |", "| --- | --- |"]


def frameworks_page() -> str:
    """docs/frameworks.md: its own beginning, what holds for every worker, and each preset."""
    text = (DOCS / "frameworks.md").read_text(encoding="utf-8")
    head, mark, rest = text.partition(MARK)
    assert mark, "the line from which on the page is written is gone"
    parts = [
        head + mark + rest.splitlines()[0],
        "",
        *CHECKS,
        *map(_check, PRESETS[NONE].checks),
        "",
    ]
    shown = [preset for preset in PRESETS.values() if preset.name != NONE]
    parts += ["## Each framework", "", "| preset | stop signal | time | queues | pause |"]
    parts += ["| --- | --- | --- | --- | --- |"]
    for preset in shown:
        stop = preset.stop
        parts.append(
            f"| [`{preset.name}`](#{preset.name}) | {stop.signal} | {stop.timeout} | "
            f"{_queues(preset)} | {preset.quiet.signal or '-'} |"
        )
    for preset in shown:
        parts += ["", *_framework(preset)]
    return "\n".join(parts) + "\n"


def _queues(preset: Preset) -> str:
    given = preset.queues.variable or preset.queues.by_arguments
    return PresetFacts(preset, own=False).queues.partition(". ")[0] if given else "in your code"


def _framework(preset: Preset) -> Iterator[str]:
    """What no table has. Versions, signals, facts and sources are in `unitq presets NAME`."""
    stop = preset.stop
    yield from (f"### {preset.name}", "", f"{preset.title}. {preset.about}", "")
    yield f"- {stop.signal}: {stop.why}"
    yield f"- {stop.timeout}: {stop.timeout_why}"
    yield from (f"- {case.why}" for case in preset.cases)
    if preset.quiet.instead:
        yield f"- Pause: {preset.quiet.instead}"
    for name, value in preset.environment:
        yield f"- Environment: `{name}={value}`"
    for directive in preset.hardening.leave_out:
        yield f"- Hardening leaves `{directive}` out: {preset.hardening.why}"
    if names := dict.fromkeys(f"`{check.name}`" for check in preset.checks):
        yield f"- Findings: {', '.join(names)}"


def _check(check: Check) -> str:
    of = " from two instances on" if check.instances > 1 else ""
    text = f"{check.says}{of}. {check.why}" if check.why else f"{check.says}{of}"
    cells = (f"{check.level} `{check.name}`", text)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def test_the_page_of_frameworks_is_what_the_presets_say() -> None:
    page = DOCS / "frameworks.md"
    if os.environ.get("UNITQ_UPDATE_DOCS"):
        page.write_text(frameworks_page(), encoding="utf-8")
    assert page.read_text(encoding="utf-8") == frameworks_page()


_TABLES = {
    "[program:x]": options.PROGRAM,
    "[fcgi-program:x]": options.FCGI,
    "[eventlistener:x]": options.LISTENER,
    "[group:x]": options.GROUP,
    "[supervisord]": options.DAEMON,
}


def _options(rows: Mapping[str, options.Row]) -> Iterator[tuple[str, str, str]]:
    """The options that share their words, their marks, and the words."""
    for row in dict.fromkeys(rows.values()):
        names = ", ".join(f"`{name}`" for name, other in rows.items() if other == row)
        marks = f"{row.fate.sign} {row.also.sign}" if row.also else row.fate.sign
        yield names, marks, row.page or row.says or names


def leaving_page() -> str:
    """docs/leaving-supervisor.md with its tables of options."""
    text = (DOCS / "leaving-supervisor.md").read_text(encoding="utf-8")
    tables = {
        title: [f"| {names} | {marks} | {words} |" for names, marks, words in _options(rows)]
        for title, rows in _TABLES.items()
    }
    tables["The rest"] = [
        f"| `[{section}{'x]' if section.endswith(':') else ']'}` | {names} | {marks} | {words} |"
        for section, rows in {"include": options.INCLUDE, **options.MACHINERY}.items()
        for names, marks, words in _options(rows)
    ]
    for title, rows in tables.items():
        table = re.compile(rf"(?ms)^(### {re.escape(title)}\n.*?^\| --- .*?\n)(?:^\|.*?\n)+")
        text, count = table.subn(lambda match: match[1] + "\n".join(rows) + "\n", text)  # noqa: B023
        assert count == 1, title
    return text


def test_the_page_of_supervisor_s_options_is_what_the_import_says() -> None:
    page = DOCS / "leaving-supervisor.md"
    if os.environ.get("UNITQ_UPDATE_DOCS"):
        page.write_text(leaving_page(), encoding="utf-8")
    assert page.read_text(encoding="utf-8") == leaving_page()


def example_preset() -> str:
    """The preset that docs/extending.md shows."""
    page = (DOCS / "extending.md").read_text(encoding="utf-8")
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
    found = framework_of(presets, "bundle exec bin/acme-worker --verbose", {})
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
    assert f"| {int(code)} |" in (DOCS / "runbook.md").read_text(encoding="utf-8")


PAGES = (*ROOT.glob("*.md"), *DOCS.glob("*.md"))
# At most so many words, as `wc -w` counts: a page that grows is two pages, or says things twice.
WORDS = {
    "README.md": 1100,
    "CONTRIBUTING.md": 750,
    "api.md": 450,
    "commands.md": 900,
    "comparison.md": 750,
    "concepts.md": 750,
    "configuration.md": 2800,
    "deploying.md": 2950,
    "design.md": 2000,
    "extending.md": 1300,
    "frameworks.md": 2350,
    "hardening.md": 1150,
    "json.md": 2800,
    "leaving-supervisor.md": 3000,
    "measured.md": 1600,
    "operating.md": 1300,
    "queues.md": 2050,
    "runbook.md": 2500,
    "start.md": 700,
    "your-worker.md": 1550,
}
ALL_WORDS = 30_000  # of docs/


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_keeps_to_its_budget(page: Path) -> None:
    if page.parent == DOCS or page.name in WORDS:
        words = len(page.read_text(encoding="utf-8").split())
        assert words <= WORDS[page.name], (
            "shorten it, or tell it in the one page that it belongs to"
        )


def test_the_pages_together_keep_to_theirs() -> None:
    words = {page.name: len(page.read_text(encoding="utf-8").split()) for page in DOCS.glob("*.md")}
    assert sum(words.values()) <= ALL_WORDS, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_page_and_to_a_heading_in_it(page: Path) -> None:
    text = re.sub(r"(?s)```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        file, _, heading = target.partition("#")
        found = page.parent / file if file else page
        assert found.exists(), target
        if heading and found.suffix == ".md":
            assert heading in _headings(found), target


def test_a_link_to_a_heading_that_there_is_not_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n## `unitq deploy --json`\n\n```\n# no heading\n```\n")
    assert _headings(page) == {"a-page", "unitq-deploy---json"}


def _headings(page: Path) -> set[str]:
    """The anchors that GitHub makes of its headings."""
    text = re.sub(r"(?s)```.*?```", "", page.read_text(encoding="utf-8"))
    titles = re.findall(r"(?m)^#+ (.*)$", text)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


# Up to what ends a command in the shell, or to a gap with a remark behind it.
_IN_A_BLOCK = re.compile(
    r"(?:^|[$\"'(] ?|sudo |@web1 |command: )unitq (.*?)(?=[\"')`;|]|&&| #| {3,}|$)"
)
_IN_TEXT = re.compile(r"`(?:sudo )?unitq ([^`|]+)`")


def printed_commands(page: Path) -> Iterator[list[str]]:
    """Yields the arguments of each `unitq …` in a page's blocks of shell and in its code spans."""
    text = page.read_text(encoding="utf-8")
    fences = re.findall(r"(?ms)^```(\S*)\n(.*?)^```$", text)
    blocks = [block for word, block in fences if word in ("", "sh", "yaml", "ruby", "php")]
    lines = [line.partition(" #")[0] for block in blocks for line in block.splitlines()]
    commands = [command for line in lines for command in _IN_A_BLOCK.findall(line)]
    commands += _IN_TEXT.findall(re.sub(r"(?ms)^```.*?^```", "", text))
    for command in commands:
        words = shlex.split(command)
        if not any("…" in word or word in ("COMMAND", "*") for word in words):
            yield words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_printed_command_is_one_that_unitq_takes(page: Path) -> None:
    for words in printed_commands(page):
        refused = refusal(words)
        assert not refused, f"unitq {shlex.join(words)}: {refused}"


@pytest.mark.parametrize(
    "words", [["deploi"], ["deploy", "--fast"], ["rollout", "again"], ["show", "1", "2", "3"]]
)
def test_a_printed_command_that_there_is_not_is_seen(words: list[str]) -> None:
    assert refusal(words)


def refusal(words: list[str]) -> str:
    """Returns why unitq would not take such a command line; "" if it would."""
    command: click.Command = cli
    context = click.Context(cli, info_name="unitq", **cli.context_settings)
    try:
        while True:
            _, rest, _ = command.make_parser(context).parse_args(list(words))
            if not isinstance(command, click.Group) or not rest:
                return f"too many arguments: {rest}" if rest else ""
            name, inner, words = command.resolve_command(context, rest)
            assert inner is not None
            command = inner
            context = click.Context(inner, parent=context, info_name=name)
    except click.UsageError as error:
        return error.format_message()


def test_every_page_that_the_code_cites_exists() -> None:
    cited = {
        (path.relative_to(ROOT), name)
        for folder in ("unitq", "units", "presets", "bench", "demo")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
        for name in re.findall(
            r"\bdocs/([\w-]+\.(?:md|json|svg))", path.read_text(encoding="utf-8")
        )
    }
    assert cited
    assert not [(path, name) for path, name in cited if not (DOCS / name).exists()]


def test_contributing_names_what_there_is() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[\w-]+/)*[\w.@-]+\.(?:py|j2|md)|(?:[\w-]+/)+)`", text))
    assert len(named) > 20
    for name in named:
        if "NAME" not in name:
            assert (ROOT / name).exists() or (ROOT / "unitq" / name).exists(), name
