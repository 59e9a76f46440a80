"""Prints all output of unitq; the only place that makes foreign text printable.

It takes lines and adds the line feeds, so a value with a line feed cannot add a line that looks
like unitq's. Every command prints with it; ruff refuses click.echo, print and sys.stdout elsewhere
(banned-api in pyproject.toml). cli/screen.py draws with rich.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from unitq.errors import ConfigError
from unitq.printable import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

    from unitq.errors import UnitqError


STDOUT = 1  # the descriptor, for callers that watch whether its reader has gone


def echo(line: object = "", *, err: bool = False) -> None:
    """Prints one line; a line feed in it is escaped."""
    click.echo(one_line(str(line)), err=err)


def echo_lines(lines: Iterable[str], *, err: bool = False) -> None:
    """Prints each on its own line, with one write."""
    if text := "".join(f"{one_line(line)}\n" for line in lines):
        click.echo(text, err=err, nl=False)


def echo_in_colour(lines: Iterable[tuple[str, str]]) -> None:
    """Prints each line in a colour of its own on a terminal: parameters of SGR, "" for none."""
    coloured = is_terminal() and not os.environ.get("NO_COLOR")
    text = "".join(
        f"\x1b[{colour}m{one_line(line)}\x1b[0m\n" if colour and coloured else f"{one_line(line)}\n"
        for line, colour in lines
    )
    click.echo(text, nl=False)


def echo_text(text: str, *, err: bool = False) -> None:
    """Prints a text whose lines are unitq's own: help, unit texts, unitq.toml."""
    click.echo(printable(text), err=err, nl=not text.endswith("\n"))


_printed = {"json": False}  # whether a document has gone out


def echo_json(document: Any, *, indent: int | None = 2) -> None:
    """Prints JSON in ASCII: all else is escaped there, and so is every control character."""
    import json

    _printed["json"] = True
    click.echo(json.dumps(document, indent=indent))


def echo_json_error(
    message: str, code: int, *, hint: str = "", problems: Sequence[str] = ()
) -> None:
    """Prints why there is no document, as one; nothing where one has been printed already."""
    if not _printed["json"]:
        error = {
            "message": message, "problems": list(problems), "hint": hint, "exit_code": int(code),
        }  # fmt: skip
        echo_json({"format": 1, "error": error})


def details(error: UnitqError) -> list[str]:
    """The lines below an error's message: each mistake, and what to do."""
    hints = [f"  hint: {error.hint}"] * bool(error.hint)
    hints += [f"  or, {error.otherwise}"] * bool(error.otherwise)
    lines = (line for problem in error.problems for line in problem.split("\n"))
    return [f"  {line}" for line in lines] + hints


def confirm(question: str, *, err: bool = False) -> bool:
    """Asks at the terminal; no is the default. Raises click.Abort where nobody answers."""
    try:
        return click.confirm(one_line(question), err=err)
    except click.Abort:
        echo(err=True)
        raise


def need_terminal(question: str) -> None:
    """Raises ConfigError where nobody is there to answer."""
    if not sys.stdin.isatty():
        raise ConfigError(f"{question}: there is no terminal to ask at", hint="--yes answers yes")


def ask(question: str, default: str) -> str | None:
    """Asks at the terminal for a word. None where nobody can answer."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    try:
        answer: str = click.prompt(one_line(question), default=default, err=True)
    except click.Abort:
        echo(err=True)  # what follows starts on a line of its own
        raise
    return answer


def begin() -> None:
    """Before all else: no character and no traceback reaches a stream past this module."""
    _printed["json"] = False
    sys.excepthook = _traceback
    for stream in (sys.stdout, sys.stderr):
        # What the locale cannot say is no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    import traceback

    echo_text("".join(traceback.format_exception(kind, error, trace)), err=True)


def discard() -> None:
    """Nobody reads what is printed from now on."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def flush() -> None:
    """A terminal or a reader that went away is no reason for Python's own exit code (120)."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def is_terminal() -> bool:
    """Whether somebody looks at standard output, and not a program."""
    return sys.stdout.isatty()
