"""Generated pages are what the code says. `UNITQ_UPDATE_DOCS=1` writes them."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

from unitq.cli.main import cli
from unitq.core.errors import Exit

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


@pytest.mark.parametrize("code", list(Exit))
def test_every_exit_code_is_in_the_table(code: Exit) -> None:
    assert f"| {int(code)} |" in (DOCS / "exit-codes.md").read_text(encoding="utf-8")


def test_every_link_between_the_pages_leads_somewhere() -> None:
    import re

    for page in [DOCS.parent / "README.md", *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
