"""Reads a shell's script: its simple commands, where each stands, and what the shell becomes.

The grammar is POSIX's (Shell Command Language, 2.10) with the parts of bash that scripts around
workers use. What it cannot read makes the script *unknown*: some of its commands may be missing.
"""

from __future__ import annotations

import os.path
import re
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline.wrappers import SHELLS

if TYPE_CHECKING:
    from collections.abc import Sequence

# What is done before a worker starts, and what may be done after it has ended.
QUICK = frozenset(
    {
        "cd", "export", "source", ".", "set", "shopt", "ulimit", "umask", "unset", "sleep", "echo",
        "mkdir", "chmod", "chown", "rm", "ln", "cp", "mv", "touch", "test", "[", "true", ":",
        "eval", "trap", "alias", "local", "readonly", "printf", "date", "pwd", "cat",
    }
)  # fmt: skip
# The same for what a script ends in: none of these takes jobs.
_NO_WORKERS = QUICK | {
    "[[", "((", "wait", "kill", "exit", "return", "shift", "read", "declare", "typeset", "type",
    "which", "hash", "command", "false", "break", "continue", "logger", "let", "getopts", "id",
    "pushd", "popd", "dirname", "basename", "install", "stat", "ls", "grep", "pgrep", "tee", "nc",
}  # fmt: skip

# None of these keeps a script from its end while a job in the background runs.
_AT_ONCE = (QUICK - {"sleep", "cat", "eval", "source", ".", "trap"}) | {"disown", "exit", "return"}

# What a shell does itself, or what begins more than a simple command.
BUILTINS = frozenset((
    "!", ".", ":", "[", "[[", "{", "}", "alias", "bg", "bind", "break", "builtin", "caller",
    "case", "cd", "command", "compgen", "continue", "coproc", "declare", "dirs", "disown", "do",
    "done", "echo", "elif", "else", "enable", "esac", "eval", "exec", "exit", "export", "false",
    "fc", "fg", "fi", "for", "function", "getopts", "hash", "help", "history", "if", "in",
    "jobs", "kill", "let", "local", "logout", "mapfile", "popd", "printf", "pushd", "pwd",
    "read", "readonly", "return", "select", "set", "shift", "shopt", "source", "suspend",
    "test", "then", "time", "times", "trap", "true", "type", "typeset", "ulimit", "umask",
    "unalias", "unset", "until", "wait", "while",
))  # fmt: skip
_RESERVED = frozenset({
    "!", "{", "}", "case", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if",
    "in", "select", "then", "time", "until", "while", "[[",
})  # fmt: skip
_ENDS = frozenset({"}", "do", "done", "elif", "else", "esac", "fi", "then"})
# `$(which rq)` stands for rq; what else a shell puts in, only the shell knows.
_LOOKED_UP = re.compile(r"(?:which|command -v|type -p)\s+([\w./-]+)\s*")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(?:\[[^]]*\])?\+?=")
_OPERATOR = re.compile(r"&&|\|\||;;&|;;|;&|\|&|&>>|&>|<<<|<<-|<<|<&|>&|>>|>\||<>|[;&|()<>\n]")
_REDIRECTS = frozenset({"&>>", "&>", "<<<", "<&", ">&", ">>", ">|", "<>", "<", ">"})
_PATTERN = re.compile(r"[*?\[~{]")  # what a shell may put other words in place of
_NAMED = re.compile(r"[\w@*#?!$\-\[\"]")  # what makes a "$" more than that
_PLAIN = re.compile(r"[^\s'\"\\$`;&|()<>]+")
_DEPTH_MAX = 40
_UNKNOWN = "$_"  # a folder that only the shell knows
_COMMANDS_MAX = 2000
# After so many lines that cannot be read, the rest is not: each look may go on to the text's end.
_UNREADABLE_MAX = 20


class Word(NamedTuple):
    """One word without its quotes; `$_` stands for what only the shell can put in."""

    text: str
    start: int  # where in the script it begins
    quoted: bool  # a quoted word is never a reserved one
    literal: bool = True  # the shell would change nothing else in it
    name: str = ""  # of `NAME=value`, where no quote makes it another word

    @property
    def value(self) -> str:
        """What an assignment assigns."""
        return self.text.partition("=")[2]


