"""The data that comes with unitq: unit templates and presets."""

from __future__ import annotations

import os
from pathlib import Path


def folder(name: str) -> Path:
    """The folder of `units` or `presets`. In a wheel it is inside the package, else beside it."""
    package = Path(__file__).parent
    inside = package / "data" / name
    return inside if os.path.isdir(inside) else package.parent / name
