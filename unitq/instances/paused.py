"""Which instances are paused: said by a note for each, which holds for one life of it only.

No framework shows in /proc that it takes no jobs. The note names the invocation that was told, so
that it means nothing any more once the process has been replaced, by whomever; it is in /run, and
goes with the processes when the machine does.
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
    """By instance the invocation that was paused. Whether it is still there, the caller knows."""
    folder = layout.paused_notes(app)
    found = {}
    with suppress(OSError):
        for name in os.listdir(folder):
            worker, _, number = name.rpartition("@")
            with suppress(OSError, ValueError):
                found[InstanceName(worker, int(number))] = os.readlink(folder / name)
    return found


def note(layout: Layout, app: str, instance: InstanceName, invocation: str) -> None:
    """Notes that this life of the instance is paused. Raises NotPermittedError."""
    folder = Path(layout.paused_notes(app))
    try:
        files.folder(folder)
        files.link(folder / str(instance), invocation, synced=False)
    except PermissionError as error:
        raise NotPermittedError(f"{folder}: {error.strerror}") from error


def forget(layout: Layout, app: str, instances: Iterable[InstanceName] | None = None) -> None:
    """Takes these notes away; without instances all of them."""
    folder = Path(layout.paused_notes(app))
    every = notes(layout, app) if instances is None else instances
    for instance in every:
        (folder / str(instance)).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()  # not while another note is there
