"""Shell loops without an end: `while true; do …; sleep 60; done`."""

from __future__ import annotations

import re
from typing import NamedTuple

from unitq.core.supervisor import shell

_LOOP = re.compile(
    r"(?:while\s+(?:true|:|/bin/true|\[+\s*1\s*\]+|(?P<first>sleep\s+\S+?))|until\s+false"
    r"|for\s*\(\(\s*;\s*;\s*\)\))\s*[;\n]\s*do\b(?P<body>.*?)[;\n]\s*done\b",
    re.DOTALL,
)
_SLEEP = re.compile(r"(?<![\w./-])sleep\s+(?P<time>[0-9]+(?:\.[0-9]+)?)(?P<unit>[smhd]?)(?![\w.])")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_BESIDES = frozenset({"sleep", "echo", "date", "true", ":"})


class Loop(NamedTuple):
    """What is run again and again, and the seconds in between."""

    body: str  # a script, without the sleep where it is one command beside it
    words: tuple[str, ...]  # of the only command; empty: it is more than that
    interval: float  # seconds; 0: none


def loop(script: str, *, whole: bool = True) -> Loop | None:
    """Returns the endless loop that a script is; None: it is none.

    Not `whole`: that it has, as one in a file does after its preparations.
    """
    found = _LOOP.fullmatch(script.strip().rstrip("; ")) if whole else _LOOP.search(script)
    if found is None:
        return None
    body = found["body"].strip()
    sleeps = _SLEEP.finditer(f"{found['first'] or ''};{body}")
    times = [float(each["time"]) * _SECONDS[each["unit"]] for each in sleeps]
    interval = sum(times)
    commands = shell.commands(body)
    work = [one for one in commands or [] if one.words[0].text not in _BESIDES]
    if len(work) != 1 or not work[0].literal or work[0].assignments():
        return Loop(body, (), interval)
    words = tuple(word.text for word in work[0].words)
    # `exec` in a loop: it is none, as the shell is gone after the first time.
    return None if words[0] == "exec" else Loop(body, words, interval)
