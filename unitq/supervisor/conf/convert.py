"""Values of options, as Supervisor's own converters take them; a ValueError says what is wrong."""

from __future__ import annotations

import signal

from unitq.model import signals

TRUE = ("yes", "true", "on", "1")
FALSE = ("no", "false", "off", "0")

_SIZES = {"kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}


def _refusal(expected: str, text: str) -> ValueError:
    return ValueError(f'expected {expected}, got "{text[:40]}"')


def boolean(text: str) -> bool:
    """yes, true, on, 1, or no, false, off, 0; capitals do not matter."""
    if text.lower() in (*TRUE, *FALSE):
        return text.lower() in TRUE
    raise _refusal("true or false", text)


def integer(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise _refusal("a whole number", text) from None


def exit_codes(text: str) -> tuple[int, ...]:
    """`0,2`."""
    try:
        codes = tuple(int(word) for word in text.split(",")) if text else ()
    except ValueError:
        codes = (-1,)
    if any(not 0 <= code <= 255 for code in codes):
        raise _refusal("exit codes such as 0,2", text)
    return codes


def size(text: str) -> int:
    """Bytes; `50MB`."""
    lower = text.lower()
    factor = _SIZES.get(lower[-2:])
    try:
        return int(lower[:-2]) * factor if factor else int(lower)
    except ValueError:
        raise _refusal("a size such as 50MB", text) from None


def octal(text: str) -> int:
    """`022`."""
    try:
        return int(text, 8)
    except ValueError:
        raise _refusal("an octal number such as 022", text) from None


def signal_name(text: str) -> str:
    """`SIGTERM`, of TERM, SIGTERM, term or 15."""
    short = text.strip()
    try:
        # Supervisor knows no SIGRTMIN+3, neither by name nor by number.
        number = signals.number(short) if short.isalnum() and not short.isdigit() else int(short)
        return signal.Signals(number).name
    except ValueError:
        raise _refusal("a signal such as TERM", text) from None


def autorestart(text: str) -> str:
    """`always`, `never` or `unexpected`."""
    lower = text.lower()
    if lower in (*TRUE, *FALSE):
        return "always" if lower in TRUE else "never"
    if lower == "unexpected":
        return lower
    raise _refusal("true, false or unexpected", text)


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
