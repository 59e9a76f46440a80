"""From Supervisor's programs to unitq's workers, and the account of it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline import exec_line
from unitq.cmdline.without_shell import Plain, plain
from unitq.model.app import ROLLOUT
from unitq.supervisor.conf.programs import DAEMON
from unitq.supervisor.conf.symbols import has_sign, numbered
from unitq.supervisor.ctl.names import joined
from unitq.supervisor.importer import (
    check_notes,
    command_notes,
    daemon_sections,
    not_workers,
    paths_and_user,
    runtime_options,
    stop_options,
)
from unitq.supervisor.importer import names as import_names
from unitq.supervisor.importer.account import Report
from unitq.supervisor.importer.options import options
from unitq.supervisor.importer.peel import peel
from unitq.supervisor.importer.toml_draft import Draft, File, checked_line, variables
from unitq.toml.values import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unitq.supervisor.conf.ini import Ini
    from unitq.supervisor.conf.programs import Process, Program, Read
    from unitq.supervisor.importer.account import Part
    from unitq.supervisor.importer.detect import Looks, Recognise
    from unitq.supervisor.importer.peel import Peeled


def _nowhere(_account: str) -> str | None:
    return None


class Wishes(NamedTuple):
    """What whoever imports says besides."""

    source: str  # what the report calls the file
    app: str | None = None
    directory: str | None = None  # for programs without one
    user_scope: bool = False
    home: Callable[[str], str | None] = _nowhere  # an account's home directory, where it is known


class Imported(NamedTuple):
    """A unitq.toml, and what became of each option."""

    text: str
    report: Report


class _UnusableError(ValueError):
    """Why a program becomes no worker."""


@dataclass(slots=True)
class _Work:
    """What is being put together."""

    read: Read
    wishes: Wishes
    recognise: Recognise
    report: Report
    drafts: list[Draft] = field(default_factory=list)
    looks: dict[str, Looks] = field(default_factory=dict)  # by worker
    startsecs: dict[str, tuple[Part, int]] = field(default_factory=dict)  # by worker, as given


@dataclass(slots=True)
class _Candidate:
    """One worker to be: its command with signs in place of numbers, and its first process."""

    name: str
    first: Process
    count: int
    command: str
    environment: tuple[tuple[str, str], ...]
    formats: tuple[str, ...] = ()


def translate(ini: Ini, read: Read, wishes: Wishes, recognise: Recognise) -> Imported:
    """The unitq.toml of a configuration.

    `recognise` tells what a command line looks like (in systemd's syntax) and the directory that it
    runs in. Whether anything is left to run is for the caller to look at.
    """
    work = _Work(read, wishes, recognise, Report("", wishes.source))
    _daemon(work, ini)
    names: list[str] = []
    for program in read.programs:
        part = work.report.part(program.section, program.file)
        _program(work, ini, program, part, names)
        _rest(part, program)
    daemon_sections.others(ini, work.report)
    app = wishes.app or _app(work)
    work.report.app = app
    file = File(
        app,
        (
            f"Written by `unitq import` from {wishes.source}; the same command with --explain says",
            "what became of each option. Look at this with `unitq check` and `unitq plan`.",
        ),
        work.drafts,
        environment=_shared_environment(work),
        rollout=_rollout(work),
    )
    work.report.written = sum(not draft.off for draft in work.drafts)
    check_notes.beside(file, work.looks, work.report)
    daemon_sections.closing(work.report, read, work.drafts)
    return Imported(file.text(), work.report)


def _app(work: _Work) -> str:
    on = [draft for draft in work.drafts if not draft.off] or work.drafts
    directories = [str(draft.keys["directory"]) for draft in on]
    groups = [name for name, _ in work.read.groups]
    whole = len({program.group for program in work.read.programs}) == 1
    return import_names.app(work.wishes.source, directories, groups if whole else [])


# --- what is said for all -------------------------------------------------------------------------


def _daemon(work: _Work, ini: Ini) -> None:
    daemon = work.read.daemon
    if DAEMON not in ini.sections:
        work.report.notes.append(
            "there is no [supervisord] section: taken for a part of a configuration"
        )
        return
    part = work.report.part("supervisord")
    for option, what in daemon.odd:
        part.note(f"{option}: {what}")
    part.as_in_table(daemon.given)
    variables(part, daemon.environment)


def _shared_environment(work: _Work) -> dict[str, str]:
    return variables(None, work.read.daemon.environment)


def _rollout(work: _Work) -> dict[str, str]:
    """[rollout], where every program says how long it must run until it counts as started.

    min_healthy is the whole app's: one slow program does not make a deploy of the others slow.
    """
    on = [draft.name for draft in work.drafts if not draft.off]
    every = [work.startsecs[name][1] for name in on if name in work.startsecs]
    least = min(every) if on and len(every) == len(on) else 0
    shared = f"{least}s" if least else ROLLOUT.min_healthy.text
    for part, seconds in work.startsecs.values():
        if seconds > (least or ROLLOUT.min_healthy.seconds):
            part.decide(
                f"startsecs={seconds}: min_healthy is for all workers, and stays {shared}. A probe "
                "says sooner whether this one works; or raise it for all, in [rollout]"
            )
    if not least:
        return {}
    found = {"min_healthy": f"{least}s"}
    if least >= 120:
        found["healthy_deadline"] = f"{2 * least}s"
    return found


# --- one program ----------------------------------------------------------------------------------


def _program(work: _Work, ini: Ini, program: Program, part: Part, names: list[str]) -> None:
    for option, what in program.odd:
        part.note(f"{option} {what}")
    if program.kind == "eventlistener":
        daemon_sections.listener(part, program)
        return
    if not program.processes:
        part.left("numprocs", "nothing is started, so there is no worker")
        return
    try:
        candidates = _candidates(work, program, part, names)
        drafts = [_draft(work, program, part, candidate) for candidate in candidates]
    except _UnusableError as error:
        part.left("command", f"no worker is written: {error}")
        part.decide(f"no worker is written: {error}")
        return
    names += [draft.name for draft in drafts]
    part.workers = [draft.name for draft in drafts]
    if again := ini.again.get(program.section):
        part.decide(
            f"[{program.section}] is in {ini.places(program.section)}: Supervisor makes one "
            f"program of them, in which {again[-1]} has the last word. Is that what is meant?"
        )
    every = [joined(program.group, process.name) for process in program.processes]
    import_names.for_ctl(part, drafts, every)
    _autostart(part, program, drafts)
    if program.kind == "fcgi-program":
        daemon_sections.fcgi(part, drafts)
    seconds = program.settings.startsecs
    if "startsecs" in program.given and not drafts[0].off and 0 < seconds < 10**6:
        work.startsecs |= {draft.name: (part, seconds) for draft in drafts}
    work.drafts += drafts


def _candidates(work: _Work, program: Program, part: Part, names: list[str]) -> list[_Candidate]:
    """One worker for all processes where they differ by their number only, else one for each."""
    name = _name(work, program, part, names)
    first, count = program.processes[0], len(program.processes)
    alike = len({process.directory for process in program.processes}) == 1
    if count == 1 or (alike and program.pattern is None and _same(program.processes)):
        return [_Candidate(name, first, count, first.command, first.environment)]
    if alike and program.pattern is not None:
        pattern = program.pattern
        one = _Candidate(name, first, count, pattern.command, pattern.environment, pattern.formats)
        if _countable(one):
            return [one]
    part.note(
        "its processes differ by more than a number that unitq can give them: each is a worker of "
        "its own, and max_unavailable counts for each worker alone"
    )
    found: list[_Candidate] = []
    for process in program.processes:
        taken = [*names, *(candidate.name for candidate in found)]
        own = import_names.unique(f"{name}-{process.number}", taken)
        found.append(_Candidate(own, process, 1, process.command, process.environment))
    return found


def _same(processes: Sequence[Process]) -> bool:
    return len({(process.command, process.environment) for process in processes}) == 1


def _countable(candidate: _Candidate) -> bool:
    """Whether each number stands where an instance can be given its own."""
    try:
        found = plain(_words(candidate), candidate.first.directory, candidate.environment)
    except _UnusableError:
        return False
    if has_sign(found.directory or ""):
        return False
    # A shell that is kept would have to count within its own script.
    return not (found.script and has_sign(found.script))


def _name(work: _Work, program: Program, part: Part, names: list[str]) -> str:
    wanted = program.name
    groups = {found.group for found in work.read.programs}
    if program.group != program.name and len(groups) > 1:
        begin = f"{program.group}-"
        wanted = program.name if program.name.startswith(begin) else f"{begin}{program.name}"
        part.note(f"of the group {program.group}: `unitq restart '{begin}*'` takes all of it")
    name = import_names.unique(import_names.identifier(wanted) or "worker", names)
    if name != program.name:
        part.note(f"{program.name} is called {name}")
    return name


def _words(candidate: _Candidate) -> tuple[str, ...]:
    """The command's words."""
    try:
        arguments = tuple(shlex.split(candidate.command))
    except ValueError as error:
        raise _UnusableError(
            f"Supervisor cannot start it either: {str(error).lower()} in its command"
        ) from None
    if not arguments or not arguments[0]:
        raise _UnusableError("Supervisor cannot start it either: its command is empty")
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for word in arguments for c in word):
        raise _UnusableError("its command has a NUL in it, or is not UTF-8")
    return arguments


