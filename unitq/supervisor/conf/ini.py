"""The format of supervisord.conf, read line by line as Supervisor's parser reads it.

Supervisor uses Python's configparser, duplicates allowed, with comments behind " ;" and " #". The
rules are followed here by hand, because what it passes over in silence has to be told: an option
that stands there twice, and a comment that begins within quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULTS = "DEFAULT"  # configparser's section whose options every other one has
HERE = "%(here)s"
PROBLEMS_MAX = 100

_HEADER = re.compile(r"\[(?P<name>.+)\]")


class Option(NamedTuple):
    """One option as it stands in the file, its lines joined."""

    name: str
    value: str
    file: str
    line: int
    odd: tuple[str, ...] = ()  # what Supervisor does with it without a word


@dataclass(slots=True)
class _Open:
    """An option whose further lines may follow."""

    name: str
    lines: list[str]
    file: str
    line: int
    odd: list[str]


@dataclass(slots=True)
class Ini:
    """All that the files say so far: sections in their order, each option's last word."""

    sections: dict[str, dict[str, Option]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)  # by section, the first that has it
    lines: dict[str, int] = field(default_factory=dict)  # where in that file it begins
    again: dict[str, list[str]] = field(default_factory=dict)  # later files, or lines, with it
    defaults: dict[str, Option] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)  # the files that were read

    def read(self, text: str, source: str, *, quoted: bool = True) -> None:
        """Adds a file's text. Raises ConfigError with every line that is none of this format.

        Not `quoted`: with their numbers only, as not everybody may read what they say.
        """
        self.sources.append(source)
        reader = _Reader(self, source, quoted=quoted)
        # As Python reads a text file: three kinds of line ends, none of them part of the line.
        lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if lines and not lines[-1]:
            lines.pop()
        for number, line in enumerate(lines, start=1):
            reader.line(number, line)
        reader.close()
        if reader.wrong:
            raise mistakes(source, reader.wrong, hint=_HINT)

    def get(self, section: str, option: str) -> Option | None:
        """The option of a section, or else the one of [DEFAULT]."""
        return self.sections.get(section, {}).get(option) or self.defaults.get(option)

    def options(self, section: str) -> dict[str, Option]:
        """Every option that a section has, those of [DEFAULT] among them."""
        return self.defaults | self.sections.get(section, {})

    def named(self, kind: str) -> Iterator[str]:
        """The sections that begin so: `program:`."""
        yield from (name for name in self.sections if name.startswith(kind))

    def places(self, section: str) -> str:
        """Where it is: in files, in the order in which they are read."""
        return ", then ".join(dict.fromkeys([self.files[section], *self.again.get(section, [])]))

    def expand_here(self, folder: str) -> None:
        """Replaces %(here)s wherever it is left, as Supervisor does after each included file."""
        for section, own in self.sections.items():
            for name, option in self.options(section).items():
                if HERE in option.value:
                    own[name] = option._replace(value=option.value.replace(HERE, folder))


_HINT = "a file of Supervisor's has [sections] and lines such as command=/usr/bin/worker"


class _Reader:
    """One file's lines, one after the other."""

    def __init__(self, ini: Ini, source: str, *, quoted: bool) -> None:
        self.ini = ini
        self._quoted = quoted
        self.source = source
        self.wrong: list[str] = []
        self._section: dict[str, Option] | None = None
        self._open: _Open | None = None
        self._indent = 0

    def line(self, number: int, line: str) -> None:
        cut = comment(line)
        value = line[:cut].strip()
        if not value:
            if cut is None and self._open is not None:
                self._open.lines.append("")
            return
        found = re.search(r"\S", line)
        indent = found.start() if found else 0
        odd = _cut_in_quotes(value, line, cut)
        if self._section is not None and self._open is not None and indent > self._indent:
            self._open.lines.append(value)
            self._open.odd += odd
            return
        self._indent = indent
        if header := _HEADER.match(value):
            self._begin(number, header["name"])
        elif self._section is None:
            self._problem(number, "stands before any [section]", value)
        else:
            self._option(number, value, odd)

    def _begin(self, number: int, name: str) -> None:
        self.close()
        if name in self.ini.sections:
            self._section = self.ini.sections[name]
            same = self.ini.files[name] == self.source
            where = f"line {number} of {self.source}" if same else self.source
            self.ini.again.setdefault(name, []).append(where)
        elif name == DEFAULTS:
            self._section = self.ini.defaults
        else:
            self._section = self.ini.sections[name] = {}
            self.ini.files[name] = self.source
            self.ini.lines[name] = number

    def _option(self, number: int, value: str, odd: list[str]) -> None:
        self.close()
        ends = [at for at in (value.find("="), value.find(":")) if at >= 0]
        name = value[: min(ends)].rstrip() if ends else ""
        if not name:
            self._problem(number, "neither a [section] nor an option", value)
            return
        text = value[min(ends) + 1 :].strip()
        self._open = _Open(name.lower(), [text], self.source, number, odd)

    def close(self) -> None:
        """The option in hand is complete."""
        opened, self._open = self._open, None
        if opened is None or self._section is None:
            return
        before = self._section.get(opened.name)
        if before is not None:
            where = before.file if before.file != opened.file else f"line {before.line}"
            opened.odd.append(f"stands in {where} too; this one, the last, counts")
        value = "\n".join(opened.lines).rstrip()
        self._section[opened.name] = Option(
            opened.name, value, opened.file, opened.line, tuple(opened.odd)
        )

    def _problem(self, number: int, what: str, value: str) -> None:
        if len(self.wrong) <= PROBLEMS_MAX:
            shown = f": {_short(value)}" if self._quoted else ""
            self.wrong.append(f"line {number}: {what}{shown}")


def comment(line: str) -> int | None:
    """Where the comment begins. Step by step as configparser looks for it, odd cases and all."""
    start: int | None = None
    ahead = {";": -1, "#": -1}
    while start is None and ahead:
        further = {}
        for prefix, at in ahead.items():
            found = line.find(prefix, at + 1)
            if found == -1:
                continue
            further[prefix] = found
            if found == 0 or line[found - 1].isspace():
                start = found if start is None else min(start, found)
        ahead = further
    return 0 if line.strip().startswith(("#", ";")) else start


def _cut_in_quotes(value: str, line: str, cut: int | None) -> list[str]:
    """Says that a comment begins within quotes: Supervisor leaves the rest out, which few know."""
    if cut is None or not any(value.count(quote) % 2 for quote in "\"'"):
        return []
    if any(line.count(quote) % 2 for quote in "\"'"):
        return []
    return [
        f'is cut off at "{_short(line[cut:].strip(), 30)}", which Supervisor takes for a comment'
    ]


def _short(text: str, longest: int = 60) -> str:
    line = "".join(c if c.isprintable() else " " for c in text)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def mistakes(source: str, lines: list[str], hint: str = "") -> ConfigError:
    """The error that lists them."""
    count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    if len(lines) > PROBLEMS_MAX:
        count = f"more than {PROBLEMS_MAX} mistakes, of which these are the first"
        lines = lines[:PROBLEMS_MAX]
    return ConfigError(f"{source}: {count}", hint=hint, problems=tuple(lines))
