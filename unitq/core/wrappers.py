"""What stands between systemd and a worker: a shell, or a launcher such as npm."""

from __future__ import annotations

import re
import shlex

from unitq.core.commandline import executable

SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "ksh93", "mksh"})

# npm stays the worker's parent, dies of SIGTERM and leaves it behind (measured); its likes are
# taken for the same.
LAUNCHERS = frozenset({"npm", "npx", "pnpm", "yarn"})

# `exec` where a command begins. `exec 2>&1` only redirects.
_HANDS_OVER = re.compile(r"(?:^|;|&&|\n|\b(?:then|else|do)\b)[ \t]*exec\s+(?![0-9]*[<>])")
# A single "&" that ends a command: not "&&", and not that of a redirection such as "2>&1".
_BACKGROUND = re.compile(r"(?<![&>])&(?![&>0-9])")


def shell_wrapped(command: str) -> str:
    """The script that a shell is given with -c; empty where the command is no such shell."""
    if executable(command).rpartition("/")[2] not in SHELLS:
        return ""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    rest = iter(words[1:])
    for word in rest:
        if not word.startswith("-"):
            break
        if word.startswith("--"):
            continue
        if "c" in word:
            return next(rest, "")
        if word.endswith("o"):
            next(rest, "")  # bash -euo pipefail -c …
    return ""


def launcher(command: str) -> str:
    """The launcher that stays above the worker, such as npm; empty where there is none."""
    name = executable(command).rpartition("/")[2]
    return name if name in LAUNCHERS else ""


def stands_between(command: str) -> str:
    """What gets the main process's signal in the worker's place: "a shell", "npm", or nothing."""
    script = shell_wrapped(command)
    if script:
        return "" if hands_over(script) else "a shell"
    return launcher(command)


def hands_over(script: str) -> bool:
    """Whether the shell becomes the worker by `exec`; `exec 2>&1` only redirects."""
    return bool(_HANDS_OVER.search(script))


def in_background(script: str) -> bool:
    """Whether the shell starts something with a single "&"."""
    return bool(_BACKGROUND.search(script))


def with_exec(script: str) -> str:
    """The script with `exec` before its last command; empty where it takes more to say so."""
    before, both, last = script.rpartition("&&")
    if re.search(r"[;|&()`\n]", before.replace("&&", "") + last) or re.match(r"\s*\w+=", last):
        return ""
    return f"{before}{both} exec {last.strip()}".strip()


def rewritten(command: str) -> str:
    """The whole command line with `exec` before the worker's; empty where that takes more."""
    script = shell_wrapped(command)
    better = with_exec(script) if script else ""
    # Only where the script stands there as it is, and not with quotes within quotes.
    if not better or command.count(script) != 1:
        return ""
    return command.replace(script, better)
