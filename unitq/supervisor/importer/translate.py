"""From Supervisor's programs to unitq's workers, and what became of each option."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline import exec_line
from unitq.cmdline.without_shell import Plain, plain
from unitq.model.app import ROLLOUT
from unitq.supervisor.conf.ini import DEFAULTS
from unitq.supervisor.conf.programs import DAEMON
from unitq.supervisor.conf.symbols import has_sign, numbered_line
from unitq.supervisor.ctl.names import process_name
from unitq.supervisor.importer import (
    check_notes,
    command_notes,
    not_workers,
    paths_and_user,
    runtime_options,
    stop_options,
)
from unitq.supervisor.importer import names as import_names
from unitq.supervisor.importer.draft import Draft, File, valid_line, variables
from unitq.supervisor.importer.options import EVENTS, KILLED, LISTENERS, options
from unitq.supervisor.importer.peel import peel
from unitq.supervisor.importer.report import Report
from unitq.toml.values import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.supervisor.conf.ini import Ini
    from unitq.supervisor.conf.programs import Process, Program, Read
    from unitq.supervisor.importer.peel import Peeled
    from unitq.supervisor.importer.recognise import Looks, Recognise, Wishes
    from unitq.supervisor.importer.report import Part


class Imported(NamedTuple):
    """A unitq.toml, and what became of each option."""

    text: str
    report: Report


class _UnusableError(ValueError):
    """Why a program becomes no worker."""


@dataclass(slots=True)
class Import:
    """What is being put together."""

    read: Read
    wishes: Wishes
    recognise: Recognise
    report: Report
    drafts: list[Draft] = field(default_factory=list)
    looks: dict[str, Looks] = field(default_factory=dict)  # by worker
    startsecs: dict[str, tuple[Part, int]] = field(default_factory=dict)  # by worker, as given

    @property
    def active(self) -> list[Draft]:
        """The workers that a deploy would start."""
        return [draft for draft in self.drafts if not draft.off]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One worker to be, and its first process."""

    name: str
    first: Process
    count: int
    command: str
    environment: tuple[tuple[str, str], ...]
    counted: bool = False  # command and environment have signs in place of numbers


def translate(ini: Ini, read: Read, wishes: Wishes, recognise: Recognise) -> Imported:
    """Returns the unitq.toml of a configuration.

    `recognise` tells what a command line looks like (in systemd's syntax) and the directory that it
    runs in. Whether anything is left to run is for the caller to look at.
    """
    work = Import(read, wishes, recognise, Report("", wishes.source))
    _daemon(work, ini)
    for program in read.programs:
        part = work.report.part(program.section, program.file, program.given)
        _program(work, ini, program, part)
        known = options(program.section) or {}
        for option in () if part.workers else program.given:
            if option in known and option not in part.options:
                part.leave(option, "no worker is written")
        part.as_in_table()
    _other_sections(work, ini)
    work.report.app = wishes.app or _app(work)
    head = (
        f"Written by `unitq import` from {wishes.source}; the same command with --explain says",
        "what became of each option. Look at this with `unitq check` and `unitq plan`.",
    )
    environment = variables(None, read.daemon.environment)
    file = File(work.report.app, head, work.drafts, environment, _rollout(work))
    imported = finish(work, file)
    _closing(work)
    return imported


def finish(work: Import, file: File) -> Imported:
    """Returns the text with what `unitq check` will say of it, and the report."""
    work.report.written = len(work.active)
    check_notes.add(file, work.looks, work.report)
    return Imported(file.text(), work.report)


def _app(work: Import) -> str:
    directories = [draft.directory for draft in work.active or work.drafts]
    groups = [name for name, _ in work.read.groups]
    whole = len({program.group for program in work.read.programs}) == 1
    return import_names.app(work.wishes.source, directories, groups if whole else [])


# --- what is said for all -------------------------------------------------------------------------


