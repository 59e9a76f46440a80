"""A Procfile (foreman, honcho, Heroku): `NAME: COMMAND`, each through a shell."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from unitq.cmdline import exec_line
from unitq.cmdline.without_shell import Plain, plain
from unitq.errors import ConfigError
from unitq.model.app import INSTANCES_MAX, KillMode
from unitq.supervisor.conf.ini import mistakes
from unitq.supervisor.importer import check_notes, command_notes, not_workers
from unitq.supervisor.importer import names as import_names
from unitq.supervisor.importer.account import Report
from unitq.supervisor.importer.paths_and_user import relative
from unitq.supervisor.importer.peel import peel
from unitq.supervisor.importer.stop_options import above, by_preset
from unitq.supervisor.importer.toml_draft import Draft, File, checked_line, variables
from unitq.supervisor.importer.translate import Imported
from unitq.toml.values import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from unitq.presets.model import Preset
    from unitq.supervisor.importer.account import Part
    from unitq.supervisor.importer.detect import Looks, Recognise
    from unitq.supervisor.importer.translate import Wishes

LINE = re.compile(r"([A-Za-z0-9_-]+):[ \t]*(.+)")
_SECTION = re.compile(r"^\s*\[.+\]", re.MULTILINE)

_OTHERS = (".yml", ".yaml", ".json", ".toml", ".md")
_HINT = "a Procfile has lines such as `worker: bin/worker`, and Procfile in its name"

_PORT = 5000  # foreman's first, and 100 more for each further line
_PORT_STEP = 100
_WAIT = "5s"  # foreman's and honcho's time until SIGKILL
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
    """The unitq.toml of a Procfile. `env_file` is the .env beside it, if there is one."""
    report = Report("", wishes.source)
    drafts: list[Draft] = []
    seen: set[str] = set()
    looks: dict[str, Looks] = {}
    lines = text.removeprefix("\ufeff").splitlines()
    for number, line in enumerate(lines, start=1):
        found = LINE.fullmatch(line.rstrip())
        if found is None:
            if line.strip() and not line.lstrip().startswith("#"):
                report.notes.append(f"line {number} is no NAME: COMMAND, and foreman ignores it")
            continue
        name, script = found[1], found[2]
        part = report.part(name)
        if name in seen:
            part.note("stands there twice; foreman takes the last, honcho refuses it: look at both")
        if name in _NOT_RUN:
            part.left("command", _NOT_RUN[name])
            continue
        port = _PORT + _PORT_STEP * len(seen)
        seen.add(name)
        count = formation.get(name, formation.get("all", 1))
        if not 1 <= count <= INSTANCES_MAX:
            part.left("command", f"no worker is written: {count} of it")
            continue
        taken = [draft.name for draft in drafts]
        draft = Draft(import_names.unique(import_names.identifier(name) or "worker", taken))
        draft.keys["directory"] = directory
        if _draft(part, draft, script, port, count, recognise, looks, wishes.home):
            if env_file:
                draft.keys["environment_file"] = env_file
            drafts.append(draft)
            part.workers = [draft.name]
    if unknown := sorted(formation.keys() - seen - {"all"}):
        raise mistakes(wishes.source, [f"--formation: there is no {name}" for name in unknown])
    report.written = sum(not draft.off for draft in drafts)
    report.app = wishes.app or import_names.app(wishes.source, [directory], [])
    _closing(report, env_file)
    file = File(report.app, (f"Written by `unitq import` from {wishes.source}.",), drafts)
    check_notes.beside(file, looks, report)
    return Imported(file.text(), report)


def _draft(
    part: Part,
    draft: Draft,
    script: str,
    port: int,
    count: int,
    recognise: Recognise,
    seen: dict[str, Looks],
    home: Callable[[str], str | None],
) -> bool:
    """Fills the draft in; False where nothing can be run."""
    directory = str(draft.keys["directory"])
    named = re.search(r"\$\{?PORT\b", script) is not None
    if named and count > 1:
        script = f"export PORT=$(({port - 1} + UNITQ_INSTANCE)); {script}"
        part.note(f"PORT is {port} and on, one for each instance, as foreman has it")
    elif named:
        draft.environment = {"PORT": str(port)}
        part.note(f"PORT is {port}, as foreman would have it: set the one you use")
    around = peel(("/bin/sh", "-c", script), directory, (), home=home, recognise=recognise)
    found = around.plain
    if named and count > 1:
        found = _with_port(found)
    absolute = found.arguments
    if found.directory:
        found = replace(found, arguments=relative(found.arguments, found.directory))
    try:
        line = checked_line(exec_line.line(found.arguments))
    except InvalidValueError as mistake:
        part.left("command", f"no worker is written: {mistake}")
        return False
    draft.keys["command"] = line
    draft.environment |= variables(part, found.environment)
    if found.directory and found.directory != directory:
        draft.keys["directory"] = found.directory
    if count > 1:
        draft.keys["instances"] = count
    if found.unwrapped:
        part.same("command", "without a shell, which it does not need")
    elif found.with_exec:
        part.changed("command", f"through a shell ({found.why}), which hands over by exec")
    else:
        part.changed("command", f"through a shell: {found.why or 'it needs one'}")
    looks = recognise(line, str(draft.keys["directory"]))
    _stop(part, draft, looks.preset, above(line, found, looks))
    if around.user:
        draft.keys["user"] = around.user
    command_notes.around(part, draft, around)
    not_workers.aside(part, draft, not_workers.Command(absolute, line, around, looks))
    seen[draft.name] = looks
    return True


def _with_port(found: Plain) -> Plain:
    """The script begins with an `export` of ours, behind which `exec` still has its place."""
    script = found.arguments[-1]
    head, semicolon, rest = script.partition("; ")
    again = plain(("/bin/sh", "-c", rest), found.directory, ())
    rest = again.script or rest
    if not again.script and not rest.startswith("exec "):
        rest = f"exec {rest}"
    return Plain(
        ("/bin/sh", "-c", f"{head}{semicolon}{rest}"),
        found.directory,
        script=script,
        why="PORT differs from instance to instance",
        with_exec=rest.startswith("exec "),
        hands_over=again.hands_over,
    )


def _stop(part: Part, draft: Draft, preset: Preset | None, between: str) -> None:
    if preset is not None:
        now = by_preset(draft, preset, between)
        part.note(
            f"recognised: {preset.title} (preset = {preset.name}): foreman sends SIGTERM, and "
            f"SIGKILL after 5 s; now {now}. {now.why}"
        )
        return
    draft.keys |= {
        "stop_signal": "SIGTERM",
        "stop_timeout": _WAIT,
        "kill_mode": str(KillMode.CONTROL_GROUP),
    }
    part.decide(
        "SIGTERM, and SIGKILL after 5 s, as foreman does it: if this works off a queue, give "
        "stop_timeout the longest job's time"
    )


def _closing(report: Report, env_file: str | None) -> None:
    if env_file:
        report.notes.append(
            f"{env_file} is the environment_file: systemd reads it, which knows no ${{OTHER}} and "
            "no `export` in it; other .env files that you name with foreman -e are not read"
        )
    report.decide('a Procfile names no user: add user = "…", or deploy with --user')
    report.decide(
        "foreman passes its whole environment on, systemd does not: what a worker needs "
        "belongs into `environment` or `environment_file`"
    )
    report.notes.append(
        "foreman ends everything when one process ends; systemd starts that one again"
    )
