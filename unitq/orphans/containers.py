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
    """Returns the host name that its manager gives a container by default; empty: it is in none.

    Of a container in a container, the innermost.
    """
    ids = _ID.findall(cgroup)
    return ids[-1][:_NAME] if ids else ""


def translate(
    registrations: Iterable[Registration], processes: Iterable[Process], host: str
) -> tuple[Registration, ...]:
    """Returns each, in their order; one from a container of ours with our host name and PID."""
    inside: dict[tuple[str, int], list[int]] = {}
    for process in processes:
        if process.inner and (host_name := name(process.cgroup)):
            inside.setdefault((host_name, process.inner), []).append(process.pid)
    translated = []
    for registration in registrations:
        pids = inside.get((registration.host or "", registration.pid or 0), ())
        # With several, such as those of a namespace in the container, it is not known which.
        if len(pids) == 1:
            registration = registration._replace(host=host, pid=pids[0])  # noqa: PLW2901
        translated.append(registration)
    return tuple(translated)
