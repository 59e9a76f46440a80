"""The file that a command line has an interpreter run, where that is certain. Pure.

It serves an error. So an option that is not known, and all that only a shell, systemd or the
interpreter itself could tell, mean: no file.
"""

from __future__ import annotations

import posixpath
from typing import NamedTuple

from unitq.cmdline.exec_line import prefixes, words
from unitq.cmdline.invocation import INTERPRETERS, invocation
from unitq.cmdline.without_shell import plain
from unitq.cmdline.wrappers import unwrap

# What node puts behind a name, and what its loaders have such a name stand for (TypeScript).
_NODE = (".js", ".json", ".node", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts", ".jsx")
# Files that are made when the service starts, or that each service may have of its own.
_OF_ITS_OWN = ("/tmp/", "/var/tmp/", "/run/", "/dev/", "/proc/")  # noqa: S108


class ScriptFile(NamedTuple):
    """What an interpreter opens: one of these paths, relative to the working directory."""

    interpreter: str  # the program, as written
    paths: tuple[str, ...]  # the first one as written


def script_file(command: str) -> ScriptFile | None:
    """Returns the file; None where there is none, or where it is not certain."""
    # systemd's escapes are not the shell's, and with "@" the second word is a name.
    if "\\" in command or "@" in prefixes(command):
        return None
    try:
        arguments = tuple(words(command))
    except ValueError:
        return None
    if not arguments:
        return None
    below = plain(arguments, ".", ())
    folder = below.directory or "."
    # Where a link is on the way, `cd ..` leads elsewhere than a path does.
    if below.script or ".." in folder.split("/"):
        return None
    return _of_words(below.arguments, "" if folder == "." else folder)


def _of_words(words: tuple[str, ...], folder: str) -> ScriptFile | None:
    unwrapped = unwrap(words)
    # What stays may look elsewhere, or be told where to.
    if not unwrapped.replaced or any(use.moves for use in unwrapped.uses):
        return None
    runs = invocation(unwrapped.words)
    if runs is None or not runs.interpreter or runs.module or runs.inline:
        return None
    kind, known, path = runs.interpreter, INTERPRETERS[runs.interpreter], runs.program
    program = unwrapped.words[0]
    if posixpath.basename(program).startswith(("bun", "-")):
        return None
    for option, value in runs.options:
        if option in known.moves or "$" in option + value:
            return None
        php_file = kind == "php" and option == "-f"
        if not (value or php_file or known.flags.fullmatch(option)):
            return None
    # A shell looks for a bare name on the search path, too; node has commands of its own.
    bare_name = "/" not in path and (kind == "sh" or (kind == "node" and "." not in path))
    if not path or bare_name or "$" in program + path or "%" in path or path[0] in "-~":
        return None
    path = posixpath.join(folder, path)
    return None if path.startswith(_OF_ITS_OWN) else ScriptFile(program, _paths(kind, path))


def _paths(kind: str, path: str) -> tuple[str, ...]:
    if kind != "node":
        return (path,)
    stem, _ = posixpath.splitext(path)
    endings = (f"{begin}{end}" for begin in (path, stem) for end in _NODE)
    return tuple(dict.fromkeys([path, *endings]))
