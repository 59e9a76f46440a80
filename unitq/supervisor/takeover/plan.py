"""What a takeover would move, and what is in its way."""

from __future__ import annotations

import os
import shlex
import time
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from unitq.errors import ConfigError, NoMatchError, PreflightError
from unitq.instances import observe
from unitq.linux import proc
from unitq.linux.read_as import authors
from unitq.model.names import InstanceName
from unitq.presets import NONE
from unitq.revisions import state
from unitq.supervisor.conf import files as conf_files
from unitq.supervisor.conf.server import addresses
from unitq.supervisor.importer.recognise import Wishes, recogniser
from unitq.supervisor.importer.translate import translate
from unitq.supervisor.takeover import autostart
from unitq.supervisor.takeover.answering import accounts, expected_daemon
from unitq.supervisor.takeover.rpc import Supervisord
from unitq.supervisor.takeover.stop_one import Task
from unitq.supervisor.takeover.strategy import Move, Pair
from unitq.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from unitq.context import Scope
    from unitq.model.app import App, Worker
    from unitq.model.settings import Share
    from unitq.presets.model import Preset
    from unitq.supervisor.conf.programs import Program
    from unitq.supervisor.takeover.autostart import Configuration
    from unitq.supervisor.takeover.rpc import Info
    from unitq.systemd.manager import Systemd

# What only a file of Supervisor's has.
_SECTIONS = frozenset(
    {"supervisord", "supervisorctl", "unix_http_server", "inet_http_server", "include"}
    | {"program", "group", "eventlistener", "fcgi-program", "rpcinterface"}
)


@dataclass(frozen=True, slots=True)
class TakeoverPlan:
    """What is to be moved, and what it takes."""

    scope: Scope
    app: App
    toml: Path
    conf: Configuration
    environment: Mapping[str, str]
    supervisord: Supervisord
    moves: tuple[Move, ...]
    staying: tuple[tuple[str, str], ...]  # programs, and why
    known: bool  # supervisord has read the files as they are now
    max_unavailable: Share

    @property
    def moved(self) -> bool:
        """Nothing is left to do."""
        return all(move.moved for move in self.moves)

    def width(self, move: Move) -> int:
        """How many of a program's processes may be missing at once: one at least."""
        return max(1, self.max_unavailable.down(len(move.pairs)))

    def task(self, move: Move, pair: Pair) -> Task:
        """What is to be known of one process to end it."""
        worker = move.worker(pair)
        allowed = accounts(move.settings.user, self.supervisord.daemon)
        return Task(pair.process, move.settings, worker, self.preset(worker), self.known, allowed)

    def preset(self, worker: Worker) -> Preset | None:
        """The framework of a worker; None: nobody says."""
        if worker.preset in (None, NONE):
            return None
        preset: Preset | None = self.scope.presets().get(worker.preset or "")
        return preset


# --- the file -------------------------------------------------------------------------------------


def load_configuration(file: str | None, environment: Mapping[str, str]) -> Configuration:
    """Returns Supervisor's configuration; None: supervisord's default. Raises ConfigError."""
    if file is None:
        try:
            path = conf_files.default()
        except ConfigError as error:
            raise ConfigError(error.message, hint=_hint("")) from error
        return autostart.load(path, environment)
    if not os.path.isfile(file):
        what = "no file" if os.path.exists(file) else "there is no such file"
        raise ConfigError(f"{file}: {what}", hint=_hint("" if "/" in file else file))
    if file.endswith(".toml"):
        raise ConfigError(f"{file}: that is no configuration of Supervisor's", hint=_hint(""))
    conf = autostart.load(Path(file), environment)
    if not any(name.partition(":")[0] in _SECTIONS for name in conf.ini.sections):
        raise ConfigError(
            f"{file}: no configuration of Supervisor's: it has neither [supervisord] nor a program",
            hint=_hint(""),
        )
    return conf


def environment_for(file: str | None) -> dict[str, str]:
    """Returns what %(ENV_NAME)s stands for, without --env.

    Root's own is nothing for a file that another account writes: it goes out in passwords.
    """
    return {} if file is not None and authors(file) else dict(os.environ)


def _hint(program: str) -> str:
    """What FILE is; with a program that was named in its place."""
    file = next(filter(os.path.isfile, conf_files.DEFAULTS), "/etc/supervisor/supervisord.conf")
    words = shlex.join(["unitq", "takeover", file, *([program] if program else [])])
    return f"FILE is Supervisor's main file, and comes before any program's name: `{words}`"


# --- what is there --------------------------------------------------------------------------------