def _daemon(work: Import, ini: Ini) -> None:
    if DAEMON not in ini.sections:
        work.report.notes.append(
            "there is no [supervisord] section: taken for a part of a configuration"
        )
        return
    part = work.report.part(DAEMON, given=work.read.daemon.given)
    part.as_in_table()
    variables(part, work.read.daemon.environment)


def _other_sections(work: Import, ini: Ini) -> None:
    """Every section that is none of a program."""
    handled = {part.section for part in work.report.parts}
    for section in ini.sections:
        if section in handled:
            continue
        part = work.report.part(section, ini.files.get(section, ""), ini.sections[section])
        if options(section) is None:
            part.note("Supervisor does not know this section, and ignores it")
        part.as_in_table()
    if ini.defaults:
        work.report.notes.append(
            f"[{DEFAULTS}] holds for every section: {', '.join(ini.defaults)} are told there"
        )


def _rollout(work: Import) -> dict[str, str]:
    """[rollout], where every program says how long it must run until it counts as started.

    min_healthy is the whole app's: one slow program does not make a deploy of the others slow.
    """
    names = [draft.name for draft in work.active]
    seconds = [work.startsecs[name][1] for name in names if name in work.startsecs]
    least = min(seconds) if names and len(seconds) == len(names) else 0
    shared = f"{least}s" if least else ROLLOUT.min_healthy.text
    for part, own in work.startsecs.values():
        if own > (least or ROLLOUT.min_healthy.seconds):
            part.decide(
                f"startsecs={own}: min_healthy is for all workers, and stays {shared}. A probe "
                "says sooner whether this one works; or raise it for all, in [rollout]"
            )
    if not least:
        return {}
    deadline = {"healthy_deadline": f"{2 * least}s"} if least >= 120 else {}
    return {"min_healthy": f"{least}s"} | deadline


def _closing(work: Import) -> None:
    """What concerns all workers."""
    read, report = work.read, work.report
    if read.from_outside:
        report.decisions.append(
            f"read from the environment of this command: {', '.join(read.from_outside)}. "
            "supervisord may have had other values: look at them, or give them with --env"
        )
    if read.host:
        report.decisions.append(
            f"%(host_node_name)s is {read.host} here, and stands there as that: on another host "
            "write its name, or %H in a command"
        )
    if not work.active:
        return
    report.decisions.append(
        "supervisord passed its whole environment on, systemd does not: what a worker needs of it "
        "(proxies, secrets, PATH, LANG, TZ) belongs into `environment` or `environment_file`. "
        "`tr '\\0' '\\n' < /proc/$(pgrep -o supervisord)/environ` shows it"
    )
    report.notes.append(
        "SUPERVISOR_… variables are gone; UNITQ_APP, UNITQ_WORKER and UNITQ_INSTANCE are set"
    )
    if not all(program.settings.killasgroup for program in read.programs):
        report.notes.append(f"{KILLED}; without killasgroup Supervisor left it running")
    if any("start_limit" not in draft.keys for draft in work.active):
        report.notes.append(
            "without startretries Supervisor gave up after three failed starts in a row (FATAL); "
            'unitq starts again every second, for ever, unless a worker has a start_limit ("4/8s")'
        )


# --- one program ----------------------------------------------------------------------------------


def _program(work: Import, ini: Ini, program: Program, part: Part) -> None:
    if program.kind == "eventlistener":
        _listener(part, program)
        return
    if not program.processes:
        part.leave("numprocs", "nothing is started, so there is no worker")
        return
    drafts = add_workers(work, program, part)
    if not drafts:
        return
    if again := ini.again.get(program.section):
        files = ", then ".join([ini.files[program.section], *again])
        part.decide(
            f"[{program.section}] is in {files}: Supervisor makes one program of them, in which "
            f"{again[-1]} has the last word. Is that what is meant?"
        )
    names = [process_name(program.group, process.name) for process in program.processes]
    import_names.for_ctl(part, drafts, names)
    if not program.settings.autostart:
        part.leave("autostart", "a deploy starts every worker, so this one is written as a comment")
        part.decide(
            "autostart=false: a deploy would start it, so it is a comment. Take the # away if it "
            "is to run; `unitq stop` stops it until the next start, deploy or boot"
        )
        for draft in drafts:
            draft.switch_off("autostart=false: a deploy would start it.")
    if program.kind == "fcgi-program":
        for draft in drafts:
            draft.switch_off("fcgi-program: needs its socket from a .socket unit of your own.")
        part.decide_only(
            "a FastCGI program needs its socket on descriptor 0: a .socket unit of your own"
        )
    seconds = program.settings.startsecs
    if "startsecs" in program.given and not drafts[0].off and 0 < seconds < 10**6:
        work.startsecs |= {draft.name: (part, seconds) for draft in drafts}


