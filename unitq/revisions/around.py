"""The paths that a worker uses besides its directory, which the pin does not hold. Pure."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline.exec_line import words

if TYPE_CHECKING:
    from collections.abc import Mapping


class Used(NamedTuple):
    """A path that is followed at each start."""

    path: str  # absolute; links are not followed
    written: str  # as it stands there
    script: str = ""  # whose first line it stands in; empty: the command itself


def command_paths(command: str, release: str, heads: Mapping[str, str]) -> list[Used]:
    """Returns the paths in a command, and in the first lines of the scripts that it runs.

    `release` is the directory that it is started in, `heads` the beginnings of scripts by their
    paths as written.
    """
    paths = [
        Used(os.path.normpath(os.path.join(release, path)), path)
        for word in _words(command)
        if (path := _path(word))
    ]
    for script, head in heads.items():
        first, _, _ = head.partition("\n")
        if first.startswith("#!"):
            paths += [
                Used(os.path.normpath(word), word, script)
                for word in first[2:].split()
                if word.startswith("/")
            ]
    return list(dict.fromkeys(paths))


def value_paths(value: str, release: str) -> list[Used]:
    """Returns the paths in the value of a variable or of a directive: one, or a list of them.

    Lists have ":" between them, as PATH has, or blanks, commas, semicolons.
    """
    paths = (
        Used(os.path.normpath(os.path.join(release, path)), path)
        for piece in re.split(r"[:;,'\"\s]+", value)
        if (path := _path(piece))
    )
    return list(dict.fromkeys(paths))


def _words(command: str, depth: int = 2) -> list[str]:
    """The words, also those of a script that a shell gets as one."""
    try:
        top = words(command)
    except ValueError:
        return []
    inner = [
        inner_word
        for word in top
        if depth and " " in word
        for inner_word in _words(word, depth - 1)
    ]
    return top + inner


def _path(word: str) -> str:
    """`/srv/x` of `--config=/srv/x`, `-I/srv/x` and `+/srv/x`; empty for what is no path."""
    _, sign, value = word.partition("=")
    path = value if sign and not word.startswith("/") else word
    path = re.sub(r"^[-+!@|]+[A-Za-z]?(?=/)", "", path)
    if "/" not in path or "://" in path or any(c in path for c in "\0$%*? \n"):
        return ""
    return path.rstrip(";&|)").lstrip("(<>")
