"""What must be true of this machine before a deploy may change anything."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from unitq.cmdline.exec_line import executable, keeps_to_user
from unitq.cmdline.invocation import interpreter
from unitq.cmdline.script_file import script_file
from unitq.cmdline.shell import program_instead
from unitq.cmdline.wrappers import SHELLS
from unitq.cmdline.wrappers import wrapper_of as wrapper_named
from unitq.config.exposure_lint import applies
from unitq.linux import programs, text_file
from unitq.linux.account import name_of
from unitq.linux.trust import ANYONE, ROOT, Control, Why, absolute
from unitq.model.app import CodeVersion
from unitq.model.finding import Certainty, Finding, Level
from unitq.model.hardening import DIRECTIVES, Hardening
from unitq.revisions import git
from unitq.revisions.code import is_changed
from unitq.rollout.checks import reachable
from unitq.rollout.checks.reachable import ANOTHER_VIEW, SEARCH_PATH
from unitq.rollout.hook_process import program
from unitq.units.text import YES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import PurePath

    from unitq.model.app import App, Hook, Hooks, Worker
    from unitq.units.render import Code, UnitText

_VERIFY_SECONDS = 60.0
_RENDER = "`unitq render` prints the unit"


def of_app(
    app: App,
    code: Mapping[str, Code],
    *,
    user_scope: bool,
    folder: PurePath,
    path: str | None = None,
) -> list[Finding]:
    """Returns what is missing on this machine: users, groups, programs, of workers and of hooks.

    `folder` is the directory of unitq.toml; `path` the PATH that systemd gives to services, None
    where it is unknown.
    """
    missing = [] if user_scope else _rootless(app)
    findings = missing + [
        finding
        for worker in app.workers
        for finding in (
            *_accounts(worker, code[worker.name].release, user_scope=user_scope),
            *_programs(worker, code[worker.name].release),
            *_writable(worker, code[worker.name].release, user_scope=user_scope),
        )
    ]
    findings += of_hooks(app.hooks, folder, user_scope=user_scope)
    # Of what is missing altogether something is said already.
    wrong = {finding.place for finding in findings if finding.level is Level.ERROR}
    unreachable = reachable.of_app(app, code, user_scope=user_scope, path=path, folder=folder)
    findings += [finding for finding in unreachable if finding.place not in wrong]
    return findings + _mail(app) + _checkouts(app, code)


def _checkouts(app: App, code: Mapping[str, Code]) -> list[Finding]:
    """Returns where no commit says which code it is, and so every deploy restarts the workers."""
    findings: dict[str, Finding] = {}
    for worker in app.workers:
        place = f"workers.{worker.name}.directory"
        version = code[worker.name]
        if is_changed(version):
            findings.setdefault(
                version.release,
                Finding(
                    Level.WARNING,
                    place,
                    f"{version.release} has changes that are not committed",
                    "commit them, or list what workers write there in .gitignore",
                    "no rollback brings them back, later ones are not noticed, and every deploy "
                    "restarts the workers",
                    "uncommitted",
                    Certainty.CERTAIN,
                ),
            )
        if app.code_version is not CodeVersion.AUTO:
            continue
        try:
            git.find(os.path.realpath(worker.directory))
        except git.RefusedError as error:
            findings[str(error)] = Finding(
                Level.WARNING,
                place,
                f"git is not asked for the version: {error}",
                "`chown -R` it to one account",
                "until then every deploy restarts the workers",
                "no-git",
                Certainty.CERTAIN,
            )
    return list(findings.values())


def _writable(worker: Worker, release: str, *, user_scope: bool) -> list[Finding]:
    """Paths that are to be writable and are not there: systemd would not start the worker."""
    if user_scope or worker.hardening is not Hardening.STRICT or not os.path.isdir(release):
        return []
    place, findings = f"workers.{worker.name}.writable", []
    private = _TMP if applies(worker, "PrivateTmp") else ()
    for key, named in (("directory", [release]), ("writable", worker.writable)):
        for path in named:
            if any(Path(path).is_relative_to(folder) for folder in private):
                message = f'{path}: under hardening = "strict" the worker has a /tmp of its own'
                hint = "move it, or set PrivateTmp = false in [service]"
                why = "what others have there is not there for it"
                key_place = f"workers.{worker.name}.{key}"
                findings.append(Finding(Level.ERROR, key_place, message, hint, why))
    for path in worker.writable:
        where = Path(release, path)
        try:
            where.stat()
        except PermissionError:
            continue  # whether root sees it is not for us to say
        except OSError as error:
            below = "" if path.startswith("/") else ", in the code that `directory` leads to"
            message = f"{path}{below}: {where}: {error.strerror}"
            why = "the worker would not start (226/NAMESPACE)"
            findings.append(Finding(Level.ERROR, place, message, "make it, or leave it out", why))
    return findings


_TMP = ("/tmp", "/var/tmp")  # noqa: S108  (we write nothing there)

# What `sendmail` hands a mail over by, in Postfix, Exim and Sendmail.
_MAILERS = ("/usr/sbin/postdrop", "/usr/sbin/exim4", "/usr/sbin/exim", "/usr/sbin/sendmail")


def _mail(app: App) -> list[Finding]:
    """Returns whether jobs can still send mail by this machine's `sendmail`."""
    if not any(applies(worker, "NoNewPrivileges") and not worker.root for worker in app.workers):
        return []
    for mailer in _MAILERS:
        try:
            mode = os.stat(mailer).st_mode
        except OSError:
            continue
        if mode & (stat.S_ISUID | stat.S_ISGID):
            return [
                Finding(
                    Level.NOTE,
                    "hardening",
                    "PHP's mail() and `sendmail` fail in jobs",
                    "send by SMTP (localhost:25), or set NoNewPrivileges = false in [service]",
                    f"{mailer} is setuid or setgid, and NoNewPrivileges takes that away",
                    "mail",
                )
            ]
    return []


