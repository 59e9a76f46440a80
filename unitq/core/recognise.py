"""Which framework a command line is of: by its words, and by the head of the script that it runs.

Pure: what stands in a file is given. A program is only looked for where a program stands, so that
`python worker.py --queue arq` is no arq.
"""

from __future__ import annotations

import json
import re
import shlex
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from unitq.core.commandline import prefixes
from unitq.core.wrappers import LAUNCHERS, SHELLS, hands_over, shell_wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from unitq.core.preset import Preset

PACKAGE = "package.json"  # what npm and its likes look a script up in
HEAD_MAX = 32 * 1024  # so many bytes of a script are looked at
_RUN = ("run", "run-script")
_COMMANDS_MAX = 100  # of a shell's script

_INTERPRETER = re.compile(r"php|python|pypy|ruby|node|nodejs|bun|perl")
_VERSION = re.compile(r"-?[0-9][0-9.]*\Z")  # of a program, behind its name: bundle-2.1, python3.11
_SAME = {"pypy": "python", "nodejs": "node", "bun": "node"}

# Options of interpreters whose value is the next word.
_VALUED = {
    "php": ("-d", "-c", "-z"),
    "python": ("-W", "-X"),
    "ruby": ("-I", "-r", "-C", "-E"),
    "node": ("-r", "--require", "--import", "--loader", "--env-file", "-C", "--conditions"),
    "perl": ("-I",),
    "sh": ("-o", "+o", "-O", "+O", "--rcfile", "--init-file"),
}
# Options with which an interpreter runs no file: it checks one, or takes its program elsewhere.
_RUNS_NO_FILE = {
    "php": ("-l", "--syntax-check", "-r", "--run", "-a", "-s", "-w", "-S", "-i", "-m", "-v"),
    "python": ("-c", "-V", "--version"),
    "ruby": ("-c", "-e", "-v"),
    "node": ("-c", "--check", "-e", "--eval", "-p", "--print", "-v"),
    "perl": ("-c", "-e", "-E", "-v"),
}
# What a shell runs that is no file: a string, its standard input, nothing but a check.
_SHELL_RUNS_NO_FILE = re.compile(r"-[a-zA-Z]*[csnD][a-zA-Z]*|--(version|help|dump-\S+)")


class _Passes(NamedTuple):
    """What runs the rest of its words: above that, or in its own place."""

    valued: tuple[str, ...] = ()  # its options whose value is the next word
    operands: int = 0  # its own words between its options and the rest


_PASSES = {
    "env": _Passes(("-u", "--unset", "-C", "--chdir")),
    "exec": _Passes(("-a",)),
    "command": _Passes(),
    "nice": _Passes(("-n", "--adjustment")),
    "ionice": _Passes(("-c", "-n", "--class", "--classdata")),
    "nohup": _Passes(),
    "setsid": _Passes(),
    "stdbuf": _Passes(("-i", "-o", "-e")),
    "time": _Passes(("-f", "-o")),
    "setpriv": _Passes(("--reuid", "--regid", "--groups")),
    "chrt": _Passes(("-T", "-P", "-D"), 1),
    "taskset": _Passes((), 1),
    "timeout": _Passes(("-s", "-k", "--signal", "--kill-after"), 1),
    "flock": _Passes(("-w", "-E", "--wait", "--timeout", "--conflict-exit-code"), 1),
    "sudo": _Passes(("-u", "-g", "-p", "-C", "-r", "-t", "-T", "-D", "--user", "--group")),
    "runuser": _Passes(("-u", "--user", "-g", "--group")),
    "gosu": _Passes((), 1),
    "su-exec": _Passes((), 1),
    "setuidgid": _Passes((), 1),
    "chpst": _Passes(tuple(f"-{letter}" for letter in "uUen/ldmopftc")),
    "tini": _Passes(("-p", "-e")),
    "dumb-init": _Passes(("-r", "--rewrite")),
    "catatonit": _Passes(),
    "systemd-cat": _Passes(("-t", "-p", "--identifier", "--priority")),
    "unshare": _Passes(("-S", "-G", "-R", "-w")),
    "prlimit": _Passes(),
    "numactl": _Passes(("-C", "-N", "-m", "-i", "-p")),
}
_RUNNERS = {
    "bundle": "exec", "poetry": "run", "pipenv": "run", "uv": "run", "pdm": "run",
}  # fmt: skip
_NPM = LAUNCHERS - {"npx"}
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
# What stands before a command in a shell's script, and what is none.
_BEFORE = frozenset({"if", "elif", "then", "else", "while", "until", "do", "!"})
_NO_COMMAND = frozenset({"for", "case", "select", "function", "done", "fi", "esac", "[[", "]]"})
# `$(which rq)` stands for rq; what else a shell puts in, only the shell knows.
_LOOKED_UP = re.compile(r"\$\((?:which|command -v|type -p)\s+([\w./-]+)\)")
_PUT_IN = re.compile(r"\$\([^()]*\)|\$\{[^{}]*\}|`[^`]*`")
_SEPARATOR = re.compile(r"&&|\|\||[;|&\n(){}]")


