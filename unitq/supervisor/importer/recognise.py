"""What a command line looks like, by its words and by the scripts on this machine that it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.config.scripts import heads, unread
from unitq.presets import NONE
from unitq.presets.detect import framework_of
from unitq.supervisor.importer.detect import Looks

if TYPE_CHECKING:
    from unitq.context import Scope
    from unitq.supervisor.importer.detect import Recognise


def recogniser(scope: Scope) -> Recognise:
    """Tells the preset for a command line, by its words and by the scripts that it runs."""
    presets = scope.presets()

    def recognise(command: str, directory: str) -> Looks:
        seen = heads(command, directory)
        found = framework_of(presets, command, seen)
        missing = () if found else unread(command, directory, seen)
        return Looks(found[0] if found else None, seen, presets.get(NONE), missing)

    return recognise