def of_hooks(hooks: Hooks, directory: PurePath, *, user_scope: bool) -> list[Finding]:
    """Returns which programs of hooks cannot be run; `directory` is the one of unitq.toml."""
    findings = []
    for name, hook in hooks:
        path = program(hook, directory)
        hint = ""
        if "/" not in hook.command[0]:
            hint = "write its whole path; $PATH is not searched for hooks"
        elif not hook.command[0].startswith("/"):
            hint = f"a relative path starts at the directory of the configuration, {directory}"
        missing = _runnable(path, f"hooks.{name}", hint)
        findings += missing
        if hook.user is not None:
            findings += _account(hook.user, "user", f"hooks.{name}", user_scope=user_scope)
        elif not missing and not user_scope:
            findings += _of_roots_hook(hook, directory, f"hooks.{name}")
    return findings


def _of_roots_hook(hook: Hook, directory: PurePath, place: str) -> list[Finding]:
    """Returns what another account than root could make this hook do as root."""
    for file in _run_by(hook, directory):
        if control := _other_owner(file):
            owner = "" if control.uid == ANYONE else name_of(control.uid)
            return [
                Finding(
                    Level.ERROR,
                    place,
                    f"would run {file} as root",
                    f'`{{ command = […], user = "{owner or "www-data"}" }}` runs it with that '
                    f"account's rights; or: {text_file.mend(control)}",
                    text_file.describe(str(file), control),
                )
            ]
    return []


def _run_by(hook: Hook, directory: PurePath) -> Iterator[Path]:
    """Yields the program of a hook; behind an interpreter and the like, the files up to its script.

    As they are found at the hook's start: relative paths are below the directory of unitq.toml.
    """
    for number, word in enumerate(hook.command):
        path = program(hook, directory) if number == 0 else Path(absolute(directory)) / word
        there = os.path.isfile(path)
        if there or (number and "/" in word and not word.startswith("-")):
            yield path
        name = path.name
        if there and not (wrapper_named(name) or name in SHELLS or interpreter(name)):
            return


def of_owner(app: App, path: PurePath) -> list[Finding]:
    """Returns what is said each time of a file that another account than root decides about."""
    if app.owner is None:
        return []
    return [
        Finding(
            Level.NOTE,
            str(path),
            f"{app.owner} may change this file, and root obeys it",
            "`unitq trust` lists such files",
            sure=Certainty.CERTAIN,
        )
    ]


def _other_owner(path: PurePath) -> Control | None:
    try:
        return text_file.foreign(path)
    except OSError as error:
        if os.geteuid() != ROOT or error.errno == errno.ENAMETOOLONG:
            return None  # root will see it; or there is no such file
        return Control(ANYONE, str(path), Why.MAY_WRITE)  # who decides is unknown


def _accounts(worker: Worker, release: str, *, user_scope: bool) -> list[Finding]:
    place = f"workers.{worker.name}"
    findings: list[Finding] = []
    for key, name in (("user", worker.user), ("group", worker.group)):
        if name:
            findings += _account(name, key, place, user_scope=user_scope)
    if not user_scope:
        findings += _of_root(worker, place, release)
    return findings


def _account(name: str, key: str, place: str, *, user_scope: bool) -> list[Finding]:
    """Returns an account or group that does not exist, or that cannot be had."""
    if user_scope:
        return [
            Finding(
                Level.ERROR,
                f"{place}.{key}",
                "with --user every worker runs as you",
                f"leave `{key}` out, or deploy in system scope (as root, without --user)",
                "a user's systemd cannot change that",
            )
        ]
    if _exists(name, "passwd" if key == "user" else "group"):
        return []
    return [
        Finding(
            Level.ERROR,
            f"{place}.{key}",
            f"there is no {key} {name} on this machine",
            f"`{'useradd --system' if key == 'user' else 'groupadd --system'} {name}`",
        )
    ]


