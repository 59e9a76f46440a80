"""Whether a process runs the same program as a worker: its script, interpreter and subcommand.

Pure. Beside a worker there are editors with its script open, other subcommands of the same script
(`php artisan schedule:run`), other copies of the app, and interpreters that only check the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from unitq.cmdline.invocation import (
    PACKAGE,
    becomes,
    engine,
    interpreter,
    invocations,
    is_shell,
    main_process,
)
from unitq.cmdline.shell import QUICK
from unitq.cmdline.wrappers import LAUNCHERS, SHELLS
from unitq.model.release_names import within

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Mapping, Sequence

    from unitq.cmdline.invocation import Invocation

_DELETED = " (deleted)"


_NO_WORKERS = SHELLS | LAUNCHERS


@dataclass(frozen=True, slots=True)
class Releases:
    """The directories that the app's code lies in."""

    known: tuple[str, ...]  # of the revisions that are kept
    beside: tuple[tuple[str, str], ...] = ()  # a folder of releases, and what follows their names

    def of(self, path: str) -> str:
        """The release that a path lies in, empty: in none. The innermost one."""
        found = [root for root in self.known if root != "/" and within(path, root)]
        for folder, rest in self.beside:
            if within(path, folder) and path != folder:
                name = path[len(folder) + 1 :].partition("/")[0]
                root = f"{folder}/{name}{rest}"
                if within(path, root):
                    found.append(root)
        return max(found, key=len, default="")


@dataclass(frozen=True, slots=True)
class Program:
    """What a worker's command comes to: one program, what stands before it taken away."""

    engine: str  # the interpreter; "sh": any shell; empty: it runs directly, or nobody knows
    arguments: tuple[str, ...]
    texts: tuple[str, ...]  # see `recognise.Invocation.texts`
    inside: frozenset[str] = frozenset()  # paths below a release that are this script
    outside: frozenset[str] = frozenset()  # absolute paths that are
    name: str = ""  # of a program on the search path, or a module
    before: tuple[str, ...] = ()  # of the first line of its script: what stands before the path
    machine_code: bool = False  # it is known to be no script
    inline: bool = False  # the name is its whole text, as of `python -c TEXT`

    @property
    def files(self) -> frozenset[str]:
        """The names of its file."""
        names = (self.name, *(_base(path) for path in self.inside | self.outside))
        return frozenset(filter(None, names))


def by_shell(one: Invocation, head: str) -> bool:
    """Whether a shell runs it: also a text without `#!`, by what calls execvp(3), such as env."""
    bare = bool(head) and not head.startswith("#!") and one.script != PACKAGE
    return is_shell(one, head) or (not one.interpreter and bare)


def workers_of(
    command: str, heads: Mapping[str, str], patterns: Sequence[re.Pattern[str]]
) -> tuple[Invocation, ...]:
    """The programs that take the jobs, of all that a command line runs, and the script around them.

    `patterns` are those by which the framework is known; `heads` has the beginnings of scripts.
    """
    stages = [one for one in main_process(command, heads) if one.script != PACKAGE]
    around = [one for one in stages if by_shell(one, heads.get(one.script, ""))]
    last = _worker_of(command, heads, patterns, stages)
    return tuple(dict.fromkeys((*around, *last)))


def _worker_of(
    command: str,
    heads: Mapping[str, str],
    patterns: Sequence[re.Pattern[str]],
    stages: Sequence[Invocation],
) -> Sequence[Invocation]:
    def shell(one: Invocation) -> bool:
        return by_shell(one, heads.get(one.script, ""))

    found = [one for one in invocations(command, heads) if one.script != PACKAGE]
    for one in reversed(found):
        texts = one.texts(engine(one, heads.get(one.script, "")))
        if any(pattern.match(text) for pattern in patterns for text in texts):
            return (one,)
    # What a script becomes does the work, whatever it has run before.
    if final := [one for one in stages if not shell(one) and _base(one.program) not in _NO_WORKERS]:
        return final
    runs = [one for one in found if one.interpreter not in ("", "sh")]
    if runs:
        return runs[-1:]
    # A shell stays. What it starts does the work where that is a program of the app's, or all that
    # stands on the command line; a script's `sleep` is nobody's worker.
    shells = becomes([one for one in found if shell(one)][:1], heads)
    rest = [
        one
        for one in found
        if not shell(one)
        and _base(one.program) not in (_NO_WORKERS | QUICK)
        and ("/" in one.program or not shells)
    ]
    return (*shells, *rest[-1:])


