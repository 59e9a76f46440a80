"""Looks at apps again when systemd says that something has happened, and every two seconds."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from unitq.revisions import state
from unitq.status.app_status import StatusList, status
from unitq.systemd.errors import BusLostError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from unitq.context import Scope

_SECONDS = 2.0  # times and memory change without a signal


def watch(
    scope: Scope, apps: Sequence[str], targets: Sequence[str], *, queues: bool, jobs: bool
) -> Iterator[StatusList]:
    """Yields each look, for as long as it is asked. Raises NoMatchError, SystemdError."""
    gc.enable()  # __main__.py switched it off
    systemd = scope.systemd()
    while True:
        try:
            revisions = [state.require_current(scope.layout, app) for app in apps]
            looks = StatusList(
                tuple(
                    status(scope, systemd, revision, targets, queues=queues, jobs=jobs)
                    for revision in revisions
                ),
                scope.user,
            )
            yield looks
            systemd.subscribe(row.instance.unit for app in looks.apps for row in app.instances)
            systemd.events(_SECONDS)
        except BusLostError:
            systemd.reconnect()
