"""Names for the app and its workers, and where the code is."""

from __future__ import annotations

import itertools
import posixpath
import re
from typing import TYPE_CHECKING

from unitq.cmdline.invocation import program
from unitq.config.types import SUPERVISOR_NAME
from unitq.supervisor.ctl.names import default_name, numbered_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from unitq.supervisor.importer.draft import Draft
    from unitq.supervisor.importer.report import Part

LONGEST = 40  # with the app's name it becomes part of a unit's name

# Names of files and folders that say nothing about the app.
_GENERIC = frozenset((
    "supervisord", "supervisor", "supervisor.d", "conf", "conf.d", "config", "etc", "current",
    "release", "releases", "app", "apps", "www", "html", "public", "bin", "src", "code", "tmp",
    "var", "opt", "srv", "home", "root", "usr", "local", "sbin", "lib", "procfile", "worker",
    "workers", "program", "programs", "docker", "deploy",
))  # fmt: skip
# Where an app keeps what it has installed: what lies in there is not where the app is.
_DEPENDENCIES = re.compile(r"/(?:vendor|node_modules|venv|\.venv|env|virtualenv)/")
_INNER = frozenset({"bin", "script", "scripts", "sbin"})


def identifier(text: str) -> str:
    """Returns a name that unitq takes, as close to the text as can be; maybe empty."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:LONGEST].rstrip("-_")


def unique(name: str, taken: Iterable[str]) -> str:
    """Returns the name, with a number behind it where it is taken."""
    known = set(taken)
    candidates = (f"{name}-{number}" for number in itertools.count(2))
    return name if name not in known else next(new for new in candidates if new not in known)


def supervisor_name(worker: str, processes: Sequence[str]) -> str | None:
    """Returns what tells `unitq ctl` the names that these processes had; "": nothing has to.

    None where it cannot know them.
    """
    numbers = range(1, len(processes) + 1)
    if [default_name(worker, len(processes), number) for number in numbers] == list(processes):
        return ""
    first = processes[0]
    if not re.fullmatch(SUPERVISOR_NAME, first):
        return None
    return (
        first if [numbered_name(first, number) for number in numbers] == list(processes) else None
    )


def for_ctl(part: Part, drafts: Sequence[Draft], processes: Sequence[str]) -> None:
    """Keeps the names that scripts say to supervisorctl."""
    of_each = [processes] if len(drafts) == 1 else [[name] for name in processes]
    for draft, names in zip(drafts, of_each, strict=True):
        name = supervisor_name(draft.name, names)
        if name is None:
            part.note(f"`unitq ctl` does not know the name {names[0]}")
        elif name:
            draft.keys["supervisor_name"] = name


def app(source: str, directories: Sequence[str], groups: Sequence[str]) -> str:
    """Returns what to call the app: the only group's, the code's folder's, or the file's name."""
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
    """Returns the folder of a command line's code, where it names a script by its whole path.

    `php /srv/shop/artisan` is in /srv/shop, `/srv/shop/bin/worker` nowhere that is certain.
    """
    invocation = program(arguments)
    if invocation is None:
        return None
    by_script = invocation.interpreter and not invocation.module
    if by_script and (folder := _folder(invocation.program)):
        return folder
    # `venv/bin/rq`, `venv/bin/python -m rq`: the program is the app's, though no script is.
    first = next((word for word in arguments if word.startswith("/")), "")
    own = _DEPENDENCIES.search(first)
    return first[: own.start()] if own and first.count("/", 0, own.start()) > 1 else None


def _folder(script: str) -> str:
    if not script.startswith("/") or ".." in script.split("/"):
        return ""
    script = posixpath.normpath(script)
    if own := _DEPENDENCIES.search(script):
        script = script[: own.start()] + "/script"
    folder = posixpath.dirname(script)
    if posixpath.basename(folder) in _INNER:
        folder = posixpath.dirname(folder)
    return "" if folder in ("/", "/usr", "/usr/local") else folder
