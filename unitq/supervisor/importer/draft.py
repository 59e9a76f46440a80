"""A unitq.toml in the making: tables of workers, and its text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unitq.toml.document import VALUE_MAX, unsafe
from unitq.toml.document import toml as basic
from unitq.toml.values import InvalidValueError, variable
from unitq.toml.values import command as checked_command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    from unitq.supervisor.importer.report import Part

    Value: TypeAlias = str | int | Sequence[str] | Mapping[str, str | int]

# The order in which keys stand in a worker's table.
_ORDER = (
    "command", "preset", "queues", "instances", "singleton", "user", "group", "directory",
    "stop_signal", "stop_timeout", "kill_mode", "restart_delay", "start_limit", "nice", "umask",
    "limits", "environment_file", "supervisor_name",
)  # fmt: skip
_LINE_MAX = 32 * 1024  # bytes
_SHARED = ("user", "group", "directory", "environment_file")


def toml(value: Value) -> str:
    """Returns a value; text with quotes or backslashes in TOML's single quotes if it can be."""
    if not isinstance(value, str) or "'" in value or not value.isprintable():
        return basic(value)
    return f"'{value}'" if '"' in value or "\\" in value else basic(value)


def valid_line(line: str) -> str:
    """Returns the command line as unitq.toml takes it; raises InvalidValueError if it does not."""
    if bad := unsafe(line, _LINE_MAX):
        raise InvalidValueError(why=f"its command {bad}")
    return checked_command(line)


def variables(part: Part | None, pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Returns those that unitq takes; the part says why of the others, but none of their values."""
    kept = {}
    for name, value in pairs:
        why = unsafe(value, VALUE_MAX)
        if not why:
            try:
                variable(name)
            except InvalidValueError as mistake:
                why = str(mistake)
        if not why:
            kept[name] = value
        elif part is not None:
            shown = "".join(c if c.isprintable() else "?" for c in name[:60])
            part.note(f"environment: {shown} is not carried over: {why}")
    return kept


@dataclass(slots=True)
class Draft:
    """One worker."""

    name: str
    keys: dict[str, Value] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    service: dict[str, Value] = field(default_factory=dict)
    unit: dict[str, Value] = field(default_factory=dict)
    hints: list[str] = field(default_factory=list)  # lines to be had by taking the "#" away
    comments: list[str] = field(default_factory=list)
    off: bool = False  # written as a comment: not to be started

    @property
    def directory(self) -> str:
        """Where it runs; set before all else."""
        return str(self.keys["directory"])

    def switch_off(self, *comments: str) -> None:
        """Has it written as a comment, below these."""
        self.off = True
        self.comments += comments


@dataclass(slots=True)
class File:
    """All of it."""

    app: str
    head: Sequence[str]
    drafts: list[Draft]
    environment: dict[str, str] = field(default_factory=dict)
    rollout: Mapping[str, Value] = field(default_factory=dict)

    def text(self) -> str:
        """The file."""
        shared, environment = self._shared(), self.environment | self._common()
        lines = [*(f"# {line}".rstrip() for line in self.head), ""]
        lines.append(f"app = {toml(self.app)}")
        lines += [f"{key} = {toml(value)}" for key, value in shared.items()]
        lines += _table("environment", environment)
        lines += _table("rollout", self.rollout)
        for draft in self.drafts:
            lines += _draft(draft, shared, environment)
        return "\n".join(lines) + "\n"

    def _shared(self) -> dict[str, Value]:
        """What all workers have in common, and the app may have in their place."""
        shared = {}
        on = [draft for draft in self.drafts if not draft.off] or self.drafts
        for key in _SHARED:
            values = [draft.keys.get(key) for draft in on]
            if values and values[0] is not None and all(value == values[0] for value in values):
                shared[key] = values[0]
        if any("group" not in draft.keys for draft in self.drafts):
            shared.pop("group", None)  # one that is a comment would have it too
        return shared

    def _common(self) -> dict[str, str]:
        """The variables that each of several workers has, with the same value."""
        first, *others = self.drafts or [Draft("")]
        return {
            name: value
            for name, value in first.environment.items()
            if others and all(draft.environment.get(name) == value for draft in others)
        }


def uncomment(text: str) -> str:
    """The file with every worker in it that is a comment."""
    lines, inside = [], False
    for line in text.splitlines():
        inside = line.startswith("#") and (inside or line.startswith("# [workers."))
        lines.append(line[2:] if inside else line)
    return "\n".join(lines) + "\n"


def _draft(draft: Draft, shared: Mapping[str, Value], environment: Mapping[str, str]) -> list[str]:
    lines = [f"[workers.{draft.name}]"]
    for key in _ORDER:
        value = draft.keys.get(key)
        if value is not None and shared.get(key) != value:
            lines.append(f"{key} = {toml(value)}")
    own = {name: value for name, value in draft.environment.items()
           if environment.get(name) != value}  # fmt: skip
    lines += _table(f"workers.{draft.name}.environment", own)
    lines += _table(f"workers.{draft.name}.unit", draft.unit)
    if draft.service or draft.hints:
        begin = "" if draft.service else "# "
        lines += ["", f"{begin}[workers.{draft.name}.service]"]
        lines += [f"{key} = {toml(value)}" for key, value in draft.service.items()]
        lines += [f"# {hint}" for hint in draft.hints]
    if draft.off:
        lines = [f"# {line}".rstrip() for line in lines]
    return ["", *(f"# {line}".rstrip() for line in draft.comments), *lines]


def _table(name: str, values: Mapping[str, Value]) -> list[str]:
    if not values:
        return []
    return ["", f"[{name}]", *(f"{key} = {toml(value)}" for key, value in values.items())]
