"""What a command line that is imported looks like."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from unitq.presets.model import Preset

    # Of a command line (in systemd's syntax) and the directory that it runs in.
    Recognise = Callable[[str, str], "Looks"]


class Looks(NamedTuple):
    """The preset of its framework, and the beginnings of its scripts by their paths as written."""

    preset: Preset | None = None
    heads: Mapping[str, str] = MappingProxyType({})
    common: Preset | None = None  # whose checks hold for every worker
    unread: tuple[str, ...] = ()  # programs that may be scripts, and could not be looked at
