"""Whether the workers' accounts can reach what they start: one look for each account."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline.exec_line import executable
from unitq.cmdline.script_file import script_file
from unitq.linux import confined, reach
from unitq.linux.account import name_of
from unitq.linux.reach import ENTER, EXECUTE, READ, Need
from unitq.model.finding import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unitq.linux.reach import Obstacle
    from unitq.model.app import App, Worker
    from unitq.units.render import Code

# Where systemd looks for a program without a slash (systemd.exec(5), ExecSearchPath=).
SEARCH_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
# With one of these of the user's own a worker may see other files than we do, or have more rights.
ANOTHER_VIEW = frozenset(
    {
        "RootDirectory", "RootImage", "BindPaths", "BindReadOnlyPaths", "MountImages",
        "ExtensionImages", "ExtensionDirectories", "TemporaryFileSystem", "ExecStartPre",
        "ExecCondition",
    }
)  # fmt: skip
_MORE_RIGHTS = frozenset({"AmbientCapabilities", "PAMName", "ExecSearchPath"})


class Start(NamedTuple):
    """What systemd starts for a worker, and as whom."""

    place: str  # of the worker in unitq.toml
    commands: tuple[tuple[str, str], ...]  # the key of each, and the command
    release: str
    user: str | None  # None: whoever systemd itself runs as
    group: str = ""
    groups: tuple[str, ...] = ()  # SupplementaryGroups=
    directives: frozenset[str] = frozenset()


def of_app(app: App, code: Mapping[str, Code], *, user_scope: bool) -> list[Finding]:
    """Returns what keeps the workers of an app from being started by their accounts."""
    return findings([_start(worker, code[worker.name].release) for worker in app.workers],
                    user_scope=user_scope)  # fmt: skip


def _start(worker: Worker, release: str) -> Start:
    commands = [("command", worker.command)]
    if worker.probe:
        commands.append(("probe.command", worker.probe.command))
    own = dict(worker.service)
    return Start(
        f"workers.{worker.name}",
        tuple(commands),
        release,
        worker.user,
        worker.group or "",
        tuple(name for line in own.get("SupplementaryGroups", ()) for name in line.split()),
        frozenset(own),
    )


def findings(starts: Sequence[Start], *, user_scope: bool) -> list[Finding]:
    """Returns an error for what an account may not reach, and a note for what is not known.

    One child process for each account, whatever the number of workers.
    """
    by_rights: dict[confined.Account | None, list[tuple[Start, str, Need]]] = {}
    for start in starts:
        if start.directives & (ANOTHER_VIEW | _MORE_RIGHTS | {"DynamicUser"}):
            continue
        if not user_scope and not start.user:
            continue
        try:
            rights = None if user_scope or not start.user else _rights(start)
        except LookupError:
            continue  # another finding says so
        by_rights.setdefault(rights, []).extend((start, *need) for need in _needs(start))
    found: list[Finding] = []
    said: set[tuple[str, str]] = set()
    for rights, asked in by_rights.items():
        answers = reach.obstacles([need for _, _, need in asked], rights)
        for (start, key, need), obstacle in zip(asked, answers or (), strict=False):
            if obstacle is None or (obstacle.missing and not obstacle.script):
                continue  # what is missing itself is for others to say
            # One that is in the way of all that a worker needs is said once.
            if (start.place, obstacle.path) not in said:
                said.add((start.place, obstacle.path))
                who = start.user or name_of(os.geteuid())
                found.append(_finding(f"{start.place}.{key}", who, need, obstacle))
    return found


def _rights(start: Start) -> confined.Account:
    """As systemd sets them: initgroups(3) of the account, `Group=`, `SupplementaryGroups=`."""
    import grp
    import pwd

    user = start.user or ""
    try:
        entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
        name, uid, gid = entry.pw_name, entry.pw_uid, entry.pw_gid
    except KeyError:
        if not user.isdigit() or not start.group:
            raise
        name, uid, gid = "", int(user), 0

    def number(group: str) -> int:
        return int(group) if group.isdigit() else grp.getgrnam(group).gr_gid

    gid = number(start.group) if start.group else gid
    groups = os.getgrouplist(name, gid) if name else [gid]
    return confined.Account(uid, gid, tuple(sorted({*groups, *map(number, start.groups)})))


def _needs(start: Start) -> list[tuple[str, Need]]:
    found = [("directory", Need((start.release,), ENTER))]
    for key, command in start.commands:
        words = [(executable(command), EXECUTE)]
        script = script_file(command)
        if script:
            words.append((script.interpreter, EXECUTE))
        for word, use in dict.fromkeys(words):
            if path := _program(word, start.release):
                found.append((key, Need((path,), use)))
        if script:
            paths = tuple(os.path.join(start.release, p.removeprefix("./")) for p in script.paths)
            found.append((key, Need(paths, READ)))
    return found


def _program(word: str, release: str) -> str:
    """The file that a program's name means; empty where only its start tells."""
    if not word or any(sign in word for sign in "%$\0"):
        return ""
    if "/" in word:
        return os.path.join(release, word.removeprefix("./"))
    return shutil.which(word, path=":".join(SEARCH_PATH)) or ""


def _finding(place: str, who: str, need: Need, obstacle: Obstacle) -> Finding:
    asked = need.paths[0]
    script = f", which the first line of {obstacle.script} names" if obstacle.script else ""
    if obstacle.missing:
        return Finding(
            Level.ERROR,
            place,
            f"there is no {obstacle.path}{script}",
            "install it, or make the environment (venv, bundle) anew where it is to run",
            _ENDS[need.use],
        )
    owner = f"{name_of(obstacle.uid)}:{_group_of(obstacle.gid)}"
    what = f"{obstacle.path} (mode {obstacle.mode:04o}, {owner})"
    way = f", on the way to {asked}" if obstacle.path != asked and not script else script
    if not obstacle.certain:
        return Finding(
            Level.NOTE,
            place,
            f"by its mode {who} may not {obstacle.use} {what}{way}; only root can tell for certain",
            "`sudo unitq check` asks as that account",
            name="not-root",
        )
    if obstacle.noexec:
        return Finding(
            Level.ERROR,
            place,
            f"{obstacle.path} is on a file system that is mounted `noexec`{way}",
            "move it, or mount the file system with `exec`",
            _ENDS[need.use],
        )
    return Finding(
        Level.ERROR, place, f"{who} may not {obstacle.use} {what}{way}",
        _remedy(obstacle, asked), _ENDS[need.use],
    )  # fmt: skip


_ENDS = {
    ENTER: "systemd cannot start the worker there (200/CHDIR)",
    EXECUTE: "systemd cannot start it as that account (203/EXEC)",
    READ: "the interpreter cannot open it, and ends at once",
}


def _remedy(obstacle: Obstacle, asked: str) -> str:
    if obstacle.path == "/root" or obstacle.path.startswith("/root/"):
        return (
            "move it out of root's home: UV_PYTHON_INSTALL_DIR=/opt/python for uv, "
            "PYENV_ROOT=/opt/pyenv for pyenv"
        )
    if obstacle.use == READ and not f"{asked}/".startswith(f"{obstacle.path}/"):
        # Whoever made the link may want to read what it leads to.
        return f"a link leads there: {asked} is to be a file that the account may read"
    letter = "r" if obstacle.use == READ else "x"
    return f"`chmod o+{letter} {obstacle.path}`, or another `user` or `group` that may enter it"


def _group_of(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
