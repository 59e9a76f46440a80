"""A command that goes through a shell, without the shell where that is provably the same.

Under Supervisor the shell is often the process that gets the signal, and the worker below it is
what stays behind.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace

from unitq.cmdline.shell import QUICK
from unitq.cmdline.wrappers import LAUNCHERS, SHELLS
from unitq.supervisor.importer import shell
from unitq.supervisor.importer.shell import OWN_WORDS, Command

_AFTERWARDS = frozenset({"sleep", "echo", "printf", "true", "date", "logger", "rm", "touch", "mv"})
# bash and dash read a file that these name before anything else.
_STARTUP = frozenset({"BASH_ENV", "ENV"})


@dataclass(frozen=True, slots=True)
class Plain:
    """What is run, where, and with which variables besides."""

    arguments: tuple[str, ...]
    directory: str | None = None
    environment: tuple[tuple[str, str], ...] = ()
    unwrapped: bool = False  # there was a shell, and it is not needed
    script: str = ""  # what a shell that is still needed runs
    why: str = ""  # why it is
    with_exec: bool = False  # `exec` was put before its last command
    hands_over: bool = True  # the main process becomes the worker


def stands_between(arguments: tuple[str, ...]) -> str:
    """What is the main process in the worker's place: a shell with a script in a file, or npm."""
    name = posixpath.basename(arguments[0])
    if name in LAUNCHERS:
        return name
    script = name in SHELLS and len(arguments) > 1 and not arguments[1].startswith("-")
    return "a shell" if script or name.endswith(".sh") else ""


def plain(
    arguments: tuple[str, ...], directory: str | None, environment: tuple[tuple[str, str], ...]
) -> Plain:
    """The command without its shell, or as it is.

    `directory` and `environment` are what the program has already.
    """
    wrapped = script_at(arguments)
    if wrapped is None:
        return Plain(arguments, directory)
    at, options = wrapped
    script = arguments[at]
    kept = Plain(arguments, directory, script=script)
    found = shell.commands(script)
    if found is None:
        return replace(kept, why="its script is more than simple commands", hands_over=False)
    kept = _with_exec(kept, at, found)
    if why := _outside(options, arguments[at + 1 :], {name for name, _ in environment}):
        return replace(kept, why=why)
    return _without(found, kept)


def script_at(arguments: tuple[str, ...]) -> tuple[int, str] | None:
    """Where in `sh -c SCRIPT` the script stands, and the letters of the options before it."""
    if posixpath.basename(arguments[0]) not in SHELLS:
        return None
    letters = ""
    for at, word in enumerate(arguments[1:], start=1):
        if not word.startswith("-") or word == "-" or word.startswith("--"):
            return None
        letters += word[1:]
        if "c" in word:
            return (at + 1, letters) if at + 1 < len(arguments) else None
    return None


def _outside(options: str, more: tuple[str, ...], variables: set[str]) -> str:
    """Why the shell does more than its script says."""
    if set(options) & set("li"):
        return "a login shell reads the user's profile, and what that sets would be missing"
    if set(options) - set("ceuf"):
        return "the shell has options of its own"
    if more:
        return "the script has arguments"
    if found := variables & _STARTUP:
        return f"{sorted(found)[0]} makes the shell read a file first"
    return ""


def _without(found: list[Command], kept: Plain) -> Plain:
    directory, environment = kept.directory, dict[str, str]()
    for command in found[:-1]:
        first = command.words[0].text
        if not command.literal:
            return replace(kept, why="what comes before the worker needs a shell")
        texts = [word.text for word in command.words]
        if first == "cd" and command.then == "&&" and _folder(texts):
            directory = posixpath.join(directory or "/", texts[-1])
        elif first == "export" and all(word.assignment() for word in command.words[1:]):
            environment |= dict(pair for word in command.words[1:] if (pair := word.assignment()))
        else:
            return replace(kept, why=f'"{first}" before the worker is the shell\'s to do')
    last = found[-1]
    if not last.literal:
        return replace(kept, why="the shell replaces or redirects something in it")
    before = last.assignments()
    words = [word.text for word in last.words[len(before) :]]
    environment |= dict(before)
    if words and words[0] == "exec":
        words = words[1:]
        if words and words[0].startswith("-"):
            words = []
    if not words or not words[0] or words[0] in OWN_WORDS:
        return replace(kept, why="it ends in something that only a shell can do")
    return Plain(tuple(words), directory, tuple(environment.items()), unwrapped=True)


def _folder(words: list[str]) -> bool:
    """`cd FOLDER`, or `cd -- FOLDER`; `cd -` and CDPATH are something else."""
    if len(words) == 3 and words[1] == "--":
        words = [words[0], words[2]]
    return len(words) == 2 and bool(words[1]) and words[1][0] not in "-~"


def _with_exec(kept: Plain, at: int, found: list[Command]) -> Plain:
    """The shell's command with `exec` before the last one, where that changes nothing else."""
    last = found[-1]
    first = last.words[0].text
    if first == "exec" and len(last.words) > 1 and last.redirects != 1:
        return kept
    started = [command.words[0].text for command in found]
    # `worker; sleep 5`: what comes last is not the worker, and the shell is there all the while.
    longer = any(
        command.then != "&&"
        and command.words[0].text not in QUICK
        and len(command.assignments()) < len(command.words)
        for command in found[:-1]
    )
    if longer or (len(found) > 1 and first in _AFTERWARDS):
        return replace(kept, why="the worker is not its last command", hands_over=False)
    if "trap" in started or "exec" in started or first in OWN_WORDS or last.assignments():
        return replace(kept, hands_over=False)
    start = last.words[0].start
    script = f"{kept.script[:start]}exec {kept.script[start:]}"
    arguments = (*kept.arguments[:at], script, *kept.arguments[at + 1 :])
    return replace(kept, arguments=arguments, script=script, with_exec=True)
