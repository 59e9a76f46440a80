"""The programs that a supervisord.conf describes: the same processes that supervisord would run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unitq.model.app import INSTANCES_MAX
from unitq.supervisor.conf import convert
from unitq.supervisor.conf.expand import ExpansionError, expand
from unitq.supervisor.conf.ini import mistakes
from unitq.supervisor.conf.section import Section, names_of, refusal
from unitq.supervisor.conf.symbols import LETTERS, Pattern, Symbols, proved

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from unitq.supervisor.conf.ini import Ini, Option
    from unitq.supervisor.conf.section import Names, Surroundings

DAEMON = "supervisord"
START_MAX = 10**9
KINDS = ("program", "eventlistener", "fcgi-program")


@dataclass(frozen=True, slots=True)
class Process:
    """One process as supervisord would start it."""

    name: str
    number: int
    command: str
    environment: tuple[tuple[str, str], ...]  # of the program only
    directory: str | None
    stdout: str | None = None  # the log file as written; None where there is none given
    stderr: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a program that all its processes share."""

    priority: int
    autostart: bool
    autorestart: str  # always, never, unexpected
    startsecs: int
    startretries: int
    stopsignal: str
    stopwaitsecs: int
    stopasgroup: bool
    killasgroup: bool
    exitcodes: tuple[int, ...]
    redirect_stderr: bool
    numprocs: int
    numprocs_start: int
    user: str | None
    umask: int | None


@dataclass(frozen=True, slots=True)
class Program:
    """A [program:x] with its processes; once for each group that has it."""

    kind: str
    name: str
    group: str
    section: str
    file: str
    given: Mapping[str, Option]
    settings: Settings
    processes: tuple[Process, ...]
    pattern: Pattern | None  # what their commands and environments have in common
    odd: tuple[tuple[str, str], ...] = ()  # what is odd about an option


@dataclass(frozen=True, slots=True)
class Daemon:
    """What [supervisord] says for all programs."""

    given: Mapping[str, Option]
    environment: tuple[tuple[str, str], ...] = ()
    user: str | None = None
    directory: str | None = None
    umask: int | None = None
    minfds: int | None = None
    odd: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Read:
    """All of a configuration."""

    daemon: Daemon
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    programs: tuple[Program, ...]
    from_outside: tuple[str, ...]  # variables of the environment that were used
    host: str = ""  # its name, if that was used


def include_patterns(ini: Ini, around: Surroundings) -> tuple[str, ...]:
    """The globs of [include]; none without that section. Raises ConfigError."""
    if "include" not in ini.sections:
        return ()
    ini.expand_here(around.here)
    files = ini.get("include", "files")
    if files is None:
        raise mistakes(ini.files["include"], ["[include] files: missing"])
    names = names_of(around)
    try:
        return tuple(expand(files.value, names.base | names.environment).split())
    except ExpansionError as error:
        names.problem("include", "files", error)
        raise refusal(files.file, names) from None


def read(ini: Ini, around: Surroundings, source: str) -> Read:
    """Every program. Raises ConfigError with all that Supervisor would refuse."""
    names = names_of(around)
    outside = set(names.environment)
    daemon = _daemon(ini, names)
    names.environment |= {f"ENV_{key}": value for key, value in daemon.environment}
    inside = {f"ENV_{key}" for key, _ in daemon.environment}
    groups = []
    found: list[Program] = []
    grouped: set[str] = set()
    for section in ini.named("group:"):
        group, members = _group(ini, section, names)
        for member in members:
            grouped.add(member)
            found += _program(ini, member, group, names)
        groups.append((group, members))
    for kind in KINDS:
        for section in ini.named(f"{kind}:"):
            if section not in grouped:
                found += _program(ini, section, None, names)
    if names.wrong:
        raise refusal(source, names)
    # What [supervisord] sets is still the outside's where that was used to say so.
    of_outside = (names.used & outside) - inside
    host = around.host if "host_node_name" in names.used else ""
    outside_names = tuple(sorted(name[4:] for name in of_outside))
    return Read(daemon, tuple(groups), tuple(found), outside_names, host)


