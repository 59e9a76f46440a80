"""Commands that change the account before they start another one: su, sudo, gosu and their likes.

systemd does that itself (`User=`), so the worker can be the unit's main process. A `su` or `sudo`
that stays above it gets the stop signal in its place: util-linux's su waits two seconds after
SIGTERM and then kills its child (login-utils/su-common.c, create_watching_parent).
"""

from __future__ import annotations

import posixpath
import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline.wrappers import Kind, unwrap
from unitq.toml.values import MistakeError
from unitq.toml.values import user as checked_user

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHELL = "/bin/bash"  # the account's own is not known; bash runs what dash runs
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


class Account(NamedTuple):
    """A command without what changed the account before it."""

    by: str  # su, sudo …
    arguments: tuple[str, ...]
    user: str
    group: str = ""
    login: bool = False  # it began in the account's home, with the account's profile
    environment: tuple[tuple[str, str], ...] = ()
    clean: bool = False  # the environment from before did not reach it


class _Tool(NamedTuple):
    """How its command line is read. What an option means: "" where it makes no difference here.

    An option that is in neither table means that the tool does more than change the account.
    """

    valued: Mapping[str, str]
    flags: Mapping[str, str] = {}
    operand: bool = False  # the account is its first operand
    permutes: bool = False  # options may follow operands


_SU = {
    "-c": "script", "--command": "script", "-s": "shell", "--shell": "shell", "-g": "group",
    "--group": "group",
}  # fmt: skip
_SU_FLAGS = {
    "-l": "login", "--login": "login", "-m": "", "-p": "", "--preserve-environment": "", "-f": "",
    "--fast": "", "-P": "", "--pty": "", "-T": "", "--no-pty": "",
}  # fmt: skip
_OPERAND = _Tool({}, operand=True)

# su(1), runuser(1), sudo(8), doas(1), setpriv(1), gosu(1), su-exec, setuidgid(8), chpst(8).
_TOOLS = {
    "su": _Tool(_SU, _SU_FLAGS, operand=True, permutes=True),
    "runuser": _Tool(
        _SU | {"-u": "user", "--user": "user"}, _SU_FLAGS, operand=True, permutes=True
    ),
    "sudo": _Tool(
        {"-u": "user", "--user": "user", "-g": "group", "--group": "group", "-p": "",
         "--prompt": "", "-C": "", "-T": "", "--command-timeout": ""},
        {"-i": "login", "--login": "login", "-s": "through", "--shell": "through", "-H": "",
         "--set-home": "", "-E": "keeps", "--preserve-env": "keeps", "-n": "",
         "--non-interactive": "",
         "-S": "", "--stdin": "", "-k": "", "-P": "", "--preserve-groups": ""},
    ),
    "doas": _Tool({"-u": "user"}, {"-n": "", "-s": "through"}),
    "setpriv": _Tool(
        {"--reuid": "user", "--ruid": "", "--euid": "", "--regid": "group"},
        {"--init-groups": "", "--clear-groups": "", "--reset-env": ""},
    ),
    "gosu": _OPERAND,
    "su-exec": _OPERAND,
    "setuidgid": _OPERAND,
    "s6-setuidgid": _OPERAND,
    "chpst": _Tool({"-u": "user"}),
}  # fmt: skip


def without_account(arguments: Sequence[str]) -> Account | None:
    """Returns the command behind `su`, `sudo` …; None: it is none of these, or does more."""
    name = posixpath.basename(arguments[0])
    tool = _TOOLS.get(name)
    if tool is None or (read := _options(tool, arguments[1:])) is None:
        return None
    means, words = read
    if name == "runuser" and "user" in means:
        tool = tool._replace(operand=False)
    if tool.operand:
        if words[:1] == ["-"]:
            means["login"], words = "", words[1:]
        if words:
            means["user"], words = words[0], words[1:]
    user, _, group = means.get("user", "root").partition(":")
    login = "login" in means
    environment = []
    if "script" in means:
        if words:
            return None  # they are arguments of the shell
        shell = means.get("shell") or SHELL
        words = [shell, "-lc" if login else "-c", means["script"]]
    elif name == "su" or (name == "runuser" and tool.operand):
        return None  # a shell, for somebody to type into
    else:
        while words and (found := _ASSIGNMENT.fullmatch(words[0])):
            environment.append((found[1], found[2]))
            words = words[1:]
        if words and (login or "through" in means):
            words = [SHELL, "-lc" if login else "-c", shlex.join(words)]
    group = means.get("group", group)
    if not words or not words[0] or not _is_name(user) or (group and not _is_name(group)):
        return None
    # sudo(8) and doas(1) begin with a new environment, and so does a login shell.
    clean = login or (name in ("sudo", "doas") and "keeps" not in means)
    return Account(name, tuple(words), user, group, login, tuple(environment), clean)


def _is_name(account: str) -> bool:
    """Whether it is one that unitq.toml takes: `sudo -u '#1000'` is not."""
    try:
        checked_user(account)
    except MistakeError:
        return False
    return True


def _options(tool: _Tool, words: Sequence[str]) -> tuple[dict[str, str], list[str]] | None:
    """What the options mean, and the operands; None where one is not known."""
    means: dict[str, str] = {}
    operands: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return means, [*operands, *rest]
        if not word.startswith("-") or word == "-":
            operands.append(word)
            if tool.permutes:
                continue
            return means, [*operands, *rest]
        for option, value in _split(tool, word):
            if option in tool.valued:
                if value is None and not rest:
                    return None
                means[tool.valued[option]] = rest.pop(0) if value is None else value
            elif option in tool.flags:
                means[tool.flags[option]] = ""
            else:
                return None
    return means, operands


def _split(tool: _Tool, word: str) -> list[tuple[str, str | None]]:
    """The options in one word: `--user=app`, `-uapp`, `-nu` (its value is the next word)."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return [(name, value if equals else None)]
    found: list[tuple[str, str | None]] = []
    for at, letter in enumerate(word[1:], start=2):
        option = f"-{letter}"
        if option in tool.valued:
            return [*found, (option, word[at:] or None)]
        found.append((option, None))
    return found


# Of containers: the first process there has to reap, and systemd's has not.
_INITS = frozenset({"tini", "tini-static", "dumb-init", "catatonit"})


def without_init(arguments: Sequence[str]) -> tuple[str, ...]:
    """Returns the command behind a container's init such as tini; as it is where there is none."""
    first = next(iter(unwrap(arguments).uses), None)
    ours = len(first.words) if first and first.name in _INITS else 0
    return tuple(arguments[ours:])


class Before(NamedTuple):
    """What stands before a command that changes the account, and works as well behind it."""

    taken: int = 0  # how many words that are
    words: tuple[str, ...] = ()  # to write before the command behind it, such as `timeout 1h`
    environment: tuple[tuple[str, str], ...] = ()


def before_account(arguments: Sequence[str]) -> Before:
    """Returns what is to be taken off so that su, sudo … stands first; empty: nothing is."""
    kept: list[str] = []
    environment: list[tuple[str, str]] = []
    taken = 0
    for use in unwrap(arguments).uses:
        while (pair := _ASSIGNMENT.fullmatch(arguments[taken])) is not None:
            environment.append((pair[1], pair[2]))
            taken += 1
        if use.name in _TOOLS:
            return Before(taken, tuple(kept), tuple(environment))
        plain = use.name != "env" or len(use.words) == 1
        if use.kind not in (Kind.REPLACES, Kind.PASSES_ON) or use.moves or not plain:
            break
        taken += len(use.words)
        kept += () if use.name == "env" else use.words
    return Before()
