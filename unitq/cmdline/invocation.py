"""What a command line runs: its programs, those of its shells' scripts, and what stays above them.

Pure: `heads` has the beginning of each script that could be read, by its path as written. A program
is only looked for where a program stands: `python worker.py --queue arq` is no arq.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline.exec_line import words, words_of
from unitq.cmdline.shell import folder_after, inside, parse, script_of, with_exec
from unitq.cmdline.wrappers import (
    LAUNCHERS,
    SHELLS,
    Kind,
    Unwrapped,
    unwrap,
    without_version,
    wrapper_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from unitq.cmdline.shell import Script

PACKAGE = "package.json"  # what npm and its likes look a script up in
HEAD_MAX = 32 * 1024  # so many bytes of a script are looked at
_NPM = LAUNCHERS - {"npx"}
_NPM_RUN = ("run", "run-script")
_COMMANDS_MAX = 100  # of a shell's script
_LEVELS = 5  # of shells below shells


class Interpreter(NamedTuple):
    """How an interpreter reads its own words (php(1), python(1), ruby(1), node(1), perlrun(1))."""

    valued: tuple[str, ...]  # options whose value is the next word
    # Options without such a value that change neither the file that is run nor its folder.
    flags: re.Pattern[str]
    runs_no_file: re.Pattern[str]  # it checks one, or takes its program from elsewhere
    inline: re.Pattern[str] | None = None  # the value is the program
    moves: tuple[str, ...] = ()  # those of `valued` that lead to another directory


INTERPRETERS = {
    "php": Interpreter(
        ("-d", "-c", "-z"),
        re.compile(r"-[qnCHe]|-[dcz].+"),
        re.compile(r"-[laswSimv]|--syntax-check"),
        re.compile(r"-r|--run"),
    ),
    "python": Interpreter(
        ("-W", "-X"),
        re.compile(r"-[bBdEiIOPqsSuvx]+|-[WX].+"),
        re.compile(r"-V|--version"),
        re.compile(r"-[bBdEiIOPqsSuvx]*c"),
    ),
    "ruby": Interpreter(
        ("-I", "-r", "-C", "-E"),
        re.compile(
            r"-[wvdU]|-W.*|-[IrEK].+|--(yjit|jit|enable|disable|external-encoding"
            r"|internal-encoding|encoding)(=.*)?|--(disable|enable)-\w+"
        ),
        re.compile(r"-[cv]"),
        re.compile(r"-[alnpswW]*e"),
        moves=("-C",),
    ),
    "node": Interpreter(
        ("-r", "--require", "--import", "--loader", "--env-file", "-C", "--conditions"),
        re.compile(
            r"--(?!eval|print|check|test|run|watch)[\w-]+=.*"
            r"|--(expose[-_]gc|inspect|inspect-brk|enable-source-maps|no-warnings|trace-warnings"
            r"|no-deprecation|trace-deprecation|throw-deprecation|trace-uncaught|use-openssl-ca)"
        ),
        re.compile(r"-[cv]|--check"),
        re.compile(r"-e|--eval|-p|--print|-pe"),
    ),
    "perl": Interpreter(
        ("-I",),
        re.compile(r"-[wWXtTU]|-[ImM].+"),
        re.compile(r"-[cv]"),
        re.compile(r"-[alnpstTuUwW]*[eE]"),
    ),
    # A string, its standard input, or nothing but a check is no file.
    "sh": Interpreter(
        ("-o", "+o", "-O", "+O", "--rcfile", "--init-file"),
        re.compile(r"-[euxfahv]+"),
        re.compile(r"-[a-zA-Z]*[csnD][a-zA-Z]*|--(version|help|dump-\S+)"),
    ),
}
_INTERPRETER = re.compile(r"php|python|pypy|ruby|node|nodejs|bun|perl")
_SAME = {"pypy": "python", "nodejs": "node", "bun": "node"}


class Invocation(NamedTuple):
    """One program with its arguments, without what stands before it."""

    interpreter: str  # "php", "python" …; empty where it is the program itself
    program: str  # a path from where the command began, or a name; of `python -m NAME` the name
    arguments: tuple[str, ...]
    module: bool = False
    inline: bool = False  # the program is a text on the command line, as of `python -c TEXT`
    folder: str = ""  # that a shell's `cd` led to before; with a "$" only the shell knows it
    options: tuple[tuple[str, str], ...] = ()  # of the interpreter, with their values

    @property
    def script(self) -> str:
        """The path of the file that is run; empty where it is a program on the search path."""
        if self.program.rpartition("/")[2] in _NPM and not self.interpreter:
            return PACKAGE
        if self.module or self.inline or ("/" not in self.program and not self.interpreter):
            return ""
        return self.program

    def texts(self, interpreter: str = "") -> tuple[str, ...]:
        """What patterns are matched with: `celery -A shop worker`, also as a path and behind php.

        `interpreter` is what the script's first line says, if that is known.
        """
        if self.inline:
            return ()
        name = self.program.rpartition("/")[2]
        texts = [(name, *self.arguments), (self.program, *self.arguments)]
        if interpreter := self.interpreter or interpreter:
            texts.append((interpreter, name, *self.arguments))
        return tuple(dict.fromkeys(map(" ".join, texts)))


def invocations(command: str, heads: Mapping[str, str]) -> list[Invocation]:
    """Returns what a command line runs: itself, below a shell too, and in a shell's script."""
    programs = list(_all(words_of(command)))
    for program in list(programs):
        head = heads.get(program.script, "") if program.script else ""
        if program.script == PACKAGE:
            programs += _below(_npm_script(head, program.arguments))
        elif head and is_shell(program, head):
            programs += _below(head, folder=program.folder)
    return programs[:_COMMANDS_MAX]