@dataclass(frozen=True, slots=True)
class Command:
    """A simple command and where it stands."""

    words: tuple[str, ...]  # without assignments, redirections and `exec`
    start: int = 0  # where in the script its first word begins
    end: int = 0
    by_exec: bool = False  # `exec` stands before it
    piped: str = ""  # in a pipeline: "left", or "right" for its last command
    loop: str = ""  # "while", "until" or "for" around it, unless it is in the loop's condition
    condition: bool = False  # of `if`, `while`, `until`
    subshell: bool = False  # in ( ), in a pipeline or in the background: never the shell itself
    background: bool = False
    function: str = ""  # the function it is in
    folder: str = ""  # that a `cd` led to before it, seen from where the shell began; see `inside`
    # The same as it is written: `exec` and the assignments before it too.
    written: tuple[Word, ...] = ()
    assignments: tuple[Word, ...] = ()
    redirected: bool = False

    @property
    def line(self) -> str:
        """The command without assignments and redirections; empty where it needs a shell."""
        written = self.written[len(self.written) - len(self.words) :]
        if self.assignments or not all(word.literal for word in written):
            return ""
        return shlex.join(self.words)

    @property
    def assigned(self) -> bool:
        """Whether assignments stand before it."""
        return bool(self.assignments)

    @property
    def begin(self) -> int:
        """Where in the script it begins, with what stands before its first word."""
        return self.written[0].start if self.written else self.start

    @property
    def literal(self) -> bool:
        """Whether it is exactly its words."""
        return not self.redirected and all(word.literal for word in self.written)

    @property
    def replaces(self) -> bool:
        """Whether the shell itself becomes this command."""
        return self.by_exec and not self.subshell

    @property
    def quick(self) -> bool:
        """Whether it takes no jobs: it prepares something, or only waits."""
        return not self.words or self.words[0].rpartition("/")[2] in _NO_WORKERS


@dataclass(frozen=True, slots=True)
class Script:
    """What a script runs."""

    commands: tuple[Command, ...] = ()
    known: bool = True  # False: part of it could not be read
    becomes: tuple[Command, ...] = ()  # what the shell becomes by `exec`, on one way or another
    stays: tuple[Command, ...] = ()  # what it may run last, and wait for, instead

    @property
    def hands_over(self) -> bool:
        """Whether the shell surely becomes the worker: each way through the script ends in exec."""
        return self.known and bool(self.becomes) and not self.stays

    def leaves(self, command: Command) -> bool:
        """Whether it surely ends while this command, in the background, still runs."""
        if not (self.known and command.background) or command.function or self.traps:
            return False
        after = self.commands[self.commands.index(command) + 1 :]
        return command.loop in ("", "for") and all(
            later.background or not later.words or later.words[0] in _AT_ONCE for later in after
        )

    @property
    def traps(self) -> bool:
        """Whether it says itself what it does at a signal."""
        return any(command.words[:1] == ("trap",) for command in self.commands)


def parse(text: str) -> Script:
    """Returns what a script runs."""
    reader = _Reader(text)
    nodes: list[_Node] = []
    unreadable = 0
    while True:
        try:
            nodes.append(reader.sequence(_Context(), frozenset()))
            if reader.token() is None:
                break
            raise _UnreadableError
        except _UnreadableError:
            unreadable += 1
            if unreadable >= _UNREADABLE_MAX or not reader.skip_line():
                break
    ways = _Ways(reader.functions).of(_Sequence(tuple(nodes)))
    by_exec = [way.last for way in ways if way.over and way.last and way.last.replaces]
    others = [way.last for way in ways if way.last and not way.last.replaces]
    return Script(
        tuple(reader.commands),
        not unreadable,
        tuple(dict.fromkeys(by_exec)),
        tuple(dict.fromkeys(others)),
    )


class Step(NamedTuple):
    """A simple command of a list, and what stands behind it: "&&", ";", or nothing at its end."""

    command: Command
    then: str


def simple(text: str) -> tuple[Step, ...]:
    """Returns the commands of a list of simple commands; empty where a script is more than that.

    Only `&&` and `;` stand between them, so each is run in turn and in the shell itself.
    """
    script = parse(text)
    commands = script.commands
    if (
        not commands
        or not script.known
        or "<<" in text
        or any(
            command.piped
            or command.loop
            or command.condition
            or command.subshell
            or command.function
            for command in commands
        )
    ):
        return ()
    ends = [command.begin for command in commands[1:]]
    between = [
        text[command.end : end].strip()
        for command, end in zip(commands, [*ends, None], strict=True)
    ]
    if text[: commands[0].begin].strip() or between[-1] not in ("", ";"):
        return ()
    if not all(then in ("&&", ";") for then in between[:-1]):
        return ()
    return tuple(map(Step, commands, [*between[:-1], ""]))