def _peeled(work: _Work, candidate: _Candidate) -> Peeled:
    """The command without what stands around it, where that is the same."""
    directory = candidate.first.directory
    return peel(
        _words(candidate),
        directory,
        candidate.environment,
        home=work.wishes.home,
        recognise=work.recognise,
    )


def _draft(work: _Work, program: Program, part: Part, candidate: _Candidate) -> Draft:
    peeled = _peeled(work, candidate)
    found = peeled.plain
    draft = Draft(candidate.name)
    given = dict(candidate.environment) | dict(found.environment)
    counted = {
        name: value for name, value in given.items() if candidate.formats and has_sign(value)
    }
    stable = {name: value for name, value in given.items() if name not in counted}
    draft.environment = variables(part, tuple(stable.items()))
    part.same("command")  # its line comes first
    paths_and_user.directory(part, draft, work.read.daemon, found, work.wishes.directory)
    found = _with_shell(work, draft, peeled)
    absolute = found.arguments
    inside = paths_and_user.relative(found.arguments, str(draft.keys["directory"]))
    relative = inside != found.arguments
    found = replace(found, arguments=inside)
    line = _line(part, program, candidate, found, counted)
    draft.keys["command"] = line
    if candidate.count > 1:
        draft.keys["instances"] = candidate.count
    paths_and_user.user(
        part, program, draft, work.read.daemon, peeled, user_scope=work.wishes.user_scope
    )
    paths_and_user.umask(part, program, draft, work.read.daemon)
    paths_and_user.search_path(part, draft, found, dict(work.read.daemon.environment) | given)
    looks = work.looks[draft.name] = work.recognise(line, str(draft.keys["directory"]))
    preset = looks.preset
    between = stop_options.above(line, found, looks)
    command_notes.shell(part, found, between)
    command_notes.program(part, found)
    command_notes.around(part, draft, peeled)
    if relative:
        part.note(command_notes.RELATIVE)
    stop_options.stopping(part, program, draft, preset, between)
    runtime_options.restarting(part, program, draft, preset)
    runtime_options.logs(program, draft, candidate.first)
    runtime_options.minimum_files(draft, work.read.daemon.minfds)
    command = not_workers.Command(absolute, line, peeled, looks)
    not_workers.aside(part, draft, command, once=not_workers.runs_once(program))
    return draft


