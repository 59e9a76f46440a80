"""Registrations that were made inside a container of this host: by its name and PIDs, not ours.

Docker and Podman call a container by the first twelve digits of its id, unless they are told
another name, and its cgroup has the whole id: that no other machine's container has the same name
and id is as good as certain. A name that somebody has chosen (`--hostname`, a pod's) may be
another machine's too, and the PIDs inside are small and alike: such a registration is left alone,
as a wrong guess would end in a signal to a stranger.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unitq.model.process import Process
    from unitq.queues.model import Registration

_ID = re.compile(r"/(?:docker|libpod)[-/](?P<id>[0-9a-f]{64})(?=[./]|$)")
_NAME = 12  # digits of the id


def name(cgroup: str) -> str:
    """The host name that its manager gives a container by default; empty: it is in none.

    Of a container in a container, the innermost.
    """
    found = _ID.findall(cgroup)
    return found[-1][:_NAME] if found else ""


def seen_from_here(
    registrations: Iterable[Registration], processes: Iterable[Process], host: str
) -> tuple[Registration, ...]:
    """Each of them, in their order; of a container of ours with our host name and PID."""
    inside: dict[tuple[str, int], list[int]] = {}
    for process in processes:
        if process.inner and (called := name(process.cgroup)):
            inside.setdefault((called, process.inner), []).append(process.pid)
    seen = []
    for one in registrations:
        pids = inside.get((one.host or "", one.pid or 0), ())
        # With several, such as those of a namespace in the container, nobody can tell.
        seen.append(one._replace(host=host, pid=pids[0]) if len(pids) == 1 else one)
    return tuple(seen)
