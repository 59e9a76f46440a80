"""Signals by their numbers and names, real-time ones included (signal(7))."""

from __future__ import annotations

import re
import signal

_REAL_TIME = re.compile(r"RT(?:MIN(?:\+(?P<above>[0-9]{1,2}))?|MAX(?:-(?P<below>[0-9]{1,2}))?)")


def number(text: str) -> int:
    """Returns a signal's number: of 15, TERM, SIGTERM, sigterm or SIGRTMIN+3.

    Raises ValueError where there is none.
    """
    if re.fullmatch("[0-9]{1,3}", text) and int(text) in signal.valid_signals():
        return int(text)
    short = text.upper().removeprefix("SIG")
    if match := _REAL_TIME.fullmatch(short):
        least, most = int(signal.SIGRTMIN), int(signal.SIGRTMAX)
        from_top = short.startswith("RTMAX")
        value = most - int(match["below"] or 0) if from_top else least + int(match["above"] or 0)
        if least <= value <= most:
            return value
    if f"SIG{short}" in signal.Signals.__members__:
        return int(signal.Signals[f"SIG{short}"])
    raise ValueError(f"no signal {text}")


def name(value: int) -> str:
    """Returns `SIGQUIT` for 3, `SIGRTMIN+3` for 37, and `signal 99` for what is none."""
    try:
        return signal.Signals(value).name
    except ValueError:
        above = value - int(signal.SIGRTMIN)
        return f"SIGRTMIN+{above}" if value in signal.valid_signals() else f"signal {value}"
