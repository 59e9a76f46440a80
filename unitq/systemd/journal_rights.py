"""Whether this account may read the system's journal."""

from __future__ import annotations

import os
from pathlib import Path

# systemd-journald.service(8), FILES.
_FOLDERS = (Path("/var/log/journal"), Path("/run/log/journal"))


def hidden(folders: tuple[Path, ...] = _FOLDERS) -> bool:
    """Whether there is a journal of the system, and none of its files may be read."""
    exists = False
    for folder in folders:
        try:
            machines = list(folder.iterdir())
        except FileNotFoundError:
            continue
        except PermissionError:
            exists = True
            continue
        for machine in machines:
            journal = machine / "system.journal"
            if os.access(journal, os.R_OK):
                return False
            exists = exists or not os.access(machine, os.X_OK) or os.path.exists(journal)
    return exists
