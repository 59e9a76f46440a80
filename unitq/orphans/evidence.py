"""Processes that work for an app and are in none of its units' cgroups. Pure.

No single mark is proof. An editor has the worker's script on its command line, a shell is in the
release's directory, a job's helper has inherited the worker's environment, another app's worker
runs the same framework, and a PID in Redis may be reused. These together are:

    the program out of a release                                       alone
    the same program, shared with others, or a framework's own title   + one of: it is in a release;
                                                                       the app in its environment;
                                                                       registered for our queues
    the same script, perhaps with another subcommand                   + the app in its environment,
                                                                       our queues in it, or
                                                                       registered for them
    the same interpreter under an unknown title, in a release          + the app or our queues in
                                                                       its environment
    the same interpreter                                               + registered for our queues

Another app in its environment, or a cgroup of any unit of unitq's, rules a process out.

All of this but the registration only the process itself can say. A record in Redis many can write:
it is no proof against a process of another account than the workers', nor ever against root's. What
only that gives away is `claimed`: shown, and drained only where an operator names its PID. So is an
instance of the app's that PAM has moved out of its unit (`su -`), and that one is never drained.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline.invocation import interpreter
from unitq.cmdline.invocation import program as program_of
from unitq.model import names
from unitq.model.release_names import within
from unitq.orphans.program_match import Match, engine_of, match_program
from unitq.queues.registrations import instance_and_unit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from unitq.model.process import Process
    from unitq.orphans.program_match import Program, Releases
    from unitq.queues.model import Registration

# Worker, interpreter and title of the app's instances that have written themselves one.
Titles = frozenset[tuple[str, str, str]]


class Mark(StrEnum):
    """What gives a process away."""

    PROGRAM = "program"
    TITLE = "title"
    DIRECTORY = "directory"
    ENVIRONMENT = "environment"
    QUEUES = "queues"
    REGISTERED = "registered"


@dataclass(frozen=True, slots=True)
class WorkerProfile:
    """A worker of the app, as far as it takes to know its processes."""

    worker: str
    programs: tuple[Program, ...]
    patterns: tuple[re.Pattern[str], ...] = ()  # the framework's commands
    arguments: re.Pattern[str] | None = None
    titles: tuple[re.Pattern[str], ...] = ()
    queues: frozenset[str] = frozenset()
    variable: str = ""  # that names the queues to a process
    separator: str = ","
    code: WantedCode | None = None  # None: the worker has been removed

    def runs_on(self, executable: str) -> bool:
        """Whether one of its programs is run by this interpreter, as far as that is known."""
        engine = engine_of(executable)
        engines = {program.engine for program in self.programs}
        native = {name for each in self.programs if each.machine_code for name in each.files}
        return engine in engines | native or ("" in engines and bool(interpreter(engine)))


@dataclass(frozen=True, slots=True)
class WantedCode:
    """What a worker should run."""

    revision: str
    release: str
    since: float | None = None  # seconds since 1970 when it took the place of other code, if it did
    in_place: bool = False  # that was in the same directory


class Claim(StrEnum):
    """Why what says that a process works for the app does not suffice."""

    ACCOUNT = "account"  # it runs as none of the workers' accounts, and only Redis says so
    ROOT = "root"  # it is root's, and only Redis says so
    SESSION = "session"  # it is in a login session, and only Redis says so
    SERVING = "serving"  # it is a running instance that has left its unit, as below `su -`


@dataclass(frozen=True, slots=True)
class AppProfile:
    """The app, as far as it takes to know its processes."""

    name: str
    workers: tuple[WorkerProfile, ...]
    releases: Releases
    started_from: Mapping[tuple[str, str], str]  # revision and worker -> release
    accounts: frozenset[int]  # user IDs that its workers run as


@dataclass(frozen=True, slots=True)
class Orphan:
    """One that works for the app outside its units, with all that it has started."""

    process: Process
    children: tuple[Process, ...]
    worker: str
    marks: tuple[Mark, ...]
    release: str  # empty: not known
    current: bool | None  # whether it runs what is wanted; None: not known
    registrations: tuple[Registration, ...] = ()  # its own, and those of its children
    claim: Claim | None = None  # None: what gives it away suffices

    @property
    def pids(self) -> tuple[int, ...]:
        """All of its processes."""
        return (self.process.pid, *(child.pid for child in self.children))

    @property
    def identity(self) -> tuple[int, int]:
        """What makes it this one and no other that has its PID."""
        return self.process.identity

    @property
    def elsewhere(self) -> bool:
        """Whether its code is known to lie outside of all releases: in a container, another copy.

        False too where that is not known: by way of a link that has been changed, or nowhere.
        """
        process = self.process
        if self.release or process.moved:
            return False
        has_place = bool(process.paths) or process.directory not in ("", "/")
        return process.contained or has_place


class _Verdict(NamedTuple):
    worker: WorkerProfile
    marks: tuple[Mark, ...]
    claim: Claim | None = None


def find_orphans(
    app: AppProfile,
    processes: Iterable[Process],
    registered: Mapping[int, Registration] | None = None,
    serving: Collection[str] = (),
) -> tuple[Orphan, ...]:
    """Returns the orphans among all processes of this host, by PID, and the claimed ones.

    `registered` are the registrations of this host in Redis that were made by the process that
    has the PID now. `serving` are cgroups outside all units that running instances have moved to.
    """
    known = registered or {}
    table = {process.pid: process for process in processes}
    titles = _own_titles(app, table.values())
    verdicts: dict[int, _Verdict] = {}
    below: dict[int, list[Process]] = {}
    for process in table.values():
        below.setdefault(process.parent, []).append(process)
        if verdict := _judge(app, process, known.get(process.pid), titles):
            if any(within(process.cgroup, cgroup) for cgroup in serving):
                verdict = verdict._replace(claim=Claim.SERVING)
            verdicts[process.pid] = verdict
    orphans = []
    for pid, (worker, marks, claim) in sorted(verdicts.items()):
        above = [verdicts[one.pid] for one in ancestors(table, pid) if one.pid in verdicts]
        if any(claim or not verdict.claim for verdict in above):
            continue  # shown with the one that started it
        children = _descendants(below, pid)
        release, current = _code(app, worker, table[pid])
        family = (pid, *(child.pid for child in children))
        own = tuple(known[member] for member in family if member in known)
        orphans.append(
            Orphan(table[pid], children, worker.worker, marks, release, current, own, claim)
        )
    return tuple(orphans)


def in_a_unit(cgroup: str) -> bool:
    """Whether a cgroup is of a unit of unitq's: an instance, a probe, a detached rollout."""
    parts = cgroup.split("/")
    return names.ROOT_SLICE in parts or any(
        names.is_instance(part) or part.startswith("unitq-rollout-") for part in parts
    )