class Invocation(NamedTuple):
    """One program with its arguments, what stands before it taken away."""

    interpreter: str  # "php", "python" …; empty where the program runs by itself
    program: str  # as written: a path or a name; of `python -m NAME` the name
    arguments: tuple[str, ...]
    module: bool = False

    @property
    def script(self) -> str:
        """The path of the file that is run; empty where it is a program on the search path."""
        if self.program.rpartition("/")[2] in _NPM and not self.interpreter:
            return PACKAGE
        if self.module or ("/" not in self.program and not self.interpreter):
            return ""
        return self.program

    def texts(self, interpreter: str = "") -> tuple[str, ...]:
        """What patterns are matched with: `celery -A shop worker`, also as a path and behind php.

        `interpreter` is what the script's first line says, if that is known.
        """
        words = self.arguments
        name = self.program.rpartition("/")[2]
        texts = {" ".join((name, *words)): None, " ".join((self.program, *words)): None}
        interpreter = self.interpreter or interpreter
        if interpreter:
            texts[" ".join((interpreter, name, *words))] = None
        return tuple(texts)


def invocations(command: str, heads: Mapping[str, str]) -> list[Invocation]:
    """What a command line runs: itself, below a shell too, and in a shell's script.

    `heads` has the beginning of each script that could be read, by its path as written.
    """
    script = _wrapped(command)
    found = list(_below(script)) if script else []
    if not script:
        bare = command.strip()[len(prefixes(command)) :]
        if one := _invocation(_words(bare)):
            found = [one]
    for one in list(found):
        head = heads.get(one.script, "") if one.script else ""
        if one.script == PACKAGE:
            found += _below(_npm_script(head, one.arguments))
            continue
        if head and (is_shell(one, head)):
            found += _below(head)
    return found[:_COMMANDS_MAX]


def program(words: Sequence[str]) -> Invocation | None:
    """What a process runs, by its own command line; None where its interpreter runs no file."""
    if not words or not words[0]:
        return None
    name = _engine_of(words[0])
    rest = iter(words[1:])
    for word in rest:
        if not name or not word.startswith(("-", "+") if name == "sh" else "-") or word == "--":
            break
        if name == "sh" and _SHELL_RUNS_NO_FILE.fullmatch(word):
            return None
        if word in _RUNS_NO_FILE.get(name, ()):
            return None
        if word in _VALUED[name]:
            next(rest, None)
    found = _invocation(list(words))
    if found is None or not found.interpreter:
        return found
    runner = unversioned(found.program.rpartition("/")[2])
    if runner not in _RUNNERS:
        return found
    # `ruby /usr/bin/bundle exec rake …`: the runner is a script itself, and stays.
    inner = _invocation([runner, *found.arguments])
    return inner and inner._replace(interpreter=inner.interpreter or found.interpreter)


def main_process(command: str, heads: Mapping[str, str]) -> list[Invocation]:
    """What the main process runs, one after the other: shells hand over by `exec`.

    Several of the same time where that depends; nothing of `sh -c SCRIPT` itself.
    """
    script = _wrapped(command)
    if script:
        return becomes(_handed_over(script), heads)
    one = _invocation(_words(command.strip()[len(prefixes(command)) :]))
    return becomes([one] if one else [], heads)


