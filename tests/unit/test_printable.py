"""Words and numbers in the output."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitq import text
from unitq.model.suggest import either, nearest


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0.0 s"),
        (-0.2, "0.0 s"),
        (0.04, "0.0 s"),
        (4.25, "4.2 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (90, "90 s"),
        (119.4, "119 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (172799, "48 h"),
        (172800, "2 d"),
        (86400 * 400, "400 d"),
    ],
)
def test_a_time_is_short_and_has_a_unit(seconds: float, expected: str) -> None:
    assert text.duration(seconds) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (None, "-"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 K"),
        (5_000_000, "4.8 M"),
        (43_000_000, "41 M"),
        (1 << 30, "1.0 G"),
        (1 << 40, "1024 G"),
    ],
)
def test_a_size_is_short_and_has_a_unit(count: int | None, expected: str) -> None:
    assert text.size(count) == expected


@given(st.integers(0, 1 << 45))
def test_no_size_is_wider_than_a_column_should_be(count: int) -> None:
    assert len(text.size(count)) <= 7


@pytest.mark.parametrize(
    ("revision", "expected"), [("42-3fa9c1", "42"), (None, "?"), ("", "?"), ("42", "42")]
)
def test_people_say_the_number_of_a_revision(revision: str | None, expected: str) -> None:
    assert text.number(revision) == expected


def test_words_in_the_plural() -> None:
    assert [text.plural(count, "process") for count in (0, 1, 2)] == [
        "0 processes",
        "1 process",
        "2 processes",
    ]
    assert text.plural(3, "instance") == "3 instances"


CELLS = st.lists(
    st.lists(st.text(st.characters(categories=["L", "N"]), max_size=9), min_size=3, max_size=3)
)


@given(CELLS)
def test_columns_line_up_and_no_line_ends_in_blanks(rows: list[list[str]]) -> None:
    header = ["ONE", "TWO", "LAST"]
    lines = text.table(header, rows)
    assert len(lines) == len(rows) + 1
    starts = [lines[0].index(word) for word in header]
    for line, row in zip(lines[1:], rows, strict=True):
        assert line == line.rstrip()
        for start, cell in zip(starts, row, strict=True):
            assert line[start:].startswith(cell)
            assert start == 0 or line[max(0, start - 2) : start].isspace() or not line[start:]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("instnaces", "instances"),
        ("Stop-Timeout", "stop_timeout"),
        ("stoptimeout", "stop_timeout"),
        ("zzz", None),
        ("", None),
        ("i" * 200, None),
    ],
)
def test_the_word_that_was_probably_meant(word: str, expected: str | None) -> None:
    assert nearest(word, ["instances", "stop_timeout", "user"]) == expected


def test_a_choice_in_words() -> None:
    assert either([]) == ""
    assert either(["a"]) == "a"
    assert either(["a", "b"]) == "a or b"
    assert either(["a", "b", "c"], last="and") == "a, b and c"
