"""Where a worker runs and as whom: directory, user, umask, and the way to its program."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from unitq.cmdline import exec_line
from unitq.cmdline.script_file import script_file
from unitq.cmdline.shell import parse
from unitq.supervisor.importer.names import code_of
from unitq.toml.document import unsafe
from unitq.toml.values import InvalidValueError
from unitq.toml.values import path as checked_path
from unitq.toml.values import user as checked_user

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.cmdline.without_shell import Plain
    from unitq.supervisor.conf.programs import Daemon, Program
    from unitq.supervisor.importer.account import Part
    from unitq.supervisor.importer.peel import Peeled
    from unitq.supervisor.importer.toml_draft import Draft

_PATH_MAX = 4095


def directory(
    part: Part,
    draft: Draft,
    daemon: Daemon,
    found: Plain,
    wished: str | None,
) -> None:
    """The working directory. unitq needs one: it tells by it whether the code has changed."""
    own = found.directory
    if own is not None:
        path = _path(posixpath.join(daemon.directory or "/", own))
        if path is not None:
            draft.keys["directory"] = path
            return
        part.left("directory", "is no path that a unit could have")
    for folder in (daemon.directory, wished):
        path = _path(folder) if folder else None
        if path is not None:
            draft.keys["directory"] = path
            return
    code = code_of(found.arguments) or _code_in_shell(found)
    path = _path(code) if code else None
    if path is not None:
        draft.keys["directory"] = path
        return
    draft.keys["directory"] = "/"
    part.decide(
        'directory = "/": say where its code is, there or with --directory; until then every '
        "deploy restarts it"
    )


def _code_in_shell(found: Plain) -> str | None:
    """Where the worker's code is that a shell hands over to: where it changes to, or its script."""
    if not found.script or not found.hands_over:
        return None
    last = parse(found.script).commands[-1]
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
    found = list(arguments)
    for at, word in enumerate(arguments):
        is_script = at > 0 and word == script
        if (at == 0 or is_script) and word.startswith(inside) and ".." not in word.split("/"):
            rest = word[len(inside) :].lstrip("/")
            if not rest:
                return arguments
            # A name alone would be looked for on the search path.
            found[at] = rest if "/" in rest or is_script else f"./{rest}"
        if is_script:
            break
    return tuple(found)


def _path(text: str) -> str | None:
    """The path as unitq takes it; None where it does not."""
    clean = posixpath.normpath(text) if ".." in text.split("/") else text
    if unsafe(clean, _PATH_MAX):
        return None
    try:
        return checked_path(clean)
    except InvalidValueError:
        return None


def user(
    part: Part, program: Program, draft: Draft, daemon: Daemon, found: Peeled, *, user_scope: bool
) -> None:
    """Whose rights it has."""
    given = "user" in program.given
    name = found.user or (program.settings.user if given else daemon.user)
    if found.accounts:
        by = found.accounts[-1].by
        if user_scope:
            part.decide(f"{by} ran it as {name}; with --user it runs as you")
        else:
            part.note(f"{by} is gone: `user` does the same, and the worker is the main process")
        if found.group and not user_scope:
            draft.keys["group"] = found.group
        if given:
            part.changed("user", f"{name}: whom {by} ran it as")
            given = False
    if name is None:
        if not user_scope:
            # supervisord then runs it as itself: supervisor/options.py, ServerOptions.
            draft.keys["user"] = "root"
            part.decide('user = "root": supervisord ran it as itself. Does it need to be root?')
        return
    if user_scope:
        if given:
            part.left("user", "with --user every worker runs as you")
        return
    try:
        draft.keys["user"] = checked_user(name)
    except InvalidValueError as mistake:
        if given:
            part.left("user", str(mistake))
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
        part.left("umask", "expected an octal number up to 777")
        return
    if value != 0o022:  # systemd's own
        draft.keys["umask"] = f"{value:04o}"


def search_path(part: Part, draft: Draft, found: Plain, environment: Mapping[str, str]) -> None:
    """Where a program without a path is looked for."""
    program = found.arguments[0]
    if "/" in program:
        return
    path = environment.get("PATH")
    if path is None:
        part.note(
            f"{program} is looked for in systemd's search path; supervisord took its own $PATH. "
            "Write the whole path if `unitq check` does not find it"
        )
        return
    folders = [folder for folder in path.split(":") if folder]
    if not folders or any(_path(folder) is None or "%" in folder for folder in folders):
        part.note(
            f"{program} was looked for in PATH, which systemd cannot take: write its whole path"
        )
        return
    draft.service["ExecSearchPath"] = ":".join(folders)
    part.note(
        f"{program} is looked for in PATH by ExecSearchPath=, which needs systemd 250; its whole "
        "path would need nothing"
    )
