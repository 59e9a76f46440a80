"""TARGET arguments: `sms`, `sms@3`, globs, none for the whole app; with shell completion."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from unitq.cli import completions

if TYPE_CHECKING:
    from collections.abc import Callable


class WholeApp(click.Command):
    """A command that takes no target: its error for one names the command that takes it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            match = re.search(r"unexpected extra arguments? \((.*)\)", error.message)
            if match is None or type(error) is not click.UsageError:
                raise
            word = match[1].split()[0]
            raise click.UsageError(
                f"{error.message}. `{self.name}` takes the whole app: {_instead(word)}", ctx
            ) from error


def _instead(word: str) -> str:
    if word.endswith(".toml") or "/" in word:
        return f"`-c {word}` names its file"
    if re.fullmatch(r"[^=]+=[0-9]+", word):
        return f"`unitq scale {word}` changes how many there are"
    return f"`unitq restart {word}` restarts one worker, `-a APP` names the app"


def targets(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the TARGET arguments."""
    add = click.argument(
        "targets", nargs=-1, metavar="[TARGET]...", shell_complete=completions.targets
    )
    return add(function)
