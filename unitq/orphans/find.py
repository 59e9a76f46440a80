"""From an installed app to its orphans: its profile, what runs here, what Redis tells.

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
from unitq.orphans.evidence import (
    AppProfile,
    WantedCode,
    WorkerProfile,
    ancestors,
    find_orphans,
    in_a_session,
)
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

    History = Sequence[tuple[Revision, WorkerRevision]]  # of one worker, the oldest first

_RUNNING = ("active", "activating", "deactivating", "reloading")
_SUPERVISORS = frozenset({ownership.PROCESS_NAME, ownership.GROUP_NAME})


class Stop(NamedTuple):
    """The signal that drains a worker, and how long that may take."""

    signal: str
    seconds: float | None  # None: any time


@dataclass(frozen=True, slots=True)
class Search:
    """What is known of the app before any process is looked at."""

    scope: Scope
    revision: Revision
    app: AppProfile
    stops: Mapping[str, Stop]  # by worker
    wanted: process_table.Wanted
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Scan:
    """What one look at all processes shows."""

    table: process_table.Table
    orphans: tuple[Orphan, ...]
    registered: Mapping[int, Registration]  # by PID; of processes outside the app's units
    claimed: tuple[Orphan, ...] = ()  # what gives them away does not suffice

    @property
    def every(self) -> tuple[Orphan, ...]:
        """The certain ones, and the claimed ones."""
        return (*self.orphans, *self.claimed)

    @property
    def stale(self) -> tuple[Orphan, ...]:
        """Those that run old code."""
        return tuple(orphan for orphan in self.orphans if orphan.current is False)


def prepare_search(scope: Scope, revision: Revision) -> Search:
    """Reads what is known of the app, also of its kept revisions."""
    notes: list[str] = []
    revisions = store.read_all(scope.layout.app(revision.app), notes.append)
    if revision.id not in {each.id for each in revisions}:
        revisions.append(revision)
    history: dict[str, list[tuple[Revision, WorkerRevision]]] = {}
    for kept in revisions:
        for worker in kept.workers:
            history.setdefault(worker.name, []).append((kept, worker))
    places = {(kept.id, w.name): w.release for kept in revisions for w in kept.workers}
    releases = Releases(tuple(sorted(set(places.values()))), _beside(revision, notes.append))
    presets = scope.presets()
    profiles, stops = [], {}
    accounts = {os.getuid()} if scope.user else set[int]()
    for name, own in history.items():
        profile, stops[name], users = _profile(
            scope, revision, name, own, presets, releases, notes.append
        )
        profiles.append(profile)
        accounts |= set() if scope.user else users
    app = AppProfile(revision.app, tuple(profiles), releases, places, frozenset(accounts))
    variables = {"UNITQ_APP", "UNITQ_REVISION", "UNITQ_WORKER"}
    variables |= {profile.variable for profile in profiles if profile.variable}
    wanted = process_table.Wanted(
        may_be_one(profiles), frozenset(variables), words_before(profiles)
    )
    return Search(scope, revision, app, stops, wanted, notes)


def words_before(profiles: Sequence[WorkerProfile]) -> dict[str, frozenset[int]]:
    """Returns how many words stand before a script, by interpreter, where it is none of ours."""
    counts: dict[str, set[int]] = {}
    for profile in profiles:
        for program in profile.programs:
            if program.before:
                counts.setdefault(program.engine, set()).add(len(program.before))
    return {name: frozenset(numbers) for name, numbers in counts.items()}


def may_be_one(profiles: Sequence[WorkerProfile]) -> Callable[[str], bool]:
    """Returns whether a process that runs this file could be a worker's."""
    programs = [program for profile in profiles for program in profile.programs]
    engines = {program.engine for program in programs}
    files = {name for program in programs for name in program.files}

    @cache
    def may(executable: str) -> bool:
        name = engine_of(executable)
        if name in SHELLS:
            return "sh" in engines
        return name in engines or name in files or ("" in engines and bool(interpreter(name)))

    return may


