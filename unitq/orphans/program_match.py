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
        """Returns the innermost release that a path lies in; empty: none."""
        roots = [root for root in self.known if root != "/" and within(path, root)]
        for folder, rest in self.beside:
            if within(path, folder) and path != folder:
                name = path[len(folder) + 1 :].partition("/")[0]
                root = f"{folder}/{name}{rest}"
                if within(path, root):
                    roots.append(root)
        return max(roots, key=len, default="")


@dataclass(frozen=True, slots=True)
class Program:
    """The program that a worker's command runs, without its wrappers."""

    engine: str  # the interpreter; "sh": any shell; empty: it runs directly, or that is not known
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


def by_shell(invocation: Invocation, head: str) -> bool:
    """Whether a shell runs it: also a text without `#!`, by what calls execvp(3), such as env."""
    bare = bool(head) and not head.startswith("#!") and invocation.script != PACKAGE
    return is_shell(invocation, head) or (not invocation.interpreter and bare)


def workers_of(
    command: str, heads: Mapping[str, str], patterns: Sequence[re.Pattern[str]]
) -> tuple[Invocation, ...]:
    """Returns the programs of a command line that take the jobs, and the script around them.

    `patterns` are those by which the framework is known; `heads` has the beginnings of scripts.
    """
    stages = [stage for stage in main_process(command, heads) if stage.script != PACKAGE]
    around = [stage for stage in stages if by_shell(stage, heads.get(stage.script, ""))]
    last = _worker_of(command, heads, patterns, stages)
    return tuple(dict.fromkeys((*around, *last)))


def _worker_of(
    command: str,
    heads: Mapping[str, str],
    patterns: Sequence[re.Pattern[str]],
    stages: Sequence[Invocation],
) -> Sequence[Invocation]:
    def shell(run: Invocation) -> bool:
        return by_shell(run, heads.get(run.script, ""))

    runs = [run for run in invocations(command, heads) if run.script != PACKAGE]
    for run in reversed(runs):
        texts = run.texts(engine(run, heads.get(run.script, "")))
        if any(pattern.match(text) for pattern in patterns for text in texts):
            return (run,)
    # What a script becomes does the work, whatever it has run before.
    if final := [run for run in stages if not shell(run) and _base(run.program) not in _NO_WORKERS]:
        return final
    if scripts := [run for run in runs if run.interpreter not in ("", "sh")]:
        return scripts[-1:]
    # A shell stays. What it starts does the work where that is a program of the app's, or all that
    # stands on the command line; a script's `sleep` is nobody's worker.
    shells = becomes([run for run in runs if shell(run)][:1], heads)
    rest = [
        run
        for run in runs
        if not shell(run)
        and _base(run.program) not in (_NO_WORKERS | QUICK)
        and ("/" in run.program or not shells)
    ]
    return (*shells, *rest[-1:])


class Match(IntEnum):
    """How far a process runs a worker's program."""

    NONE = 0
    UNSURE = 1  # the same script, but perhaps another subcommand of it
    SHARED = 2  # the same program, which lies outside of the app's releases: others may run it
    OWN = 3  # the same program, out of a release


def match_program(
    invocation: Invocation,
    paths: Iterable[str],
    executable: str,
    program: Program,
    releases: Releases,
    patterns: Sequence[re.Pattern[str]],
    arguments: re.Pattern[str] | None = None,
) -> Match:
    """Returns how far a process that runs this invocation runs the program.

    `paths` are those of its script, as written and with links followed; `executable` is the file
    that the kernel runs, which no command line can hide.
    """
    if invocation.inline != program.inline or not _same_engine(invocation, executable, program):
        return Match.NONE
    if program.before and not invocation.interpreter:
        script = _scripts_words(invocation, program)
        if script is None:
            return Match.NONE
        invocation = script
    # What the kernel runs lies where it says, whatever stands on the command line.
    executable = executable.removesuffix(_DELETED)
    here = (executable,) if program.machine_code else tuple(paths)
    match = _place(invocation, here, executable, program, releases)
    if match is Match.NONE:
        return match
    fits = _arguments_fit(invocation, program, patterns, arguments)
    if program.machine_code and not fits and _base(invocation.program) not in program.files:
        fits = None  # a title is written over its arguments
    if fits is None:
        return Match.UNSURE
    return match if fits else Match.NONE


def engine_of(executable: str) -> str:
    """`php` for /usr/bin/php8.2; the name of the file for what is no interpreter."""
    name = _base(executable)
    return interpreter(name) or name


def _same_engine(invocation: Invocation, executable: str, program: Program) -> bool:
    runs = engine_of(executable)
    if program.machine_code:
        return True  # its place tells
    if invocation.interpreter == "sh":
        return runs in SHELLS and program.engine == "sh"
    if invocation.interpreter:
        # A console script such as `celery` has an interpreter that its name does not tell.
        return runs == invocation.interpreter and program.engine in ("", runs)
    if program.before:
        return runs == program.engine
    return not program.engine and runs == engine_of(invocation.program)


def _scripts_words(invocation: Invocation, program: Program) -> Invocation | None:
    """The script and its words, where an interpreter that is none of ours runs it (execve(2))."""
    if invocation.arguments[: len(program.before) - 1] != program.before[1:]:
        return None
    words = invocation.arguments[len(program.before) - 1 :]
    return invocation._replace(program=words[0], arguments=words[1:]) if words else None


def _place(
    invocation: Invocation,
    paths: tuple[str, ...],
    executable: str,
    program: Program,
    releases: Releases,
) -> Match:
    for path in paths:
        release = releases.of(path)
        if release and path[len(release) :].lstrip("/") in program.inside:
            return Match.OWN
        if path in program.outside:
            return Match.SHARED
    if program.inline:
        return Match.SHARED if invocation.program == program.name else Match.NONE
    if program.name and _base(invocation.program) == program.name:
        native = _base(executable) == program.name and releases.of(executable)
        return Match.OWN if native else Match.SHARED
    return Match.NONE


def _arguments_fit(
    invocation: Invocation,
    program: Program,
    patterns: Sequence[re.Pattern[str]],
    arguments: re.Pattern[str] | None,
) -> bool | None:
    """Whether it is the same subcommand; None: that cannot be told."""
    if invocation.arguments == program.arguments:
        return True
    if any(pattern.match(text) for pattern in patterns for text in program.texts):
        return any(pattern.match(text) for pattern in patterns for text in invocation.texts())
    if arguments and arguments.search(" ".join(program.arguments)):
        return bool(arguments.search(" ".join(invocation.arguments)))
    wanted, runs = _subcommand(program.arguments), _subcommand(invocation.arguments)
    return None if wanted is None or runs is None else wanted == runs


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
