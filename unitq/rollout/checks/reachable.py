"""Whether the workers' accounts can reach what they start: one look for each account."""

from __future__ import annotations

import os
import shlex
import shutil
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline.env_line import env_program
from unitq.cmdline.exec_line import executable, prefixes
from unitq.cmdline.script_file import script_file
from unitq.linux import confined, programs, reach
from unitq.linux.account import account, name_of
from unitq.linux.reach import ENTER, EXECUTE, READ, Need, Search
from unitq.model.finding import Finding, Level
from unitq.rollout.hook_process import program as hook_program
from unitq.systemd.envfile import assignments
from unitq.units.render import environment_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import PurePath

    from unitq.linux.reach import Obstacle
    from unitq.model.app import App, Hooks, Worker
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


# With one of these it is not known here which PATH it has.
_OTHER_PATH = frozenset({"Environment", "EnvironmentFile", "PassEnvironment", "UnsetEnvironment"})


class Start(NamedTuple):
    """What is started, and as whom: a worker by systemd, or a hook by unitq."""

    place: str  # in unitq.toml
    commands: tuple[tuple[str, str], ...]  # the key of each, and the command
    release: str  # that relative paths start at
    user: str | None  # None: whoever systemd itself runs as
    group: str = ""
    groups: tuple[str, ...] = ()  # SupplementaryGroups=
    directives: frozenset[str] = frozenset()
    path: str | None = None  # its PATH; None: unknown
    hook: bool = False


def of_app(
    app: App, code: Mapping[str, Code], *, user_scope: bool, path: str | None, folder: PurePath
) -> list[Finding]:
    """Returns what keeps workers and hooks from being started by their accounts.

    `path` is the PATH that systemd gives to services, None where it is unknown; `folder` the
    directory of unitq.toml.
    """
    workers = [_start(app, worker, code[worker.name], path) for worker in app.workers]
    hooks = _of_hooks(app.hooks, folder, user_scope=user_scope)
    return findings([*workers, *hooks], user_scope=user_scope)


def _start(app: App, worker: Worker, code: Code, path: str | None) -> Start:
    commands = [("command", worker.command)]
    if worker.probe:
        commands.append(("probe.command", worker.probe.command))
    own = dict(worker.service)
    environment: dict[str, str] = {}
    for file in code.files:
        environment |= assignments(file.decode(errors="replace"))
    environment |= dict(environment_of(app, worker, code))
    return Start(
        f"workers.{worker.name}",
        tuple(commands),
        code.release,
        worker.user,
        worker.group or "",
        tuple(name for line in own.get("SupplementaryGroups", ()) for name in line.split()),
        frozenset(own),
        environment.get("PATH", None if own.keys() & _OTHER_PATH else path),
    )


def _of_hooks(hooks: Hooks, folder: PurePath, *, user_scope: bool) -> Iterator[Start]:
    for name, hook in hooks:
        if hook.user is None:
            # What another one than root has in its environment says nothing of root's.
            environment = programs.environment() if user_scope or os.geteuid() == 0 else {}
        else:
            try:
                environment = account(hook.user).environment
            except LookupError:
                continue  # another finding says so
        yield Start(
            f"hooks.{name}",
            (("", shlex.join([str(hook_program(hook, folder)), *hook.command[1:]])),),
            os.path.abspath(folder),
            hook.user or (None if user_scope else "root"),
            path=environment.get("PATH"),
            hook=True,
        )


def findings(starts: Sequence[Start], *, user_scope: bool) -> list[Finding]:
    """Returns an error for what an account may not reach, and a note for what is not known.

    One child process for each account, whatever the number of workers.
    """
    by_rights: dict[confined.Rights | None, list[tuple[Start, str, Need]]] = {}
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
    results: list[Finding] = []
    named: set[tuple[str, str]] = set()
    for rights, asked in by_rights.items():
        answers = reach.obstacles([need for _, _, need in asked], rights)
        for (start, key, need), obstacle in zip(asked, answers or (), strict=False):
            if obstacle is None or (
                obstacle.missing and not obstacle.script and not obstacle.searched
            ):
                continue  # what is missing itself is for others to say
            # One that is in the way of all that a worker needs is said once.
            if (start.place, obstacle.path) not in named:
                named.add((start.place, obstacle.path))
                who = start.user or name_of(os.geteuid())
                results.append(_finding(start, key, who, need, obstacle))
    return results


def _rights(start: Start) -> confined.Rights:
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
    return confined.Rights(uid, gid, tuple(sorted({*groups, *map(number, start.groups)})))


def _needs(start: Start) -> list[tuple[str, Need]]:
    needs = [] if start.hook else [("directory", Need((start.release,), ENTER))]
    search = None
    if start.path is not None:
        search = Search(tuple(start.path.split(":")), start.release)
    for key, command in start.commands:
        script = script_file(command)
        words = [executable(command)]
        by_env = _by_env(command, search) if search else None
        if script and not by_env:
            words.append(script.interpreter)
        paths = (_program(word, start.release) for word in dict.fromkeys(words))
        needs += [(key, Need((path,), EXECUTE, search)) for path in paths if path]
        if by_env:
            needs.append((key, by_env))
        if script:
            files = tuple(os.path.join(start.release, p.removeprefix("./")) for p in script.paths)
            needs.append((key, Need(files, READ)))
    return needs


