"""What is wrong with a file, in plain words: one line for each place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unitq.model.suggest import nearest
from unitq.toml.document import found

if TYPE_CHECKING:
    from unitq.toml.values import MistakeError, Path


def confidential(path: Path) -> bool:
    """Whether what stands there may be nobody's business."""
    return (
        path[:1] == ("redis",)
        or "environment" in path
        # A token in an argument, say.
        or (path[:1] == ("hooks",) and path[-1] not in ("timeout", "user"))
    )


def said(mistake: MistakeError, path: Path, value: Any) -> tuple[Path, str]:
    """The place below `path` and the words for it; `value` is what stands at `path`."""
    path = (*path, *mistake.at)
    if mistake.why:
        return path, mistake.why
    for key in mistake.at:
        value = value[key]
    word = nearest(value, mistake.words) if isinstance(value, str) else None
    near = f', did you mean "{word}"?' if word else ""
    return path, f"expected {mistake.expected}, got {found(value, secret=confidential(path))}{near}"