def inside(folder: str, path: str) -> str:
    """Returns a path as seen from where the shell began, when it is now in this folder.

    A "$" in a folder says that only the shell knows it; then the path stays as it is.
    """
    if not folder or "$" in folder:
        return path
    there = os.path.normpath(os.path.join(folder, path))
    return there if "/" in there else f"./{there}"


def folder_after(folder: str, to: str) -> str:
    """Returns the folder that `cd TO` leads to; empty: where the shell began."""
    if not to:
        return folder
    if "$" in to or ("$" in folder and not to.startswith("/")):
        return _UNKNOWN
    there = os.path.normpath(os.path.join(folder, to))
    return "" if there == "." else there


def program_instead(program: str) -> str:
    """Returns what to write in place of this, where only a shell would understand it."""
    if program == "cd":
        return "`directory` says where a worker runs; systemd knows no `cd`"
    if program in BUILTINS:
        return f"`{program}` is the shell's: command = '/bin/bash -c \"{program} … && exec …\"'"
    if re.match(r"[A-Za-z_]\w*=", program):
        return "variables are set in `environment`, not before the command"
    return ""


def script_of(words: Sequence[str]) -> str:
    """Returns the script that a shell is given with -c; empty where this is no such shell."""
    place = script_at(words)
    return words[place[0]] if place else ""


def script_at(words: Sequence[str]) -> tuple[int, str] | None:
    """Returns where in `sh -c SCRIPT` the script stands, and the letters of the options before it.

    A "-" among the letters stands for a long option.
    """
    if not words or words[0].rpartition("/")[2] not in SHELLS:
        return None
    letters, at = "", 1
    while at < len(words) - 1 and words[at].startswith("-") and words[at] != "-":
        word, at = words[at], at + 1
        letters += "-" if word.startswith("--") else word[1:]
        if word.startswith("--"):
            continue
        if "c" in word:
            return at, letters
        if word.endswith("o"):
            at += 1  # bash -euo pipefail -c …
    return None


def with_exec(script: str) -> str:
    """Returns the script with `exec` before its last command; empty where more has to change."""
    parsed = parse(script)
    if not parsed.known or not parsed.commands:
        return ""
    *before, last = parsed.commands
    apart = any(
        command.subshell or command.loop or command.condition for command in parsed.commands
    )
    ends = [command.end for command in before]
    between = [
        script[end : command.begin] for end, command in zip(ends, parsed.commands[1:], strict=True)
    ]
    if apart or not last.words or last.by_exec or last.quick:
        return ""
    if any(command.strip() != "&&" for command in between):
        return ""
    return f"{script[: last.start]}exec {script[last.start :].strip()}".strip()


class _UnreadableError(Exception):
    """There is something that this cannot read."""


class _Context(NamedTuple):
    """What is around a command that is being read."""

    loop: str = ""
    condition: bool = False
    subshell: bool = False
    function: str = ""
    depth: int = 0


# --- the tree -------------------------------------------------------------------------------------


class _Sequence(NamedTuple):
    nodes: tuple[_Node, ...]


class _Simple(NamedTuple):
    at: int  # in the reader's list of commands, which is mended when `|` or `&` follows
    commands: list[Command]

    @property
    def command(self) -> Command:
        return self.commands[self.at]


class _AndOr(NamedTuple):
    first: _Node
    operator: str
    second: _Node


class _Choice(NamedTuple):
    """`if`, `case` and loops: one of these ways, or none of them."""

    conditions: tuple[_Node, ...]
    bodies: tuple[_Node, ...]
    else_: bool


class _Apart(NamedTuple):
    """A pipeline, a subshell or a job in the background: the shell itself becomes none of it."""

    nodes: tuple[_Node, ...]


_Node = _Sequence | _Simple | _AndOr | _Choice | _Apart


class _Way(NamedTuple):
    """One way through a part of a script."""

    last: Command | None = None  # the last command on it that may take jobs
    over: bool = False  # the shell has become something else, or has exited


_NOTHING = _Way()


