"""The little of a shell's language that can be read with certainty: simple commands, && and ;."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# What a shell does itself, or what begins more than a simple command.
OWN_WORDS = frozenset((
    "!", ".", ":", "[", "[[", "{", "}", "alias", "bg", "bind", "break", "builtin", "caller",
    "case", "cd", "command", "compgen", "continue", "coproc", "declare", "dirs", "disown", "do",
    "done", "echo", "elif", "else", "enable", "esac", "eval", "exec", "exit", "export", "false",
    "fc", "fg", "fi", "for", "function", "getopts", "hash", "help", "history", "if", "in",
    "jobs", "kill", "let", "local", "logout", "mapfile", "popd", "printf", "pushd", "pwd",
    "read", "readonly", "return", "select", "set", "shift", "shopt", "source", "suspend",
    "test", "then", "time", "times", "trap", "true", "type", "typeset", "ulimit", "umask",
    "unalias", "unset", "until", "wait", "while",
))  # fmt: skip

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_EXPANSION = re.compile(r"\$(?:[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?!$-]|\{[A-Za-z0-9_:=.,/+@#%^?*-]*\})")
_BLANK = " \t"


@dataclass(slots=True)
class Word:
    """One word: its text without quotes, and whether the shell would change nothing else in it."""

    text: str = ""
    start: int = 0
    literal: bool = True
    quoted_from: int = -1  # where in the text the first quote was; an assignment's name has none

    def assignment(self) -> tuple[str, str] | None:
        """`NAME=value` as a pair."""
        found = _ASSIGNMENT.fullmatch(self.text)
        if found is None or 0 <= self.quoted_from <= len(found[1]):
            return None
        return found[1], found[2]


@dataclass(slots=True)
class Command:
    """A simple command, and what stands behind it: "&&", ";", or nothing."""

    words: list[Word] = field(default_factory=list)
    redirects: int = 0  # how many words stand before the first redirection; 0: there is none
    then: str = ""

    @property
    def literal(self) -> bool:
        """Whether it is exactly its words."""
        return not self.redirects and all(word.literal for word in self.words)

    def assignments(self) -> list[tuple[str, str]]:
        """The assignments before the program."""
        found = []
        for word in self.words:
            pair = word.assignment()
            if pair is None:
                break
            found.append(pair)
        return found


def commands(script: str) -> list[Command] | None:
    """The simple commands of a script, in order; None where it is anything more than these."""
    try:
        return _Reader(script).all()
    except _MoreError:
        return None


class _MoreError(Exception):
    """There is something that this cannot read."""


class _Reader:
    def __init__(self, script: str) -> None:
        self.text = script.strip(" \t\n")
        self.offset = len(script) - len(script.lstrip(" \t\n"))
        self.at = 0
        self.found: list[Command] = []
        self.command = Command()
        self.word: Word | None = None

    def all(self) -> list[Command]:
        while self.at < len(self.text):
            self._step(self.text[self.at])
        self._end_command("")
        return self.found

    def _step(self, c: str) -> None:
        if c in _BLANK:
            self._end_word()
        elif c in "'\"\\$":
            self._quoting(c)
            return
        elif self.text.startswith("&&", self.at):
            self._end_command("&&")
            self.at += 2
            return
        elif c == ";" and not self.text.startswith(";;", self.at):
            self._end_command(";")
        elif c in "<>":
            self._redirect()
            return
        elif c in "&|;(){}`\n" or (c in "#!" and self.word is None):
            raise _MoreError
        else:
            self._add(c, literal=c not in "*?[~")
        self.at += 1

    def _quoting(self, c: str) -> None:
        word = self._current()
        if c != "$" and word.quoted_from < 0:
            word.quoted_from = len(word.text)
        if c == "'":
            end = self.text.find("'", self.at + 1)
            if end < 0:
                raise _MoreError
            self._add(self.text[self.at + 1 : end])
            self.at = end + 1
        elif c == "\\":
            following = self.text[self.at + 1 : self.at + 2]
            if not following or following == "\n":
                raise _MoreError
            self._add(following)
            self.at += 2
        elif c == "$":
            self._expansion()
        else:
            self._double()

    def _double(self) -> None:
        self.at += 1
        self._add("")
        while self.at < len(self.text) and (c := self.text[self.at]) != '"':
            following = self.text[self.at + 1 : self.at + 2]
            if c == "\\" and following and following in '$`"\\':
                self._add(following)
                self.at += 2
            elif c == "$":
                self._expansion()
            elif c == "`" or (c == "\\" and following == "\n"):
                raise _MoreError
            else:
                self._add(c)
                self.at += 1
        if self.at >= len(self.text):
            raise _MoreError
        self.at += 1

    def _expansion(self) -> None:
        found = _EXPANSION.match(self.text, self.at)
        if found:
            self._add(found[0], literal=False)
            self.at = found.end()
        elif self.text[self.at + 1 : self.at + 2] in ("(", "{", "'", '"'):
            raise _MoreError
        else:
            self._add("$")
            self.at += 1

    def _redirect(self) -> None:
        sign = re.match(r"(?:>>|>&|>\||<&|<>|>|<)", self.text[self.at :])
        if sign is None or self.text.startswith("<<", self.at):
            raise _MoreError
        if not self.command.words and (self.word is None or self.word.text.isdecimal()):
            raise _MoreError  # it stands before the program
        # What is behind it becomes a word of the command: it is not taken for literal any more.
        self.at += sign.end()
        before = len(self.command.words) + (self.word is not None)
        self.command.redirects = self.command.redirects or before

    def _current(self) -> Word:
        if self.word is None:
            self.word = Word(start=self.at + self.offset)
        return self.word

    def _add(self, text: str, *, literal: bool = True) -> None:
        word = self._current()
        word.text += text
        word.literal = word.literal and literal

    def _end_word(self) -> None:
        if self.word is not None:
            self.command.words.append(self.word)
        self.word = None

    def _end_command(self, then: str) -> None:
        self._end_word()
        if not self.command.words:
            if then or self.command.redirects or not self.found or self.found[-1].then == "&&":
                raise _MoreError
            self.found[-1].then = ""
            return
        self.command.then = then
        self.found.append(self.command)
        self.command = Command()