def _with_shell(work: _Work, draft: Draft, peeled: Peeled) -> Plain:
    """The command, with its shell again where the kernel would not run the script without one.

    A file without `#!` is run by a shell that is told to execute it, and by nothing else
    (execve(2), ENOEXEC; systemd then says 203/EXEC).
    """
    found = peeled.plain
    directory = str(draft.keys["directory"])
    if not found.unwrapped:
        return found
    heads = work.recognise(exec_line.line(found.arguments), directory).heads
    head = heads.get(found.arguments[0], "")
    if not head or head.startswith("#!"):
        return found
    return replace(
        found,
        arguments=(peeled.shell, *found.arguments),
        unwrapped=False,
        why=f"{found.arguments[0]} has no #! line, so only a shell can run it",
    )


def _line(
    part: Part,
    program: Program,
    candidate: _Candidate,
    found: Plain,
    counted: dict[str, str],
) -> str:
    """The command in systemd's syntax."""
    start = program.settings.numprocs_start
    signs = candidate.formats and (counted or any(map(has_sign, found.arguments)))
    if signs:
        line, shell = numbered(found.arguments, tuple(counted.items()), candidate.formats, start)
        part.changed(
            "command", command_notes.COUNTED if shell else "%i is the number of the instance"
        )
    else:
        line = exec_line.line(found.arguments)
    try:
        return checked_line(line)
    except InvalidValueError as mistake:
        raise _UnusableError(str(mistake)) from None


def _autostart(part: Part, program: Program, drafts: Sequence[Draft]) -> None:
    if program.settings.autostart:
        return
    part.left("autostart", "a deploy starts every worker, so this one is written as a comment")
    part.decide(
        "autostart=false: a deploy would start it, so it is a comment. Take the # away if it is to "
        "run; `unitq stop` stops it until the next start, deploy or boot"
    )
    for draft in drafts:
        draft.off = True
        draft.comments.append("autostart=false: a deploy would start it.")


def _rest(part: Part, program: Program) -> None:
    """Every option that is there has its line."""
    known = options(program.section) or {}
    for option in program.given:
        if not part.workers and option in known and option not in part.options:
            part.left(option, "no worker is written")
    part.as_in_table(program.given)
