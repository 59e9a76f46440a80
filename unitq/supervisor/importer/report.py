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
COMMON = 3  # what is the same of so many is printed once
_NAMES = 4  # are printed of one decision


class Carried(NamedTuple):
    """An option of a section, and what became of it."""

    option: str
    fate: Fate
    says: str
    given: bool = True  # False: it is Supervisor's default that is spoken of

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.option if self.given else f"{self.option} (not given)"


@dataclass(slots=True)
class Part:
    """One section of the file."""

    section: str
    file: str = ""
    given: tuple[str, ...] = ()  # the options that the file has
    workers: list[str] = field(default_factory=list)
    options: dict[str, Carried] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)

    def same(self, option: str, says: str = "") -> None:
        """It means the same in unitq.toml."""
        self.options[option] = Carried(option, Fate.SAME, says)

    def change(self, option: str, says: str, *, given: bool = True) -> None:
        """Something else stands in its place, or it means something else."""
        self.options[option] = Carried(option, Fate.CHANGED, says, given)

    def leave(self, option: str, says: str) -> None:
        """It is not in unitq.toml; `says` is what to do."""
        self.options[option] = Carried(option, Fate.LEFT, says)

    def as_in_table(self) -> None:
        """Takes the table's words for those that nothing else is said of."""
        for option in self.given:
            if option not in self.options:
                fate, says, *_ = row(self.section, option)
                self.options[option] = Carried(option, fate, says)

    def note(self, text: str) -> None:
        """Adds something to know, once."""
        if text not in self.notes:
            self.notes.append(text)

    def decide(self, text: str) -> None:
        """Adds something that only the operator knows, or has to do, once."""
        if text not in self.decisions:
            self.decisions.append(text)

    def decide_only(self, text: str) -> None:
        """Takes the one decision: of what is no worker nothing else is of interest."""
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

    def part(self, section: str, file: str = "", given: Iterable[str] = ()) -> Part:
        """Returns a new part, at the end."""
        self.parts.append(Part(section, one_line(file), tuple(given)))
        return self.parts[-1]

    def count(self, fate: Fate) -> int:
        """Returns how many options of the file had this fate."""
        options = (option for part in self.parts for option in part.options.values())
        return sum(option.given and option.fate is fate for option in options)

    def by_decision(self) -> dict[str, list[str]]:
        """Returns whom each decision is about, by its text; empty: all of them."""
        names: dict[str, list[str]] = {}
        for part in self.parts:
            for text in part.decisions:
                names.setdefault(text, []).append(part.name)
        return names | {text: [] for text in self.decisions}

    def summary(self) -> str:
        """Returns what has to be decided, on one screen."""
        workers = "1 worker" if self.written == 1 else f"{self.written} workers"
        decisions = self.by_decision()
        head = f"{self.source}: app {self.app}, {workers}"
        if not decisions:
            return one_line(f"{head}; nothing to decide (every option: --explain)")
        lines = _wrap("", one_line(f"{head}. To decide (every option: --explain):"))
        for at, (text, names) in enumerate(decisions.items()):
            more = _decision(text, names)
            rest = len(decisions) - at
            if len(lines) + len(more) > SCREEN - (rest > 1):
                lines.append(f"  … and {rest} more: --explain")
                break
            lines += more
        return "\n".join(map(one_line, lines))

    def text(self) -> str:
        """Returns all of it: what has to be decided, and what became of each option."""
        same, changed, left = map(self.count, Fate)
        head = f"{self.source}: app {self.app}; options: {same} the same (=), {changed} said"
        lines = _wrap("", f"{head} differently (~), {left} not carried over (-)")
        if decisions := self.by_decision():
            lines += ["", "To decide"]
            lines += [line for text, names in decisions.items() for line in _decision(text, names)]
        common = _common(self.parts)
        for part in self.parts:
            if own := _part(part, common):
                lines += ["", _title(part, self.source), *own]
        if common:
            lines += ["", "Of several"]
            for (option, says), workers in common.items():
                begin = f"  ~  {option}  " if option else "  !  "
                lines += _wrap(begin, f"{says} ({', '.join(workers)})")
        if self.notes:
            lines += ["", "All of it"]
            lines += [line for note in self.notes for line in _wrap("  !  ", note)]
        return "\n".join(map(one_line, lines))

    def to_json(self) -> dict[str, Any]:
        """Returns the same for programs; docs/json.md."""
        return {
            "format": 1,
            "app": self.app,
            "source": self.source,
            **{str(fate): self.count(fate) for fate in Fate},
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
                for text, names in self.by_decision().items()
            ],
        }


def _title(part: Part, source: str) -> str:
    where = f" in {part.file}" if part.file not in ("", source) else ""
    of = ""
    if part.workers:
        word = "worker" if len(part.workers) == 1 else "workers"
        of = f": {word} {', '.join(part.workers)}"
    return f"[{part.section}]{where}{of}" if part.section else f"{part.file or source}{of}"


def _common(parts: list[Part]) -> dict[tuple[str, str], list[str]]:
    """Returns defaults and notes that three workers or more have, and whose they are."""
    names: dict[tuple[str, str], list[str]] = {}
    for part in parts:
        defaults = [(option.name, option.says) for option in part.options.values()
                    if not option.given]  # fmt: skip
        for key in [*defaults, *(("", note) for note in part.notes)]:
            names.setdefault(key, []).append(", ".join(part.workers) or part.section)
    return {key: workers for key, workers in names.items() if len(workers) >= COMMON}


def _part(part: Part, common: dict[tuple[str, str], list[str]]) -> list[str]:
    options = list(part.options.values())
    silent = [option.option for option in options if option.fate is Fate.SAME and not option.says]
    lines = _wrap("  =  ", ", ".join(silent)) if silent else []
    shown = [
        option for option in options if option.says and (option.name, option.says) not in common
    ]
    width = max((len(option.name) for option in shown), default=0)
    for fate in Fate:
        for option in shown:
            if option.fate is fate:
                lines += _wrap(f"  {fate.sign}  {option.name.ljust(width)}  ", option.says)
    notes = [note for note in part.notes if ("", note) not in common]
    return lines + [line for note in notes for line in _wrap("  !  ", note)]


def _decision(text: str, names: list[str]) -> list[str]:
    shown = ", ".join(names[:_NAMES]) + (f" and {len(names) - _NAMES} more" * (len(names) > _NAMES))
    return _wrap("  - ", f"{shown}: {text}" if names else text, 4)


def _wrap(begin: str, text: str, indent: int | None = None) -> list[str]:
    # A narrow column would break every other word.
    indent = min(len(begin), 40) if indent is None else indent
    return textwrap.wrap(
        text, WIDTH, initial_indent=begin, subsequent_indent=" " * indent,
        break_long_words=False, break_on_hyphens=False,
    ) or [begin.rstrip()]  # fmt: skip