def plan(
    scope: Scope,
    systemd: Systemd,
    app: App,
    toml: Path,
    file: str | None,
    environment: Mapping[str, str],
    wanted: Sequence[str],
    max_unavailable: Share | None,
) -> TakeoverPlan:
    """What is to be moved. Raises PreflightError with all that is in the way."""
    conf = load_configuration(file, environment)
    path = conf.path
    supervisord = Supervisord(addresses(conf.ini, conf.around), expected_daemon(conf))
    processes = supervisord.processes()
    serving = _serving(scope, systemd, app)
    moves: list[Move] = []
    staying: list[tuple[str, str]] = []
    wrong: list[str] = []
    matched: set[str] = set()
    for program, workers in _workers(scope, conf):
        hits = _hits(program, workers, wanted)
        if wanted and not hits:
            continue
        matched |= hits
        why = _why_it_stays(app, toml, program, workers)
        if why:
            staying.append((program.section.partition(":")[2], why))
            if hits:
                wrong.append(f"{program.section}: {why}")
            continue
        move, problems = _move(app, program, workers, processes, serving)
        wrong += problems
        moves.append(move)
    if missing := [word for word in wanted if word not in matched]:
        known = ", ".join(dict.fromkeys(program.name for program in conf.read.programs))
        raise NoMatchError(
            f"{path}: no program matches {', '.join(missing)}", hint=f"programs: {known}"
        )
    allowed = max_unavailable or app.rollout.max_unavailable
    wrong += _in_the_way(conf, moves, allowed)
    wrong += autostart.refusals(conf, [move.section for move in moves if move.autostart])
    if wrong:
        raise PreflightError(
            f"{app.name}: cannot be taken over; nothing was changed", problems=tuple(wrong)
        )
    if not moves:
        raise PreflightError(
            f"{path}: no program there is a worker of {toml}",
            hint="`unitq import` writes a unitq.toml whose workers are its programs",
        )
    return TakeoverPlan(
        scope, app, toml, conf, environment, supervisord, tuple(moves), tuple(staying),
        _has_read(supervisord, conf), allowed,
    )  # fmt: skip


def _workers(scope: Scope, conf: Configuration) -> Iterable[tuple[Program, list[str]]]:
    """Each program with the workers that an import makes of it."""
    wishes = Wishes(str(conf.path), scope.app, None, scope.user)
    report = translate(conf.ini, conf.read, wishes, recogniser(scope.presets())).report
    sections = {program.section for program in conf.read.programs}
    parts = [part for part in report.parts if part.section in sections]
    return zip(conf.read.programs, (part.workers for part in parts), strict=True)


def _hits(program: Program, workers: Iterable[str], wanted: Iterable[str]) -> set[str]:
    """Those of the words that name this program: as supervisorctl does, or by its worker."""
    names = {program.name, program.group, f"{program.group}:{program.name}"}
    names |= {f"{program.group}:*", *workers}
    return {word for word in wanted if any(fnmatchcase(name, word) for name in names)}


def _why_it_stays(app: App, toml: Path, program: Program, workers: Sequence[str]) -> str:
    if program.kind != "program":
        return f"an [{program.kind}] is no worker of unitq's"
    if not workers:
        return "it is no worker of unitq's, as `unitq import` says"
    missing = [name for name in workers if app.worker(name) is None]
    return f"{toml} has no worker {', '.join(missing)}" if missing else ""


def _move(
    app: App,
    program: Program,
    names: Sequence[str],
    processes: Mapping[str, Info],
    serving: set[InstanceName],
) -> tuple[Move, list[str]]:
    workers = [worker for worker in app.workers if worker.name in names]
    wrong = []
    count = sum(worker.instances for worker in workers)
    if count != len(program.processes):
        wrong.append(
            f"[{program.section}] has {plural(len(program.processes), 'process')}, and "
            f"{', '.join(names)} {plural(count, 'instance')}: make them equal for the takeover; "
            "`unitq scale` comes afterwards"
        )
    pairs = []
    for index, process in enumerate(program.processes):
        name = f"{program.group}:{process.name}"
        info = processes.get(name)
        if info is None:
            wrong.append(
                f"[{program.section}] {name}: supervisord knows no such process; did the file "
                "change since it was read?"
            )
            continue
        shared = len(names) == 1
        instance = InstanceName(names[0 if shared else index], index + 1 if shared else 1)
        pairs.append(Pair(name, instance, info.state, info.pid, instance in serving))
    move = Move(
        program.name, program.section, program.file, program.settings, tuple(workers), tuple(pairs)
    )
    return move, wrong


def _in_the_way(conf: Configuration, moves: Sequence[Move], allowed: Share) -> list[str]:
    wrong = []
    for move in moves:
        others = [p for p in conf.read.programs if p.section == move.section]
        if len(others) != sum(other.section == move.section for other in moves):
            groups = ", ".join(program.group for program in others)
            wrong.append(f"[{move.section}] is in several groups ({groups}): name all of them")
    if moves and allowed.number == 0:
        wrong.append(
            "[rollout] max_unavailable = 0: one worker ends before its unit starts, as there are "
            "never more than before; `--max-unavailable 1` allows that for the takeover"
        )
    return list(dict.fromkeys(wrong))


def _serving(scope: Scope, systemd: Systemd, app: App) -> set[InstanceName]:
    """The instances of the app that run already."""
    revision = state.current(scope.layout.app(app.name))
    if revision is None:
        return set()
    instances = observe.running(
        systemd, scope.layout, observe.machine(systemd, scope.layout), revision
    )
    return {name for name, instance in instances.items() if instance.serving}


def _has_read(supervisord: Supervisord, conf: Configuration) -> bool:
    """Whether supervisord was started after the last change of its files."""
    age = proc.age(supervisord.pid)
    if age is None:
        raise PreflightError(
            f"supervisord says that it is PID {supervisord.pid}, and there is no such process",
            hint="is it in a container? Run `unitq takeover` where it runs",
        )
    begun = time.time() - age
    # Not mtime: rsync and package managers set it back.
    return all(os.stat(source).st_ctime < begun for source in conf.ini.sources)