def in_a_session(cgroup: str) -> bool:
    """Whether a cgroup is of a login session (pam_systemd(8))."""
    return any(
        part.startswith("session-") and part.endswith(".scope") for part in cgroup.split("/")
    )


def ancestors(table: Mapping[int, Process], pid: int) -> list[Process]:
    """Returns its parent, and so on, as far as they are in the table."""
    line: list[Process] = []
    seen = {pid}
    process = table.get(pid)
    while process is not None and process.parent not in seen:
        seen.add(process.parent)
        process = table.get(process.parent)
        if process is not None:
            line.append(process)
    return line


def _descendants(below: Mapping[int, Sequence[Process]], pid: int) -> tuple[Process, ...]:
    family: dict[int, Process] = {}
    waiting = list(below.get(pid, ()))
    while waiting:
        process = waiting.pop()
        if process.pid not in family and process.pid != pid and not in_a_unit(process.cgroup):
            family[process.pid] = process
            waiting += below.get(process.pid, ())
    return tuple(family[pid] for pid in sorted(family))


def _own_titles(app: AppProfile, processes: Iterable[Process]) -> Titles:
    titles = set()
    for process in processes:
        instance, _ = instance_and_unit(app.name, process.cgroup)
        if instance and process.words and _hides_program(process):
            titles.add(_title(instance.partition("@")[0], process))
    return frozenset(titles)


def _title(worker: str, process: Process) -> tuple[str, str, str]:
    """What it has written over its command line; numbers in it change (PIDs, counts)."""
    title = re.sub(r"\d+", "0", " ".join(process.words))
    return worker, engine_of(process.executable), title


def _judge(
    app: AppProfile, process: Process, registration: Registration | None, titles: Titles
) -> _Verdict | None:
    """Returns the verdict by what suffices; else the one by all marks, with why it does not."""
    if in_a_unit(process.cgroup) or process.app not in ("", app.name):
        return None
    ours = bool(process.uids) and process.uids <= app.accounts
    reason = Claim.ACCOUNT if not ours else Claim.ROOT if 0 in process.uids else None
    if reason is None and in_a_session(process.cgroup):
        reason = Claim.SESSION
    verdict = _best(app, process, registration, titles, trusted=reason is None)
    if verdict or reason is None:
        return verdict
    verdict = _best(app, process, registration, titles, trusted=True)
    return verdict._replace(claim=reason) if verdict else None


