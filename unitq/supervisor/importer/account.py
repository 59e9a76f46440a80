"""What became of each option: carried over as it was, in another way, or not at all."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.printable import one_line
from unitq.supervisor.importer.options import Fate, row

if TYPE_CHECKING:
    from collections.abc import Iterable

WIDTH = 100
SCREEN = 24  # lines; what has to be decided fits a terminal
COMMON = 3  # what is the same of so many is told once


_SIGN = {Fate.SAME: "=", Fate.CHANGED: "~", Fate.LEFT: "-"}


class Carried(NamedTuple):
    """An option of a section, and what became of it."""

    option: str
    fate: Fate
    says: str
    given: bool = True  # False: it is Supervisor's default that is spoken of


@dataclass(slots=True)
class Part:
    """One section of the file."""

    section: str
    file: str = ""
    workers: list[str] = field(default_factory=list)
    options: dict[str, Carried] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)

    def same(self, option: str, says: str = "") -> None:
        """It means the same in unitq.toml."""
        self.options[option] = Carried(option, Fate.SAME, says)

    def changed(self, option: str, says: str, *, given: bool = True) -> None:
        """Something else stands in its place, or it means something else."""
        self.options[option] = Carried(option, Fate.CHANGED, says, given)

    def left(self, option: str, says: str) -> None:
        """It is not in unitq.toml; `says` is what to do."""
        self.options[option] = Carried(option, Fate.LEFT, says)

    def as_in_table(self, options: Iterable[str]) -> None:
        """What the table says of those that nothing else is said of."""
        for option in options:
            if option not in self.options:
                self.options[option] = Carried(option, *row(self.section, option))

    def note(self, text: str) -> None:
        """Something that is to be known besides."""
        if text not in self.notes:
            self.notes.append(text)

    def decide(self, text: str) -> None:
        """Something that only the operator knows, or has to do."""
        if text not in self.decisions:
            self.decisions.append(text)

    def only(self, text: str) -> None:
        """The one thing to be decided: of what is no worker nothing else is of interest."""
        self.decisions = [text]

    @property
    def name(self) -> str:
        """What people call it: its workers, or its program."""
        return ", ".join(self.workers) or self.section.partition(":")[2] or self.section


@dataclass(slots=True)
class Report:
    """All sections, and what concerns them all."""

    app: str
    source: str
    parts: list[Part] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)
    written: int = 0  # workers that a deploy would start

    def part(self, section: str, file: str = "") -> Part:
        """A new part, at the end."""
        self.parts.append(Part(section, one_line(file)))
        return self.parts[-1]

    def decide(self, text: str) -> None:
        """Something that is to be decided, or done, for all of them."""
        if text not in self.decisions:
            self.decisions.append(text)

    def count(self, fate: Fate) -> int:
        """How many options of the file had this fate."""
        return sum(
            one.given and one.fate is fate for part in self.parts for one in part.options.values()
        )

    def decided(self) -> dict[str, list[str]]:
        """Each decision, with the names of those that it is about; none: all of them."""
        found: dict[str, list[str]] = {}
        for part in self.parts:
            for text in part.decisions:
                found.setdefault(text, []).append(part.name)
        return found | {text: [] for text in self.decisions}

    def summary(self) -> str:
        """What has to be decided, on one screen."""
        workers = "1 worker" if self.written == 1 else f"{self.written} workers"
        every = self.decided()
        head = f"{self.source}: app {self.app}, {workers}"
        if not every:
            return one_line(f"{head}; nothing to decide (every option: --explain)")
        lines = textwrap.wrap(
            one_line(f"{head}. To decide (every option: --explain):"), WIDTH, **_UNBROKEN
        )
        for at, (text, names) in enumerate(every.items()):
            more = _decision(text, names)
            rest = len(every) - at
            if len(lines) + len(more) > SCREEN - (rest > 1):
                lines.append(f"  … and {rest} more: --explain")
                break
            lines += more
        return "\n".join(map(one_line, lines))

    def text(self) -> str:
        """All of it: what has to be decided, and what became of each option."""
        head = (
            f"{self.source}: app {self.app}; options: {self.count(Fate.SAME)} the same (=), "
            f"{self.count(Fate.CHANGED)} said differently (~), {self.count(Fate.LEFT)} not carried "
            "over (-)"
        )
        lines = textwrap.wrap(head, WIDTH, **_UNBROKEN)
        if every := self.decided():
            lines += ["", "To decide"]
            lines += [line for text, names in every.items() for line in _decision(text, names)]
        common = _common(self.parts)
        for part in self.parts:
            told = [*_options(part, common), *_notes(part, common)]
            if told:
                lines += ["", _title(part, self.source), *told]
        if common:
            lines += ["", "Of several"]
            for (option, note), workers in common.items():
                begin = f"  ~  {option} (not given)  " if option else "  !  "
                lines += _wrapped(begin, f"{note} ({', '.join(workers)})")
        if self.notes:
            lines += ["", "All of it"]
            for note in self.notes:
                lines += _wrapped("  !  ", note)
        return "\n".join(map(one_line, lines))

    def document(self) -> dict[str, Any]:
        """The same for programs; docs/json.md."""
        return {
            "format": 1,
            "app": self.app,
            "source": self.source,
            "same": self.count(Fate.SAME),
            "changed": self.count(Fate.CHANGED),
            "left": self.count(Fate.LEFT),
            "sections": [
                {
                    "section": part.section,
                    "file": part.file or self.source,
                    "workers": part.workers,
                    "options": [
                        {"option": o.option, "fate": str(o.fate), "given": o.given, "says": o.says}
                        for o in part.options.values()
                    ],
                    "notes": [one_line(note) for note in part.notes],
                }
                for part in self.parts
            ],
            "notes": [one_line(note) for note in self.notes],
            "decisions": [
                {"of": [one_line(name) for name in names], "says": one_line(text)}
                for text, names in self.decided().items()
            ],
        }


def _decision(text: str, names: list[str]) -> list[str]:
    shown = ", ".join(names[:_NAMES]) + (f" and {len(names) - _NAMES} more" * (len(names) > _NAMES))
    return textwrap.wrap(
        f"{shown}: {text}" if names else text,
        WIDTH,
        initial_indent="  - ",
        subsequent_indent="    ",
        **_UNBROKEN,
    )


_NAMES = 4  # are said of one decision
_UNBROKEN: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}


def _title(part: Part, source: str) -> str:
    where = f" in {part.file}" if part.file not in ("", source) else ""
    of = ""
    if part.workers:
        word = "worker" if len(part.workers) == 1 else "workers"
        of = f": {word} {', '.join(part.workers)}"
    return f"[{part.section}]{where}{of}" if part.section else f"{part.file or source}{of}"


def _common(parts: list[Part]) -> dict[tuple[str, str], list[str]]:
    """What is the same of three workers or more, and is told once: defaults and notes."""
    found: dict[tuple[str, str], list[str]] = {}
    for part in parts:
        name = ", ".join(part.workers) or part.section
        for one in part.options.values():
            if not one.given:
                found.setdefault((one.option, one.says), []).append(name)
        for note in part.notes:
            found.setdefault(("", note), []).append(name)
    return {key: names for key, names in found.items() if len(names) >= COMMON}


def _notes(part: Part, common: dict[tuple[str, str], list[str]]) -> list[str]:
    return [
        line for note in part.notes if ("", note) not in common for line in _wrapped("  !  ", note)
    ]


def _options(part: Part, common: dict[tuple[str, str], list[str]]) -> list[str]:
    silent = [one.option for one in part.options.values() if one.fate is Fate.SAME and not one.says]
    lines = _wrapped("  =  ", ", ".join(silent)) if silent else []
    said = [
        (one.option if one.given else f"{one.option} (not given)", one)
        for one in part.options.values()
        if one.says and (one.given or (one.option, one.says) not in common)
    ]
    width = max((len(name) for name, _ in said), default=0)
    for fate in Fate:
        for name, one in said:
            if one.fate is fate:
                lines += _wrapped(f"  {_SIGN[fate]}  {name.ljust(width)}  ", one.says)
    return lines


def _wrapped(begin: str, text: str) -> list[str]:
    # A narrow column would break every other word.
    indent = " " * min(len(begin), 40)
    return textwrap.wrap(
        text, WIDTH, initial_indent=begin, subsequent_indent=indent, **_UNBROKEN
    ) or [begin.rstrip()]
