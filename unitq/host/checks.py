"""What must be true of this machine before a deploy may change anything."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from unitq.core.commandline import executable, of_the_shell
from unitq.core.errors import PreflightError
from unitq.core.finding import Finding, Level
from unitq.core.model import CodeVersion
from unitq.core.scriptfile import script_file
from unitq.host.hooks import program
from unitq.linux import git, programs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import PurePath

    from unitq.core.model import App, Hooks, Worker
    from unitq.core.render import Code, UnitText

# Where systemd looks for a program without a slash (systemd.exec(5), ExecSearchPath=).
_SEARCH_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_VERIFY_SECONDS = 60.0
# With one of these of the user's own a worker may see other files than we do.
_ANOTHER_VIEW = frozenset(
    {
        "RootDirectory", "RootImage", "BindPaths", "BindReadOnlyPaths", "MountImages",
        "ExtensionImages", "ExtensionDirectories", "TemporaryFileSystem", "ExecStartPre",
        "ExecCondition",
    }
)  # fmt: skip


def of_app(app: App, code: Mapping[str, Code], *, user_scope: bool) -> list[Finding]:
    """What is missing on this machine: users, groups, programs."""
    return [
        finding
        for worker in app.workers
        for finding in (
            *_accounts(worker, user_scope=user_scope),
            *_programs(worker, code[worker.name].release),
        )
    ] + _checkouts(app)


def _checkouts(app: App) -> list[Finding]:
    """Where git is not asked, and so every deploy restarts the workers."""
    if app.code_version is not CodeVersion.AUTO:
        return []
    found = {}
    for worker in app.workers:
        try:
            git.find(os.path.realpath(worker.directory))
        except git.RefusedError as error:
            found[str(error)] = Finding(
                Level.WARNING,
                f"workers.{worker.name}.directory",
                f"git is not asked for the version: {error}",
                "`chown -R` it to one account; until then every deploy restarts the workers",
            )
    return list(found.values())


def of_hooks(hooks: Hooks, directory: PurePath) -> list[Finding]:
    """Which programs of hooks cannot be run; `directory` is the one of unitq.toml."""
    found = []
    for name, hook in hooks:
        path = program(hook, directory)
        hint = ""
        if "/" not in hook.command[0]:
            hint = "write its whole path; $PATH is not searched for hooks"
        found += _runnable(path, f"hooks.{name}", hint)
    return found


def _accounts(worker: Worker, *, user_scope: bool) -> list[Finding]:
    place = f"workers.{worker.name}"
    if user_scope and (worker.user or worker.group):
        key = "user" if worker.user else "group"
        return [
            Finding(
                Level.ERROR,
                f"{place}.{key}",
                "with --user every worker runs as you; a user's manager cannot change that",
                f"leave `{key}` out, or deploy in system scope (as root, without --user)",
            )
        ]
    found = []
    for key, name, database in (
        ("user", worker.user, "passwd"),
        ("group", worker.group, "group"),
    ):
        if name and not _known(name, database):
            found.append(
                Finding(
                    Level.ERROR,
                    f"{place}.{key}",
                    f"there is no {key} {name} on this machine",
                    f"`{'useradd --system' if key == 'user' else 'groupadd --system'} {name}`",
                )
            )
    return found


def _known(name: str, database: str) -> bool:
    import grp
    import pwd

    try:
        if database == "passwd":
            pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        else:
            grp.getgrgid(int(name)) if name.isdigit() else grp.getgrnam(name)
    except KeyError:
        # systemd runs a unit under a number that has no name.
        return name.isdigit()
    return True


def _programs(worker: Worker, release: str) -> list[Finding]:
    place = f"workers.{worker.name}"
    commands = [(worker.command, f"{place}.command")]
    if worker.probe:
        commands.append((worker.probe.command, f"{place}.probe.command"))
    own = dict(worker.service)
    search = own.get("ExecSearchPath", ())
    folders = ":".join(search).split(":") if search else _SEARCH_PATH
    found = []
    for command, where in commands:
        found += _program(command, release, where, folders) or (
            [] if own.keys() & _ANOTHER_VIEW else _script(command, release, where)
        )
    return found


def _program(command: str, release: str, place: str, folders: Sequence[str]) -> list[Finding]:
    name = executable(command)
    if "%" in name or "$" in name or any("%" in folder for folder in folders):
        return []
    if "/" not in name:
        if any(os.access(f"{folder}/{name}", os.X_OK) for folder in folders):
            return []
        return [
            Finding(
                Level.ERROR,
                place,
                f"there is no program {name} in {':'.join(folders)}",
                of_the_shell(name)
                or "install it, or write its whole path; systemd does not use your $PATH",
            )
        ]
    return _runnable(Path(release, name), place)


def _script(command: str, release: str, place: str) -> list[Finding]:
    """A file that its interpreter will not find. What may not be looked at says nothing."""
    wanted = script_file(command)
    if wanted is None:
        return []
    for path in wanted.paths:
        try:
            os.stat(os.path.join(release, path))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            pass
        return []
    missing = Path(release, wanted.paths[0])
    return [
        Finding(
            Level.ERROR,
            place,
            f"there is no file {missing}, which {wanted.interpreter} is to run",
            "paths in a command are relative to `directory`",
        )
    ]


def _runnable(path: Path, place: str, hint: str = "") -> list[Finding]:
    try:
        there = path.exists()
    except PermissionError:
        return []  # whether root sees it is not for us to say
    if not there:
        return [Finding(Level.ERROR, place, f"there is no program {path}", hint)]
    if not path.is_file() or not os.access(path, os.X_OK):
        return [
            Finding(Level.ERROR, place, f"{path} is not executable", f"`chmod +x {path}`"),
        ]
    return []


def verify(units: Sequence[UnitText], *, user_scope: bool) -> list[Finding]:
    """What systemd's own parser says of the unit texts, before any of them is installed."""
    # Not root's TMPDIR: it may be another's, who could replace what is made there.
    place = "/tmp" if os.geteuid() == 0 else None  # noqa: S108
    with tempfile.TemporaryDirectory(prefix="unitq-verify-", dir=place) as folder:
        for unit in units:
            Path(folder, unit.name).write_text(unit.text, encoding="utf-8")
        services = [unit.name for unit in units if unit.name.endswith(".service")]
        scope = ["--user"] if user_scope else []
        try:
            done = subprocess.run(
                [
                    programs.path_of("systemd-analyze"),
                    *scope,
                    "verify",
                    "--man=no",
                    "--recursive-errors=no",
                    *(f"{folder}/{name}" for name in services),
                ],
                check=False,
                capture_output=True,
                timeout=_VERIFY_SECONDS,
                # Ours come first; the rest of the machine's units stay in sight.
                env=programs.environment()
                | {"SYSTEMD_UNIT_PATH": f"{folder}:", "SYSTEMD_LOG_TARGET": "console"},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PreflightError(f"systemd-analyze verify cannot be run: {error}") from error
        said = done.stderr.decode(errors="replace").replace(f"{folder}/", "")
    found = list(dict.fromkeys(_complaints(said, units)))
    if done.returncode and not found and "is not executable" not in said:
        # A failure in words that we do not know must not pass as success.
        lines = said.strip().splitlines() or [f"exit status {done.returncode}"]
        found.append(Finding(Level.ERROR, "units", f"systemd-analyze verify: {lines[-1]}"))
    return found


def _complaints(said: str, units: Sequence[UnitText]) -> list[Finding]:
    found = []
    for line in said.splitlines():
        # "unitq-shop-sms@.service:14: …", or of a loaded instance "unitq-shop-sms@i.service: …"
        match = re.match(r"(?P<unit>unitq-[^\s:]+?):(?:(?P<line>\d+):)? (?P<what>.*)", line)
        # Programs are checked by us: the pin that leads to a relative one may not be there yet.
        if not match or "is not executable" in match["what"]:
            continue
        name = re.sub(r"@[^.]*\.", "@.", match["unit"])
        text = next((unit.text for unit in units if unit.name == name), "")
        place = name
        if match["line"]:
            quoted = text.splitlines()[int(match["line"]) - 1 : int(match["line"])]
            place = f"{name}, line {match['line']}" + (f" ({quoted[0]})" if quoted else "")
        found.append(Finding(Level.ERROR, place, f"systemd says: {match['what']}"))
    return found
