"""The page that a full run of tests/frameworks writes is about the frameworks of today."""

from __future__ import annotations

import pytest

from tests.frameworks.page import PAGE, complete, read
from tests.frameworks.table import FRAMEWORKS, Framework


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda each: each.name)
def test_each_framework_has_its_row_in_every_table(framework: Framework) -> None:
    rows = [
        line
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| {framework.title} |")
    ]
    assert len(rows) == 6
    assert not any("**failed**" in row for row in rows), rows


def test_it_can_be_read_back_to_be_brought_up_to_date_in_part() -> None:
    assert complete(read())