def _listener(part: Part, program: Program) -> None:
    """An event listener: it would wait for events for ever."""
    command = program.processes[0].command if program.processes else ""
    events = program.given["events"].value.upper() if "events" in program.given else ""
    hints = [hint for name, hint in LISTENERS.items() if re.search(rf"(?:^|[/\s]){name}", command)]
    hints = hints or [hint for name, hint in EVENTS.items() if name in events]
    instead = f"; instead: {'; '.join(hints)}" if hints else ""
    part.decide_only(f"an event listener has no events to wait for{instead}")


def add_workers(work: Import, program: Program, part: Part) -> list[Draft]:
    """Adds the workers of a program; none where it cannot be run, which the part says."""
    try:
        candidates = _candidates(work, program, part)
        drafts = [_draft(work, program, part, candidate) for candidate in candidates]
    except _UnusableError as error:
        part.leave("command", f"no worker is written: {error}")
        part.decide(f"no worker is written: {error}")
        return []
    part.workers = [draft.name for draft in drafts]
    work.drafts += drafts
    return drafts


def _candidates(work: Import, program: Program, part: Part) -> list[_Candidate]:
    """One worker for all processes where they differ by their number only, else one for each."""
    taken = [draft.name for draft in work.drafts]
    name = _name(work, program, part, taken)
    first, count = program.processes[0], len(program.processes)
    one_directory = len({process.directory for process in program.processes}) == 1
    same = len({(process.command, process.environment) for process in program.processes}) == 1
    if count == 1 or (one_directory and program.pattern is None and same):
        return [_Candidate(name, first, count, first.command, first.environment)]
    if one_directory and program.pattern is not None:
        shared = _Candidate(name, first, count, *program.pattern, counted=True)
        if _is_countable(shared):
            return [shared]
    part.note(
        "its processes differ by more than a number that unitq can give them: each is a worker of "
        "its own, and max_unavailable counts for each worker alone"
    )
    candidates: list[_Candidate] = []
    for process in program.processes:
        own = import_names.unique(f"{name}-{process.number}", taken)
        taken.append(own)
        candidates.append(_Candidate(own, process, 1, process.command, process.environment))
    return candidates


def _is_countable(candidate: _Candidate) -> bool:
    """Whether each number stands where an instance can be given its own."""
    try:
        command = plain(_words(candidate), candidate.first.directory, candidate.environment)
    except _UnusableError:
        return False
    # A shell that is kept would have to count within its own script.
    return not has_sign(command.directory or "") and not has_sign(command.script)


def _name(work: Import, program: Program, part: Part, taken: Sequence[str]) -> str:
    wanted = program.name
    groups = {other.group for other in work.read.programs}
    if program.group != program.name and len(groups) > 1:
        begin = f"{program.group}-"
        wanted = program.name if program.name.startswith(begin) else f"{begin}{program.name}"
        part.note(f"of the group {program.group}: `unitq restart '{begin}*'` takes all of it")
    name = import_names.unique(import_names.identifier(wanted) or "worker", taken)
    if name != program.name:
        part.note(f"{program.name} is called {name}")
    return name


