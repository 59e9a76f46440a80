"""Which framework a command line is of: by its words, and by the head of the script that it runs.

Pure: what stands in a file is given. A program is only looked for where a program stands, so that
`python worker.py --queue arq` is no arq.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline.launchers import words_of
from unitq.cmdline.shell import changed, inside, parse, script_of
from unitq.cmdline.wrappers import LAUNCHERS, SHELLS, Kind, named, unversioned, unwrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from unitq.cmdline.shell import Script
    from unitq.presets.model import Preset

PACKAGE = "package.json"  # what npm and its likes look a script up in
HEAD_MAX = 32 * 1024  # so many bytes of a script are looked at
_RUN = ("run", "run-script")
_COMMANDS_MAX = 100  # of a shell's script

_INTERPRETER = re.compile(r"php|python|pypy|ruby|node|nodejs|bun|perl")
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
    "php": ("-l", "--syntax-check", "-a", "-s", "-w", "-S", "-i", "-m", "-v"),
    "python": ("-V", "--version"),
    "ruby": ("-c", "-v"),
    "node": ("-c", "--check", "-v"),
    "perl": ("-c", "-v"),
}
# Options whose value is the program itself (python(1), php(1), ruby(1), node(1), perlrun(1)).
_INLINE = {
    "php": re.compile(r"-r|--run"),
    "python": re.compile(r"-[bBdEiIOPqsSuvx]*c"),
    "ruby": re.compile(r"-[alnpswW]*e"),
    "node": re.compile(r"-e|--eval|-p|--print|-pe"),
    "perl": re.compile(r"-[alnpstTuUwW]*[eE]"),
}
# What a shell runs that is no file: a string, its standard input, nothing but a check.
_SHELL_RUNS_NO_FILE = re.compile(r"-[a-zA-Z]*[csnD][a-zA-Z]*|--(version|help|dump-\S+)")


_NPM = LAUNCHERS - {"npx"}
_LEVELS = 5  # of shells below shells


class Invocation(NamedTuple):
    """One program with its arguments, what stands before it taken away."""

    interpreter: str  # "php", "python" …; empty where the program runs by itself
    program: str  # a path from where the command began, or a name; of `python -m NAME` the name
    arguments: tuple[str, ...]
    module: bool = False
    inline: bool = False  # the program is a text on the command line, as of `python -c TEXT`
    folder: str = ""  # that a shell's `cd` led to before; with a "$" only the shell knows it

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
    found = list(_all(words_of(command)))
    for one in list(found):
        head = heads.get(one.script, "") if one.script else ""
        if one.script == PACKAGE:
            found += _below(_npm_script(head, one.arguments))
            continue
        if head and (is_shell(one, head)):
            found += _below(head, folder=one.folder)
    return found[:_COMMANDS_MAX]


def program(words: Sequence[str], executable: str = "") -> Invocation | None:
    """What a process runs, by its own command line; None where its interpreter runs no file.

    `executable` is what the kernel runs: the first word may be any name (execve(2)).
    """
    if not words or not words[0]:
        return None
    if executable and not _engine_of(words[0]) and _engine_of(executable):
        renamed = _invocation([executable, *words[1:]])
        if renamed and renamed.interpreter:
            words = [executable, *words[1:]]
    name = _engine_of(words[0])
    rest = iter(words[1:])
    for word in rest:
        if not name or not word.startswith(("-", "+") if name == "sh" else "-") or word == "--":
            break
        if _is_inline(name, word):
            break
        if name == "sh" and _SHELL_RUNS_NO_FILE.fullmatch(word):
            return None
        if word in _RUNS_NO_FILE.get(name, ()):
            return None
        if word in _VALUED[name]:
            next(rest, None)
    around = unwrap(words)
    if any(use.kind is Kind.ELSEWHERE for use in around.uses):
        return Invocation("", words[0], tuple(words[1:]))  # a client, whatever it starts
    found = _invocation(words)
    if found is None or not found.interpreter:
        return found
    runner = found.program.rpartition("/")[2]
    row = named(runner)
    if row is None or not row.runner or row.kind is Kind.ELSEWHERE:
        return found
    # `ruby /usr/bin/bundle exec rake …`: the runner is a script itself, and stays.
    inner = _invocation([runner, *found.arguments])
    return inner and inner._replace(interpreter=inner.interpreter or found.interpreter)


def main_process(command: str, heads: Mapping[str, str]) -> list[Invocation]:
    """What the main process runs, one after the other: shells hand over by `exec`.

    Several of the same time where that depends; nothing of `sh -c SCRIPT` itself.
    """
    found = unwrap(words_of(command))
    script = found.script or script_of(found.words)
    if script:
        return becomes(_handed_over(parse(script)), heads)
    one = _invocation(found.words)
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
            waiting += _handed_over(parse_head(head), one.folder)
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
    for look in (_by_words, _by_script):
        for one in found:
            if known := look(presets, one, heads):
                return known
    return None


def is_known(presets: Mapping[str, Preset], words: Sequence[str], heads: Mapping[str, str]) -> bool:
    """Whether a framework's preset recognises this program."""
    one = _invocation(words)
    return one is not None and bool(
        _by_words(presets, one, heads) or _by_script(presets, one, heads)
    )


