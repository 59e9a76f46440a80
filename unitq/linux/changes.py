"""Whether this command has begun to change anything: what a Ctrl-C may truly say.

Noted by whatever writes a file, gives systemd an order, sends a signal, runs a hook or writes to
Redis, just before it does. To note too much is no lie: the words are "may".
"""

from __future__ import annotations

_begun = False


def note() -> None:
    """From now on something may be changed."""
    global _begun  # noqa: PLW0603  (one command in one process)
    _begun = True


def begun() -> bool:
    """Returns whether anything may have been changed."""
    return _begun


def forget() -> None:
    """Another command begins in this process, as in tests."""
    global _begun  # noqa: PLW0603
    _begun = False
