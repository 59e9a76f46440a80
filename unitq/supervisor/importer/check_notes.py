"""What `unitq check` will say of an imported file, beside the worker that it says it of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.config.lint import lint_app
from unitq.config.parse import parse
from unitq.errors import ConfigError
from unitq.model.finding import Level, Seen
from unitq.supervisor.importer.toml_draft import uncommented

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.supervisor.importer.account import Report
    from unitq.supervisor.importer.detect import Looks
    from unitq.supervisor.importer.toml_draft import File


def beside(file: File, looks: Mapping[str, Looks], report: Report) -> None:
    """Puts each warning above its worker, where no setting of ours could avoid it.

    It is to be decided, too, but for workers that are comments.
    """
    parts = {name: part for part in report.parts for name in part.workers}
    every = (preset for one in looks.values() for preset in (one.preset, one.common))
    presets = {preset.name: preset for preset in every if preset}
    try:
        text = file.text()
        on = any(not draft.off for draft in file.drafts)
        app = parse(text if on else uncommented(text), source="", presets=presets)
    except ConfigError:
        return  # whoever reads the text next says what is wrong with it
    found = lint_app(app, presets, {name: Seen(one.heads) for name, one in looks.items()})
    for draft in file.drafts:
        begin = f"workers.{draft.name}."
        for one in found:
            if one.level is Level.NOTE or not one.place.startswith(begin):
                continue
            key = one.place.removeprefix(begin)
            draft.comments.append(f"check: {key}: {one.message}")
            draft.comments += [f"  {part}" for part in (one.why, one.hint) if part]
            if not draft.off and draft.name in parts:
                hint = f"; {one.hint}" if one.hint else ""
                parts[draft.name].decide(f"{key}: {one.message}{hint}")
