"""From an installed app to its orphans: what is known of it, what runs here, what Redis tells.

Redis is only asked by `unitq orphans`; the report of a deploy goes by the processes alone.
"""

from __future__ import annotations

import os
import pwd
import time
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline.invocation import engine, interpreter, shebang
from unitq.cmdline.wrappers import SHELLS
from unitq.config import scripts
from unitq.config.source import glance
from unitq.errors import NotPermittedError, UnitqError
from unitq.linux import proc
from unitq.linux.links import beside, links_on
from unitq.model import names
from unitq.orphans import containers, ownership, process_table
from unitq.orphans.evidence import App, Code, Work, ancestors, find_orphans, in_a_session
from unitq.orphans.program_match import Program, Releases, by_shell, engine_of, workers_of
from unitq.queues.registrations import Living, Status, classify, instance_and_unit
from unitq.revisions import store
from unitq.units.text import read_unit

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from unitq.cmdline.invocation import Invocation
    from unitq.context import Scope
    from unitq.model.process import Process
    from unitq.orphans.evidence import Orphan
    from unitq.orphans.ownership import Owner
    from unitq.presets.model import Preset
    from unitq.queues.model import Registration
    from unitq.revisions.model import Revision, WorkerRevision
    from unitq.systemd.manager import Systemd
    from unitq.units.text import WorkerUnit


_RUNNING = ("active", "activating", "deactivating", "reloading")
_SUPERVISORS = frozenset({ownership.PROCESS_NAME, ownership.GROUP_NAME})


class Stop(NamedTuple):
    """How a worker is told to finish, and how long it may take."""

    signal: str
    seconds: float | None  # None: any time


@dataclass(frozen=True, slots=True)
class Search:
    """What is known of the app without a look at what runs."""

    scope: Scope
    revision: Revision
    app: App
    stops: Mapping[str, Stop]  # by worker
    wanted: process_table.Wanted
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found."""

    table: process_table.Table
    orphans: tuple[Orphan, ...]
    registered: Mapping[int, Registration]  # by PID; of processes outside the app's units
    claimed: tuple[Orphan, ...] = ()  # what gives them away does not suffice

    @property
    def every(self) -> tuple[Orphan, ...]:
        """Those of which it is certain, and the others."""
        return (*self.orphans, *self.claimed)

    @property
    def stale(self) -> tuple[Orphan, ...]:
        """Those that run old code."""
        return tuple(each for each in self.orphans if each.current is False)


def prepare_search(scope: Scope, revision: Revision) -> Search:
    """Reads what is known of the app, also of what it was before."""
    place = scope.layout.app(revision.app)
    notes: list[str] = []
    kept = store.read_all(place, notes.append)
    if revision.id not in {each.id for each in kept}:
        kept.append(revision)
    presets = scope.presets()
    roots = tuple(sorted({worker.release for each in kept for worker in each.workers}))
    releases = Releases(roots, _beside(revision, notes.append))
    workers: dict[str, list[tuple[Revision, WorkerRevision]]] = {}
    for each in kept:
        for worker in each.workers:
            workers.setdefault(worker.name, []).append((each, worker))
    works, stops = [], {}
    accounts = {os.getuid()} if scope.user else set[int]()
    for name, found in workers.items():
        work, stop, users = _work(scope, revision, name, found, presets, releases, notes.append)
        works.append(work)
        stops[name] = stop
        accounts |= set() if scope.user else users
    app = App(
        revision.app,
        tuple(works),
        releases,
        {(each.id, w.name): w.release for each in kept for w in each.workers},
        frozenset(accounts),
    )
    variables = {"UNITQ_APP", "UNITQ_REVISION", "UNITQ_WORKER"}
    variables |= {work.variable for work in works if work.variable}
    wanted = process_table.Wanted(may_be_one(works), frozenset(variables), words_before(works))
    return Search(scope, revision, app, stops, wanted, notes)


def words_before(works: Sequence[Work]) -> dict[str, frozenset[int]]:
    """How many words stand before a script, by interpreter, where it is none of ours."""
    found: dict[str, set[int]] = {}
    for work in works:
        for program in work.programs:
            if program.before:
                found.setdefault(program.engine, set()).add(len(program.before))
    return {name: frozenset(counts) for name, counts in found.items()}


def may_be_one(works: Sequence[Work]) -> Callable[[str], bool]:
    """Whether a process that runs this file could be a worker's."""
    programs = [program for work in works for program in work.programs]
    engines = {program.engine for program in programs}
    names_of = {name for program in programs for name in program.files}

    @cache
    def may(executable: str) -> bool:
        found = engine_of(executable)
        if found in SHELLS:
            return "sh" in engines
        return found in engines or found in names_of or ("" in engines and bool(interpreter(found)))

    return may


