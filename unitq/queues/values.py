"""What frameworks write into Redis, as values: times in their many spellings, JSON, ids."""

from __future__ import annotations

import hashlib
import json
import re
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# Later than any second of ours and earlier than any millisecond: the year 5138, and 1973.
_MILLISECONDS = 1e11
_INTEGER_MAX = 1 << 63  # Redis has no larger ones
_DIGITS = 20
_PID_MAX = (1 << 31) - 1  # pid_t; one above pid_max is that of a process that is gone
_DEPTH = 100  # of JSON: deeper ones are no job, and could not be printed
_BRACKET = re.compile(r"[\[\]{}]")
_decode = json.JSONDecoder().decode
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)?")


def text(value: object) -> str:
    """Returns bytes as text; what is no UTF-8 is shown as such."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def split_commas(words: str) -> tuple[str, ...]:
    """Returns the names in `sms, mail`."""
    return tuple(name.strip() for name in words.split(",") if name.strip())


def table(value: Any) -> dict[str, Any]:
    """Returns a JSON object; empty where it is none."""
    try:
        # A str: json.loads would first look which encoding bytes have.
        words = value.decode() if isinstance(value, bytes) else value
        record = _decode(words)
        if _is_deep(words):
            return {}
    except (ValueError, TypeError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _is_deep(words: str) -> bool:
    if words.count("[") + words.count("{") <= _DEPTH:
        return False
    depth = 0
    for bracket in _BRACKET.findall(words):
        depth += 1 if bracket in "[{" else -1
        if depth > _DEPTH:
            return True
    return False


def pairs(answer: object) -> dict[str, Any]:
    """Returns the answer to HGETALL, or a row of XINFO: names and values."""
    if not isinstance(answer, list):
        return {}
    return {text(key): value for key, value in zip(answer[::2], answer[1::2], strict=False)}


def row_of(answer: object, name: bytes) -> dict[bytes, Any] | None:
    """Returns the row of that name among rows such as those of XINFO; None where there is none."""
    for row in answer if isinstance(answer, list) else ():
        if isinstance(row, list) and name in row:
            fields = dict(zip(row[::2], row[1::2], strict=False))
            if fields.get(b"name") == name:
                return fields
    return None


def number(value: object) -> int | None:
    """Returns a whole number, however Redis sends it."""
    if not isinstance(value, int):
        words = text(value)
        # Python refuses to read some thousands of digits, and takes those of every script.
        if len(words) > _DIGITS or not words.isascii():
            return None
        try:
            value = int(words)
        except ValueError:
            return None
    return value if -_INTEGER_MAX <= value < _INTEGER_MAX else None


def pid(value: object) -> int | None:
    """Returns the number of a process; None where it can be none."""
    result = number(value)
    return result if result is not None and 0 < result <= _PID_MAX else None


def moment(value: object) -> float | None:
    """Returns seconds since 1970 from a number (of seconds or milliseconds) or a date as text."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        words = value.strip()
        if words[4:5] == "-":  # 2026-11-23 …; float's exception would take longer than the rest
            return _date(words)
        try:
            value = float(words)
        except ValueError:
            return _date(words)
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return _seconds(value)


def _seconds(value: float) -> float | None:
    if not 0 < value < 1e15:
        return None
    return value / 1000 if value > _MILLISECONDS else float(value)


def moments(values: Sequence[object]) -> list[float | None]:
    """Returns `moment` of each; quick where all are numbers, or nothing."""
    try:
        plain = [0.0 if each is None else float(each) for each in values]  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return list(map(moment, values))
    return list(map(_seconds, plain))


def _date(words: str) -> float | None:
    # ISO 8601, with a blank or a T, also Ruby's "2026-11-23 10:00:00 +0100" and "… UTC".
    iso = re.sub(r" (?=[+-]\d)", "", words.removesuffix(" UTC") + "Z" * words.endswith(" UTC"))
    try:
        at = datetime.fromisoformat(iso)
    except ValueError:
        return _php_date(words)
    # RQ writes UTC without saying so in some versions, and nobody else leaves the zone out.
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _php_date(words: str) -> float | None:
    """Reads `Mon Nov 23 09:14:00 CET 2026`, as php-resque writes it."""
    parts = words.split()
    if len(parts) != 6:
        return None
    try:
        zone = _zone(parts.pop(4))
        at = datetime.strptime(" ".join(parts), "%a %b %d %H:%M:%S %Y").replace(tzinfo=zone)
    except (ValueError, OverflowError):
        return None
    return at.timestamp() if zone else None


def _zone(name: str) -> timezone | None:
    if name in ("UTC", "GMT", "Z"):
        return UTC
    if parts := _OFFSET.fullmatch(name):
        minutes = int(parts[2]) * 60 + int(parts[3] or 0)
        return timezone(timedelta(minutes=minutes if parts[1] == "+" else -minutes))
    # Abbreviations are ambiguous: only those of this machine's own zone are taken.
    if name in time.tzname:
        summer = time.tzname.index(name) == 1
        return timezone(timedelta(seconds=-(time.altzone if summer else time.timezone)))
    return None


def digest(value: bytes | str) -> str:
    """Returns a short hash, to tell two jobs apart without showing what is in them."""
    raw = value.encode() if isinstance(value, str) else value
    return hashlib.sha256(raw).hexdigest()[:12]
