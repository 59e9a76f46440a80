"""A Procfile (foreman, honcho, Heroku): `NAME: COMMAND`, each through a shell."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from unitq.errors import ConfigError
from unitq.model.app import INSTANCES_MAX
from unitq.supervisor.conf.ini import mistakes
from unitq.supervisor.conf.programs import Daemon, Process, Program, Read, Settings
from unitq.supervisor.importer import names as import_names
from unitq.supervisor.importer.draft import File
from unitq.supervisor.importer.report import Report
from unitq.supervisor.importer.translate import Import, Imported, add_workers, finish

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unitq.supervisor.importer.recognise import Recognise, Wishes
    from unitq.supervisor.importer.report import Part

LINE = re.compile(r"([A-Za-z0-9_-]+):[ \t]*(.+)")
_SECTION = re.compile(r"^\s*\[.+\]", re.MULTILINE)

_OTHERS = (".yml", ".yaml", ".json", ".toml", ".md")
_HINT = "a Procfile has lines such as `worker: bin/worker`, and Procfile in its name"

_PORT = 5000  # foreman's first, and 100 more for each further line
_PORT_STEP = 100
_WAIT = 5  # seconds: foreman's and honcho's time until SIGKILL
_NOT_RUN = {"release": "Heroku runs it once per release: before_deploy in [hooks] does"}


def looks_like(name: str, text: str) -> bool:
    """Whether this is a Procfile: by the file's name, or by each of its lines.

    foreman needs no blank behind the colon, but /etc/passwd has none, either: so a file that is not
    called so has to have it. YAML has it too, and is known by its name. Raises ConfigError for what
    is neither a Procfile nor has sections.
    """
    lines = [line for line in text.splitlines() if line.strip() and line.lstrip()[0] not in "#;"]
    if "procfile" in name.lower():
        if lines and not any(LINE.fullmatch(line.rstrip()) for line in lines):
            raise ConfigError(f"{name}: no line of it is NAME: COMMAND", hint=_HINT)
        return True
    if not lines or _SECTION.search(text):
        return False
    if not name.lower().endswith(_OTHERS) and all(
        LINE.fullmatch(line.rstrip()) and re.match(r"[^:]+:[ \t]", line) for line in lines
    ):
        return True
    raise ConfigError(
        f"{name}: neither a configuration of Supervisor (it has lines before any "
        "[section]) nor a Procfile (not every line is NAME: COMMAND)",
        hint=_HINT,
    )


def read(
    text: str,
    wishes: Wishes,
    recognise: Recognise,
    *,
    directory: str,
    env_file: str | None,
    formation: Mapping[str, int],
) -> Imported:
    """Returns the unitq.toml of a Procfile. `env_file` is the .env beside it, if there is one."""
    nothing = Read(Daemon({}), (), (), ())
    work = Import(nothing, wishes._replace(manager="foreman"), recognise, Report("", wishes.source))
    report = work.report
    seen: set[str] = set()
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        match = LINE.fullmatch(line.rstrip())
        if match is None:
            if line.strip() and not line.lstrip().startswith("#"):
                report.notes.append(f"line {number} is no NAME: COMMAND, and foreman ignores it")
            continue
        name, script = match[1], match[2]
        part = report.part(name)
        if name in seen:
            part.note("stands there twice; foreman takes the last, honcho refuses it: look at both")
        if name in _NOT_RUN:
            part.leave("command", _NOT_RUN[name])
            continue
        port = _PORT + _PORT_STEP * len(seen)
        seen.add(name)
        count = formation.get(name, formation.get("all", 1))
        if not 1 <= count <= INSTANCES_MAX:
            part.leave("command", f"no worker is written: {count} of it")
            continue
        for draft in add_workers(work, _program(part, name, script, port, count, directory), part):
            if env_file:
                draft.keys["environment_file"] = env_file
    if unknown := sorted(formation.keys() - seen - {"all"}):
        raise mistakes(wishes.source, [f"--formation: there is no {name}" for name in unknown])
    report.app = wishes.app or import_names.app(wishes.source, [directory], [])
    _closing(report, env_file)
    head = (f"Written by `unitq import` from {wishes.source}.",)
    return finish(work, File(report.app, head, work.drafts))


def _program(part: Part, name: str, script: str, port: int, count: int, directory: str) -> Program:
    """The program that Supervisor would have for a line, run and stopped as foreman does it."""
    variables: tuple[tuple[str, str], ...] = ()
    if re.search(r"\$\{?PORT\b", script) and count > 1:
        script = f"export PORT=$(({port - 1} + UNITQ_INSTANCE)); {script}"
        part.note(f"PORT is {port} and on, one for each instance, as foreman has it")
    elif re.search(r"\$\{?PORT\b", script):
        variables = (("PORT", str(port)),)
        part.note(f"PORT is {port}, as foreman would have it: set the one you use")
    command = shlex.join(("/bin/sh", "-c", script))
    settings = Settings(
        autorestart="always", stopwaitsecs=_WAIT, stopasgroup=True, numprocs=count, numprocs_start=1
    )
    processes = tuple(
        Process(name, number, command, variables, directory) for number in range(1, count + 1)
    )
    return Program("program", name, name, name, "", {}, settings, processes, None)


def _closing(report: Report, env_file: str | None) -> None:
    if env_file:
        report.notes.append(
            f"{env_file} is the environment_file: systemd reads it, which knows no ${{OTHER}} and "
            "no `export` in it; other .env files that you name with foreman -e are not read"
        )
    report.decisions.append('a Procfile names no user: add user = "…", or deploy with --user')
    report.decisions.append(
        "foreman passes its whole environment on, systemd does not: what a worker needs belongs "
        "into `environment` or `environment_file`"
    )
    report.notes.append(
        "foreman ends everything when one process ends; systemd starts that one again"
    )