def scan(what: Search, registered: Iterable[Registration] | None = None) -> Scan:
    """Looks at every process. `registered`: the workers that Redis has of this app's framework."""
    table = process_table.table(what.wanted)
    if table.hidden and not what.scope.user:
        raise NotPermittedError(
            f"{table.hidden} processes may not be looked at, so nobody can say what they work for",
            hint="run it as root (sudo)",
        )
    table.processes.pop(os.getpid(), None)
    mine: dict[int, Registration] = {}
    app = what.app
    if registered is not None:
        host = os.uname().nodename
        every = containers.seen_from_here(registered, table.processes.values(), host)
        app = _with_queues(app, every, table)
        mine = _outside(app.name, every, table)
    found = find_orphans(app, table.processes.values(), mine, _serving(what))
    sure = tuple(each for each in found if each.claim is None)
    return Scan(table, sure, mine, tuple(each for each in found if each.claim is not None))


def _serving(what: Search) -> frozenset[str]:
    """The session scopes that running instances have moved to: PAM does that to `su - USER`."""
    systemd, app = what.scope.systemd(), what.app.name
    rows = {row.name: row for row in systemd.units([f"unitq-{app}-*@*.service"])}
    root = proc.cgroup_root() + systemd.control_group()
    read_all = process_table.Wanted(lambda _: True, frozenset())
    found = set()
    for work in what.app.works:
        for name, unit in names.of_worker(app, work.worker, rows).items():
            here = f"{root}/{names.cgroup_path(app, name)}"
            if rows[unit].active not in _RUNNING or proc.pids(here):
                continue
            main = process_table.again(systemd.properties(unit, "MainPID")["MainPID"], read_all)
            if main and in_a_session(main.cgroup):
                found.add(main.cgroup)
    return frozenset(found)


def owner(systemd: Systemd, found: Scan, orphan: Orphan) -> Owner:
    """What keeps an orphan. Asks systemd for the main process of the unit that it is in, if any."""
    process = orphan.process
    mains = {}
    unit = ownership.unit_of(process.cgroup)
    if unit.endswith(".service") and not unit.startswith("user@"):
        try:
            mains[unit] = systemd.properties(unit, "MainPID")["MainPID"]
        except UnitqError:
            mains = {}  # of another manager than ours: only told from the processes then
    table = _with_environment(found.table.processes, process)
    return ownership.owner(table.get(process.pid, process), table, mains)


def _with_environment(table: Mapping[int, Process], process: Process) -> Mapping[int, Process]:
    """The table, with what supervisord told those between it and this process.

    A worker may have written its title over it, and of a shell it was not read.
    """
    chain = ownership.supervised((process, *ancestors(table, process.pid)))
    wanted = process_table.Wanted(lambda _: True, _SUPERVISORS)
    read = (process_table.again(each.pid, wanted) for each in chain)
    return {**table, **{each.pid: each for each in read if each}} if chain else table


def _with_queues(app: App, every: Sequence[Registration], table: process_table.Table) -> App:
    """The app with the queues that its own instances have registered for, too."""
    host = os.uname().nodename
    own: dict[str, set[str]] = {}
    for one in every:
        process = table.processes.get(one.pid or 0)
        if process is not None and one.host == host and one.queues:
            instance, _ = instance_and_unit(app.name, process.cgroup)
            own.setdefault(instance.partition("@")[0], set()).update(one.queues)
    works = (replace(each, queues=each.queues | own.get(each.worker, set())) for each in app.works)
    return replace(app, works=tuple(works))


def _outside(
    app: str, every: Sequence[Registration], table: process_table.Table
) -> dict[int, Registration]:
    """The registrations of this host whose process lives outside the app's units."""

    def living(pid: int) -> Living | None:
        process = table.processes.get(pid)
        return Living(process.began, process.cgroup) if process else None

    found = classify(every, app=app, host=os.uname().nodename, living=living, now=time.time())
    return {
        each.registration.pid: each.registration
        for each in found
        if each.status is Status.ORPHAN and each.registration.pid is not None
    }


