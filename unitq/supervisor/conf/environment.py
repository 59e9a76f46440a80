"""Environment variables that may stand in unitq.toml."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.toml.document import VALUE_MAX, unsafe
from unitq.toml.values import MistakeError, variable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.supervisor.importer.account import Part


def variables(part: Part | None, pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Those that unitq takes; of the others the part says why it does not. No value is shown."""
    kept = {}
    for name, value in pairs:
        why = unsafe(value, VALUE_MAX)
        if not why:
            try:
                variable(name)
            except MistakeError as mistake:
                why = str(mistake)
        if not why:
            kept[name] = value
        elif part is not None:
            shown = "".join(c if c.isprintable() else "?" for c in name[:60])
            part.note(f"environment: {shown} is not carried over: {why}")
    return kept
