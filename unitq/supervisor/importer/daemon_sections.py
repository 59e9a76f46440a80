"""Supervisor's own machinery, which has no worker: what takes its place, and what to look at."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unitq.supervisor.conf.ini import DEFAULTS
from unitq.supervisor.importer.options import KILLED, options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.supervisor.conf.ini import Ini
    from unitq.supervisor.conf.programs import Program, Read
    from unitq.supervisor.importer.account import Part, Report
    from unitq.supervisor.importer.toml_draft import Draft

# Listeners that many have, by their programs (superlance's), and what does it without one.
_LISTENERS = (
    (
        "memmon",
        "`recycle = { memory = … }` of a worker drains and replaces what has grown too large",
    ),
    ("httpok", "`probe` of a worker asks a new process whether it works"),
    ("crashmail", "OnFailure= in [workers.NAME.unit] starts a unit of yours that sends the mail"),
    ("fatalmail", "OnFailure= in [workers.NAME.unit] starts a unit of yours that sends the mail"),
    ("crashsms", "OnFailure= in [workers.NAME.unit] starts a unit of yours that sends it"),
    ("oomwatch", "systemd tells of it: `journalctl -u` says oom-kill, OnFailure= can act on it"),
)
_EVENTS = (
    ("TICK", "a systemd timer does something every so often"),
    ("PROCESS_STATE", "OnFailure= in [workers.NAME.unit], or `unitq status` with its exit status"),
    ("PROCESS_LOG", "`journalctl -f -u 'unitq-*'` follows what workers print"),
    ("PROCESS_COMMUNICATION", "nothing: let the program say it where it is wanted"),
    ("SUPERVISOR_STATE", "a unit of yours that is WantedBy= the app's target"),
)


def listener(part: Part, program: Program) -> None:
    """An event listener: it would wait for events for ever."""
    command = program.processes[0].command if program.processes else ""
    said = [hint for name, hint in _LISTENERS if re.search(rf"(?:^|[/\s]){name}", command)]
    if not said:
        events = program.given["events"].value.upper() if "events" in program.given else ""
        said = [hint for name, hint in _EVENTS if name in events]
    instead = f"; instead: {'; '.join(said)}" if said else ""
    part.only(f"an event listener has no events to wait for{instead}")


def fcgi(part: Part, drafts: Sequence[Draft]) -> None:
    """A FastCGI program: it needs a socket on its file descriptor 0, which unitq does not make."""
    for draft in drafts:
        draft.off = True
        draft.comments.append("fcgi-program: needs its socket from a .socket unit of your own.")
    part.only("a FastCGI program needs its socket on descriptor 0: a .socket unit of your own")


def others(ini: Ini, report: Report) -> None:
    """Every section that is none of a program."""
    told = {part.section for part in report.parts}
    for section in ini.sections:
        if section in told:
            continue
        part = report.part(section, ini.files.get(section, ""))
        if options(section) is None:
            part.note("Supervisor does not know this section, and ignores it")
        part.as_in_table(ini.sections[section])
    if ini.defaults:
        report.notes.append(
            f"[{DEFAULTS}] holds for every section: {', '.join(ini.defaults)} are told there"
        )


def closing(report: Report, read: Read, drafts: Sequence[Draft]) -> None:
    """What concerns all workers."""
    if read.from_outside:
        report.decide(
            f"read from the environment of this command: {', '.join(read.from_outside)}. "
            "supervisord may have had other values: look at them, or give them with --env"
        )
    if read.host:
        report.decide(
            f"%(host_node_name)s is {read.host} here, and stands there as that: on another host "
            "write its name, or %H in a command"
        )
    on = [draft for draft in drafts if not draft.off]
    if not on:
        return
    report.decide(
        "supervisord passed its whole environment on, systemd does not: what a worker needs of it "
        "(proxies, secrets, PATH, LANG, TZ) belongs into `environment` or `environment_file`. "
        "`tr '\\0' '\\n' < /proc/$(pgrep -o supervisord)/environ` shows it"
    )
    report.notes.append(
        "SUPERVISOR_ENABLED, SUPERVISOR_PROCESS_NAME, SUPERVISOR_GROUP_NAME and "
        "SUPERVISOR_SERVER_URL are gone; UNITQ_APP, UNITQ_WORKER and UNITQ_INSTANCE are there"
    )
    if not all(program.settings.killasgroup for program in read.programs):
        report.notes.append(f"{KILLED}; without killasgroup Supervisor left it running")
    if any("start_limit" not in draft.keys for draft in on):
        report.notes.append(
            "without startretries Supervisor gave up after three failed starts in a row (FATAL); "
            "unitq "
            'starts again every second, for ever, unless a worker has a start_limit such as "4/8s"'
        )