class Match(IntEnum):
    """How far a process runs a worker's program."""

    NONE = 0
    UNSURE = 1  # the same script, but perhaps another subcommand of it
    SHARED = 2  # the same program, which lies outside of the app's releases: others may run it
    OWN = 3  # the same program, out of a release


def match_program(
    one: Invocation,
    paths: Iterable[str],
    executable: str,
    program: Program,
    releases: Releases,
    patterns: Sequence[re.Pattern[str]],
    arguments: re.Pattern[str] | None = None,
) -> Match:
    """How far a process that runs `one` runs the program.

    `paths` are those of its script, as written and with links followed; `executable` is the file
    that the kernel runs, which no command line can hide.
    """
    if one.inline != program.inline or not _same_engine(one, executable, program):
        return Match.NONE
    if program.before and not one.interpreter:
        script = _scripts_words(one, program)
        if script is None:
            return Match.NONE
        one = script
    # What the kernel runs lies where it says, whatever stands on the command line.
    executable = executable.removesuffix(_DELETED)
    here = (executable,) if program.machine_code else tuple(paths)
    found = _place(one, here, executable, program, releases)
    if found is Match.NONE:
        return found
    fits = _arguments_fit(one, program, patterns, arguments)
    if program.machine_code and not fits and _base(one.program) not in program.files:
        fits = None  # a title is written over its arguments
    if fits is None:
        return Match.UNSURE
    return found if fits else Match.NONE


def engine_of(executable: str) -> str:
    """`php` for /usr/bin/php8.2; the name of the file for what is no interpreter."""
    name = _base(executable)
    return interpreter(name) or name


def _same_engine(one: Invocation, executable: str, program: Program) -> bool:
    runs = engine_of(executable)
    if program.machine_code:
        return True  # its place tells
    if one.interpreter == "sh":
        return runs in SHELLS and program.engine == "sh"
    if one.interpreter:
        # A console script such as `celery` has an interpreter that its name does not tell.
        return runs == one.interpreter and program.engine in ("", runs)
    if program.before:
        return runs == program.engine
    return not program.engine and runs == engine_of(one.program)


def _scripts_words(one: Invocation, program: Program) -> Invocation | None:
    """The script and its words, where an interpreter that is none of ours runs it (execve(2))."""
    if one.arguments[: len(program.before) - 1] != program.before[1:]:
        return None
    words = one.arguments[len(program.before) - 1 :]
    return one._replace(program=words[0], arguments=words[1:]) if words else None


def _place(
    one: Invocation, paths: tuple[str, ...], executable: str, program: Program, releases: Releases
) -> Match:
    for path in paths:
        release = releases.of(path)
        if release and path[len(release) :].lstrip("/") in program.inside:
            return Match.OWN
        if path in program.outside:
            return Match.SHARED
    if program.inline:
        return Match.SHARED if one.program == program.name else Match.NONE
    if program.name and _base(one.program) == program.name:
        native = _base(executable) == program.name and releases.of(executable)
        return Match.OWN if native else Match.SHARED
    return Match.NONE


def _arguments_fit(
    one: Invocation,
    program: Program,
    patterns: Sequence[re.Pattern[str]],
    arguments: re.Pattern[str] | None,
) -> bool | None:
    """Whether it is the same subcommand; None: that cannot be told."""
    if one.arguments == program.arguments:
        return True
    if any(pattern.match(text) for pattern in patterns for text in program.texts):
        return any(pattern.match(text) for pattern in patterns for text in one.texts())
    if arguments and arguments.search(" ".join(program.arguments)):
        return bool(arguments.search(" ".join(one.arguments)))
    mine, his = _subcommand(program.arguments), _subcommand(one.arguments)
    return None if mine is None or his is None else mine == his


def _subcommand(arguments: Sequence[str]) -> str | None:
    """The first word that is no option, empty: there is none; None: it may be an option's value."""
    after_option = False
    for word in arguments:
        if word.startswith("-"):
            after_option = "=" not in word
        elif after_option or "$" in word or "%" in word:
            return None
        else:
            return word
    return ""


def _base(path: str) -> str:
    return path.removesuffix(_DELETED).rpartition("/")[2]
