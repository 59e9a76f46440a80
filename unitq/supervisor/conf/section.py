"""One section's options, expanded and converted; mistakes are collected."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from unitq.supervisor.conf.expand import ExpansionError, expand, pairs
from unitq.supervisor.conf.ini import mistakes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from unitq.errors import ConfigError
    from unitq.supervisor.conf.ini import Ini

T = TypeVar("T")

# What a login session has and a daemon has otherwise: not taken for supervisord's.
OF_SESSION = frozenset({"PATH", "HOME", "USER", "LOGNAME", "SHELL", "PWD", "OLDPWD", "MAIL"})


class Surroundings(NamedTuple):
    """What a file refers to and does not say."""

    here: str  # the folder of the main file
    host: str
    environment: Mapping[str, str]


@dataclass(slots=True)
class Names:
    """What expansions may refer to, the mistakes, and the variables that were used."""

    base: dict[str, str | int]
    environment: dict[str, str | int] = field(default_factory=dict)  # "ENV_HOME" and its like
    used: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)

    def problem(self, section: str, option: str, error: ValueError) -> None:
        """A mistake in an option."""
        self.wrong.append(f"[{section}] {option}: {error}")
        if isinstance(error, ExpansionError):
            self.missing |= set(error.missing)


def names_of(around: Surroundings) -> Names:
    """What a file may refer to."""
    environment: dict[str, str | int] = {f"ENV_{k}": v for k, v in around.environment.items()}
    return Names({"here": around.here, "host_node_name": around.host}, environment)


def refusal(source: str, names: Names) -> ConfigError:
    """The error that lists the mistakes."""
    hint = "Supervisor refuses these too"
    if names.missing:
        options = " ".join(f"--env {name}=…" for name in sorted(names.missing))
        hint = f"say what supervisord's own environment had: {options}"
        if of_session := sorted(names.missing & OF_SESSION):
            hint += (
                f"; {', '.join(of_session)} of your session would be another. What supervisord "
                "has: tr '\\0' '\\n' < /proc/$(pgrep -o supervisord)/environ"
            )
    return mistakes(source, list(dict.fromkeys(names.wrong)), hint)


class Section:
    """Reads the options of one section, with expansions; mistakes are collected."""

    def __init__(self, ini: Ini, section: str, names: Names, **values: str) -> None:
        self.ini = ini
        self.name = section
        self.names = names
        self.values: dict[str, str | int] = {**names.environment, **names.base, **values}

    def text(self, option: str) -> str | None:
        """The option, expanded; None where it is not there, or wrong."""
        written = self.ini.get(self.name, option)
        return None if written is None else self.expand(option, written.value)

    def expand(
        self,
        option: str,
        text: str,
        instead: Callable[[str, str], str | None] | None = None,
    ) -> str | None:
        """The text, expanded; None where that fails."""
        try:
            return expand(text, self.values, instead=instead, used=self.names.used)
        except ExpansionError as error:
            self.names.problem(self.name, option, error)
            return None

    def raw(self, option: str, default: str) -> str:
        """The option as it stands there."""
        written = self.ini.get(self.name, option)
        return default if written is None else written.value

    def value(self, option: str, read: Callable[[str], T], default: T) -> T:
        """The option, expanded and converted."""
        text = self.text(option)
        if text is None:
            return default
        try:
            return read(text)
        except ValueError as error:
            self.names.problem(self.name, option, error)
            return default

    def pairs(self, option: str, text: str, letters: str = "") -> tuple[tuple[str, str], ...]:
        """Variables out of a text that is expanded already."""
        try:
            return pairs(text, letters=letters)
        except ValueError as error:
            self.names.problem(self.name, option, error)
            return ()
