"""Processes that work for an app and are in none of its units' cgroups. Pure: evidence in, verdict
out.

No single mark is proof. An editor has the worker's script on its command line, a shell is in the
release's directory, a job's helper has inherited the worker's environment, another app's worker
runs the same framework, and a PID in Redis may be somebody else's by now. These together are:

    the program out of a release                                       by itself
    the same program, shared with others, or a framework's own title   + one of: it is in a release;
                                                                       the app in its environment;
                                                                       registered for our queues
    the same script, perhaps with another subcommand                   + the app in its environment,
                                                                       our queues in it, or
                                                                       registered for them
    the same interpreter under an unknown title, in a release          + the app or our queues in
                                                                       its environment
    the same interpreter                                               + registered for our queues

What a process has in its environment of another app, or a place in any unit of unitq's, rules it
out.

All of this but the registration only the process itself can say. A record in Redis many can write:
it is no proof against a process of another account than the workers', nor ever against root's. What
only that gives away is `claimed`: shown, and drained only where a person names its PID. So is an
instance of the app's that PAM has moved out of its unit (`su -`), and that one is never drained.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

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


class Mark(StrEnum):
    """What gives a process away."""

    PROGRAM = "program"
    TITLE = "title"
    DIRECTORY = "directory"
    ENVIRONMENT = "environment"
    QUEUES = "queues"
    REGISTERED = "registered"


@dataclass(frozen=True, slots=True)
class Work:
    """A worker of the app, as far as it takes to know its processes."""

    worker: str
    programs: tuple[Program, ...]
    patterns: tuple[re.Pattern[str], ...] = ()  # the framework's commands
    arguments: re.Pattern[str] | None = None
    titles: tuple[re.Pattern[str], ...] = ()
    queues: frozenset[str] = frozenset()
    variable: str = ""  # that names the queues to a process
    separator: str = ","
    code: Code | None = None  # that it should run; None: nobody wants this worker any more

    def runs_on(self, executable: str) -> bool:
        """Whether one of its programs is run by this interpreter, as far as that is known."""
        engine = engine_of(executable)
        engines = {program.engine for program in self.programs}
        native = {name for each in self.programs if each.machine_code for name in each.files}
        return engine in engines | native or ("" in engines and bool(interpreter(engine)))


@dataclass(frozen=True, slots=True)
class Code:
    """What a worker should run."""

    revision: str
    release: str
    since: float | None = None  # seconds since 1970 when it took the place of other code, if it did
    in_place: bool = False  # that was in the same directory


class Claim(StrEnum):
    """Why what says that a process works for the app does not suffice."""

    ACCOUNT = "account"  # it runs as none of the workers' accounts, and only Redis says so
    ROOT = "root"  # it is root's, and only Redis says so
    SESSION = "session"  # it is in somebody's login session, and only Redis says so
    SERVING = "serving"  # it is a running instance that has left its unit, as below `su -`


@dataclass(frozen=True, slots=True)
class App:
    """What is known of the app."""

    name: str
    works: tuple[Work, ...]
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
    release: str  # empty: nobody can tell
    current: bool | None  # whether it runs what is wanted; None: nobody can tell
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

        False too where nobody can tell: by way of a link that has been changed, or nowhere.
        """
        process = self.process
        if self.release or process.moved:
            return False
        placed = bool(process.paths) or process.directory not in ("", "/")
        return process.contained or placed


def find_orphans(
    app: App,
    processes: Iterable[Process],
    registered: Mapping[int, Registration] | None = None,
    serving: Collection[str] = (),
) -> tuple[Orphan, ...]:
    """The orphans among all processes of this host, by PID, and those that are only claimed to be.

    `registered` are the registrations of this host in Redis that were made by the process that
    has the PID now. `serving` are cgroups outside all units that running instances have moved to.
    """
    known = registered or {}
    table = {process.pid: process for process in processes}
    own = _own_titles(app, table.values())
    verdicts: dict[int, tuple[Work, tuple[Mark, ...], Claim | None]] = {}
    for process in table.values():
        if verdict := _weighed(app, process, known.get(process.pid), own):
            if any(within(process.cgroup, cgroup) for cgroup in serving):
                verdict = (*verdict[:2], Claim.SERVING)
            verdicts[process.pid] = verdict
    below: dict[int, list[Process]] = {}
    for process in table.values():
        below.setdefault(process.parent, []).append(process)
    found = []
    for pid, (work, marks, claim) in sorted(verdicts.items()):
        above = [verdicts[one.pid] for one in ancestors(table, pid) if one.pid in verdicts]
        if any(claim or not each[2] for each in above):
            continue  # shown with the one that started it
        children = _descendants(below, pid)
        release, current = _code(app, work, table[pid])
        mine = tuple(known[each] for each in (pid, *(c.pid for c in children)) if each in known)
        found.append(
            Orphan(table[pid], children, work.worker, marks, release, current, mine, claim)
        )
    return tuple(found)


def in_a_unit(cgroup: str) -> bool:
    """Whether a cgroup is of a unit of unitq's: an instance, a probe, a rollout by itself."""
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
    """Its parent, and so on, as far as they are in the table."""
    found: list[Process] = []
    seen = {pid}
    process = table.get(pid)
    while process is not None and process.parent not in seen:
        seen.add(process.parent)
        process = table.get(process.parent)
        if process is not None:
            found.append(process)
    return found


