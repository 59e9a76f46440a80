"""Which tests `script/test` runs daily; `script/test all` runs the others, too.

A test is `long` by its own mark, or as a case of one whose other cases prove the same:

- one of both scopes runs daily in one of them, in turns, so that each file has both;
- of one that is marked `variants` only the first case runs daily.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SCOPES = ("system", "user")


def mark_long(items: Iterable[pytest.Item]) -> None:
    """Marks cases that need not run daily, by the order in which pytest has found them."""
    turns: dict[Path, dict[str, int]] = defaultdict(dict)  # of each file's cases in both scopes
    seen: set[str] = set()
    for item in items:
        test = item.nodeid.partition("[")[0]
        parameters = dict(item.callspec.params) if hasattr(item, "callspec") else {}
        scope = parameters.pop("scope", None)
        if scope in SCOPES and item.get_closest_marker("systemd"):
            case = f"{test}{parameters}"
            turn = turns[item.path].setdefault(case, len(turns[item.path]))
            if scope != SCOPES[turn % 2]:
                item.add_marker(pytest.mark.long)
                continue
        if test in seen and item.get_closest_marker("variants"):
            item.add_marker(pytest.mark.long)
        seen.add(test)