def scan(search: Search, registered: Iterable[Registration] | None = None) -> Scan:
    """Looks at every process. `registered`: the workers that Redis has of this app's framework.

    Raises NotPermittedError where root is needed.
    """
    table = process_table.table(search.wanted)
    if table.hidden and not search.scope.user:
        raise NotPermittedError(
            f"cannot read {table.hidden} processes (not root), so their owner is unknown",
            hint="run it as root (sudo)",
        )
    table.processes.pop(os.getpid(), None)
    outside: dict[int, Registration] = {}
    app = search.app
    if registered is not None:
        host = os.uname().nodename
        local = containers.translate(registered, table.processes.values(), host)
        app = _with_queues(app, local, table, host)
        outside = _outside(app.name, local, table, host)
    orphans = find_orphans(app, table.processes.values(), outside, _sessions(search))
    return Scan(
        table,
        tuple(orphan for orphan in orphans if orphan.claim is None),
        outside,
        tuple(orphan for orphan in orphans if orphan.claim is not None),
    )


def _sessions(search: Search) -> frozenset[str]:
    """Returns the session scopes that running instances moved to: PAM does that to `su - USER`."""
    systemd, app = search.scope.systemd(), search.app.name
    rows = {row.name: row for row in systemd.units([f"unitq-{app}-*@*.service"])}
    root = proc.cgroup_root() + systemd.control_group()
    read_all = process_table.Wanted(lambda _: True, frozenset())
    scopes = set()
    for worker in search.app.workers:
        for name, unit in names.of_worker(app, worker.worker, rows).items():
            if rows[unit].active not in _RUNNING:
                continue
            if proc.pids(f"{root}/{names.cgroup_path(app, name)}"):
                continue
            main = process_table.again(systemd.properties(unit, "MainPID")["MainPID"], read_all)
            if main and in_a_session(main.cgroup):
                scopes.add(main.cgroup)
    return frozenset(scopes)


def owner(systemd: Systemd, look: Scan, orphan: Orphan) -> Owner:
    """Returns what keeps an orphan. Asks systemd for the main process of its unit, if any."""
    process = orphan.process
    mains = {}
    unit = ownership.unit_of(process.cgroup)
    if unit.endswith(".service") and not unit.startswith("user@"):
        try:
            mains[unit] = systemd.properties(unit, "MainPID")["MainPID"]
        except UnitqError:
            mains = {}  # of another manager than ours: only the processes tell then
    # What supervisord told those between it and this process. A worker may have written its title
    # over it, and of a shell it was not read.
    table: Mapping[int, Process] = look.table.processes
    chain = ownership.below_supervisord((process, *ancestors(table, process.pid)))
    wanted = process_table.Wanted(lambda _: True, _SUPERVISORS)
    read = (process_table.again(member.pid, wanted) for member in chain)
    table = {**table, **{member.pid: member for member in read if member}}
    return ownership.owner(table.get(process.pid, process), table, mains)


def _with_queues(
    app: AppProfile, registrations: Sequence[Registration], table: process_table.Table, host: str
) -> AppProfile:
    """Returns the app with the queues that its own instances have registered for, too."""
    queues: dict[str, set[str]] = {}
    for registration in registrations:
        process = table.processes.get(registration.pid or 0)
        if process is not None and registration.host == host and registration.queues:
            instance, _ = instance_and_unit(app.name, process.cgroup)
            queues.setdefault(instance.partition("@")[0], set()).update(registration.queues)
    workers = (
        replace(worker, queues=worker.queues | queues.get(worker.worker, set()))
        for worker in app.workers
    )
    return replace(app, workers=tuple(workers))


def _outside(
    app: str, registrations: Sequence[Registration], table: process_table.Table, host: str
) -> dict[int, Registration]:
    """Returns the registrations of this host whose process lives outside the app's units."""

    def living(pid: int) -> Living | None:
        process = table.processes.get(pid)
        return Living(process.began, process.cgroup) if process else None

    findings = classify(registrations, app=app, host=host, living=living, now=time.time())
    return {
        finding.registration.pid: finding.registration
        for finding in findings
        if finding.status is Status.ORPHAN and finding.registration.pid is not None
    }