class _Ways:
    """Follows every way through a script."""

    def __init__(self, functions: dict[str, _Node]) -> None:
        self._functions = functions
        self._open: set[str] = set()
        # Each function is followed once: two that call the next one twice make 2^n ways.
        self._followed: dict[str, frozenset[_Way]] = {}

    def of(self, node: _Node) -> frozenset[_Way]:
        match node:
            case _Sequence():
                return self._sequence(node.nodes)
            case _Simple():
                return self._simple(node.command)
            case _AndOr():
                first = self.of(node.first)
                second = self.of(node.second)
                # Where A fails, in `A && B` or `A || B`, it is no worker that was waited for.
                if node.operator == "&&":
                    return _join(first, second) | _as_test(first)
                return first | _join(_as_test(first), second)
            case _Choice():
                before = frozenset({_NOTHING})
                for condition in node.conditions:
                    before = _join(before, _as_test(self.of(condition)))
                bodies = [self.of(body) for body in node.bodies]
                ends = frozenset[_Way]().union(*bodies, () if node.else_ else {_NOTHING})
                return _join(before, ends)
            case _Apart():
                ways = frozenset[_Way]().union(*(self.of(part) for part in node.nodes))
                apart = frozenset(_Way(way.last) for way in ways if way.last)
                return apart or frozenset({_NOTHING})

    def _sequence(self, nodes: tuple[_Node, ...]) -> frozenset[_Way]:
        ways = frozenset({_NOTHING})
        for part in nodes:
            ways = _join(ways, self.of(part))
        return ways

    def _simple(self, command: Command) -> frozenset[_Way]:
        name = command.words[0] if command.words else ""
        if command.by_exec and command.words:
            return frozenset({_Way(command, over=True)})
        if name in ("exit", "return"):
            return frozenset({_Way(over=True)})
        if name in self._followed:
            return self._followed[name]
        if name in self._functions and name not in self._open and len(self._open) < _DEPTH_MAX:
            self._open.add(name)
            ways = self.of(self._functions[name])
            self._open.discard(name)
            followed = frozenset(_Way(way.last, way.over and bool(way.last)) for way in ways)
            self._followed[name] = followed
            return followed
        return frozenset({_NOTHING if command.quick else _Way(command)})


def _join(first: frozenset[_Way], second: frozenset[_Way]) -> frozenset[_Way]:
    done = frozenset(way for way in first if way.over)
    return done | frozenset(
        after if after.last else _Way(before.last, after.over)
        for before in first - done
        for after in second
    )


def _as_test(ways: frozenset[_Way]) -> frozenset[_Way]:
    """The same of a condition: what it runs is a test, and no worker."""
    return frozenset(way if way.over else _NOTHING for way in ways)


# --- reading --------------------------------------------------------------------------------------


