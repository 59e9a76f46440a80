"""Shell loops without an end: `while true; do …; sleep 60; done`."""

from __future__ import annotations

import re
from typing import NamedTuple

from unitq.cmdline.shell import simple
from unitq.model import duration

_LOOP = re.compile(
    r"(?:while\s+(?:true|:|/bin/true|\[+\s*1\s*\]+|(?P<first>sleep\s+\S+?))|until\s+false"
    r"|for\s*\(\(\s*;\s*;\s*\)\))\s*[;\n]\s*do\b(?P<body>.*?)[;\n]\s*done\b",
    re.DOTALL,
)
_SLEEP = re.compile(
    r"(?<![\w./-])sleep\s+(?P<time>[0-9]{1,7}(?:\.[0-9]+)?)(?P<unit>[smhd]?)(?![\w.])"
)
_AT_AN_END = re.compile(r"^sleep\s+\S+\s*[;\n]\s*|\s*[;\n]\s*sleep\s+\S+$")
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
    match = _LOOP.fullmatch(script.strip().rstrip("; ")) if whole else _LOOP.search(script)
    if match is None:
        return None
    body = match["body"].strip()
    sleeps = _SLEEP.finditer(f"{match['first'] or ''};{body}")
    # sleep(1) has systemd's units, of which none is a month.
    interval = sum(duration.parse(sleep["time"] + sleep["unit"]).seconds for sleep in sleeps)
    commands = [command for command, _ in simple(body)]
    work = [command for command in commands if command.written[0].text not in _BESIDES]
    if len(work) != 1 or not work[0].literal or work[0].assignments:
        return Loop(_AT_AN_END.sub("", body), (), interval)
    # `exec` in a loop: it is none, as the shell is gone after the first time.
    return None if work[0].written[0].text == "exec" else Loop(body, work[0].words, interval)
