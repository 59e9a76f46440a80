"""What an import goes by besides the file: what its caller wants, and what a command looks like."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from unitq.config.scripts import heads, unread
from unitq.presets import NONE
from unitq.presets.detect import framework_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from unitq.presets.model import Preset

    # Of a command line (in systemd's syntax) and the directory that it runs in.
    Recognise = Callable[[str, str], "Looks"]

SUPERVISOR = "Supervisor"


def _nowhere(_account: str) -> str | None:
    return None


class Wishes(NamedTuple):
    """What the caller of an import says."""

    source: str  # what the report calls the file
    app: str | None = None
    directory: str | None = None  # for programs without one
    user_scope: bool = False
    home: Callable[[str], str | None] = _nowhere  # an account's home directory, where it is known
    manager: str = SUPERVISOR  # what ran the programs until now


class Looks(NamedTuple):
    """The preset of its framework, and the beginnings of its scripts by their paths as written."""

    preset: Preset | None = None
    heads: Mapping[str, str] = MappingProxyType({})
    common: Preset | None = None  # whose checks hold for every worker
    unread: tuple[str, ...] = ()  # programs that may be scripts, and could not be looked at


def recogniser(presets: Mapping[str, Preset]) -> Recognise:
    """Tells the preset for a command line, by its words and by the scripts that it runs."""

    def recognise(command: str, directory: str) -> Looks:
        seen = heads(command, directory)
        match = framework_of(presets, command, seen)
        missing = () if match else unread(command, directory, seen)
        return Looks(match[0] if match else None, seen, presets.get(NONE), missing)

    return recognise
