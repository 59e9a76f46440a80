"""The format of supervisord.conf, read by Python's configparser as Supervisor reads it.

Each file has a parser of its own, so that it is known which one an option is from.
"""

from __future__ import annotations

import configparser
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULTS = "DEFAULT"  # configparser's section whose options every other one has
HERE = "%(here)s"
PROBLEMS_MAX = 100

_HINT = "a file of Supervisor's has [sections] and lines such as command=/usr/bin/worker"


class Option(NamedTuple):
    """One option as it stands in the file, its lines joined."""

    name: str
    value: str
    file: str


@dataclass(slots=True)
class Ini:
    """All that the files say so far: sections in their order, each option's last word."""

    sections: dict[str, dict[str, Option]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)  # by section, the first that has it
    again: dict[str, list[str]] = field(default_factory=dict)  # later files with it
    defaults: dict[str, Option] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)  # the files that were read

    def read(self, text: str, source: str, *, quoted: bool = True) -> None:
        """Adds a file's text. Raises ConfigError with every line that is none of this format.

        Not `quoted`: with their numbers only, as not everybody may read what they say.
        """
        self.sources.append(source)
        # As Supervisor's UnhosedConfigParser; [DEFAULT] is a section like any other here, so that
        # it is known what a section says itself.
        parser = configparser.RawConfigParser(
            strict=False, inline_comment_prefixes=(";", "#"), default_section="\n"
        )
        try:
            parser.read_file(io.StringIO(text.removeprefix("\ufeff"), newline=None), source)
        except configparser.MissingSectionHeaderError as error:
            shown = f": {_short(error.line)}" if quoted else ""
            problem = f"line {error.lineno}: stands before any [section]{shown}"
            raise mistakes(source, [problem], hint=_HINT) from None
        except configparser.ParsingError as error:
            lines = text.split("\n")
            raise mistakes(
                source,
                [
                    f"line {number}: neither a [section] nor an option"
                    + (f": {_short(lines[number - 1])}" if quoted and number <= len(lines) else "")
                    for number, _ in error.errors
                ],
                hint=_HINT,
            ) from None
        for section in parser.sections():
            options = {name: Option(name, value, source) for name, value in parser.items(section)}
            if section == DEFAULTS:
                self.defaults |= options
            elif section in self.sections:
                self.again.setdefault(section, []).append(source)
                self.sections[section] |= options
            else:
                self.files[section] = source
                self.sections[section] = options

    def get(self, section: str, option: str) -> Option | None:
        """Returns the option of a section, or else the one of [DEFAULT]."""
        return self.sections.get(section, {}).get(option) or self.defaults.get(option)

    def options(self, section: str) -> dict[str, Option]:
        """Returns every option that a section has, those of [DEFAULT] among them."""
        return self.defaults | self.sections.get(section, {})

    def of_kind(self, kind: str) -> Iterator[str]:
        """Yields the sections that begin with `program:` or another kind."""
        yield from (name for name in self.sections if name.startswith(kind))

    def expand_here(self, folder: str) -> None:
        """Replaces %(here)s wherever it is left, as Supervisor does after each included file."""
        for section, own in self.sections.items():
            for name, option in self.options(section).items():
                if HERE in option.value:
                    own[name] = option._replace(value=option.value.replace(HERE, folder))


def _short(text: str, longest: int = 60) -> str:
    line = "".join(c if c.isprintable() else " " for c in text.strip())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def mistakes(source: str, lines: list[str], hint: str = "") -> ConfigError:
    """Returns the error that lists them."""
    count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    if len(lines) > PROBLEMS_MAX:
        count = f"more than {PROBLEMS_MAX} mistakes, of which these are the first"
        lines = lines[:PROBLEMS_MAX]
    return ConfigError(f"{source}: {count}", hint=hint, problems=tuple(lines))