def invocation(words: Sequence[str]) -> Invocation | None:
    """Returns the program that these words run, wrappers taken away; None: there is none."""
    words = list(unwrap(words).words)
    if not words:
        return None
    itself = Invocation("", words[0], tuple(words[1:]))
    name = _engine_of(words[0])
    if not name:
        return itself
    rest, options = words[1:], list[tuple[str, str]]()
    known = INTERPRETERS[name]
    while rest and rest[0].startswith(("-", "+") if name == "sh" else "-"):
        if rest[0] == "-" and name != "sh":
            break  # standard input; of a shell it ends the options
        option = rest.pop(0)
        if option == "-m" and name == "python" and rest:
            return Invocation(name, rest[0], tuple(rest[1:]), module=True, options=tuple(options))
        if rest and known.inline and known.inline.fullmatch(option):
            return Invocation(name, rest[0], tuple(rest[1:]), inline=True, options=tuple(options))
        options.append((option, rest.pop(0) if option in known.valued and rest else ""))
        if option in ("-", "--") or (option == "-f" and name == "php"):
            break
    if not rest:
        return itself._replace(options=tuple(options))
    return Invocation(name, rest[0], tuple(rest[1:]), options=tuple(options))


def program(words: Sequence[str], executable: str = "") -> Invocation | None:
    """Returns what a process runs, by its own command line; None: its interpreter runs no file.

    `executable` is what the kernel runs: the first word may be any name (execve(2)).
    """
    if not words or not words[0]:
        return None
    if executable and not _engine_of(words[0]) and _engine_of(executable):
        renamed = invocation([executable, *words[1:]])
        if renamed and renamed.interpreter:
            words = [executable, *words[1:]]
    if any(use.kind is Kind.ELSEWHERE for use in unwrap(words).uses):
        return Invocation("", words[0], tuple(words[1:]))  # a client, whatever it starts
    runs = invocation(words)
    engine = _engine_of(words[0])
    if engine and runs:
        no_file = INTERPRETERS[engine].runs_no_file
        if any(no_file.fullmatch(option) for option, _ in runs.options):
            return None
    if runs is None or not runs.interpreter:
        return runs
    runner = runs.program.rpartition("/")[2]
    row = wrapper_of(runner)
    if row is None or not row.runner or row.kind is Kind.ELSEWHERE:
        return runs
    # `ruby /usr/bin/bundle exec rake …`: the runner is a script itself, and stays.
    inner = invocation([runner, *runs.arguments])
    return inner and inner._replace(interpreter=inner.interpreter or runs.interpreter)


