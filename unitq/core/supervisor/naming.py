"""Names for the app and its workers, and where the code is."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LONGEST = 40  # with the app's name it becomes part of a unit's name

# Names of files and folders that say nothing about the app.
_GENERIC = frozenset((
    "supervisord", "supervisor", "supervisor.d", "conf", "conf.d", "config", "etc", "current",
    "release", "releases", "app", "apps", "www", "html", "public", "bin", "src", "code", "tmp",
    "var", "opt", "srv", "home", "root", "usr", "local", "sbin", "lib", "procfile", "worker",
    "workers", "program", "programs", "docker", "deploy",
))  # fmt: skip
_SCRIPT = re.compile(r"(?:php|python|pypy|ruby|node|nodejs|bun|perl)[0-9.]*")
_INNER = frozenset({"bin", "script", "scripts", "sbin"})


def identifier(text: str) -> str:
    """A name that unitq takes, as close to the text as can be; empty where nothing is left."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:LONGEST].rstrip("-_")


def unique(name: str, taken: Iterable[str]) -> str:
    """The name, with a number behind it where it is taken."""
    known = set(taken)
    number = 2
    found = name
    while found in known:
        found = f"{name}-{number}"
        number += 1
    return found


def app(source: str, directories: Sequence[str], groups: Sequence[str]) -> str:
    """What to call the app: the only group's name, the code's folder, or the file's name."""
    candidates = [groups[0]] if len(groups) == 1 else []
    common = posixpath.commonpath(directories) if directories else "/"
    candidates += reversed(common.split("/"))
    candidates.append(re.sub(r"\.[a-z]+$", "", posixpath.basename(source)))
    for candidate in candidates:
        name = identifier(candidate)
        if name and name.lower() not in _GENERIC and not re.fullmatch("[0-9]+", name):
            return name
    return "workers"


def code_of(arguments: Sequence[str]) -> str | None:
    """The folder of the code that a command line runs, where it names a script by its whole path.

    `php /srv/shop/artisan` is in /srv/shop, `/srv/shop/bin/worker` nowhere that is certain.
    """
    if not _SCRIPT.fullmatch(posixpath.basename(arguments[0])):
        return None
    script = next((word for word in arguments[1:] if not word.startswith("-")), "")
    if not script.startswith("/") or ".." in script.split("/"):
        return None
    folder = posixpath.dirname(posixpath.normpath(script))
    if posixpath.basename(folder) in _INNER:
        folder = posixpath.dirname(folder)
    return None if folder in ("/", "/usr", "/usr/local") else folder
