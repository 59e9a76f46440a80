"""Where a worker runs and as whom: directory, user, umask, and the way to its program."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from unitq.cmdline import exec_line
from unitq.cmdline.script_file import script_file
from unitq.cmdline.shell import parse
from unitq.supervisor.importer.names import code_of
from unitq.supervisor.importer.recognise import SUPERVISOR
from unitq.toml.document import unsafe
from unitq.toml.values import InvalidValueError
from unitq.toml.values import path as checked_path
from unitq.toml.values import user as checked_user

if TYPE_CHECKING:
    from unitq.cmdline.without_shell import Plain
    from unitq.supervisor.conf.programs import Daemon, Program
    from unitq.supervisor.importer.draft import Draft
    from unitq.supervisor.importer.peel import Peeled
    from unitq.supervisor.importer.recognise import Wishes
    from unitq.supervisor.importer.report import Part

_PATH_MAX = 4095


def directory(part: Part, draft: Draft, daemon: Daemon, command: Plain, wished: str | None) -> None:
    """The working directory. unitq needs one: it tells by it whether the code has changed."""
    own = command.directory
    if own is not None:
        own = _path(posixpath.join(daemon.directory or "/", own))
        if own is None:
            part.leave("directory", "is no path that a unit could have")
    code = code_of(command.arguments) or _code_in_shell(command)
    paths = (own, *(_path(path) if path else None for path in (daemon.directory, wished, code)))
    chosen = next(filter(None, paths), None)
    draft.keys["directory"] = chosen or "/"
    if chosen is None:
        part.decide(
            'directory = "/": say where its code is, there or with --directory; until then every '
            "deploy restarts it"
        )


def _code_in_shell(command: Plain) -> str | None:
    """Where the worker's code is that a shell hands over to: where it changes to, or its script."""
    if not command.script or not command.hands_over:
        return None
    last = parse(command.script).commands[-1]
    if last.folder.startswith("/") and "$" not in last.folder:
        return last.folder
    return code_of(last.words)


def relative(arguments: tuple[str, ...], directory: str) -> tuple[str, ...]:
    """The program, and the script of an interpreter, without the directory that they run in.

    A worker that is started again after a crash gets its instance's release then, and not what
    lies there by that time. Other arguments stay: what becomes of them is the program's own affair.
    """
    inside = f"{directory.rstrip('/')}/"
    if inside == "/" or ".." in directory.split("/"):
        return arguments
    wanted = script_file(exec_line.line(arguments))
    script = wanted.paths[0] if wanted else None
    words = list(arguments)
    for at, word in enumerate(arguments):
        is_script = at > 0 and word == script
        if (at == 0 or is_script) and word.startswith(inside) and ".." not in word.split("/"):
            rest = word[len(inside) :].lstrip("/")
            if not rest:
                return arguments
            # A name alone would be looked for on the search path.
            words[at] = rest if "/" in rest or is_script else f"./{rest}"
        if is_script:
            break
    return tuple(words)


def _path(text: str) -> str | None:
    """The path as unitq takes it; None where it does not."""
    clean = posixpath.normpath(text) if ".." in text.split("/") else text
    if unsafe(clean, _PATH_MAX):
        return None
    try:
        return checked_path(clean)
    except InvalidValueError:
        return None


def user(part: Part, program: Program, draft: Draft, daemon: Daemon, wishes: Wishes) -> None:
    """Whose rights it has, unless `account` has said so."""
    given = "user" in program.given
    name = program.settings.user if given else daemon.user
    if wishes.user_scope:
        if given:
            part.leave("user", "with --user every worker runs as you")
    elif name is None and wishes.manager == SUPERVISOR:
        # supervisord then runs it as itself: supervisor/options.py, ServerOptions.
        draft.keys["user"] = "root"
        part.decide('user = "root": supervisord ran it as itself. Does it need to be root?')
    elif name is not None:
        _set_user(part, draft, name, given=given)


def account(part: Part, draft: Draft, peeled: Peeled, wishes: Wishes) -> None:
    """The account that su, sudo … before the command changed to."""
    tool, name = peeled.accounts[-1].tool, peeled.user
    if wishes.user_scope:
        part.decide(f"{tool} ran it as {name}; with --user it runs as you")
        return
    part.note(f"{tool} is gone: `user` does the same, and the worker is the main process")
    if peeled.group:
        draft.keys["group"] = peeled.group
    if "user" in part.given:
        part.change("user", f"{name}: {tool} ran it as this one")
    _set_user(part, draft, name, given=False)


def _set_user(part: Part, draft: Draft, name: str, *, given: bool) -> None:
    try:
        draft.keys["user"] = checked_user(name)
    except InvalidValueError as mistake:
        if given:
            part.leave("user", str(mistake))
        else:
            part.note(f"[supervisord] user is not carried over: {mistake}")
        return
    if name == "nobody":
        part.decide(
            "user nobody: systemd calls that not safe, as anything else that runs as nobody can "
            "reach it, and `unitq check` refuses it: give it a user of its own"
        )


def umask(part: Part, program: Program, draft: Draft, daemon: Daemon) -> None:
    """Permissions that new files do not get."""
    own = program.settings.umask
    value = own if own is not None else daemon.umask
    if value is None:
        return
    if not 0 <= value <= 0o777:
        part.leave("umask", "expected an octal number up to 777")
        return
    if value != 0o022:  # systemd's own
        draft.keys["umask"] = f"{value:04o}"


def search_path(part: Part, draft: Draft, program: str, path: str | None, manager: str) -> None:
    """Where a program without a path is looked for. `path`: $PATH, where that is set."""
    if "/" in program:
        return
    folders = [folder for folder in (path or "").split(":") if folder]
    if path is None:
        part.note(
            f"{program} is looked for in systemd's search path; {manager} took its own $PATH. "
            "Write the whole path if `unitq check` does not find it"
        )
    elif not folders or any(_path(folder) is None or "%" in folder for folder in folders):
        part.note(
            f"{program} was looked for in PATH, which systemd cannot take: write its whole path"
        )
    else:
        draft.service["ExecSearchPath"] = ":".join(folders)
        part.note(
            f"{program} is looked for in PATH by ExecSearchPath=, which needs systemd 250; its "
            "whole path would need nothing"
        )
