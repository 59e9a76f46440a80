"""Which processes the kernel killed for want of memory. Pure; asked are the journal and cgroups.

With `OOMPolicy=continue` systemd's Result= is `signal`, as of any SIGKILL (systemd.service(5)).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from unitq.systemd.exit_status import Ending

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from unitq.model.names import InstanceName
    from unitq.rollout.engine.instance import InstanceState
    from unitq.rollout.engine.rollout import Rollout

WORDS = "out of memory: the kernel killed it"

_SIGKILL = "died of SIGKILL"

# "Out of memory: Killed process 4711 (php) …", "Memory cgroup out of memory: Killed process …"
# (mm/oom_kill.c, __oom_kill_process()).
_KILLED = re.compile(r"(?i:out of memory): Killed process (\d+) \(")


def killed_pids(log: Iterable[str]) -> frozenset[int]:
    """Returns the processes that the kernel's log says it killed."""
    return frozenset(int(match[1]) for line in log if (match := _KILLED.search(line)))


def suspects(rollout: Rollout) -> tuple[InstanceState, ...]:
    """Returns the instances that lost a process to SIGKILL for a reason that is not known yet."""
    return tuple(
        state
        for state in rollout.instances.values()
        if (state.ending and state.ending.detail == _SIGKILL) or _SIGKILL in state.reason
    )


def record_causes(
    rollout: Rollout, old: Collection[InstanceName], new: Collection[InstanceName]
) -> None:
    """Records where the kernel killed a process.

    `old` are the instances whose old process it killed, `new` those whose new one.
    """
    for state in suspects(rollout):
        name, ending, reason = state.instance, state.ending, state.reason
        if name in old and ending and ending.detail == _SIGKILL:
            ending = Ending(ending.end, WORDS)
        if name in new:
            reason = reason.replace(_SIGKILL, WORDS)
        rollout.update(replace(state, ending=ending, reason=reason))
