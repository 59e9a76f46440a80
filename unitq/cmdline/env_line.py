"""What env(1) starts, by the words behind it. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

# What execvp(3) searches where no PATH is set: confstr(3), _CS_PATH.
_WITHOUT = "/bin:/usr/bin"
_ASSIGNS = re.compile(r"[A-Za-z_]\w*=")
_SPLIT = re.compile(r"-v*S|--split-string=")
# Quotes, escapes, variables and comments of -S (coreutils, src/env.c: build_argv).
_SIGNS = re.compile(r"[\\\"'$#]")


class EnvProgram(NamedTuple):
    """A program, and the PATH that it is looked for on."""

    name: str  # one with a slash is not looked for
    path: str | None = None  # None: the PATH that env itself has


def env_program(words: Sequence[str]) -> EnvProgram | None:
    """Returns what env starts; None: nothing, or only env itself can tell."""
    rest = list(words)
    path: str | None = None
    options = True
    while rest:
        word = rest.pop(0)
        if options and (split := _SPLIT.match(word)):
            text = word[split.end() :] or (rest.pop(0) if rest else "")
            if _SIGNS.search(text):
                return None
            rest[:0] = text.split()
        elif options and word == "--":
            options = False
        elif options and word in ("-", "-i", "--ignore-environment"):
            path = _WITHOUT
        elif options and word in ("-u", "--unset"):
            path = _WITHOUT if rest[:1] == ["PATH"] else path
            rest = rest[1:]
        elif options and word.startswith(("-u", "--unset=")):
            unset = word.removeprefix("--unset=") if word.startswith("--") else word[2:]
            path = _WITHOUT if unset == "PATH" else path
        elif options and word in ("-v", "--debug"):
            continue
        elif options and word.startswith("-"):
            return None
        elif _ASSIGNS.match(word):
            options = False  # as getopt(3) with "+"
            path = word.removeprefix("PATH=") if word.startswith("PATH=") else path
        else:
            return EnvProgram(word, path)
    return None
