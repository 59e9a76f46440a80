"""The table that a full run of tests/frameworks writes is about the frameworks of today."""

from __future__ import annotations

import re

import pytest

from tests.frameworks.page import PAGE, WORDS, complete, document, read, replaced
from tests.frameworks.table import FRAMEWORKS, Framework, Way


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda each: each.name)
def test_each_framework_has_its_row_and_none_failed(framework: Framework) -> None:
    rows = [
        line
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| {framework.title} ")
    ]
    assert len(rows) == 1
    seen = [what for (name, _, _), what in read().items() if name == framework.name]
    assert not any("**failed**" in what for what in seen), seen


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda each: each.name)
@pytest.mark.parametrize("word", WORDS)
def test_each_does_all_of_its_jobs_under_a_word_of_hardening(
    framework: Framework, word: str
) -> None:
    found = re.match(r"(\d+) of (\d+) (?:done )?once", read()[framework.name, "hardened", word])
    assert found
    assert found[1] == found[2]


def test_it_can_be_read_back_to_be_brought_up_to_date_in_part() -> None:
    assert complete(read())


def test_the_page_has_what_was_seen_and_what_differs_below_a_shell() -> None:
    text = PAGE.read_text(encoding="utf-8")
    found = document()
    assert replaced(text, found) == text
    name = FRAMEWORKS[0].name
    found["frameworks"][name]["seen"]["long"][Way.SH] += "; 1 lost"
    assert f"`{Way.SH}`: 1 lost" in replaced(text, found)
