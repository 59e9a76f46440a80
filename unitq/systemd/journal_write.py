"""What unitq itself writes into the journal: about a unit, so that it stands among its lines."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from unitq.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

# systemd's native protocol: a datagram of fields, a line each (JOURNAL_NATIVE_PROTOCOL).
_SOCKET = "/run/systemd/journal/socket"
_WARNING = 4  # syslog(3)


def note(unit: str, lines: Iterable[str], *, user: bool) -> None:
    """Writes each of these lines as a warning about the unit.

    `journalctl --unit` shows what root writes with OBJECT_SYSTEMD_UNIT=, and `--user-unit` what the
    unit's owner does with the user's (systemd.journal-fields(7)).
    """
    about = "OBJECT_SYSTEMD_USER_UNIT" if user else "OBJECT_SYSTEMD_UNIT"
    # A journal that takes nothing is no failure of what is told of: the report has it all.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.connect(_SOCKET)
        for line in lines:
            fields = {
                "MESSAGE": one_line(line),  # a line feed would begin another field
                "PRIORITY": _WARNING,
                "SYSLOG_IDENTIFIER": "unitq",
                "SYSLOG_PID": os.getpid(),
                about: unit,
            }
            journal.send("".join(f"{name}={value}\n" for name, value in fields.items()).encode())