def _profile(
    scope: Scope,
    current: Revision,
    name: str,
    history: History,
    presets: Mapping[str, Preset],
    releases: Releases,
    note: Callable[[str], None],
) -> tuple[WorkerProfile, Stop, set[int]]:
    """Returns a worker of any kept revision, how it is stopped, and its accounts.

    Those of the system scope.
    """
    place = scope.layout.app(current.app)
    last = current.worker(name) or history[-1][1]
    stop = Stop("SIGTERM", last.stop_timeout)  # systemd's own signal, should no text say more
    preset = presets.get(last.preset or "")
    recognise = preset.recognise if preset else None
    patterns = recognise.command if recognise else ()
    variable = preset.queues.variable if preset else "QUEUE"
    separator = preset.queues.separator if preset else ","
    queues = {queue for _, worker in history for queue in worker.queues}
    commands: dict[tuple[str, str], None] = {}
    users: set[int] = set()
    for revision, worker in history:
        text = _unit_text(scope, revision, name)
        unit = read_unit(text, str(place.pins(name))) if text else None
        if unit is None:
            continue
        stop = Stop(unit.stop_signal, None if unit.unlimited else worker.stop_timeout)
        users |= _accounts(unit.user, dynamic=unit.dynamic)
        commands[unit.command, worker.release] = None
    programs = {
        program: None
        for command, release in commands
        for program in programs_of(command, release, releases, patterns)
    }
    if variable:
        text = (store.environment(place, last, note) or {}).get(variable, "")
        queues |= {queue.strip() for queue in text.split(separator) if queue.strip()}
    profile = WorkerProfile(
        name,
        tuple(programs),
        patterns,
        recognise.arguments if recognise else None,
        recognise.title if recognise else (),
        frozenset(queues),
        variable,
        separator,
        _wanted_code(current.worker(name), history),
    )
    return profile, stop, users


def _accounts(user: str, *, dynamic: bool) -> set[int]:
    """Returns the user ID of a unit's `User=`; none where no such account is known."""
    if user.isdecimal():
        return {int(user)}
    if not user:
        return set() if dynamic else {0}
    try:
        return {pwd.getpwnam(user).pw_uid}
    except KeyError:
        return set()


def _unit_text(scope: Scope, revision: Revision, worker: str) -> str:
    folder = scope.layout.app(revision.app).revisions / revision.id / "_units"
    try:
        return Path(folder, names.template(revision.app, worker)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""  # an incomplete revision: the others tell


def programs_of(
    command: str,
    release: str,
    releases: Releases,
    patterns: Sequence[re.Pattern[str]],
) -> list[Program]:
    """Returns what a command runs in a release, and may still run."""
    heads = scripts.heads(command, release)
    # What a variable names, only the shell knows; its last part may tell.
    return [
        _program(invocation, heads.get(invocation.script, ""), release, releases)
        for invocation in workers_of(command, heads, patterns)
        if invocation.inline or "$" not in os.path.basename(invocation.program)
    ]


def _program(invocation: Invocation, head: str, release: str, releases: Releases) -> Program:
    inside, outside = set(), set()
    script, inline = invocation.script, invocation.inline
    # Behind a `cd` that only the shell knows, the path may be another one.
    known = bool(script) and "$" not in script + invocation.folder
    name = "" if known else invocation.program if inline else os.path.basename(invocation.program)
    runs = "sh" if by_shell(invocation, head) else engine(invocation, head)
    before: tuple[str, ...] = ()
    if not runs and (words := tuple(shebang(head))):
        runs, before = scripts.real_name(words[0], release), words
    machine_code = False
    if script and "$" not in script:
        path = os.path.normpath(os.path.join(release, script))
        machine_code = not (runs or head) and scripts.is_machine_code(os.path.join(release, script))
        for place in (path, os.path.realpath(path)):
            root = releases.of(place)
            if root:
                inside.add(place[len(root) :].lstrip("/"))
            else:
                outside.add(place)
    return Program(
        runs, invocation.arguments, invocation.texts(runs), frozenset(inside), frozenset(outside),
        name, before, machine_code, inline,
    )  # fmt: skip


def _wanted_code(wanted: WorkerRevision | None, history: History) -> WantedCode | None:
    if wanted is None:
        return None
    since, other, in_place = None, False, False
    for revision, worker in history:
        if (worker.release, worker.code_version) != (wanted.release, wanted.code_version):
            other, since = True, None
            in_place = in_place or worker.release == wanted.release
        elif other and since is None:
            since = revision.created
    return WantedCode(wanted.revision, wanted.release, since, in_place)


def _beside(revision: Revision, note: Callable[[str], None]) -> tuple[tuple[str, str], ...]:
    """Returns where the siblings of its releases are, by `directory` in unitq.toml."""
    patterns: dict[tuple[str, str], None] = {}
    for worker in revision.workers:
        folder, _, name = worker.release.rpartition("/")
        if name and folder.endswith("/releases"):
            patterns[folder, ""] = None
    source = glance(Path(revision.config))
    if source.app is None and not patterns:
        note(f"{revision.config} cannot be read: only releases of kept revisions are known")
    for directory in source.directories:
        if "\0" not in directory and (pattern := beside(links_on(directory))):
            patterns[pattern] = None
    return tuple(patterns)