def _words(candidate: _Candidate) -> tuple[str, ...]:
    """The command's words. Raises _UnusableError."""
    try:
        arguments = tuple(shlex.split(candidate.command))
    except ValueError as error:
        raise _UnusableError(
            f"Supervisor cannot start it either: {str(error).lower()} in its command, of which "
            'Supervisor takes " ;" and " #" for the beginning of a comment'
        ) from None
    if not arguments or not arguments[0]:
        raise _UnusableError("Supervisor cannot start it either: its command is empty")
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for word in arguments for c in word):
        raise _UnusableError("its command has a NUL in it, or is not UTF-8")
    return arguments


def _draft(work: Import, program: Program, part: Part, candidate: _Candidate) -> Draft:
    daemon, wishes = work.read.daemon, work.wishes
    draft = Draft(candidate.name)
    peeled = peel(
        _words(candidate), candidate.first.directory, candidate.environment,
        home=wishes.home, recognise=work.recognise,
    )  # fmt: skip
    part.same("command")  # its line comes first
    given = dict(candidate.environment) | dict(peeled.plain.environment)
    counted = {
        name: value for name, value in given.items() if candidate.counted and has_sign(value)
    }
    stable = {name: value for name, value in given.items() if name not in counted}
    draft.environment = variables(part, tuple(stable.items()))
    paths_and_user.directory(part, draft, daemon, peeled.plain, wishes.directory)
    with_shell = _with_shell(work, draft, peeled)
    inside = paths_and_user.relative(with_shell.arguments, draft.directory)
    command = replace(with_shell, arguments=inside)
    line = _line(part, program, candidate, command, counted)
    draft.keys["command"] = line
    if candidate.count > 1:
        draft.keys["instances"] = candidate.count
    if peeled.accounts:
        paths_and_user.account(part, draft, peeled, wishes)
    else:
        paths_and_user.user(part, program, draft, daemon, wishes)
    paths_and_user.umask(part, program, draft, daemon)
    path = (dict(daemon.environment) | given).get("PATH")
    paths_and_user.search_path(part, draft, inside[0], path, wishes.manager)
    looks = work.looks[draft.name] = work.recognise(line, draft.directory)
    between = stop_options.above(line, command, looks)
    command_notes.shell(part, command, between)
    command_notes.program(part, command)
    command_notes.around(part, draft, peeled)
    if inside != with_shell.arguments:
        part.note(command_notes.RELATIVE)
    before = stop_options.stop_of(program.settings, chosen="stopwaitsecs" in program.given)
    stop_options.set_stop(part, draft, before, looks.preset, between, wishes.manager)
    runtime_options.set_restart(part, program, draft, looks.preset)
    runtime_options.logs(program, draft, candidate.first)
    runtime_options.minimum_files(draft, daemon.minfds)
    written = not_workers.Command(with_shell.arguments, line, peeled, looks)
    not_workers.set_aside(part, draft, written, once=not_workers.runs_once(program))
    return draft


def _with_shell(work: Import, draft: Draft, peeled: Peeled) -> Plain:
    """The command, with its shell again where the kernel would not run the script without one.

    A file without `#!` is run by a shell that is to execute it, and by nothing else
    (execve(2), ENOEXEC; systemd then says 203/EXEC).
    """
    command = peeled.plain
    if not command.unwrapped:
        return command
    heads = work.recognise(exec_line.line(command.arguments), draft.directory).heads
    head = heads.get(command.arguments[0], "")
    if not head or head.startswith("#!"):
        return command
    return replace(
        command,
        arguments=(peeled.shell, *command.arguments),
        unwrapped=False,
        why=f"{command.arguments[0]} has no #! line, so only a shell can run it",
    )


def _line(
    part: Part, program: Program, candidate: _Candidate, command: Plain, counted: dict[str, str]
) -> str:
    """The command in systemd's syntax. Raises _UnusableError."""
    if candidate.counted and (counted or any(map(has_sign, command.arguments))):
        start = program.settings.numprocs_start
        line, shell = numbered_line(command.arguments, tuple(counted.items()), start)
        says = command_notes.COUNTED if shell else "%i is the number of the instance"
        part.change("command", says)
    else:
        line = exec_line.line(command.arguments)
    try:
        return valid_line(line)
    except InvalidValueError as mistake:
        raise _UnusableError(str(mistake)) from None
