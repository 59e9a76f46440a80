"""A command without what stands around the worker: accounts, shells, loops, pipes to a log."""

from __future__ import annotations

import posixpath
import re
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from unitq.cmdline import exec_line
from unitq.cmdline.shell import script_at, simple
from unitq.cmdline.without_shell import Plain, plain
from unitq.supervisor.importer.accounts import before_account, without_account, without_init
from unitq.supervisor.importer.loops import Loop, loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from unitq.supervisor.importer.accounts import Account
    from unitq.supervisor.importer.recognise import Recognise

_LEVELS = 10  # sudo behind a shell behind su …

# What a log is piped into. The journal has what they were for.
_SINKS = frozenset({
    "tee", "cat", "logger", "ts", "systemd-cat", "cronolog", "rotatelogs", "multilog", "svlogd",
})  # fmt: skip
_PIECES = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.|\|\||\||[^'"\\|]+|.""", re.DOTALL)
_MORE_THAN_A_COMMAND = re.compile(r"[;&()<>\n`]")


@dataclass(frozen=True, slots=True)
class Peeled:
    """What is left of a command, and what stood around it."""

    plain: Plain
    accounts: tuple[Account, ...] = ()  # from the outside in; the last one counts
    shell: str = ""  # that was taken away; empty: none was
    loop: Loop | None = None  # that was taken away, as systemd starts the worker again
    timer: Loop | None = None  # that the command is: its body is not a worker
    sink: tuple[str, ...] = ()  # what its output was piped into

    @property
    def user(self) -> str:
        return self.accounts[-1].user if self.accounts else ""

    @property
    def group(self) -> str:
        return self.accounts[-1].group if self.accounts else ""

    @property
    def login(self) -> bool:
        return any(account.login for account in self.accounts)


def peel(
    arguments: tuple[str, ...],
    directory: str | None,
    environment: tuple[tuple[str, str], ...],
    *,
    home: Callable[[str], str | None],
    recognise: Recognise,
) -> Peeled:
    """Returns the command without its wrappers, as far as that is provably the same.

    `home` tells an account's home directory; `recognise` the framework of a command.
    """

    def is_worker(words: tuple[str, ...]) -> bool:
        return bool(
            words and words[0] and recognise(exec_line.line(words), directory or "/").preset
        )

    around = Peeled(Plain(arguments, directory))
    more: dict[str, str] = {}
    ahead: tuple[str, ...] = ()  # of all: `timeout 1h`
    for _ in range(_LEVELS):
        if (bare := without_init(arguments)) != arguments:
            arguments = bare
            continue
        before = before_account(arguments)
        if account := without_account(arguments[before.taken :]):
            around = replace(around, accounts=(*around.accounts, account))
            ahead += before.words
            more |= {} if account.clean else dict(before.environment)
            more |= dict(account.environment)
            directory = home(account.user) if account.login else directory
            arguments = account.arguments
            continue
        if place := script_at(arguments):
            at, script = place[0], arguments[place[0]]
            if piped := _without_pipe(script):
                arguments = (*arguments[:at], piped[0], *arguments[at + 1 :])
                around = replace(around, sink=piped[1])
                continue
            endless = loop(script)
            if endless and is_worker(endless.words):
                around = replace(around, loop=endless, shell=arguments[0])
                arguments = endless.words
                continue
            if endless and endless.interval:
                around = replace(around, timer=endless)
                break
        inner = plain(arguments, directory, (*environment, *more.items()))
        if not inner.unwrapped:
            break
        around = replace(around, shell=arguments[0])
        more |= dict(inner.environment)
        arguments, directory = inner.arguments, inner.directory
        if arguments[0].rpartition("/")[2] in ("", "."):
            break
    if directory is None and not around.timer:
        directory, arguments = _without_cd(arguments)
    command = plain(arguments, directory, environment)
    command = replace(
        command,
        arguments=(*ahead, *command.arguments),
        environment=tuple((more | dict(command.environment)).items()),
        unwrapped=bool(around.shell) and not command.script,
    )
    return replace(around, plain=command)


def _without_cd(arguments: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """Where a shell's script changes to at once, by a whole path, and the command without that."""
    place = script_at(arguments)
    steps = simple(arguments[place[0]]) if place else ()
    if place is None or len(steps) < 2:
        return None, arguments
    at, (first, then) = place[0], steps[0]
    changes = first.literal and then == "&&" and first.words[:1] == ("cd",)
    if not changes or len(first.words) != 2 or not first.words[1].startswith("/"):
        return None, arguments
    rest = arguments[at][steps[1].command.begin :]
    return first.words[1], (*arguments[:at], rest, *arguments[at + 1 :])


def _without_pipe(script: str) -> tuple[str, tuple[str, ...]] | None:
    """The script without its last pipe, and what that led to; None: to no log, or to more."""
    pipes = [piece.start() for piece in _PIECES.finditer(script) if piece[0] == "|"]
    if not pipes or script[: pipes[-1]].endswith(">"):
        return None
    right = script[pipes[-1] + 1 :].removeprefix("&")
    if _MORE_THAN_A_COMMAND.search(re.sub(r"'[^']*'|\"[^\"]*\"", "", right)):
        return None
    try:
        words = shlex.split(right)
    except ValueError:
        return None
    if not words or posixpath.basename(words[0]) not in _SINKS:
        return None
    left = re.sub(r"\s*2>&1\s*$", "", script[: pipes[-1]].rstrip())
    return (left, tuple(words)) if left else None


def tee_file(sink: tuple[str, ...]) -> str:
    """The file that `tee` wrote to; empty: none, several, or one by a relative path."""
    files = [word for word in sink[1:] if not word.startswith("-")]
    is_tee = bool(sink) and posixpath.basename(sink[0]) == "tee"
    return files[0] if is_tee and len(files) == 1 and files[0].startswith("/") else ""