def _work(
    scope: Scope,
    current: Revision,
    name: str,
    found: Sequence[tuple[Revision, WorkerRevision]],
    presets: Mapping[str, Preset],
    releases: Releases,
    note: Callable[[str], None],
) -> tuple[Work, Stop, set[int]]:
    """A worker of any revision that is kept, how it is stopped, and the accounts that it runs as.

    Those of the system scope.
    """
    place = scope.layout.app(current.app)
    programs: dict[Program, None] = {}
    queues: set[str] = set()
    last = current.worker(name) or found[-1][1]
    stop = Stop("SIGTERM", last.stop_timeout)  # systemd's own signal, should no text say more
    preset = presets.get(last.preset or "")
    recognise = preset.recognise if preset else None
    patterns = recognise.command if recognise else ()
    variable = preset.queues.variable if preset else "QUEUE"
    separator = preset.queues.separator if preset else ","
    seen: set[tuple[str, str]] = set()
    users: set[int] = set()
    for revision, worker in found:
        queues |= set(worker.queues)
        text = _unit_text(scope, revision, name)
        said = read_unit(text, str(place.pins(name))) if text else None
        if said is None:
            continue
        stop = Stop(said.stop_signal, None if said.unlimited else worker.stop_timeout)
        users |= _accounts(said)
        if (said.command, worker.release) not in seen:
            seen.add((said.command, worker.release))
            for one in programs_of(said.command, worker.release, releases, patterns):
                programs[one] = None
    if variable:
        text = (store.environment(place, last, note) or {}).get(variable, "")
        queues |= {queue.strip() for queue in text.split(separator) if queue.strip()}
    work = Work(
        name,
        tuple(programs),
        patterns,
        recognise.arguments if recognise else None,
        recognise.title if recognise else (),
        frozenset(queues),
        variable,
        separator,
        _code(current.worker(name), found),
    )
    return work, stop, users


def _accounts(said: WorkerUnit) -> set[int]:
    """The user ID of a unit's `User=`; none where no such account is known."""
    if said.user.isdecimal():
        return {int(said.user)}
    if not said.user:
        return set() if said.dynamic else {0}
    try:
        return {pwd.getpwnam(said.user).pw_uid}
    except KeyError:
        return set()


def _unit_text(scope: Scope, revision: Revision, worker: str) -> str:
    folder = scope.layout.app(revision.app).revisions / revision.id / "_units"
    try:
        with open(folder / names.template(revision.app, worker), encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return ""  # a revision that is half there: the others tell


def programs_of(
    command: str,
    release: str,
    releases: Releases,
    patterns: Sequence[re.Pattern[str]],
) -> list[Program]:
    """Returns what a command comes to in a release: what may be left of it."""
    heads = scripts.heads(command, release)
    every = workers_of(command, heads, patterns)
    # What a variable names, only the shell knows; its last part may tell.
    return [
        _program(one, heads.get(one.script, ""), release, releases)
        for one in every
        if one.inline or "$" not in os.path.basename(one.program)
    ]


def _program(one: Invocation, head: str, release: str, releases: Releases) -> Program:
    inside, outside = set(), set()
    # Behind a `cd` that only the shell knows, the path may be another one.
    known = bool(one.script) and "$" not in one.script + one.folder
    name = "" if known else one.program if one.inline else os.path.basename(one.program)
    runs = "sh" if by_shell(one, head) else engine(one, head)
    before: tuple[str, ...] = ()
    if not runs and (words := tuple(shebang(head))):
        runs, before = scripts.real_name(words[0], release), words
    machine_code = False
    if one.script and "$" not in one.script:
        machine_code = not (runs or head) and scripts.is_machine_code(
            os.path.join(release, one.script)
        )
        path = os.path.normpath(os.path.join(release, one.script))
        for each in (path, os.path.realpath(path)):
            root = releases.of(each)
            if root:
                inside.add(each[len(root) :].lstrip("/"))
            else:
                outside.add(each)
    return Program(
        runs, one.arguments, one.texts(runs), frozenset(inside), frozenset(outside),
        name, before, machine_code, one.inline,
    )  # fmt: skip


def _code(
    wanted: WorkerRevision | None, found: Sequence[tuple[Revision, WorkerRevision]]
) -> Code | None:
    if wanted is None:
        return None
    since, in_place = None, False
    other = False
    for revision, worker in found:  # oldest first
        same = (worker.release, worker.code_version) == (wanted.release, wanted.code_version)
        if not same:
            other, since = True, None
            in_place = in_place or worker.release == wanted.release
        elif other and since is None:
            since = revision.created
    return Code(wanted.revision, wanted.release, since, in_place)


def _beside(revision: Revision, note: Callable[[str], None]) -> tuple[tuple[str, str], ...]:
    """Where the siblings of its releases are, by `directory` in the file that it was made from."""
    found: dict[tuple[str, str], None] = {}
    for worker in revision.workers:
        folder, _, name = worker.release.rpartition("/")
        if name and folder.endswith("/releases"):
            found[folder, ""] = None
    there = glance(Path(revision.config))
    if there.app is None and not found:
        note(f"{revision.config} cannot be read: only releases of kept revisions are known")
    for directory in there.directories:
        if "\0" not in directory:
            pattern = beside(links_on(directory))
            if pattern:
                found[pattern] = None
    return tuple(found)