def _by_words(
    presets: Mapping[str, Preset], one: Invocation, heads: Mapping[str, str]
) -> tuple[Preset, str] | None:
    head = heads.get(one.script, "") if one.script else ""
    texts = one.texts(interpreter(_shebang(head)))
    for preset in presets.values():
        for pattern in preset.recognise.command:
            for text in texts:
                if matched := pattern.match(text):
                    return preset, f'"{matched[0].strip()}" in its command'
    return None


def _by_script(
    presets: Mapping[str, Preset], one: Invocation, heads: Mapping[str, str]
) -> tuple[Preset, str] | None:
    head = heads.get(one.script, "") if one.script else ""
    if not head or one.script == PACKAGE or is_shell(one, head):
        return None
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
    found = unwrap(words_of(command))
    if wrapped := script_of(found.words):
        next_ones = _handed_over(parse(wrapped))
    else:
        one = _invocation(found.words)
        next_ones = [one] if one else []
    seen: set[str] = set()
    while next_ones:
        one = next_ones.pop()
        head = heads.get(one.script, "") if one.script not in seen else ""
        if not head or not (is_shell(one, head)):
            continue
        seen.add(one.script)
        script = parse_head(head)
        if not script.hands_over:
            return one.script
        next_ones += _handed_over(script, one.folder)
    return ""


def script_run(words: Sequence[str], heads: Mapping[str, str]) -> str:
    """The path of the shell's script that these words run; empty where they run none."""
    one = _invocation(words)
    head = heads.get(one.script, "") if one and one.script else ""
    return one.script if one and head and is_shell(one, head) else ""


def parse_head(head: str) -> Script:
    """What a script runs; not all of it is known where more follows than was read."""
    if len(head) < HEAD_MAX:
        return parse(head)
    return replace(parse(head[: head.rfind("\n") + 1]), known=False)


def _handed_over(script: Script, folder: str = "", level: int = 0) -> list[Invocation]:
    """What a shell becomes by `exec`; several, where that depends. It began in this folder."""
    found = []
    for each in script.becomes:
        here = changed(folder, each.folder)
        inner = script_of(unwrap(each.words).words)
        if inner and level < _LEVELS:
            found += _handed_over(parse(inner), here, level + 1)
        elif not inner and (one := _invocation(each.words)):
            found.append(_seen_from(one, here))
    return found


def _all(words: Sequence[str], level: int = 0, folder: str = "") -> Iterator[Invocation]:
    """What a command runs, below shells, too."""
    found = unwrap(words)
    script = found.script or script_of(found.words)
    if script and level < _LEVELS:
        yield from _below(script, level + 1, folder)
    elif not script and (one := _invocation(found.words)):
        yield _seen_from(one, folder)


def _below(script: str, level: int = 0, folder: str = "") -> Iterator[Invocation]:
    """Every simple command of a shell's script."""
    for each in parse(script).commands[:_COMMANDS_MAX]:
        yield from _all(each.words, level, changed(folder, each.folder))


def _seen_from(one: Invocation, folder: str) -> Invocation:
    """The same, run in this folder, as seen from where the command began."""
    program = inside(folder, one.program) if one.script not in ("", PACKAGE) else one.program
    return one._replace(program=program, folder=folder)


def _npm_script(head: str, arguments: tuple[str, ...]) -> str:
    """The command behind `npm run NAME`, `npm start` or `yarn NAME`; empty where nobody knows."""
    named = [word for word in arguments if not word.startswith("-") and word not in _RUN]
    try:
        scripts = json.loads(head).get("scripts", {})
        command = scripts.get(named[0]) if named else None
    except (ValueError, AttributeError, RecursionError):
        return ""
    return command if isinstance(command, str) else ""


def _invocation(words: Sequence[str]) -> Invocation | None:
    words = list(unwrap(words).words)
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
        if _is_inline(name, option) and rest:
            return Invocation(name, rest[0], tuple(rest[1:]), inline=True)
        if option in _VALUED.get(name, ()) and rest:
            rest.pop(0)
    if not rest:
        return Invocation("", words[0], tuple(words[1:]))
    return Invocation(name, rest[0], tuple(rest[1:]))


def _is_inline(interpreter: str, option: str) -> bool:
    known = _INLINE.get(interpreter)
    return known is not None and known.fullmatch(option) is not None


def _engine_of(program: str) -> str:
    """The interpreter, or "sh" for any shell; empty for what is none of both."""
    name = program.rpartition("/")[2]
    return interpreter(name) or ("sh" if name.removeprefix("-") in SHELLS else "")


def interpreter(program: str) -> str:
    """`python` for "/usr/bin/python3.11"; empty for what is none of those that we know."""
    found = _INTERPRETER.fullmatch(unversioned(program.rpartition("/")[2]))
    return _SAME.get(found[0], found[0]) if found else ""


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
    return list(unwrap(one).words)