def becomes(first: Sequence[Invocation], heads: Mapping[str, str]) -> list[Invocation]:
    """These, and what they become by `exec`."""
    waiting, found = list(first), list[Invocation]()
    while waiting and len(found) < _COMMANDS_MAX:
        one = waiting.pop(0)
        if one in found:
            continue
        found.append(one)
        head = heads.get(one.script, "") if one.script else ""
        if head and is_shell(one, head):
            waiting += _handed_over(head)
    return found


def is_shell(one: Invocation, head: str) -> bool:
    """Whether a shell runs it; `head` is the beginning of its script."""
    return one.interpreter == "sh" or _shebang(head) in SHELLS


def scripts(command: str, heads: Mapping[str, str]) -> list[str]:
    """The files whose heads would tell more."""
    return [one.script for one in invocations(command, heads) if one.script]


def recognised(
    presets: Mapping[str, Preset], command: str, heads: Mapping[str, str]
) -> tuple[Preset, str] | None:
    """The preset of the framework that this looks like, and what gave it away."""
    found = invocations(command, heads)
    for one in found:
        head = heads.get(one.script, "") if one.script else ""
        texts = one.texts(interpreter(_shebang(head)))
        for preset in presets.values():
            for pattern in preset.recognise.command:
                for text in texts:
                    if matched := pattern.match(text):
                        return preset, f'"{matched[0].strip()}" in its command'
    for one in found:
        head = heads.get(one.script, "") if one.script else ""
        if not head or one.script == PACKAGE or is_shell(one, head):
            continue
        arguments = " ".join(one.arguments)
        for preset in presets.values():
            needs = preset.recognise.arguments
            if needs and not needs.search(arguments):
                continue
            if any(pattern.search(head) for pattern in preset.recognise.script):
                return preset, f"{one.script} says so"
    return None


def shell_script(command: str, heads: Mapping[str, str]) -> str:
    """The path of the shell script that the command runs and that stays above the worker.

    A shell on the command line itself that stays there is stands_between's matter.
    """
    wrapped = shell_wrapped(command)
    if wrapped:
        next_ones = _handed_over(wrapped)
    else:
        one = _invocation(_words(command.strip()[len(prefixes(command)) :]))
        next_ones = [one] if one else []
    seen: set[str] = set()
    while next_ones:
        one = next_ones.pop()
        head = heads.get(one.script, "") if one.script not in seen else ""
        if not head or not (is_shell(one, head)):
            continue
        seen.add(one.script)
        script = _code(head)
        if not hands_over(script):
            return one.script
        next_ones += _handed_over(script)
    return ""


def _wrapped(command: str) -> str:
    """The script that a shell is given with -c, by `su` too; empty: none."""
    if script := shell_wrapped(command):
        return script
    words = _words(command.strip()[len(prefixes(command)) :])
    if not words or words[0].rpartition("/")[2] not in ("su", "runuser"):
        return ""
    for option, value in pairwise(words):
        if option in ("-c", "--command"):
            return value
    return ""


def _handed_over(script: str) -> list[Invocation]:
    """What a shell becomes by `exec`; several, where that depends."""
    parts = (_command(_words(part)) for part in _SEPARATOR.split(_code(script)))
    every = [_invocation(each) for each in parts if each[:1] == ["exec"]]
    return [one for one in every if one and one.program != "exec"]


def _code(script: str) -> str:
    """Without comments of whole lines, continued lines joined, `$_` for what the shell puts in."""
    text = re.sub(r"\\\n", " ", script)
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    text = _LOOKED_UP.sub(r"\1", text)
    for _ in range(2):  # one within the other
        text = _PUT_IN.sub("$_", text)
    return text


def _command(words: list[str]) -> list[str]:
    """Without the shell's own words before it; nothing where it is no command."""
    while words and words[0] in _BEFORE:
        words = words[1:]
    return [] if words and words[0] in _NO_COMMAND else words


def _below(script: str) -> Iterator[Invocation]:
    """Every simple command of a shell's script."""
    for part in _SEPARATOR.split(_code(script))[:_COMMANDS_MAX]:
        if one := _invocation(_command(_words(part))):
            yield one


