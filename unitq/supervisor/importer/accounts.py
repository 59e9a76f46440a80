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

from unitq.cmdline.wrappers import Kind, take, unwrap, wrapper_of
from unitq.toml.values import InvalidValueError
from unitq.toml.values import user as checked_user

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHELL = "/bin/bash"  # the account's own is not known; bash runs what dash runs
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


class Account(NamedTuple):
    """A command without what changed the account before it."""

    tool: str  # su, sudo …
    arguments: tuple[str, ...]
    user: str
    group: str = ""
    login: bool = False  # it began in the account's home, with the account's profile
    environment: tuple[tuple[str, str], ...] = ()
    clean: bool = False  # the environment from before did not reach it


# What the options of each tool mean: "" those that make no difference here. One that is not in its
# table means that the tool does more than change the account.
_SU = {
    "script": "-c --command", "shell": "-s --shell", "group": "-g --group",
    "login": "- -l --login",
    "": "-m -p --preserve-environment -f --fast -P --pty -T --no-pty",
}  # fmt: skip
# su(1), runuser(1), sudo(8), doas(1), setpriv(1), gosu(1), su-exec, setuidgid(8), chpst(8).
_TOOLS: Mapping[str, Mapping[str, str]] = {
    "su": _SU,
    "runuser": _SU | {"user": "-u --user"},
    "sudo": {
        "user": "-u --user", "group": "-g --group", "login": "-i --login",
        "through": "-s --shell", "keeps": "-E --preserve-env",
        "": "-p --prompt -C -T --command-timeout -H --set-home -n --non-interactive -S --stdin -k "
        "-P --preserve-groups",
    },
    "doas": {"user": "-u", "through": "-s", "": "-n"},
    "setpriv": {
        "user": "--reuid", "group": "--regid",
        "": "--ruid --euid --init-groups --clear-groups --reset-env",
    },
    "chpst": {"user": "-u"},
    "gosu": {},
    "su-exec": {},
    "setuidgid": {},
    "s6-setuidgid": {},
}  # fmt: skip
_MEANING = {
    tool: {option: means for means, options in rows.items() for option in options.split()}
    for tool, rows in _TOOLS.items()
}


def without_account(arguments: Sequence[str]) -> Account | None:
    """Returns the command behind `su`, `sudo` …; None: it is none of these, or does more."""
    name = posixpath.basename(arguments[0])
    wrapper = wrapper_of(name)
    if name not in _TOOLS or wrapper is None:
        return None
    taken = take(wrapper, list(arguments))
    if taken is None:
        return None
    use, words, script = taken
    meaning = _MEANING[name]
    if not all(use.words) or not all(option in meaning for option, _ in use.options):
        return None
    means = {meaning[option]: value for option, value in use.options}
    if not all(means.get(key, "given") for key in ("user", "group", "shell")):
        return None
    user, _, group = (use.account or means.get("user", "root")).partition(":")
    login = "login" in means
    environment = []
    if script:
        if words:
            return None  # they are arguments of the shell
        words = [means.get("shell") or SHELL, "-lc" if login else "-c", script]
    elif name == "su" or (name == "runuser" and "user" not in means):
        return None  # a shell, for somebody to type into
    else:
        while words and (pair := _ASSIGNMENT.fullmatch(words[0])):
            environment.append((pair[1], pair[2]))
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
    except InvalidValueError:
        return False
    return True


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