def _daemon(ini: Ini, names: Names) -> Daemon:
    section = Section(ini, DAEMON, names)
    if DAEMON not in ini.sections:
        return Daemon({})
    text = section.text("environment") or ""
    found = section.pairs("environment", section.expanded("environment", text) or "")
    return Daemon(
        given=ini.options(DAEMON),
        environment=found.values,
        user=section.text("user"),
        directory=section.text("directory"),
        umask=section.value("umask", convert.octal, None),
        minfds=section.value("minfds", convert.integer, None),
        odd=tuple(("environment", what) for what in found.odd),
    )


def _group(ini: Ini, section: str, names: Names) -> tuple[str, tuple[str, ...]]:
    """A group's name, and the sections of its programs."""
    reader = Section(ini, section, names)
    try:
        name = convert.name(section.partition(":")[2])
    except ValueError as error:
        names.problem(section, "name", error)
        name = ""
    members = []
    for word in convert.words(reader.text("programs") or ""):
        both = [kind for kind in ("program", "fcgi-program") if f"{kind}:{word}" in ini.sections]
        if len(both) != 1:
            why = "is there twice, as program and fcgi-program" if both else "is not there"
            names.wrong.append(f"[{section}] programs: {word} {why}")
            continue
        members.append(f"{both[0]}:{word}")
    reader.value("priority", convert.integer, 999)
    return name, tuple(dict.fromkeys(members))


def _program(ini: Ini, section: str, group: str | None, names: Names) -> Iterable[Program]:
    """The program of this section in this group; nothing where it has mistakes."""
    kind, _, short = section.partition(":")
    before = len(names.wrong)
    try:
        name = convert.name(short)
    except ValueError as error:
        names.problem(section, "name", error)
        return []
    reader = Section(ini, section, names, program_name=name, group_name=group or name)
    settings = _settings(reader)
    if ini.get(section, "command") is None:
        names.wrong.append(f"[{section}] command: missing")
    _own_rules(reader, kind, settings)
    if not _countable(settings):
        return []
    every = [*_processes(reader, settings)]
    if len(names.wrong) > before:
        return []
    numbers = range(settings.numprocs_start, settings.numprocs_start + settings.numprocs)
    pattern = _pattern(reader) if settings.numprocs > 1 and numbers[0] >= 0 else None
    if pattern and not proved(pattern, [(p.command, p.environment) for p in every], numbers):
        pattern = None
    odd = [(option.name, what) for option in ini.options(section).values() for what in option.odd]
    for _, process_odd in _environments(reader, settings):
        odd += [("environment", what) for what in process_odd]
    return [
        Program(
            kind,
            name,
            group or name,
            section,
            ini.files.get(section, ""),
            ini.options(section),
            settings,
            tuple(every),
            pattern,
            tuple(dict.fromkeys(odd)),
        )
    ]


def _settings(section: Section) -> Settings:
    stopasgroup = section.value("stopasgroup", convert.boolean, False)
    return Settings(
        priority=section.value("priority", convert.integer, 999),
        autostart=section.value("autostart", convert.boolean, True),
        autorestart=section.value("autorestart", convert.autorestart, "unexpected"),
        startsecs=section.value("startsecs", convert.integer, 1),
        startretries=section.value("startretries", convert.integer, 3),
        stopsignal=section.value("stopsignal", convert.signal_name, "SIGTERM"),
        stopwaitsecs=section.value("stopwaitsecs", convert.integer, 10),
        stopasgroup=stopasgroup,
        killasgroup=section.value("killasgroup", convert.boolean, stopasgroup),
        exitcodes=section.value("exitcodes", convert.exit_codes, (0,)),
        redirect_stderr=section.value("redirect_stderr", convert.boolean, False),
        numprocs=section.value("numprocs", convert.integer, 1),
        numprocs_start=section.value("numprocs_start", convert.integer, 0),
        user=section.text("user"),
        umask=section.value("umask", convert.octal, None),
    )


