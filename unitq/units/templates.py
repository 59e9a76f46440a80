"""The unit templates: ours, and an operator's own in the `units` folder of the configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from unitq import shipped
from unitq.errors import ConfigError
from unitq.linux import text_file
from unitq.units.render import TEMPLATES

if TYPE_CHECKING:
    from pathlib import PurePosixPath

_FILE_MAX = 1 << 20  # bytes


def texts(config_dir: PurePosixPath) -> dict[str, str]:
    """The text of every template. Raises ConfigError where an operator's own is unreadable.

    As root, ForeignFileError where it is another account's.
    """
    templates = {}
    for name in TEMPLATES:
        own = Path(config_dir) / "units" / name
        theirs = os.path.exists(own)
        path = own if theirs else _ours() / name
        read = text_file.trusted_text if theirs else text_file.text
        try:
            templates[name] = read(path, _FILE_MAX, "unit template")
        except OSError as error:
            raise ConfigError(f"unit template {path}: {error.strerror}") from error
    return templates


def ours(name: str) -> str:
    """The text of one of ours that no operator's own takes the place of."""
    return (_ours() / name).read_text(encoding="utf-8")


def _ours() -> Path:
    return shipped.folder("units")
