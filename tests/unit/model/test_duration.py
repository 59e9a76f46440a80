"""Time spans: read as systemd reads them."""

from __future__ import annotations

import math
import re
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from unitq.model import duration
from unitq.model.settings import Duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("90", 90),
        ("10min", 600),
        ("2h 30min", 9000),
        ("1hr2hours3h", 6 * 3600),
        ("1.5h", 5400),
        (".5", 0.5),
        ("0", 0),
        ("5us", 0.000005),
        ("5µs", 0.000005),
        ("1w 1d", 8 * 86400),
        ("1M", 2629800),
        ("1m", 60),
        ("2years 1month", 65745000),
        ("1.0000019s", 1.000001),
        ("infinity", math.inf),
    ],
)
def test_a_time_span_has_systemds_length(text: str, seconds: float) -> None:
    assert duration.parse(text) == Duration(text, seconds)


def test_blanks_are_tidied_in_what_is_shown() -> None:
    assert duration.parse("  2h   30min ") == Duration("2h 30min", 9000)


def test_a_bare_number_may_count_other_units() -> None:
    assert duration.parse("1500", unit="us").seconds == 0.0015


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "10 minuts", "5 mins", "5S", "1e3", "-5s", "5s, 3s", "5+3", "1.5.5", "3."),
        *(
            "+.5",
            "infinitys",
            "infinity 5s",
            "5s infinity",
            "٣s",
            "5_0",
            "584542y",
            "9" * 30,
            "1s" * 500,
        ),
    ],
)
def test_what_systemd_refuses_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        duration.parse(text)


def real(text: str) -> int | None:
    """systemd's own microseconds; None where it refuses the text."""
    done = subprocess.run(
        ["systemd-analyze", "timespan", "--", text],
        capture_output=True,
        encoding="utf-8",
        env={"LC_ALL": "C.UTF-8"},
    )
    shown = re.search(r"[μu]s: (\d+)$", done.stdout, re.MULTILINE)
    return int(shown[1]) if done.returncode == 0 and shown else None


def ours(text: str) -> int | None:
    """The same from this module."""
    try:
        micros = duration.microseconds(text)
    except ValueError:
        return None
    return 2**64 - 1 if micros is None else micros


NUMBERS = st.one_of(
    st.integers(0, 10**6).map(str),
    st.decimals(0, 1000, places=7).map("{:f}".format),
    st.sampled_from(["+5", ".25", "9223372036854775807", "584542", "5.", "-1", "1e3", "0x5", "٣"]),
)
SPELLINGS = st.sampled_from([word for spellings, _ in duration.UNITS for word in spellings])
ITEMS = st.builds(
    lambda *parts: "".join(parts),
    NUMBERS,
    st.sampled_from(["", "", " ", "  "]),
    st.one_of(SPELLINGS, SPELLINGS, st.sampled_from(["", "S", "mins", "mo", "infinity"])),
    st.sampled_from(["", " ", "   ", ","]),
)
SPANS = st.one_of(
    st.lists(ITEMS, min_size=1, max_size=4).map("".join),
    st.text("0123456789.+- smhdwMyuµμinfity", max_size=12),
)


@settings(max_examples=250, deadline=None)
@given(SPANS)
@example("infinity")
@example("1s.5")
@example("5 +3")
def test_any_time_span_means_what_it_means_to_systemd(text: str) -> None:
    assert ours(text) == real(text)


@given(SPANS)
def test_the_schemas_pattern_takes_whatever_is_taken(text: str) -> None:
    taken = ours(text) is not None
    # The pattern cannot know which numbers are too large, and is right about all else.
    assert bool(re.search(duration.PATTERN, text)) >= taken