def _by_env(command: str, search: Search) -> Need | None:
    """Returns the program that `env NAME …` looks for; None where only its start tells."""
    bare = command.strip()
    if "\\" in bare or os.path.basename(executable(bare)) != "env":
        return None
    try:
        words = shlex.split(bare[len(prefixes(bare)) :])
    except ValueError:
        return None
    program = env_program(words[1:])
    if program is None or any(sign in f"{program.name}{program.path}" for sign in "%$"):
        return None
    if program.path is not None:
        search = search._replace(folders=tuple(program.path.split(":")))
    return Need((program.name,), EXECUTE, search)


def _program(word: str, release: str) -> str:
    """Returns the file that a program's name means; empty where only its start tells."""
    if not word or any(sign in word for sign in "%$\0"):
        return ""
    if "/" in word:
        return os.path.join(release, word.removeprefix("./"))
    return shutil.which(word, path=":".join(SEARCH_PATH)) or ""


def _finding(start: Start, key: str, who: str, need: Need, obstacle: Obstacle) -> Finding:
    place = f"{start.place}.{key}".removesuffix(".")
    asked = need.paths[0]
    script = f", which the first line of {obstacle.script} names" if obstacle.script else ""
    ends = _ENDS_OF_HOOK if start.hook else _ENDS
    why = _BY_ENV if obstacle.searched else ends[need.use]
    if obstacle.missing:
        return _missing(place, obstacle, script, why)
    owner = f"{name_of(obstacle.uid)}:{_group_of(obstacle.gid)}"
    what = f"{obstacle.path} (mode {obstacle.mode:04o}, {owner})"
    detour = f", on the way to {asked}" if obstacle.path != asked and not script else script
    if not obstacle.certain:
        return Finding(
            Level.NOTE,
            place,
            f"by its mode {who} may not {obstacle.use} {what}{detour}",
            "`sudo unitq check` asks as that account",
            "only root can tell for certain",
            "not-root",
        )
    if obstacle.noexec:
        return Finding(
            Level.ERROR,
            place,
            f"{obstacle.path} is on a file system that is mounted `noexec`{detour}",
            "move it, or mount the file system with `exec`",
            why,
        )
    message = f"{who} may not {obstacle.use} {what}{detour}"
    return Finding(Level.ERROR, place, message, _remedy(obstacle, asked, start), why)


def _missing(place: str, obstacle: Obstacle, script: str, why: str) -> Finding:
    name = obstacle.path
    if name.endswith("\r"):
        return Finding(
            Level.ERROR,
            place,
            f"the first line of {obstacle.script} ends in a carriage return",
            f"`sed -i 's/\\r$//' {shlex.quote(obstacle.script)}`",
            "it counts as a part of the name of the program that is to run the script",
        )
    if not obstacle.searched or "/" in name:
        return Finding(
            Level.ERROR,
            place,
            f"there is no {name}{script}",
            "install it, or make the environment (venv, bundle) anew where it is to run",
            why,
        )
    if " " in name:
        return Finding(
            Level.ERROR,
            place,
            f"env looks for a program that is called `{name}`{script}",
            f"write `env -S {name}` there",
            "all that follows `env` in a first line is one word (execve(2))",
        )
    return Finding(
        Level.ERROR,
        place,
        f"there is no program {name} on the PATH that it gets{script}",
        f"install it, or set PATH in `environment`; without that it is "
        f"{':'.join(obstacle.searched)}",
        why,
    )


_ENDS = {
    ENTER: "systemd cannot start the worker there (200/CHDIR)",
    EXECUTE: "systemd cannot start it as that account (203/EXEC)",
    READ: "the interpreter cannot open it, and ends at once",
}
_ENDS_OF_HOOK = _ENDS | {EXECUTE: "the hook cannot be started as that account"}
_BY_ENV = "env cannot start it, and ends at once (exit status 126 or 127)"


def _remedy(obstacle: Obstacle, asked: str, start: Start) -> str:
    if obstacle.path == "/root" or obstacle.path.startswith("/root/"):
        return (
            "move it out of root's home: UV_PYTHON_INSTALL_DIR=/opt/python for uv, "
            "PYENV_ROOT=/opt/pyenv for pyenv"
        )
    # Whoever made the link may want to read what it leads to.
    if obstacle.use == READ and not f"{asked}/".startswith(f"{obstacle.path}/"):
        return f"a link leads there: {asked} is to be a file that the account may read"
    letter = "r" if obstacle.use == READ else "x"
    other = "`user`" if start.hook else "`user` or `group`"
    return f"`chmod o+{letter} {obstacle.path}`, or another {other} that may enter it"


def _group_of(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
