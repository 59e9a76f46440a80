"""Which instances are paused: said by a note for each, which holds for one life of it only.

No framework shows in /proc that it takes no jobs. The note names the invocation that was told, so
that it means nothing any more once the process has been replaced, by whomever; it is in /run, and
goes with the processes when the machine does.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from unitq.errors import NotPermittedError
from unitq.instances.signal_targets import Process
from unitq.linux import changes, files
from unitq.model.names import InstanceName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from unitq.model.layout import Layout


def notes(layout: Layout, app: str) -> dict[InstanceName, str]:
    """By instance the invocation that was paused. Whether it is still there, the caller knows."""
    folder = layout.paused(app)
    found = {}
    with suppress(OSError):
        for name in os.listdir(folder):
            worker, _, number = name.rpartition("@")
            with suppress(OSError, ValueError):
                found[InstanceName(worker, int(number))] = os.readlink(folder / name)
    return found


def note(layout: Layout, app: str, instance: InstanceName, invocation: str) -> None:
    """Notes that this life of the instance is paused. Raises NotPermittedError."""
    folder = Path(layout.paused(app))
    try:
        files.folder(folder)
        files.link(folder / str(instance), invocation, synced=False)
    except PermissionError as error:
        raise NotPermittedError(f"{folder}: {error.strerror}") from error


def forget(layout: Layout, app: str, instances: Iterable[InstanceName] | None = None) -> None:
    """Takes these notes away; without instances all of them."""
    folder = Path(layout.paused(app))
    every = notes(layout, app) if instances is None else instances
    for instance in every:
        (folder / str(instance)).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()  # not while another note is there


def catching(pids: Iterable[int], number: int) -> tuple[Process, ...]:
    """What the kernel tells of these processes and a signal (proc(5): SigCgt in status)."""
    found = []
    for pid in pids:
        with suppress(OSError, KeyError, ValueError):
            lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
            fields = dict(line.partition(":\t")[::2] for line in lines)
            caught = int(fields["SigCgt"], 16) >> (number - 1) & 1
            found.append(Process(pid, int(fields["PPid"]), bool(caught)))
    return tuple(found)


def send(pid: int, number: int, still: Callable[[], Iterable[int]]) -> bool:
    """Sends the signal if the PID is still one of them, asked while it cannot be used again.

    Returns False where it is gone. Raises NotPermittedError.
    """
    try:
        descriptor = os.pidfd_open(pid)
        try:
            if pid not in still():
                return False
            changes.note()
            signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)
    except ProcessLookupError:
        return False
    except PermissionError as error:
        raise NotPermittedError(f"PID {pid}: {error.strerror}", hint="run it as root") from error
    return True
