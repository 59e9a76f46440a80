"""What scripts of users rely on: commands, options, exit codes, the keys of unitq.toml.

The lists in golden/ were written from an earlier version. A line that is gone breaks somebody's
script; one that is new is added by UNITQ_UPDATE_GOLDEN=1, and the diff says which it was.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from unitq.cli.main import cli
from unitq.errors import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDEN = Path(__file__).parent / "golden"


def commands(command: click.Command, words: tuple[str, ...], above: click.Context) -> Iterator[str]:
    """A line for each command, option and argument: `deploy --max-unavailable VALUE`."""
    named = " ".join(words)
    yield f"{named}{' (hidden)' if command.hidden else ''}"
    context = click.Context(command, info_name=words[-1], parent=above)
    yield from sorted(f"{named} {_parameter(each)}" for each in command.params)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, (*words, name), context)


def _parameter(found: click.Parameter) -> str:
    if isinstance(found.type, click.Choice):
        value = "|".join(str(choice) for choice in found.type.choices)
    else:
        value = "VALUE"
    if isinstance(found, click.Argument):
        many = "..." if found.nargs == -1 else ""
        return f"{value}{many}" if found.required else f"[{value}{many}]"
    assert isinstance(found, click.Option)
    spelled = ", ".join((*found.opts, *found.secondary_opts))
    variable = f" (${found.envvar})" if found.envvar else ""
    several = " (several times)" if found.multiple else ""
    return f"{spelled}{'' if found.is_flag else f' {value}'}{several}{variable}"


def exit_codes() -> Iterator[str]:
    """A line for each code. By number: that is what a script sees."""
    yield from (f"{code.value} {code.name}" for code in sorted(Exit))


def keys() -> Iterator[str]:
    """A line for each key of unitq.toml, with its default, as `unitq schema` prints them."""
    done = subprocess.run(
        [sys.executable, "-m", "unitq", "schema"], capture_output=True, check=True, timeout=60
    )
    schema: dict[str, Any] = json.loads(done.stdout)
    for table, properties in (("", schema), *sorted(schema["$defs"].items())):
        for key, about in properties.get("properties", {}).items():
            needed = " required" if key in properties.get("required", ()) else ""
            default = f" = {json.dumps(about['default'])}" if "default" in about else ""
            yield f"{table.removesuffix('Table').lower()}.{key}{needed}{default}".removeprefix(".")


@pytest.mark.parametrize("name", ["commands", "exit-codes", "keys"])
def test_what_scripts_rely_on_is_there(name: str) -> None:
    lines = {
        "commands": lambda: commands(cli, ("unitq",), click.Context(cli)),
        "exit-codes": exit_codes,
        "keys": keys,
    }[name]()
    text = "".join(f"{line}\n" for line in lines)
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UNITQ_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
