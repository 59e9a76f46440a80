"""The text of a unit file, as systemd reads it (systemd.syntax(7))."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unitq.supervisor.conf.ini import mistakes

if TYPE_CHECKING:
    from collections.abc import Iterable


class Line(NamedTuple):
    """One directive."""

    section: str
    name: str
    value: str
    file: str


class UnitText:
    """A unit with its drop-ins: every directive in the order in which systemd reads them."""

    def __init__(self, texts: Iterable[tuple[str, str]]) -> None:
        """`texts`: pairs of a file's path and its text. Raises ConfigError."""
        self.lines = [line for file, text in texts for line in _lines(file, text)]

    def values(self, section: str, name: str) -> list[str]:
        """Returns the values of a directive; an empty one takes those before it back."""
        values: list[str] = []
        for line in self.lines:
            if line.section == section and line.name == name:
                values = [*values, line.value] if line.value else []
        return values

    def last(self, section: str, name: str) -> str:
        """Returns the value that counts; empty: there is none."""
        return (self.values(section, name) or [""])[-1]

    def names(self, section: str) -> list[str]:
        """Returns the directives of a section, each once."""
        return list(dict.fromkeys(line.name for line in self.lines if line.section == section))


def looks_like_unit(name: str, text: str) -> bool:
    """Whether a file is a unit: by its name, or by a [Service] section."""
    heads = {line.strip() for line in text.splitlines() if line.startswith("[")}
    return name.endswith((".service", ".timer", ".socket", ".target")) or "[Service]" in heads


def _lines(file: str, text: str) -> list[Line]:
    directives: list[Line] = []
    wrong: list[str] = []
    section = ""
    waiting = ""  # what a backslash at a line's end joins to the next
    for number, line in enumerate(text.splitlines(), start=1):
        # A comment between joined lines is left out, and joins them all the same.
        if line.lstrip().startswith(("#", ";")):
            continue
        joined = f"{waiting} {line.strip()}" if waiting else line.strip()
        if joined.endswith("\\"):
            waiting = joined[:-1].rstrip()
            continue
        waiting = ""
        if not joined:
            continue
        if joined.startswith("[") and joined.endswith("]"):
            section = joined[1:-1]
            continue
        name, equals, value = joined.partition("=")
        if not equals or not section:
            wrong.append(f"line {number}: neither a [Section] nor a directive")
            continue
        directives.append(Line(section, name.strip(), value.strip(), file))
    if wrong:
        hint = "a unit file has [Service] and lines such as ExecStart=/usr/bin/worker"
        raise mistakes(file, wrong, hint)
    return directives
