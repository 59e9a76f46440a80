"""The unit templates: ours, and an operator's own in the `units` folder of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import unitq
from unitq.core.errors import ConfigError
from unitq.core.render import TEMPLATES

if TYPE_CHECKING:
    from pathlib import PurePosixPath


def texts(config_dir: PurePosixPath) -> dict[str, str]:
    """The text of every template. Raises ConfigError where an operator's own is unreadable."""
    found = {}
    for name in TEMPLATES:
        own = Path(config_dir) / "units" / name
        path = own if own.exists() else _ours() / name
        try:
            found[name] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"unit template {path}: {error}") from error
    return found


def _ours() -> Path:
    # In the wheel the templates are inside the package, in a checkout they are beside it.
    package = Path(unitq.__file__).parent
    inside = package / "units"
    return inside if (inside / TEMPLATES[0]).exists() else package.parent / "units"