def main_process(command: str, heads: Mapping[str, str]) -> list[Invocation]:
    """Returns what the main process runs, in turn: shells hand over by `exec`.

    Several of the same time where that depends; nothing of `sh -c SCRIPT` itself.
    """
    return becomes(_first(command), heads)


def _first(command: str) -> list[Invocation]:
    unwrapped = unwrap(words_of(command))
    if script := _script(unwrapped):
        return _by_exec(parse(script))
    program = invocation(unwrapped.words)
    return [program] if program else []


def becomes(first: Sequence[Invocation], heads: Mapping[str, str]) -> list[Invocation]:
    """Returns these, and what they become by `exec`."""
    waiting, programs = list(first), list[Invocation]()
    while waiting and len(programs) < _COMMANDS_MAX:
        program = waiting.pop(0)
        if program in programs:
            continue
        programs.append(program)
        head = heads.get(program.script, "") if program.script else ""
        if head and is_shell(program, head):
            waiting += _by_exec(parse_head(head), program.folder)
    return programs


def shell_script(command: str, heads: Mapping[str, str]) -> str:
    """Returns the path of the shell script that the command runs and that stays above the worker.

    A shell on the command line itself that stays there is the matter of `stands_between`.
    """
    programs = _first(command)
    seen: set[str] = set()
    while programs:
        program = programs.pop()
        head = heads.get(program.script, "") if program.script not in seen else ""
        if not head or not is_shell(program, head):
            continue
        seen.add(program.script)
        script = parse_head(head)
        if not script.hands_over:
            return program.script
        programs += _by_exec(script, program.folder)
    return ""


def script_run(words: Sequence[str], heads: Mapping[str, str]) -> str:
    """Returns the path of the shell's script that these words run; empty where they run none."""
    program = invocation(words)
    head = heads.get(program.script, "") if program and program.script else ""
    return program.script if program and head and is_shell(program, head) else ""


def scripts(command: str, heads: Mapping[str, str]) -> list[str]:
    """Returns the files whose heads would tell more."""
    return [program.script for program in invocations(command, heads) if program.script]


def is_shell(program: Invocation, head: str) -> bool:
    """Whether a shell runs it; `head` is the beginning of its script."""
    return program.interpreter == "sh" or shebang_program(head) in SHELLS


def parse_head(head: str) -> Script:
    """Returns what a script runs; not all of it is known where more follows than was read."""
    if len(head) < HEAD_MAX:
        return parse(head)
    return replace(parse(head[: head.rfind("\n") + 1]), known=False)


# --- what stays above -----------------------------------------------------------------------------


def inline_script(command: str) -> str:
    """Returns the script that a shell is given with -c; empty where the command is no such shell.

    What becomes the shell by exec, such as env, is seen through.
    """
    try:
        unwrapped = unwrap(words(command))
    except ValueError:
        return ""
    return _script(unwrapped) if unwrapped.replaced else ""


def stands_between(command: str) -> str:
    """Returns what gets the signal in the worker's place: "a shell", "npm"; empty: nothing.

    What passes the signal on to the worker is not counted.
    """
    return _between(words_of(command), 0)


def _between(words: Sequence[str], level: int) -> str:
    unwrapped = unwrap(words)
    for use in unwrapped.uses:
        if use.kind in (Kind.KEEPS, Kind.ELSEWHERE):
            return use.name
    if not (text := _script(unwrapped)):
        return ""
    script = parse(text)
    if not script.hands_over or level > _LEVELS:
        return "a shell"
    return next(filter(None, (_between(c.words, level + 1) for c in script.becomes)), "")


