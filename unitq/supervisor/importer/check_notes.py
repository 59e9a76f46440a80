"""What `unitq check` will say of an imported file, beside the worker that it says it of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.config.lint import lint_app
from unitq.config.parse import parse
from unitq.errors import ConfigError
from unitq.model.finding import Level, WorkerFacts
from unitq.supervisor.importer.draft import uncomment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.supervisor.importer.draft import File
    from unitq.supervisor.importer.recognise import Looks
    from unitq.supervisor.importer.report import Report


def add(file: File, looks: Mapping[str, Looks], report: Report) -> None:
    """Puts each warning above its worker, where no setting of ours could avoid it.

    It is to be decided, too, but for workers that are comments.
    """
    parts = {name: part for part in report.parts for name in part.workers}
    known = (preset for look in looks.values() for preset in (look.preset, look.common))
    presets = {preset.name: preset for preset in known if preset}
    try:
        text = file.text() if report.written else uncomment(file.text())
        app = parse(text, source="", presets=presets)
    except ConfigError:
        return  # the command reads the text next, and says what is wrong with it
    findings = lint_app(
        app, presets, {name: WorkerFacts(look.heads) for name, look in looks.items()}
    )
    for draft in file.drafts:
        begin = f"workers.{draft.name}."
        for finding in findings:
            if finding.level is Level.NOTE or not finding.place.startswith(begin):
                continue
            key = finding.place.removeprefix(begin)
            draft.comments.append(f"check: {key}: {finding.message}")
            draft.comments += [f"  {part}" for part in (finding.why, finding.hint) if part]
            if not draft.off and draft.name in parts:
                hint = f"; {finding.hint}" if finding.hint else ""
                parts[draft.name].decide(f"{key}: {finding.message}{hint}")
