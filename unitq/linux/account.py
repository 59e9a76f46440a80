"""Accounts, and commands that are run with their rights."""

from __future__ import annotations

import os
from typing import NamedTuple

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Account(NamedTuple):
    """An account of this machine, with the groups that it is in."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    shell: str

    @property
    def environment(self) -> dict[str, str]:
        """Returns what a program of this account finds, and nothing of the caller's."""
        return {
            "PATH": _PATH,
            "HOME": self.home,
            "USER": self.name,
            "LOGNAME": self.name,
            "SHELL": self.shell or "/bin/sh",
        }


def account(name: str) -> Account:
    """Returns the account of that name or number. Raises LookupError where there is none."""
    import pwd

    entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return Account(
        entry.pw_name, entry.pw_uid, entry.pw_gid, tuple(groups), entry.pw_dir, entry.pw_shell
    )


def name_of(uid: int) -> str:
    """Returns an account's name; its number where it has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user ID {uid}"
