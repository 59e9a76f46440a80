"""The demo's voice: plain lines with the time, headings, and what others print, indented."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_WIDTH = 100
_INDENT = " " * 8


class Narrator:
    """Speaks to standard output; in colours only on a terminal."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def heading(self, text: str) -> None:
        """What comes next."""
        self._print(f"\n{self._painted(text, '1')}\n")

    def say(self, text: str) -> None:
        """One thing that was done or seen, with the seconds since the beginning."""
        stamp = f"{time.monotonic() - self._begun:5.1f} s "
        lines = textwrap.wrap(text, _WIDTH - len(_INDENT))
        self._print("\n".join([stamp + lines[0], *(_INDENT + line for line in lines[1:])]))

    def show(self, line: str) -> None:
        """A line of a file, or of what a command prints."""
        self._print(f"{_INDENT}  {self._painted(line, '36')}".rstrip())

    def table(self, lines: Iterable[str]) -> None:
        """A table; the last word of a row is its verdict."""
        colours = {"ok": "32", "BROKEN": "1;31"}
        for line in lines:
            start, blank, word = line.rpartition(" ")
            self._print(start + blank + self._painted(word, colours.get(word, "")))

    def verdict(self, text: str, *, good: bool) -> None:
        """The last line."""
        self._print(f"\n{self._painted(text, '1;32' if good else '1;31')}")

    def _painted(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours and text and colour else text

    def _print(self, text: str) -> None:
        print(text, flush=True)
