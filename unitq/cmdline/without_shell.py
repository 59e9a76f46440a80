"""A command that goes through a shell, without the shell where that is provably the same.

Under Supervisor the shell is often the process that gets the signal, and the worker below it is
what stays behind.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from unitq.cmdline.shell import BUILTINS, QUICK, script_at, simple
from unitq.cmdline.wrappers import LAUNCHERS, SHELLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.cmdline.shell import Step

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
    if wrapped is None or set(wrapped[1]) & set("-o"):
        return Plain(arguments, directory)
    at, options = wrapped
    script = arguments[at]
    kept = Plain(arguments, directory, script=script)
    steps = simple(script)
    if not steps:
        return replace(kept, why="its script is more than simple commands", hands_over=False)
    kept = _with_exec(kept, at, steps)
    if why := _outside(options, arguments[at + 1 :], {name for name, _ in environment}):
        return replace(kept, why=why)
    return _without(steps, kept)


def _outside(options: str, more: tuple[str, ...], variables: set[str]) -> str:
    """Why the shell does more than its script says."""
    if set(options) & set("li"):
        return "a login shell reads the user's profile, and what that sets would be missing"
    if set(options) - set("ceuf"):
        return "the shell has options of its own"
    if more:
        return "the script has arguments"
    if startup := variables & _STARTUP:
        return f"{sorted(startup)[0]} makes the shell read a file first"
    return ""


def _without(steps: Sequence[Step], kept: Plain) -> Plain:
    directory, environment = kept.directory, dict[str, str]()
    for command, then in steps[:-1]:
        first = command.written[0].text
        if not command.literal:
            return replace(kept, why="what comes before the worker needs a shell")
        if first == "cd" and then == "&&" and _folder(command.words):
            directory = posixpath.join(directory or "/", command.words[-1])
        elif first == "export" and all(word.name for word in command.written[1:]):
            environment |= {word.name: word.value for word in command.written[1:]}
        else:
            return replace(kept, why=f'"{first}" before the worker is the shell\'s to do')
    last = steps[-1].command
    if not last.literal:
        return replace(kept, why="the shell replaces or redirects something in it")
    environment |= {word.name: word.value for word in last.assignments}
    with_options = last.by_exec and last.written[len(last.assignments) + 1].text.startswith("-")
    if with_options or not last.words or not last.words[0] or last.words[0] in BUILTINS:
        return replace(kept, why="it ends in something that only a shell can do")
    return Plain(last.words, directory, tuple(environment.items()), unwrapped=True)


def _folder(words: tuple[str, ...]) -> bool:
    """`cd FOLDER`, or `cd -- FOLDER`; `cd -` and CDPATH are something else."""
    if len(words) == 3 and words[1] == "--":
        words = (words[0], words[2])
    return len(words) == 2 and bool(words[1]) and words[1][0] not in "-~"


def _with_exec(kept: Plain, at: int, steps: Sequence[Step]) -> Plain:
    """The shell's command with `exec` before the last one, where that changes nothing else."""
    last = steps[-1].command
    if last.by_exec:
        return kept
    started = [command.written[0].text for command, _ in steps]
    # `worker; sleep 5`: what comes last is not the worker, and the shell is there all the while.
    longer = any(
        then != "&&" and command.words and command.written[0].text not in QUICK
        for command, then in steps[:-1]
    )
    if longer or (len(steps) > 1 and started[-1] in _AFTERWARDS):
        return replace(kept, why="the worker is not its last command", hands_over=False)
    if "trap" in started or "exec" in started or started[-1] in BUILTINS or not last.words:
        return replace(kept, hands_over=False)
    # Behind `A=1`, which `exec` passes on; before a redirection that comes first.
    at_word = last.start if last.assignments else last.begin
    script = f"{kept.script[:at_word]}exec {kept.script[at_word:]}"
    arguments = (*kept.arguments[:at], script, *kept.arguments[at + 1 :])
    return replace(kept, arguments=arguments, script=script, with_exec=True)
