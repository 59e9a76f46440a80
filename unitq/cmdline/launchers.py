"""What stands between systemd and a worker: a shell, or a wrapper such as npm or flock."""

from __future__ import annotations

from unitq.cmdline import shell
from unitq.cmdline.exec_line import prefixes, words
from unitq.cmdline.shell import parse, script_of
from unitq.cmdline.wrappers import Kind, split, unwrap

_LEVELS = 5  # of shells that are replaced by shells


def words_of(command: str) -> list[str]:
    """Returns the words of a command line, without systemd's prefixes."""
    return split(command.strip()[len(prefixes(command)) :])


def shell_wrapped(command: str) -> str:
    """Returns the script that a shell is given with -c; empty where the command is no such shell.

    What becomes the shell by exec, such as env, is seen through.
    """
    try:
        found = unwrap(words(command))
    except ValueError:
        return ""
    if any(use.kind is not Kind.REPLACES for use in found.uses):
        return ""
    return found.script or script_of(found.words)


def stands_between(command: str) -> str:
    """Returns what gets the signal in the worker's place: "a shell", "npm"; empty: nothing.

    What passes the signal on to the worker is nothing of the kind.
    """
    return _between(words_of(command), 0)


def _between(written: list[str], level: int) -> str:
    found = unwrap(written)
    for use in found.uses:
        if use.kind in (Kind.KEEPS, Kind.ELSEWHERE):
            return use.name
    text = found.script or script_of(found.words)
    if not text:
        return ""
    script = parse(text)
    if not script.hands_over or level > _LEVELS:
        return "a shell"
    between = (_between(list(each.words), level + 1) for each in script.becomes)
    return next(filter(None, between), "")


def stays_above(command: str) -> bool:
    """Whether the main process is another one than the worker, also one that passes signals on."""
    uses = unwrap(words_of(command)).uses
    return bool(stands_between(command)) or any(use.kind is not Kind.REPLACES for use in uses)


def rewritten(command: str) -> str:
    """Returns the command line with `exec` before the worker's; empty where that takes more."""
    script = shell_wrapped(command)
    better = shell.with_exec(script) if script else ""
    # Only where the script stands there as it is, and not with quotes within quotes.
    if not better or command.count(script) != 1:
        return ""
    return command.replace(script, better)