def _best(
    app: AppProfile,
    process: Process,
    registration: Registration | None,
    titles: Titles,
    *,
    trusted: bool,
) -> _Verdict | None:
    """Returns the worker that it works as, and what says so; None: it does not.

    `trusted`: whether its registration is evidence, or is only named beside what is.
    """
    ranked = []
    for worker in app.workers:
        marks = _marks(app, worker, process, registration, titles, trusted=trusted)
        if marks:
            # Of several workers with the same program, the one whose queues it takes.
            named = process.environment.get("UNITQ_WORKER") == worker.worker
            ours = Mark.QUEUES in marks or Mark.REGISTERED in marks
            rank = named, ours, worker.code is not None, len(marks)
            ranked.append((rank, _Verdict(worker, marks)))
    return max(ranked, key=lambda pair: pair[0])[1] if ranked else None


def _marks(
    app: AppProfile,
    worker: WorkerProfile,
    process: Process,
    registration: Registration | None,
    titles: Titles,
    *,
    trusted: bool,
) -> tuple[Mark, ...]:
    """Returns what says that it works as this worker; nothing where that does not suffice."""
    same_engine = worker.runs_on(process.executable)
    match = Match.NONE
    if invocation := program_of(process.words, process.executable):
        matches = (
            match_program(
                invocation, process.paths, process.executable, program, app.releases,
                worker.patterns, worker.arguments,
            )
            for program in worker.programs
        )  # fmt: skip
        match = max(matches, default=Match.NONE)
    hidden = _hides_program(process)
    alike = hidden and _title(worker.worker, process) in titles
    title = not match and same_engine and (alike or _has_title(worker, process))
    inside = bool(app.releases.of(process.directory))
    in_environment = process.app == app.name
    queues = bool(_queues(worker, process) & worker.queues)
    takes = registration is not None and _takes(registration, worker.queues)
    takes = takes and (same_engine or bool(match))
    proof = takes and trusted
    enough = (
        match is Match.OWN
        or ((match is Match.SHARED or title) and (inside or in_environment or proof))
        or (match is Match.UNSURE and (in_environment or queues or proof))
        or (not match and hidden and same_engine and inside and (in_environment or queues))
        or proof
    )
    if not enough:
        return ()
    marks = {
        Mark.PROGRAM: bool(match),
        Mark.TITLE: title,
        Mark.DIRECTORY: inside,
        Mark.ENVIRONMENT: in_environment,
        Mark.QUEUES: queues,
        Mark.REGISTERED: takes,
    }
    return tuple(mark for mark, present in marks.items() if present)


def _hides_program(process: Process) -> bool:
    """Whether its command line says nothing of what it runs."""
    invocation = program_of(process.words)
    return not process.words or (
        invocation is not None
        and not invocation.interpreter
        and engine_of(invocation.program) != engine_of(process.executable)
    )


def _has_title(worker: WorkerProfile, process: Process) -> bool:
    title = process.words[0] if process.words else ""
    return any(pattern.match(title) for pattern in worker.titles)


def _queues(worker: WorkerProfile, process: Process) -> set[str]:
    text = process.environment.get(worker.variable, "") if worker.variable else ""
    return {name.strip() for name in text.split(worker.separator) if name.strip()}


def _takes(registration: Registration, queues: frozenset[str]) -> bool:
    """Whether it takes jobs from one of these queues."""
    if not queues:
        return False  # not known: another app's may be registered in the same Redis
    if "*" in queues and registration.queues:
        return True
    return any(registration.serves(name) for name in queues)


def _code(app: AppProfile, worker: WorkerProfile, process: Process) -> tuple[str, bool | None]:
    """Returns the release that it was started from, and whether that is the wanted code."""
    wanted = worker.code
    if process.revision:
        name = process.environment.get("UNITQ_WORKER") or worker.worker
        release = app.started_from.get((process.revision, name), "")
        return release, wanted is not None and process.revision == wanted.revision
    release = app.releases.of(process.executable) or app.releases.of(process.directory)
    if not release and not process.moved:
        releases = (app.releases.of(path) for path in reversed(process.paths))
        release = next(filter(None, releases), "")
    if wanted is None:
        return release, False
    before = wanted.since is not None and process.began < wanted.since
    if release:
        if release != wanted.release or process.deleted:
            return release, False
        # One directory with one code after the other: only the time tells which it has read.
        return release, not (wanted.in_place and before)
    if process.moved:
        return "", False  # the link led to an earlier release when it began
    # Nothing tells where its code is from. What is older than the code cannot run it; but an image
    # may have been made of it before it came here.
    return "", False if before and not process.contained else None
