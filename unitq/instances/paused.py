"""Notes of which instances are paused. A note holds for one life of the instance.

No framework shows in /proc that it takes no jobs. The note names the invocation that was paused, so
it means nothing once the process has been replaced; it is in /run, which a reboot empties.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from unitq.errors import NotPermittedError
from unitq.linux import files
from unitq.model.names import InstanceName

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unitq.model.layout import Layout


def notes(layout: Layout, app: str) -> dict[InstanceName, str]:
    """Returns the invocation that was paused, by instance. It may have ended since."""
    folder = layout.paused_notes(app)
    by_instance = {}
    with suppress(OSError):
        for name in os.listdir(folder):
            worker, _, number = name.rpartition("@")
            with suppress(OSError, ValueError):
                by_instance[InstanceName(worker, int(number))] = os.readlink(folder / name)
    return by_instance


def note(layout: Layout, app: str, instance: InstanceName, invocation: str) -> None:
    """Notes that this life of the instance is paused. Raises NotPermittedError."""
    folder = Path(layout.paused_notes(app))
    try:
        files.folder(folder)
        files.link(folder / str(instance), invocation, synced=False)
    except PermissionError as error:
        raise NotPermittedError(f"{folder}: {error.strerror}") from error


def forget(layout: Layout, app: str, instances: Iterable[InstanceName] | None = None) -> None:
    """Removes these notes; without instances all of them."""
    folder = Path(layout.paused_notes(app))
    for instance in notes(layout, app) if instances is None else instances:
        (folder / str(instance)).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()  # not while another note is there