def _of_root(worker: Worker, place: str, release: str) -> list[Finding]:
    """Returns what others could make a worker run that runs as root."""
    if worker.user is None or not _is_root(worker.user):
        return _of_prefixes(worker, place)
    findings = []
    for number, path in enumerate(worker.environment_files):
        if control := _other_owner(Path(path)):
            findings.append(
                Finding(
                    Level.ERROR,
                    f"{place}.environment_file[{number}]",
                    "would decide what root runs",
                    text_file.mend(control),
                    text_file.describe(path, control),
                )
            )
    if control := _other_owner(Path(release)):
        findings.append(
            Finding(
                Level.WARNING,
                f"{place}.user",
                "runs as root what others can change",
                "give it a user of its own",
                text_file.describe(release, control),
            )
        )
    return findings


def _of_prefixes(worker: Worker, place: str) -> list[Finding]:
    commands = {"command": worker.command}
    if worker.probe:
        commands["probe.command"] = worker.probe.command
    return [
        Finding(
            Level.ERROR,
            f"{place}.{key}",
            "runs with root's rights and not with those of `user`",
            'leave these out; user = "root" is for what has to be root',
            'a "+" or "!" before a program does that, also behind a ";"',
        )
        for key, command in commands.items()
        if not keeps_to_user(command)
    ]


def _rootless(app: App) -> list[Finding]:
    """Returns where it is not said as whom workers run: once where it is said for none."""
    without = [
        f"workers.{worker.name}.user"
        for worker in app.workers
        if worker.user is None
        and dict(worker.service).get("DynamicUser", ("no",))[-1].lower() not in YES
    ]
    places = ["user"] if len(without) == len(app.workers) else without
    return [
        Finding(
            Level.ERROR,
            place,
            "missing",
            f'add user = "{app.owner}"'
            if app.owner
            else 'add user = "www-data", or another account; user = "root" only if they need root',
            "the workers would run as root",
        )
        for place in places
    ]


def _is_root(user: str) -> bool:
    import pwd

    if user.isdigit():
        return int(user) == ROOT
    try:
        return pwd.getpwnam(user).pw_uid == ROOT
    except KeyError:
        return False


def _exists(name: str, database: str) -> bool:
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
    folders = ":".join(search).split(":") if search else SEARCH_PATH
    findings = []
    for command, where in commands:
        findings += _program(command, release, where, folders) or (
            [] if own.keys() & ANOTHER_VIEW else _script(command, release, where)
        )
    return findings


def of_command(command: str, release: str, place: str, directives: frozenset[str]) -> list[Finding]:
    """Returns what keeps an installed command from starting; `directives` are those of its unit."""
    if directives & (ANOTHER_VIEW | {"ExecSearchPath"}):
        return []  # it may see other files than we do
    return _program(command, release, place, SEARCH_PATH) or _script(command, release, place)


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
                f"write ./{name}: it is in `directory`"
                if os.path.isfile(os.path.join(release, name))
                else program_instead(name) or "install it, or write its whole path",
                "systemd looks nowhere else, and does not use your $PATH",
            )
        ]
    if not name.startswith("/") and not os.path.isdir(release):
        return []  # of the directory something is said already
    return _runnable(Path(release, name), place)


def _script(command: str, release: str, place: str) -> list[Finding]:
    """Returns a file that its interpreter will not find. What may not be looked at says nothing."""
    wanted = script_file(command)
    if wanted is None or not (wanted.paths[0].startswith("/") or os.path.isdir(release)):
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
        path.stat()
    except PermissionError:
        return []  # whether root sees it is not for us to say
    except (OSError, ValueError):
        hint = hint or "install it, or correct the path"
        return [Finding(Level.ERROR, place, f"there is no program {path}", hint)]
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        return [
            Finding(Level.ERROR, place, f"{path} is not executable", f"`chmod +x {path}`"),
        ]
    return []


def verify(units: Sequence[UnitText], *, user_scope: bool) -> list[Finding]:
    """Returns what systemd's own parser says of the unit texts, before any of them is installed."""
    with programs.temporary("unitq-verify-") as folder:
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
            return [
                Finding(
                    Level.ERROR,
                    "units",
                    f"systemd-analyze verify cannot be run: {error}",
                    "it comes with systemd",
                    "mistakes in the units would be found by the first start only",
                )
            ]
        output = done.stderr.decode(errors="replace").replace(f"{folder}/", "")
    complaints = list(dict.fromkeys(_complaints(output, units)))
    if done.returncode and not complaints and "is not executable" not in output:
        # A failure in words that we do not know must not pass as success.
        lines = output.strip().splitlines() or [f"exit status {done.returncode}"]
        message = f"systemd-analyze verify: {lines[-1]}"
        complaints.append(Finding(Level.ERROR, "units", message, _RENDER))
    return complaints


def _complaints(output: str, units: Sequence[UnitText]) -> list[Finding]:
    findings = []
    for line in output.splitlines():
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
        # Of a line that an older systemd does not know; it leaves that one out.
        unknown = re.match(r"Unknown (?:key name|lvalue) '(\w+)'", match["what"])
        level = Level.NOTE if unknown and unknown[1] in DIRECTIVES else Level.ERROR
        why = "it leaves that line out" if level is Level.NOTE else ""
        message = match["what"].removesuffix(".")
        findings.append(Finding(level, place, f"systemd says: {message}", _RENDER, why))
    return findings