def _countable(settings: Settings) -> bool:
    """Whether the processes can be gone through; else that is said already."""
    return settings.numprocs <= INSTANCES_MAX and abs(settings.numprocs_start) < START_MAX


def _own_rules(section: Section, kind: str, settings: Settings) -> None:
    """What Supervisor refuses, besides values that it cannot read."""
    wrong, place = section.names.wrong, f"[{section.name}]"
    for option in ("stdout_capture_maxbytes", "stderr_capture_maxbytes"):
        section.value(option, convert.size, 0)
    for option in ("stdout_events_enabled", "stderr_events_enabled"):
        section.value(option, convert.boolean, False)
    name = section.raw("process_name", "%(program_name)s")
    if settings.numprocs > 1 and "%(process_num)" not in name:
        wrong.append(f"{place} process_name: needs %(process_num) where numprocs is above 1")
    if settings.numprocs > INSTANCES_MAX:
        wrong.append(f"{place} numprocs: unitq runs at most {INSTANCES_MAX} of a worker")
    if abs(settings.numprocs_start) >= START_MAX:
        wrong.append(f"{place} numprocs_start: too large a number")
    if settings.stopasgroup and not settings.killasgroup:
        wrong.append(f"{place} killasgroup: must not be false where stopasgroup is true")
    if kind == "eventlistener":
        if not any(convert.words(section.text("events") or "")):
            wrong.append(f"{place} events: missing")
        if settings.redirect_stderr:
            wrong.append(f"{place} redirect_stderr: must not be true for an event listener")
    if kind == "fcgi-program" and not section.text("socket"):
        wrong.append(f"{place} socket: missing")


def _environments(
    section: Section, settings: Settings
) -> Iterator[tuple[tuple[tuple[str, str], ...], tuple[str, ...]]]:
    """The variables of each process, and what is odd about them. Sets the section's values so that
    what is expanded while the caller has one finds that process's."""
    numbers = range(settings.numprocs_start, settings.numprocs_start + settings.numprocs)
    text = section.raw("environment", "")
    for number in numbers:
        section.values |= {"process_num": number, "numprocs": settings.numprocs}
        section.values |= section.names.environment
        found = section.pairs("environment", section.expanded("environment", text) or "")
        section.values |= {f"ENV_{key}": value for key, value in found.values}
        yield found.values, found.odd


def _processes(section: Section, settings: Settings) -> Iterator[Process]:
    for index, (environment, _) in enumerate(_environments(section, settings)):
        before = len(section.names.wrong)
        name = section.expanded("process_name", section.raw("process_name", "%(program_name)s"))
        logs = {}
        for stream in ("stdout", "stderr"):
            option = f"{stream}_logfile"
            log = section.text(option)
            # Supervisor expands log files twice.
            logs[stream] = None if log is None else section.expanded(option, log)
            section.value(f"{option}_maxbytes", convert.size, 0)
            section.value(f"{option}_backups", convert.integer, 0)
            section.value(f"{stream}_syslog", convert.boolean, False)
        yield Process(
            name=name or "",
            number=settings.numprocs_start + index,
            command=section.text("command") or "",
            environment=environment,
            directory=section.text("directory"),
            stdout=logs["stdout"],
            stderr=logs["stderr"],
        )
        if len(section.names.wrong) > before:
            return  # the others would say the same


def _pattern(section: Section) -> Pattern | None:
    """The command and the environment with a sign in place of each number."""
    symbols = Symbols()
    section.values |= {"process_num": 0} | section.names.environment
    text = section.expanded("environment", section.raw("environment", ""), symbols.instead)
    if text is None:
        return None
    environment = section.pairs("environment", text, letters=LETTERS).values
    section.values |= {f"ENV_{key}": value for key, value in environment}
    command = section.expanded("command", section.raw("command", ""), symbols.instead)
    if command is None:
        return None
    return Pattern(command, environment, tuple(symbols.formats))