class _Token(NamedTuple):
    """A word, or an operator."""

    word: Word | None
    operator: str
    start: int
    end: int


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.commands: list[Command] = []
        self.functions: dict[str, _Node] = {}
        self._peeked: _Token | None = None
        self._folder, self._moves = "", 0  # where a `cd` has led to, and how many there were
        self._heredocs: list[tuple[str, bool]] = []  # the ends that are waited for; <<- strips tabs

    # The parts of the grammar.

    def sequence(self, context: _Context, ends: frozenset[str]) -> _Sequence:
        """Commands up to one of these words, or to an operator that ends a list."""
        if context.depth > _DEPTH_MAX:
            raise _UnreadableError
        nodes: list[_Node] = []
        while True:
            self._newlines()
            token = self.token()
            if token is None or token.operator in (")", ";;", ";&", ";;&"):
                return _Sequence(tuple(nodes))
            if self._reserved_word(token) in _ENDS:
                if self._reserved_word(token) in ends:
                    return _Sequence(tuple(nodes))
                raise _UnreadableError
            begin, folder = len(self.commands), self._folder
            node = self._and_or(context)
            token = self.token()
            if token is not None and token.operator == "&":
                self._folder = folder
                self._mend(begin, background=True, subshell=True)
                node = _Apart((node,))
            nodes.append(node)
            if token is not None and token.operator in (";", "&", "\n"):
                self._next()

    def _and_or(self, context: _Context) -> _Node:
        node = self._pipeline(context)
        while (token := self.token()) is not None and token.operator in ("&&", "||"):
            self._next()
            self._newlines()
            first, moves = self._folder, self._moves
            node = _AndOr(node, token.operator, self._pipeline(context))
            if token.operator == "||":
                self._folder = first if moves == self._moves else _UNKNOWN
        return node

    def _pipeline(self, context: _Context) -> _Node:
        token = self.token()
        while token is not None and self._reserved_word(token) in ("!", "time"):
            self._next()
            if self._reserved_word(token) == "time" and self._text() == "-p":
                self._next()
            context = context._replace(subshell=True)  # no exec behind it replaces what waits
            token = self.token()
        folder = self._folder
        begins, nodes = [len(self.commands)], [self._command(context)]
        while (token := self.token()) is not None and token.operator in ("|", "|&"):
            self._next()
            self._newlines()
            self._folder = folder
            begins.append(len(self.commands))
            nodes.append(self._command(context))
        if len(nodes) == 1:
            return nodes[0]
        self._folder = folder
        self._mend(begins[0], begins[-1], piped="left", subshell=True)
        self._mend(begins[-1], piped="right", subshell=True)
        return _Apart(tuple(nodes))

    def _command(self, context: _Context) -> _Node:
        token = self.token()
        if token is None:
            raise _UnreadableError
        inner = context._replace(depth=context.depth + 1)
        if token.operator == "(":
            return self._parentheses(inner)
        if token.operator and token.operator not in _REDIRECTS | {"<<", "<<-"}:
            raise _UnreadableError
        reader = {
            "{": self._group, "if": self._if, "while": self._while, "until": self._while,
            "for": self._for, "select": self._for, "case": self._case,
            "function": self._function, "[[": self._test,
        }.get(self._reserved_word(token))  # fmt: skip
        if reader is None:
            return self._simple(context)
        moves = self._moves
        node = reader(inner)
        if isinstance(node, _Choice) and self._moves != moves:
            self._folder = _UNKNOWN  # only some of its ways lead there
        self._redirections()
        return node

    def _parentheses(self, context: _Context) -> _Node:
        self._next()
        if (token := self.token()) is not None and token.operator == "(":
            end = self.text.find("))", token.end)
            if end < 0:
                raise _UnreadableError
            self._jump(end + 2)
            self._redirections()
            return _Sequence(())
        folder = self._folder
        node = self.sequence(context._replace(subshell=True), frozenset())
        self._folder = folder
        self._expect_operator(")")
        self._redirections()
        return _Apart((node,))

    def _group(self, context: _Context) -> _Node:
        self._next()
        node = self.sequence(context, frozenset({"}"}))
        self._expect("}")
        return node

    def _if(self, context: _Context) -> _Node:
        conditions, bodies, else_ = [], [], False
        word, folder = "if", self._folder
        while word in ("if", "elif"):
            self._next()
            self._folder = folder
            test = context._replace(condition=True)
            conditions.append(self.sequence(test, frozenset({"then"})))
            self._expect("then")
            bodies.append(self.sequence(context, frozenset({"elif", "else", "fi"})))
            word = self._text()
        if word == "else":
            self._next()
            self._folder = folder
            bodies.append(self.sequence(context, frozenset({"fi"})))
            else_ = True
        self._expect("fi")
        return _Choice(tuple(conditions), tuple(bodies), else_)

    def _while(self, context: _Context) -> _Node:
        kind = self._next().text
        test = context._replace(condition=True, loop=kind)
        condition = self.sequence(test, frozenset({"do"}))
        self._expect("do")
        return self._do(context, kind, condition)

    def _for(self, context: _Context) -> _Node:
        self._next()
        token = self.token()
        if token is not None and token.operator == "(":
            end = self.text.find("))", token.end)
            if end < 0:
                raise _UnreadableError
            self._jump(end + 2)
        else:
            self._next()
            self._newlines()
            if self._text() == "in":
                while (token := self.token()) is not None and token.word is not None:
                    self._next()
        if (token := self.token()) is not None and token.operator == ";":
            self._next()
        self._newlines()
        self._expect("do")
        return self._do(context, "for", _Sequence(()))

    def _do(self, context: _Context, kind: str, condition: _Node) -> _Node:
        body = self.sequence(context._replace(loop=kind), frozenset({"done"}))
        self._expect("done")
        return _Choice((condition,), (body,), else_=False)

    def _case(self, context: _Context) -> _Node:
        self._next()
        self._next()
        self._newlines()
        self._expect("in")
        bodies, else_, folder = [], False, self._folder
        while True:
            self._newlines()
            if self._text() == "esac":
                break
            if (token := self.token()) is not None and token.operator == "(":
                self._next()
            while (token := self.token()) is not None and token.operator != ")":
                if token.word is None and token.operator != "|":
                    raise _UnreadableError
                else_ = else_ or (token.word is not None and token.word.text == "*")
                self._next_token()
            self._expect_operator(")")
            self._folder = folder
            bodies.append(self.sequence(context, frozenset({"esac"})))
            if (token := self.token()) is not None and token.operator in (";;", ";&", ";;&"):
                self._next()
        self._expect("esac")
        return _Choice((), tuple(bodies), else_)

    def _function(self, context: _Context) -> _Node:
        self._next()
        name = self._next().text
        if (token := self.token()) is not None and token.operator == "(":
            self._next()
            self._expect_operator(")")
        return self._body(name, context)

    def _body(self, name: str, context: _Context) -> _Node:
        self._newlines()
        inner = _Context(function=name, depth=context.depth + 1)
        folder, self._folder = self._folder, _UNKNOWN  # it is called from somewhere
        self.functions[name] = self._command(inner)
        self._folder = folder
        return _Sequence(())

    def _test(self, _: _Context) -> _Node:
        """`[[ … ]]`: its signs are no operators."""
        while (token := self.token()) is not None:
            self._next_token()
            if token.word is not None and token.word.text == "]]" and not token.word.quoted:
                return _Sequence(())
            if token.operator == "\n" and not self.text[token.end :].strip():
                break
        raise _UnreadableError

    def _simple(self, context: _Context) -> _Node:
        words: list[Word] = []
        before: list[Word] = []
        redirected, end = False, self.at
        while (token := self.token()) is not None:
            if token.operator in _REDIRECTS or token.operator in ("<<", "<<-"):
                if words and words[-1].text.isdecimal() and self._touches(words[-1], token):
                    words.pop()  # the 2 of `2>`
                redirected = True
                end = self._redirection()
                continue
            if token.operator == "(" and len(words) == 1 and not before:
                self._next()
                self._expect_operator(")")
                return self._body(words[0].text, context)
            if token.word is None:
                break
            if not words and token.word.name:
                before.append(token.word)
                end = token.end
                self._next()
                if token.word.text.endswith("=") and self._at_array():
                    end = self._array()
                    before[-1] = token.word._replace(literal=False)
                continue
            words.append(token.word)
            end = token.end
            self._next()
        return self._add(before, words, end, context, redirected=redirected)

    def _add(
        self, before: list[Word], words: list[Word], end: int, context: _Context, *,
        redirected: bool,
    ) -> _Node:  # fmt: skip
        if len(self.commands) >= _COMMANDS_MAX:
            raise _UnreadableError
        texts = [word.text for word in words]
        start = words[0].start if words else end
        by_exec = texts[:1] == ["exec"]
        if by_exec:
            texts = _without_exec(texts)
            by_exec = bool(texts)  # `exec 2>&1` only redirects
        command = Command(
            tuple(texts), start, end, by_exec, "", context.loop, context.condition,
            context.subshell, function=context.function, folder=self._folder,
            written=(*before, *words), redirected=redirected,
            assignments=tuple(before),
        )  # fmt: skip
        self.commands.append(command)
        if texts[:1] in (["cd"], ["pushd"], ["popd"]):
            self._folder = folder_after(self._folder, _operand(texts))
            self._moves += 1
        return _Simple(len(self.commands) - 1, self.commands)

    def _touches(self, word: Word, token: _Token) -> bool:
        return word.start + len(word.text) == token.start and not word.quoted

    def _redirections(self) -> None:
        while (token := self.token()) is not None:
            if token.word is not None and token.word.text.isdecimal():
                following = self.text[token.end : token.end + 1]
                if following not in ("<", ">"):
                    return
                self._next()
            elif token.operator in _REDIRECTS or token.operator in ("<<", "<<-"):
                self._redirection()
            else:
                return

    def _redirection(self) -> int:
        """Reads one, and returns where it ends."""
        operator = self._next_token().operator
        token = self._next_token()
        word = token.word or Word("", token.start, quoted=False)
        if operator in ("<<", "<<-"):
            self._heredocs.append((word.text, operator == "<<-"))
        return token.end

    def _at_array(self) -> bool:
        token = self.token()
        return token is not None and token.operator == "(" and self.text[token.start - 1] == "="

    def _array(self) -> int:
        token = self.token()
        assert token
        self._jump(_closing(self.text, token.end))
        return self.at

    def _mend(self, begin: int, end: int | None = None, **changes: str | bool) -> None:
        """Says of these commands what only stands behind them."""
        for at in range(begin, len(self.commands) if end is None else end):
            kept = changes
            if self.commands[at].piped:  # an inner pipeline's place is nearer
                kept = {name: value for name, value in changes.items() if name != "piped"}
            self.commands[at] = replace(self.commands[at], **kept)  # type: ignore[arg-type]

    # Tokens.

    def token(self) -> _Token | None:
        """The next one, which stays there; None at the end."""
        if self._peeked is None:
            self._peeked = self._read()
        return self._peeked

    def _next_token(self) -> _Token:
        token = self.token()
        if token is None:
            raise _UnreadableError
        self._peeked = None
        if token.operator == "\n" and self._heredocs:
            self._skip_heredocs()
        return token

    def _next(self) -> Word:
        token = self._next_token()
        return token.word or Word("", token.start, quoted=False)

    def _jump(self, to: int) -> None:
        self.at, self._peeked = to, None

    def skip_line(self) -> bool:
        """Goes to the next line; False where there is none."""
        at = self._peeked.start if self._peeked else self.at
        end = self.text.find("\n", at)
        self._heredocs.clear()
        self._jump(len(self.text) if end < 0 else end + 1)
        return end >= 0

    def _newlines(self) -> None:
        while (token := self.token()) is not None and token.operator == "\n":
            self._next()

    def _text(self) -> str:
        """The next word, if it may be a reserved one."""
        token = self.token()
        return "" if token is None or token.word is None or token.word.quoted else token.word.text

    def _reserved_word(self, token: _Token) -> str:
        word = token.word
        return word.text if word and not word.quoted and word.text in _RESERVED else ""

    def _expect(self, word: str) -> None:
        if self._text() != word:
            raise _UnreadableError
        self._next()

    def _expect_operator(self, operator: str) -> None:
        if self._next_token().operator != operator:
            raise _UnreadableError

    def _skip_heredocs(self) -> None:
        for end, strip in self._heredocs:
            while True:
                if self.at >= len(self.text):
                    break
                stop = self.text.find("\n", self.at)
                stop = len(self.text) if stop < 0 else stop
                line = self.text[self.at : stop]
                self.at = stop + 1
                if (line.lstrip("\t") if strip else line) == end:
                    break
        self._heredocs = []
        self.at = min(self.at, len(self.text))

    def _read(self) -> _Token | None:
        text = self.text
        while self.at < len(text):
            c = text[self.at]
            if c in " \t\r":
                self.at += 1
            elif text.startswith("\\\n", self.at):
                self.at += 2
            elif c == "#":
                end = text.find("\n", self.at)
                self.at = len(text) if end < 0 else end
            else:
                break
        if self.at >= len(text):
            return None
        start = self.at
        if match := _OPERATOR.match(text, start):
            substitution = match[0] in ("<", ">") and text[match.end() : match.end() + 1] == "("
            if not substitution:
                self.at = match.end()
                return _Token(None, match[0], start, self.at)
        word = self._word()
        return _Token(word, "", start, self.at)

    def _word(self) -> Word:
        text, start, parts = self.text, self.at, list[str]()
        quoted, named = False, _ASSIGNMENT.match(text, start)
        literal = not named or named[0] == f"{named[1]}="  # not NAME+=, nor NAME[0]=
        while self.at < len(text):
            c = text[self.at]
            if plain := _PLAIN.match(text, self.at):
                parts.append(plain[0])
                literal = literal and not _PATTERN.search(plain[0])
                self.at = plain.end()
            elif c == "'":
                end = text.find("'", self.at + 1)
                if end < 0:
                    raise _UnreadableError
                parts.append(text[self.at + 1 : end])
                self.at, quoted = end + 1, True
            elif c == '"':
                self.at += 1
                inner, whole = self._double()
                parts.append(inner)
                quoted, literal = True, literal and whole
            elif c == "\\":
                if text.startswith("\\\n", self.at):
                    self.at += 2
                    continue
                if self.at + 1 >= len(text):
                    raise _UnreadableError
                parts.append(text[self.at + 1])
                self.at, quoted = self.at + 2, True
            elif c in "$`":
                inner, whole = self._expansion()
                parts.append(inner)
                literal = literal and whole
            elif c in "<>" and text[self.at + 1 : self.at + 2] == "(":
                self.at = _closing(text, self.at + 2)
                parts.append("$_")
                literal = False
            else:
                break
        return Word("".join(parts), start, quoted, literal, named[1] if named else "")

    def _double(self) -> tuple[str, bool]:
        """What is in double quotes, and whether that is all literal."""
        text, parts, literal = self.text, list[str](), True
        while self.at < len(text):
            c = text[self.at]
            if c == '"':
                self.at += 1
                return "".join(parts), literal
            if c == "\\":
                following = text[self.at + 1 : self.at + 2]
                if following != "\n":
                    parts.append(following if following in '$`"\\' else c + following)
                self.at += 2
            elif c in "$`":
                inner, whole = self._expansion()
                parts.append(inner)
                literal = literal and whole
            else:
                parts.append(c)
                self.at += 1
        raise _UnreadableError

    def _expansion(self) -> tuple[str, bool]:
        """What stands for it, and whether that is literal: a "$" alone is."""
        text, at = self.text, self.at
        if text[at] == "`":
            end = text.find("`", at + 1)
            if end < 0:
                raise _UnreadableError
            self.at = end + 1
            return _which(text[at + 1 : end]), False
        following = text[at + 1 : at + 2]
        if following == "(":
            self.at = _closing(text, at + 2)
            return _which(text[at + 2 : self.at - 1]), False
        if following == "{":
            self.at = _closing(text, at + 2, "}")
            return "$_", False
        self.at = at + 1
        if following == "'":  # $'…'
            self.at = at + 2
            while self.at < len(text) and text[self.at] != "'":
                self.at += 2 if text[self.at] == "\\" else 1
            if self.at >= len(text):
                raise _UnreadableError
            self.at += 1
            return "$_", False
        return "$", not _NAMED.match(following)


