"""Whether two texts of a unit stop a process in the same way.

A process that was started by one text may be stopped by another only if they do: systemd goes by
the text that it has read last (systemd.unit(5), daemon-reload).
"""

from __future__ import annotations

import re

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
    found, section = set(), ""
    for line in text.splitlines():
        word = line.strip()
        section = word if word.startswith("[") else section
        if word:
            found.add((section, word))
    return found


def _harmless(line: str) -> bool:
    if line[0] in "#;":
        return True
    name, sign, value = line.partition("=")
    # A line that goes on in the next one may say anything there.
    return sign == "=" and not value.endswith("\\") and bool(_AT_START.fullmatch(name.strip()))
