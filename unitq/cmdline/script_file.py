"""The file that an interpreter is told to run, where a command line tells it for certain.

Pure. It serves an error: every option that is not known here, and all that only a shell, systemd or
the interpreter itself could tell, makes it say nothing.
"""

from __future__ import annotations

import posixpath
import re
from typing import NamedTuple

from unitq.cmdline.exec_line import prefixes, words
from unitq.cmdline.without_shell import plain
from unitq.cmdline.wrappers import SHELLS, Kind, unwrap
from unitq.presets.detect import interpreter

# Options without a value of their own in the next word, by interpreter. What stands for "runs no
# file", "looks for it on the search path" or "goes elsewhere first" is left out on purpose.
_FLAGS = {
    "php": re.compile(r"-[qnCHe]|-[dcz].+"),
    "python": re.compile(r"-[bBdEiIOPqsSuvx]+|-[WX].+"),
    "ruby": re.compile(
        r"-[wvdU]|-W.*|-[IrEK].+|--(yjit|jit|enable|disable|external-encoding"
        r"|internal-encoding|encoding)(=.*)?|--(disable|enable)-\w+"
    ),
    "node": re.compile(
        r"--(?!eval|print|check|test|run|watch)[\w-]+=.*"
        r"|--(expose[-_]gc|inspect|inspect-brk|enable-source-maps|no-warnings|trace-warnings"
        r"|no-deprecation|trace-deprecation|throw-deprecation|trace-uncaught|use-openssl-ca)"
    ),
    "perl": re.compile(r"-[wWXtTU]|-[ImM].+"),
    "sh": re.compile(r"-[euxfahv]+"),
}
_VALUED = {
    "php": ("-d", "-c", "-z"),
    "python": ("-W", "-X"),
    "ruby": ("-I", "-r", "-E"),
    "node": ("-r", "--require", "--import", "--loader", "--env-file", "-C", "--conditions"),
    "perl": ("-I",),
    "sh": ("-o",),
}
# What node puts behind a name, and what its loaders have such a name stand for (TypeScript).
_NODE = (".js", ".json", ".node", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts", ".jsx")
# Files that are made when the service starts, or that each service may have of its own.
_OF_ITS_OWN = ("/tmp/", "/var/tmp/", "/run/", "/dev/", "/proc/")  # noqa: S108


class ScriptFile(NamedTuple):
    """What an interpreter opens: one of these paths, relative to the working directory."""

    interpreter: str  # the program, as written
    paths: tuple[str, ...]  # the first one as written


def script_file(command: str) -> ScriptFile | None:
    """The file; None where there is none, or where it cannot be told."""
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
    return _of_words(list(below.arguments), "" if folder == "." else folder)


def _of_words(words: list[str], folder: str) -> ScriptFile | None:
    around = unwrap(words)
    # What stays may look elsewhere, or be told where to.
    if any(use.kind is not Kind.REPLACES or use.moves for use in around.uses):
        return None
    rest = list(around.words)
    if not rest:
        return None
    program = rest.pop(0)
    base = posixpath.basename(program)
    kind = "sh" if base in SHELLS else interpreter(program)
    if kind not in _FLAGS or base.startswith("bun"):
        return None
    skipped = [program]
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        skipped.append(option)
        if option in _VALUED[kind] and rest:
            skipped.append(rest.pop(0))
        elif kind == "php" and option == "-f":
            break
        elif not _FLAGS[kind].fullmatch(option):
            return None
    if not rest or any("$" in word for word in skipped):
        return None
    path = rest[0]
    # A shell looks for a bare name on the search path, too; node has commands of its own.
    bare_name = "/" not in path and (kind == "sh" or (kind == "node" and "." not in path))
    if not path or bare_name or "$" in path or "%" in path or path.startswith(("-", "~")):
        return None
    path = posixpath.join(folder, path)
    return None if path.startswith(_OF_ITS_OWN) else ScriptFile(program, _paths(kind, path))


def _paths(kind: str, path: str) -> tuple[str, ...]:
    if kind != "node":
        return (path,)
    stem, _ = posixpath.splitext(path)
    return tuple(
        dict.fromkeys([path, *(f"{begin}{end}" for begin in (path, stem) for end in _NODE)])
    )