def _npm_script(head: str, arguments: tuple[str, ...]) -> str:
    """The command behind `npm run NAME`, `npm start` or `yarn NAME`; empty where nobody knows."""
    named = [word for word in arguments if not word.startswith("-") and word not in _RUN]
    try:
        scripts = json.loads(head).get("scripts", {})
        command = scripts.get(named[0]) if named else None
    except (ValueError, AttributeError, RecursionError):
        return ""
    return command if isinstance(command, str) else ""


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _invocation(words: list[str]) -> Invocation | None:
    words = _unwrapped(words)
    if not words:
        return None
    name = _engine_of(words[0])
    if not name:
        return Invocation("", words[0], tuple(words[1:]))
    rest = words[1:]
    while rest and rest[0].startswith(("-", "+") if name == "sh" else "-"):
        if rest[0] == "-":
            # The end of a shell's options; for others it is standard input.
            rest = rest[1:] if name == "sh" else rest
            break
        option = rest.pop(0)
        if option == "-m" and name == "python" and rest:
            return Invocation(name, rest[0], tuple(rest[1:]), module=True)
        if option == "-f" and name == "php":
            break
        if option == "--":
            break
        if option in _VALUED.get(name, ()) and rest:
            rest.pop(0)
    if not rest:
        return Invocation("", words[0], tuple(words[1:]))
    return Invocation(name, rest[0], tuple(rest[1:]))


def _unwrapped(words: list[str]) -> list[str]:
    """Without assignments and what only passes on to the rest."""
    rest = list(words)
    while rest:
        name = rest[0].rpartition("/")[2]
        if _ASSIGNMENT.match(rest[0]):
            rest.pop(0)
        elif name in _PASSES and len(rest) > 1:
            passes = _PASSES[name]
            rest.pop(0)
            while rest and rest[0].startswith("-"):
                option = rest.pop(0)
                if name == "env" and (split := _split_string(option, rest)) is not None:
                    rest = split
                elif option in passes.valued and rest:
                    rest.pop(0)
                elif option == "--":
                    break
            rest = rest[passes.operands :]
        elif (runner := unversioned(name)) in _RUNNERS and _RUNNERS[runner] in rest:
            rest = rest[rest.index(_RUNNERS[runner]) + 1 :]
            while rest and rest[0].startswith("-"):
                rest.pop(0)
        else:
            break
    return rest


def _split_string(option: str, rest: list[str]) -> list[str] | None:
    """The words behind `env -S "php -d x=1"`, split as env does it; None: another option."""
    for begin in ("--split-string=", "--split-string", "-S", "-vS"):
        if option.startswith(begin):
            if text := option[len(begin) :]:
                return [*_words(text), *rest]
            return [*_words(rest[0]), *rest[1:]] if rest else []
    return None


def _engine_of(program: str) -> str:
    """The interpreter, or "sh" for any shell; empty for what is none of both."""
    name = program.rpartition("/")[2]
    return interpreter(name) or ("sh" if name.removeprefix("-") in SHELLS else "")


def interpreter(program: str) -> str:
    """`python` for "/usr/bin/python3.11"; empty for what is none of those that we know."""
    found = _INTERPRETER.fullmatch(unversioned(program.rpartition("/")[2]))
    return _SAME.get(found[0], found[0]) if found else ""


def unversioned(program: str) -> str:
    """`bundle` for "bundle-2.1", `python` for "python3.11": distributions name several so."""
    return _VERSION.sub("", program) or program


def engine(one: Invocation, head: str = "") -> str:
    """The interpreter that runs it; `head` is the beginning of its script. Empty: not known."""
    return one.interpreter or interpreter(_shebang(head))


def _shebang(head: str) -> str:
    """The program that a script's first line names, without its path."""
    words = shebang(head)
    return words[0].rpartition("/")[2] if words else ""


def shebang(head: str) -> list[str]:
    """The words before the script's path on its process's command line, env taken away.

    As the kernel makes them of the first line: all behind the interpreter is one word (execve(2)).
    """
    first = head.split("\n", 1)[0]
    if not first.startswith("#!"):
        return []
    words = first[2:].split(None, 1)
    if not words:
        return []
    one = [words[0], words[1].strip()] if len(words) > 1 else words
    if one[0].rpartition("/")[2] != "env":
        return one
    # Without -S, env looks for one program of just this name.
    return _unwrapped(one)
