"""Shell loops without an end: `while true; do …; sleep 60; done`."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline.shell import simple
from unitq.model import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def watched(arguments: Sequence[str]) -> Loop | None:
    """Returns what `watch -n 60 COMMAND` runs (watch(1)); None: it is something else."""
    if posixpath.basename(arguments[0]) != "watch":
        return None
    interval, rest = "2", list(arguments[1:])
    while rest and rest[0].startswith("-"):
        option, _, value = rest.pop(0).partition("=")
        if option.startswith(("-n", "--interval")):
            interval = value or option.removeprefix("--interval").removeprefix("-n")
            interval = interval or (rest.pop(0) if rest else "")
    if not rest or not re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", interval):
        return None
    # watch hands its words to a shell, joined by blanks.
    words = tuple(rest) if len(rest) > 1 else ("/bin/sh", "-c", rest[0])
    return Loop(" ".join(rest), words, float(interval))


def loop(script: str, *, whole: bool = True) -> Loop | None:
    """Returns the endless loop that a script is; None: it is none.

    Not `whole`: that it has, as one in a file does after its preparations.
    """
    found = _LOOP.fullmatch(script.strip().rstrip("; ")) if whole else _LOOP.search(script)
    if found is None:
        return None
    body = found["body"].strip()
    sleeps = _SLEEP.finditer(f"{found['first'] or ''};{body}")
    # sleep(1) has systemd's units, of which none is a month.
    interval = sum(duration.parse(each["time"] + each["unit"]).seconds for each in sleeps)
    commands = [command for command, _ in simple(body)]
    work = [one for one in commands if one.written[0].text not in _BESIDES]
    if len(work) != 1 or not work[0].literal or work[0].assignments:
        return Loop(_AT_AN_END.sub("", body), (), interval)
    # `exec` in a loop: it is none, as the shell is gone after the first time.
    return None if work[0].written[0].text == "exec" else Loop(body, work[0].words, interval)
