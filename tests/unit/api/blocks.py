"""The Python that docs/api.md prints."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "api.md"


def python_blocks() -> list[str]:
    """Returns the text of each block, in order."""
    return re.findall(r"(?s)```python\n(.*?)```", PAGE.read_text(encoding="utf-8"))