def stays_above(command: str) -> bool:
    """Whether the main process is another one than the worker, also one that passes signals on."""
    return bool(stands_between(command)) or not unwrap(words_of(command)).replaced


def command_with_exec(command: str) -> str:
    """Returns the command line with `exec` before the worker's; empty where that takes more."""
    script = inline_script(command)
    better = with_exec(script) if script else ""
    # Only where the script stands there as it is, and not with quotes within quotes.
    return command.replace(script, better) if better and command.count(script) == 1 else ""


# --- parts ----------------------------------------------------------------------------------------


def _script(unwrapped: Unwrapped) -> str:
    return unwrapped.script or script_of(unwrapped.words)


def _by_exec(script: Script, folder: str = "", level: int = 0) -> list[Invocation]:
    """Returns what a shell becomes by `exec`; several, where that depends. It began in `folder`."""
    programs = []
    for command in script.becomes:
        here = folder_after(folder, command.folder)
        inner = script_of(unwrap(command.words).words)
        if inner and level < _LEVELS:
            programs += _by_exec(parse(inner), here, level + 1)
        elif not inner and (program := invocation(command.words)):
            programs.append(_run_in(program, here))
    return programs


def _all(words: Sequence[str], level: int = 0, folder: str = "") -> Iterator[Invocation]:
    """Yields what a command runs, below shells, too."""
    unwrapped = unwrap(words)
    script = _script(unwrapped)
    if script and level < _LEVELS:
        yield from _below(script, level + 1, folder)
    elif not script and (program := invocation(unwrapped.words)):
        yield _run_in(program, folder)


def _below(script: str, level: int = 0, folder: str = "") -> Iterator[Invocation]:
    """Yields every simple command of a shell's script."""
    for command in parse(script).commands[:_COMMANDS_MAX]:
        yield from _all(command.words, level, folder_after(folder, command.folder))


def _run_in(program: Invocation, folder: str) -> Invocation:
    """Returns the same, run in this folder, by paths from where the command began."""
    path = program.program
    path = path if program.script in ("", PACKAGE) else inside(folder, path)
    return program._replace(program=path, folder=folder)


def _npm_script(head: str, arguments: tuple[str, ...]) -> str:
    """Returns the command behind `npm run NAME`, `npm start` or `yarn NAME`; empty: unknown."""
    names = [word for word in arguments if not word.startswith("-") and word not in _NPM_RUN]
    try:
        command = json.loads(head).get("scripts", {}).get(names[0]) if names else None
    except (ValueError, AttributeError, RecursionError):
        return ""
    return command if isinstance(command, str) else ""


def _engine_of(program: str) -> str:
    """The interpreter, or "sh" for any shell; empty: neither."""
    name = program.rpartition("/")[2]
    return interpreter(name) or ("sh" if name.removeprefix("-") in SHELLS else "")


def interpreter(program: str) -> str:
    """Returns `python` for "/usr/bin/python3.11"; empty for what is none of INTERPRETERS."""
    match = _INTERPRETER.fullmatch(without_version(program.rpartition("/")[2]))
    return _SAME.get(match[0], match[0]) if match else ""


def engine(program: Invocation, head: str = "") -> str:
    """Returns the interpreter that runs it, by the beginning of its script; empty: not known."""
    return program.interpreter or interpreter(shebang_program(head))


def shebang_program(head: str) -> str:
    """Returns the program that a script's first line names, without its path."""
    words = shebang(head)
    return words[0].rpartition("/")[2] if words else ""


def shebang(head: str) -> list[str]:
    """Returns the words before the script's path on its process's command line, without env.

    As the kernel makes them of the first line: all behind the interpreter is one word (execve(2)).
    """
    first = head.split("\n", 1)[0]
    if not first.startswith("#!"):
        return []
    words = [word.strip() for word in first[2:].split(None, 1)]
    if not words or words[0].rpartition("/")[2] != "env":
        return words
    # Without -S, env looks for one program of just this name.
    return list(unwrap(words).words)
