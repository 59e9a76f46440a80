"""The programs that a supervisord.conf describes: the same processes that supervisord would run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from unitq.model.app import INSTANCES_MAX
from unitq.supervisor.conf import convert
from unitq.supervisor.conf.expand import ExpansionError, expand
from unitq.supervisor.conf.ini import mistakes
from unitq.supervisor.conf.section import Section, names_of, refusal
from unitq.supervisor.conf.symbols import LETTERS, Pattern, proved, sign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

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
    """The options of a program that all its processes share, with Supervisor's defaults."""

    priority: int = 999
    autostart: bool = True
    autorestart: str = "unexpected"  # always, never, unexpected
    startsecs: int = 1
    startretries: int = 3
    stopsignal: str = "SIGTERM"
    stopwaitsecs: int = 10
    stopasgroup: bool = False
    killasgroup: bool = False
    exitcodes: tuple[int, ...] = (0,)
    redirect_stderr: bool = False
    numprocs: int = 1
    numprocs_start: int = 0
    user: str | None = None
    umask: int | None = None


_READERS: Mapping[str, Callable[[str], object]] = {
    "priority": convert.integer,
    "autostart": convert.boolean,
    "autorestart": convert.autorestart,
    "startsecs": convert.integer,
    "startretries": convert.integer,
    "stopsignal": convert.signal_name,
    "stopwaitsecs": convert.integer,
    "stopasgroup": convert.boolean,
    "killasgroup": convert.boolean,
    "exitcodes": convert.exit_codes,
    "redirect_stderr": convert.boolean,
    "numprocs": convert.integer,
    "numprocs_start": convert.integer,
    "user": str,
    "umask": convert.octal,
}


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


@dataclass(frozen=True, slots=True)
class Daemon:
    """What [supervisord] says for all programs."""

    given: Mapping[str, Option]
    environment: tuple[tuple[str, str], ...] = ()
    user: str | None = None
    directory: str | None = None
    umask: int | None = None
    minfds: int | None = None


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
    programs: list[Program] = []
    grouped: set[str] = set()
    for section in ini.of_kind("group:"):
        group, members = _group(ini, section, names)
        for member in members:
            grouped.add(member)
            programs += _program(ini, member, group, names)
        groups.append((group, members))
    for kind in KINDS:
        for section in ini.of_kind(f"{kind}:"):
            if section not in grouped:
                programs += _program(ini, section, None, names)
    if names.wrong:
        raise refusal(source, names)
    # What [supervisord] sets is still the outside's where that was used to say so.
    of_outside = (names.used & outside) - inside
    host = around.host if "host_node_name" in names.used else ""
    outside_names = tuple(sorted(name[4:] for name in of_outside))
    return Read(daemon, tuple(groups), tuple(programs), outside_names, host)


def _daemon(ini: Ini, names: Names) -> Daemon:
    section = Section(ini, DAEMON, names)
    if DAEMON not in ini.sections:
        return Daemon({})
    text = section.text("environment") or ""
    return Daemon(
        given=ini.options(DAEMON),
        environment=section.pairs("environment", section.expand("environment", text) or ""),
        user=section.text("user"),
        directory=section.text("directory"),
        umask=section.value("umask", convert.octal, None),
        minfds=section.value("minfds", convert.integer, None),
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
    processes = tuple(_processes(reader, settings))
    if len(names.wrong) > before:
        return []
    numbers = range(settings.numprocs_start, settings.numprocs_start + settings.numprocs)
    pattern = _pattern(reader) if settings.numprocs > 1 and numbers[0] >= 0 else None
    if pattern and not proved(pattern, [(p.command, p.environment) for p in processes], numbers):
        pattern = None
    return [
        Program(
            kind,
            name,
            group or name,
            section,
            ini.files.get(section, ""),
            ini.options(section),
            settings,
            processes,
            pattern,
        )
    ]


def _settings(section: Section) -> Settings:
    settings = Settings()
    for option, read_value in _READERS.items():
        # Where killasgroup is not there it is as stopasgroup, which stands before it.
        default = getattr(settings, "stopasgroup" if option == "killasgroup" else option)
        value = section.value(option, read_value, default)
        settings = replace(settings, **{option: value})
    return settings


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


def _environments(section: Section, settings: Settings) -> Iterator[tuple[tuple[str, str], ...]]:
    """Yields the variables of each process, and sets the section's values to that process's."""
    numbers = range(settings.numprocs_start, settings.numprocs_start + settings.numprocs)
    text = section.raw("environment", "")
    for number in numbers:
        section.values |= {"process_num": number, "numprocs": settings.numprocs}
        section.values |= section.names.environment
        variables = section.pairs("environment", section.expand("environment", text) or "")
        section.values |= {f"ENV_{key}": value for key, value in variables}
        yield variables


def _processes(section: Section, settings: Settings) -> Iterator[Process]:
    for index, environment in enumerate(_environments(section, settings)):
        before = len(section.names.wrong)
        name = section.expand("process_name", section.raw("process_name", "%(program_name)s"))
        logs = {}
        for stream in ("stdout", "stderr"):
            option = f"{stream}_logfile"
            log = section.text(option)
            # Supervisor expands log files twice.
            logs[stream] = None if log is None else section.expand(option, log)
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
    section.values |= {"process_num": 0} | section.names.environment
    text = section.expand("environment", section.raw("environment", ""), sign)
    if text is None:
        return None
    environment = section.pairs("environment", text, letters=LETTERS)
    section.values |= {f"ENV_{key}": value for key, value in environment}
    command = section.expand("command", section.raw("command", ""), sign)
    return None if command is None else Pattern(command, environment)
