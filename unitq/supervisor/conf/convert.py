"""Values of options, as Supervisor's own converters take them.

A ValueError says what was expected.
"""

from __future__ import annotations

import signal

from unitq.model import signals

TRUE = ("yes", "true", "on", "1")
FALSE = ("no", "false", "off", "0")

_SIZES = {"kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}


def boolean(text: str) -> bool:
    """yes, true, on, 1, or no, false, off, 0; capitals do not matter."""
    if text.lower() in TRUE:
        return True
    if text.lower() in FALSE:
        return False
    raise ValueError(f'expected true or false, got "{text}"')


def integer(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f'expected a whole number, got "{text[:40]}"') from None


def exit_codes(text: str) -> tuple[int, ...]:
    """`0,2`."""
    try:
        codes = tuple(int(word) for word in text.split(",")) if text else ()
    except ValueError:
        codes = (-1,)
    if any(not 0 <= code <= 255 for code in codes):
        raise ValueError(f'expected exit codes such as 0,2, got "{text[:40]}"')
    return codes


def size(text: str) -> int:
    """Bytes; `50MB`."""
    lower = text.lower()
    factor = _SIZES.get(lower[-2:])
    try:
        return int(lower[:-2]) * factor if factor else int(lower)
    except ValueError:
        raise ValueError(f'expected a size such as 50MB, got "{text[:40]}"') from None


def octal(text: str) -> int:
    """`022`."""
    try:
        return int(text, 8)
    except ValueError:
        raise ValueError(f'expected an octal number such as 022, got "{text[:40]}"') from None


def signal_name(text: str) -> str:
    """`SIGTERM`, of TERM, SIGTERM, term or 15."""
    short = text.strip()
    try:
        # Supervisor knows no SIGRTMIN+3, neither by name nor by number.
        number = signals.number(short) if short.isalnum() and not short.isdigit() else int(short)
        return signal.Signals(number).name
    except ValueError:
        raise ValueError(f'expected a signal such as TERM, got "{text[:40]}"') from None


def autorestart(text: str) -> str:
    """`always`, `never` or `unexpected`."""
    lower = text.lower()
    if lower in TRUE:
        return "always"
    if lower in FALSE:
        return "never"
    if lower == "unexpected":
        return lower
    raise ValueError(f'expected true, false or unexpected, got "{text[:40]}"')


def name(text: str) -> str:
    """The name of a process or a group."""
    short = text.strip()
    for character in " :/":
        if character in short:
            raise ValueError(f'a name with "{character}" in it, which Supervisor refuses: {short}')
    return short


def words(text: str) -> tuple[str, ...]:
    """`a, b`."""
    return tuple(word.strip() for word in text.split(",")) if text else ()
