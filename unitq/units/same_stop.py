"""Whether two texts of a unit stop a process in the same way, and how long each lets it take.

A process that was started by one text may be stopped by another only if they do: systemd goes by
the text that it has read last (systemd.unit(5), daemon-reload). One change cannot harm it: a longer
time limit. So an old process gets that at once, and a shorter one holds for the new process.
"""

from __future__ import annotations

import math
import re

from unitq.model import duration

# What counts when a process is started and no more after that (systemd.exec(5),
# systemd.service(5), systemd.unit(5)). All else is taken to matter: a directive that is missing
# here costs a moment, one too many could cost a job.
_AT_START = re.compile(
    r"""Description|Documentation|After|Before|StartLimit\w+
    |ExecStart|ExecStartPre|ExecStartPost|ExecCondition|TimeoutStartSec|RestartSec
    |Environment|EnvironmentFile|PassEnvironment|UnsetEnvironment
    |WorkingDirectory|RootDirectory|User|Group|SupplementaryGroups|UMask|Nice|CPUScheduling\w+
    |IOScheduling\w+|Limit\w+|Standard(Input|Output|Error)|SyslogIdentifier|LogRateLimit\w+
    |Protect\w+|Private\w+|Restrict\w+|ReadOnlyPaths|ReadWritePaths|InaccessiblePaths
    |NoNewPrivileges|CapabilityBoundingSet|AmbientCapabilities|SystemCall\w+|LockPersonality
    |MemoryDenyWriteExecute|(Runtime|State|Cache|Logs|Configuration)Directory
    """,
    re.VERBOSE,
)


def alike(before: str, after: str) -> bool:
    """Whether nothing differs but what counts at a start, or comments."""
    return all(_harmless(line) for _, line in _lines(before) ^ _lines(after))


def _lines(text: str) -> set[tuple[str, str]]:
    """The lines, each with the section that it is in."""
    lines, section = set(), ""
    for line in text.splitlines():
        word = line.strip()
        section = word if word.startswith("[") else section
        if word:
            lines.add((section, word))
    return lines


def _harmless(line: str) -> bool:
    if line[0] in "#;":
        return True
    name, sign, value = line.partition("=")
    # A line that goes on in the next one may say anything there.
    return sign == "=" and not value.endswith("\\") and bool(_AT_START.fullmatch(name.strip()))


# TimeoutSec= sets the limit of the start as well, so only this one is read and changed.
_LIMIT = re.compile(r"(?m)^TimeoutStopSec[ \t]*=[ \t]*(?P<value>.*?)[ \t]*$")
_BOTH = re.compile(r"(?m)^TimeoutSec[ \t]*=")


def stop_timeout(text: str) -> float | None:
    """Returns the seconds that a unit text gives a process to stop; inf: as many as it takes.

    None where it does not say so in a line of its own that can be read.
    """
    line = _limit(text)
    if line is None:
        return None
    try:
        seconds = duration.parse(line["value"]).seconds
    except ValueError:
        return None
    return seconds or math.inf  # 0 switches it off, too (config_parse_service_timeout)


def with_longer_limit(old: str, new: str) -> str:
    """Returns the old text, with the limit of the new one where that lets a process take longer."""
    before, after = _limit(old), _limit(new)
    had, gets = stop_timeout(old), stop_timeout(new)
    if before is None or after is None or had is None or gets is None or gets <= had:
        return old
    return old[: before.start("value")] + after["value"] + old[before.end("value") :]


def _limit(text: str) -> re.Match[str] | None:
    """The last line of that kind, which wins (systemd.syntax(7)); None: there is none to go by."""
    if _BOTH.search(text):
        return None
    limits = list(_LIMIT.finditer(text))
    if not limits or limits[-1]["value"].endswith("\\"):
        return None
    # It may be the rest of the line before.
    before = text[: limits[-1].start()].removesuffix("\n")
    return None if before.endswith("\\") else limits[-1]