def _descendants(below: Mapping[int, Sequence[Process]], pid: int) -> tuple[Process, ...]:
    found: dict[int, Process] = {}
    waiting = list(below.get(pid, ()))
    while waiting:
        process = waiting.pop()
        if process.pid not in found and process.pid != pid and not in_a_unit(process.cgroup):
            found[process.pid] = process
            waiting += below.get(process.pid, ())
    return tuple(found[pid] for pid in sorted(found))


def _own_titles(app: App, processes: Iterable[Process]) -> frozenset[tuple[str, str, str]]:
    """Worker, interpreter and title of the app's instances that have written themselves one."""
    found = set()
    for process in processes:
        instance, _ = instance_and_unit(app.name, process.cgroup)
        if instance and process.words and _dark(process):
            found.add((instance.partition("@")[0], engine_of(process.executable), _title(process)))
    return frozenset(found)


def _title(process: Process) -> str:
    """What it has written over its command line; numbers in it change (PIDs, counts)."""
    return re.sub(r"\d+", "0", " ".join(process.words))


def _weighed(
    app: App,
    process: Process,
    registration: Registration | None,
    own: frozenset[tuple[str, str, str]],
) -> tuple[Work, tuple[Mark, ...], Claim | None] | None:
    """The verdict by what suffices; else the one by all that there is, with why it does not."""
    ours = bool(process.uids) and process.uids <= app.accounts
    reason = Claim.ACCOUNT if not ours else Claim.ROOT if 0 in process.uids else None
    if reason is None and in_a_session(process.cgroup):
        reason = Claim.SESSION
    if verdict := _verdict(app, process, registration, own, counts=reason is None):
        return *verdict, None
    if verdict := _verdict(app, process, registration, own, counts=True):
        return *verdict, reason
    return None


def _verdict(
    app: App,
    process: Process,
    registration: Registration | None,
    own: frozenset[tuple[str, str, str]],
    *,
    counts: bool,
) -> tuple[Work, tuple[Mark, ...]] | None:
    """The worker that it works as, and what says so; None: it does not.

    `counts`: whether its registration is evidence, or is only named beside what is.
    """
    if in_a_unit(process.cgroup) or process.app not in ("", app.name):
        return None
    found = []
    for work in app.works:
        marks = _marks(app, work, process, registration, own, counts=counts)
        if marks:
            # Of several workers with the same program, the one whose queues it takes.
            named = process.environment.get("UNITQ_WORKER") == work.worker
            ours = Mark.QUEUES in marks or Mark.REGISTERED in marks
            found.append((named, ours, work.code is not None, len(marks), work, marks))
    if not found:
        return None
    best = max(found, key=lambda each: each[:4])
    return best[4], best[5]


def _marks(
    app: App,
    work: Work,
    process: Process,
    registration: Registration | None,
    own: frozenset[tuple[str, str, str]],
    *,
    counts: bool,
) -> tuple[Mark, ...]:
    """What says that it works as this worker; nothing: it does not suffice."""
    same_engine = work.runs_on(process.executable)
    one = program_of(process.words, process.executable)
    like = Match.NONE
    if one is not None:
        like = max(
            (
                match_program(
                    one, process.paths, process.executable, program, app.releases, work.patterns,
                    work.arguments,
                )
                for program in work.programs
            ),
            default=Match.NONE,
        )  # fmt: skip
    # Its command line says nothing of what it runs.
    dark = _dark(process)
    alike = dark and (work.worker, engine_of(process.executable), _title(process)) in own
    title = not like and same_engine and (alike or _titled(work, process))
    inside = bool(app.releases.of(process.directory))
    told = process.app == app.name
    queues = bool(_queues(work, process) & work.queues)
    taking = registration is not None and _takes(registration, work.queues)
    taking = taking and (same_engine or bool(like))
    known = taking and counts
    enough = (
        like is Match.OWN
        or ((like is Match.SHARED or title) and (inside or told or known))
        or (like is Match.UNSURE and (told or queues or known))
        or (not like and dark and same_engine and inside and (told or queues))
        or known
    )
    if not enough:
        return ()
    every = {
        Mark.PROGRAM: bool(like),
        Mark.TITLE: title,
        Mark.DIRECTORY: inside,
        Mark.ENVIRONMENT: told,
        Mark.QUEUES: queues,
        Mark.REGISTERED: taking,
    }
    return tuple(mark for mark, there in every.items() if there)


def _dark(process: Process) -> bool:
    one = program_of(process.words)
    return not process.words or (
        one is not None
        and not one.interpreter
        and engine_of(one.program) != engine_of(process.executable)
    )


def _titled(work: Work, process: Process) -> bool:
    title = process.words[0] if process.words else ""
    return any(pattern.match(title) for pattern in work.titles)


def _queues(work: Work, process: Process) -> set[str]:
    text = process.environment.get(work.variable, "") if work.variable else ""
    return {name.strip() for name in text.split(work.separator) if name.strip()}


def _takes(registration: Registration, queues: frozenset[str]) -> bool:
    """Whether it takes jobs from one of these queues."""
    if not queues:
        return False  # not known: another app's may be registered in the same Redis
    if "*" in queues and registration.queues:
        return True
    return any(registration.serves(name) for name in queues)


def _code(app: App, work: Work, process: Process) -> tuple[str, bool | None]:
    """The release that it was started from, and whether that is the wanted code."""
    wanted = work.code
    if process.revision:
        worker = process.environment.get("UNITQ_WORKER") or work.worker
        release = app.started_from.get((process.revision, worker), "")
        return release, wanted is not None and process.revision == wanted.revision
    release = app.releases.of(process.executable) or app.releases.of(process.directory)
    if not release and not process.moved:
        found = (app.releases.of(path) for path in reversed(process.paths))
        release = next(filter(None, found), "")
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
