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
    from unitq.rollout.engine.instance import Slot
    from unitq.rollout.engine.rollout import Rollout

WORDS = "out of memory: the kernel killed it"

_SIGKILL = "died of SIGKILL"

# "Out of memory: Killed process 4711 (php) …", "Memory cgroup out of memory: Killed process …"
# (mm/oom_kill.c, __oom_kill_process()).
_KILLED = re.compile(r"(?i:out of memory): Killed process (\d+) \(")


def killed_pids(log: Iterable[str]) -> frozenset[int]:
    """Returns the processes that the kernel's log says it killed."""
    return frozenset(int(found[1]) for line in log if (found := _KILLED.search(line)))


def suspects(rollout: Rollout) -> tuple[Slot, ...]:
    """Returns the slots that lost a process to SIGKILL, and nobody knows yet why."""
    return tuple(
        slot
        for slot in rollout.slots.values()
        if (slot.ending and slot.ending.detail == _SIGKILL) or _SIGKILL in slot.reason
    )


def told(rollout: Rollout, old: Collection[InstanceName], new: Collection[InstanceName]) -> Rollout:
    """Returns the rollout with the cause in words, where the kernel killed a process.

    `old` are the instances whose old process it killed, `new` those whose new one.
    """
    slots = dict(rollout.slots)
    for slot in suspects(rollout):
        name, ended = slot.instance, slot.ending
        if name in old and ended and ended.detail == _SIGKILL:
            slots[name] = replace(slots[name], ending=Ending(ended.end, WORDS))
        if name in new:
            slots[name] = replace(slots[name], reason=slot.reason.replace(_SIGKILL, WORDS))
    return replace(rollout, slots=slots)
