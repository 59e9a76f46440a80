"""systemd's time spans (systemd.time(7)), read exactly as systemd's own parse_time() reads them."""

from __future__ import annotations

import math
import re

from unitq.model.settings import Duration

EXAMPLE = 'a time span such as "90s", "10min" or "infinity"'

_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_YEAR = 31_557_600 * _SECOND  # 365.25 days, and a month is a twelfth of it: systemd's figures

# Each unit's spellings, and how many microseconds it has. "M" is a month, "m" a minute.
UNITS: tuple[tuple[tuple[str, ...], int], ...] = (
    (("us", "usec", "µs", "μs"), 1),
    (("ms", "msec"), 1_000),
    (("s", "sec", "second", "seconds"), _SECOND),
    (("m", "min", "minute", "minutes"), _MINUTE),
    (("h", "hr", "hour", "hours"), _HOUR),
    (("d", "day", "days"), _DAY),
    (("w", "week", "weeks"), 7 * _DAY),
    (("M", "month", "months"), _YEAR // 12),
    (("y", "year", "years"), _YEAR),
)
_MICROSECONDS = {spelling: factor for spellings, factor in UNITS for spelling in spellings}

_BLANKS = " \t\n\r"
_NUMBER = r"(?:\+?[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_UNIT = "|".join(sorted(_MICROSECONDS, key=len, reverse=True))
_ITEM = re.compile(rf"({_NUMBER})(?:[{_BLANKS}]*({_UNIT})|[{_BLANKS}]|\Z)[{_BLANKS}]*")

# The same grammar for a JSON Schema (ECMA 262; one way to match, so no backtracking).
FINITE = rf"^ *(?:{_NUMBER}(?: *(?:{_UNIT})| |$) *)+$"
PATTERN = rf"{FINITE}|^ *infinity *$"

_INFINITY = 2**64 - 1  # systemd's USEC_INFINITY
_LARGEST_NUMBER = 2**63 - 1
_LONGEST = 200  # characters; no span that means something is longer


def parse(text: str, *, unit: str = "s") -> Duration:
    """The time span; a bare number counts `unit`s. ValueError for what systemd would refuse."""
    micros = microseconds(text, unit=unit)
    shown = " ".join(text.split())
    return Duration(shown, math.inf if micros is None else micros / _SECOND)


def microseconds(text: str, *, unit: str = "s") -> int | None:
    """The same in whole microseconds, which is what systemd counts; None for "infinity"."""
    rest = text.strip(_BLANKS)
    if rest == "infinity":
        return None
    if not rest or len(rest) > _LONGEST:
        raise ValueError("no time span")
    total = at = 0
    while at < len(rest):
        item = _ITEM.match(rest, at)
        if item is None:
            raise ValueError("no time span")
        total += _value(item[1], _MICROSECONDS[item[2] or unit])
        at = item.end()
    if total >= _INFINITY:
        raise ValueError("too long")
    return total


def _value(number: str, factor: int) -> int:
    whole, _, fraction = number.partition(".")
    count = int(whole or "0")
    if count > _LARGEST_NUMBER or count >= _INFINITY // factor:
        raise ValueError("too long")
    value = count * factor
    # Digit by digit and rounded down each time, as systemd does it: "1.0000019s" is 1000001 µs.
    for digit in fraction:
        factor //= 10
        value += int(digit) * factor
    return value