def _operand(words: list[str]) -> str:
    """The folder that `cd` gets (POSIX: -L, -P; "-" is the one before)."""
    operands = [word for word in words[1:] if word not in ("-L", "-P", "-e", "--")]
    known = len(operands) == 1 and words[0] != "popd" and operands[0][:1] not in ("", "-", "+", "~")
    return operands[0] if known else _UNKNOWN


def _which(script: str) -> str:
    match = _LOOKED_UP.fullmatch(script.strip())
    return match[1] if match else "$_"


def _without_exec(words: list[str]) -> list[str]:
    """The words behind `exec` and its options (bash: -c, -l, -a NAME)."""
    rest = words[1:]
    while rest and rest[0].startswith("-") and rest[0] != "-":
        option = rest.pop(0)
        if option == "--":
            break
        if option.endswith("a") and rest:
            rest.pop(0)
    return rest


def _closing(text: str, at: int, closer: str = ")", level: int = 0) -> int:
    """Where the bracket ends that was opened before `at`; those inside it, and quotes, do not."""
    opener = {")": "(", "}": "{"}[closer]
    depth = 1
    if level > _DEPTH_MAX:
        raise _UnreadableError
    while at < len(text):
        c = text[at]
        if c == "\\":
            at += 1
        elif c == "#" and closer == ")" and text[at - 1] in " \t\n;(":  # a comment, quotes and all
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
            continue
        elif c == "'" and closer == ")":
            at = text.find("'", at + 1)
            if at < 0:
                break
        elif c == '"':
            at = _closing_quote(text, at + 1, level + 1)
        elif c == "`":
            at = text.find("`", at + 1)
            if at < 0:
                break
        elif c == opener:
            depth += 1
        elif c == closer:
            depth -= 1
            if not depth:
                return at + 1
        at += 1
    raise _UnreadableError


def _closing_quote(text: str, at: int, level: int) -> int:
    """Where the double quotes end that were opened before `at`."""
    while at < len(text):
        c = text[at]
        if c == "\\":
            at += 1
        elif c == '"':
            return at
        elif text.startswith("$(", at):
            at = _closing(text, at + 2, level=level) - 1
        at += 1
    raise _UnreadableError
