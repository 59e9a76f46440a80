"""Every option of Supervisor 4 by its section, and what becomes of it.

The tables of docs/leaving-supervisor.md are made of it (tests/unit/test_docs.py).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from unitq.model.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping


class Fate(StrEnum):
    """What becomes of an option."""

    SAME = "same"
    CHANGED = "changed"
    LEFT = "left"

    @property
    def sign(self) -> str:
        """How reports and docs mark it."""
        return {Fate.SAME: "=", Fate.CHANGED: "~", Fate.LEFT: "-"}[self]


SAME, CHANGED, LEFT = Fate


class Row(NamedTuple):
    """What becomes of one option, unless its value needs other words."""

    fate: Fate
    says: str = ""
    also: Fate | None = None  # with some values
    page: str = ""  # what docs say, where that is more


KILLED = "what is left when the main process has ended gets SIGKILL"
_ROTATES = Row(LEFT, "`SystemMaxUse=` of the journal")
_STREAM = {
    "logfile": Row(CHANGED, "the journal; a comment keeps the file", page=(
        "journal; `NONE`: `StandardOutput=null`. A comment keeps the file")),
    "logfile_maxbytes": _ROTATES,
    "logfile_backups": _ROTATES,
    "capture_maxbytes": Row(LEFT, "no capture mode"),
    "events_enabled": Row(LEFT, "`journalctl -f -u 'unitq-*'`"),
    "syslog": Row(CHANGED, "journal; `ForwardToSyslog=`"),
}  # fmt: skip
_TOGETHER = Row(LEFT, "workers start together; `After=` in `[workers.NAME.unit]`")

PROGRAM = {
    "command": Row(SAME),
    "process_name": Row(CHANGED, "`NAME@1` and on; `supervisor_name`"),
    "numprocs": Row(SAME, "`instances`"),
    "numprocs_start": Row(CHANGED, "counted from 1", page=(
        "counted from 1; the command computes it")),
    "priority": _TOGETHER,
    "autostart": Row(SAME, also=LEFT, page="`false`: a comment"),
    "startsecs": Row(CHANGED, "`[rollout] min_healthy`: the shortest, else 10 s"),
    "startretries": Row(SAME, "`start_limit`; without it unitq never gives up"),
    "autorestart": Row(SAME, also=CHANGED, page=(
        "`unexpected`: `RestartPreventExitStatus=`; `false`: a comment; with a preset always")),
    "exitcodes": Row(SAME, "`RestartPreventExitStatus=`, `SuccessExitStatus=`"),
    "stopsignal": Row(SAME, also=CHANGED, page=(
        "`stop_signal`, or the preset's. KILL becomes SIGTERM")),
    "stopwaitsecs": Row(SAME, also=CHANGED, page="`stop_timeout`, or the preset's. 0 becomes 1 s"),
    "stopasgroup": Row(SAME, also=CHANGED, page=(
        "`kill_mode`: `control-group` if true, else `mixed`")),
    "killasgroup": Row(CHANGED, f"always: {KILLED}", page="always"),
    "user": Row(SAME, also=CHANGED, page=(
        "`user`; HOME, USER, LOGNAME, SHELL are set. Not with `--user`")),
    "redirect_stderr": Row(SAME, "the journal has both"),
    "environment": Row(SAME, page=(
        "`environment`; what differs by number by `env`. No names of unitq's or systemd's, no line "
        "breaks")),
    "directory": Row(SAME, also=CHANGED, page=(
        "`directory`; else that of `[supervisord]`, `--directory`, the script's folder, `/`")),
    "umask": Row(SAME),
    "serverurl": Row(LEFT, "no server"),
}  # fmt: skip
PROGRAM |= {f"{name}_{end}": row for end, row in _STREAM.items() for name in ("stdout", "stderr")}
FCGI = {
    "socket": Row(LEFT, "`ListenStream=` of a .socket unit of yours, and `StandardInput=socket`"),
    "socket_backlog": Row(LEFT, "`Backlog=` of that unit"),
    "socket_owner": Row(LEFT, "`SocketUser=`, `SocketGroup=` of that unit"),
    "socket_mode": Row(LEFT, "`SocketMode=` of that unit (0666; Supervisor 0700)"),
}
LISTENER = {
    "events": Row(LEFT, "no events", page=(
        "`TICK_60`: a timer. `PROCESS_STATE_…`: `OnFailure=`, or `unitq status`. `PROCESS_LOG`: "
        "`unitq logs -f --json`")),
    "buffer_size": Row(LEFT, "no events"),
    "result_handler": Row(LEFT, "no events"),
}  # fmt: skip
GROUP = {
    "programs": Row(CHANGED, "the beginning of the workers' names"),
    "priority": _TOGETHER,
}

_OF_EACH = Row(CHANGED, "of workers without their own")
_LOG = Row(LEFT, "`journalctl -u 'unitq-*'`")
_NO_DAEMON = Row(LEFT, "no daemon")
DAEMON = {
    "environment": Row(CHANGED, "the app's `environment`"),
    **dict.fromkeys(("user", "directory", "umask"), _OF_EACH),
    "minfds": Row(CHANGED, "above 1024: `LimitNOFILE`", also=LEFT),
    "minprocs": Row(LEFT, "`LimitNPROC` in `limits`", page=(
        "[`limits`](configuration.md#limits)")),
    **dict.fromkeys(("logfile", "logfile_maxbytes", "logfile_backups", "loglevel"), _LOG),
    "nodaemon": Row(LEFT, "in a container systemd is the first process, or its runtime starts one "
                    "worker each"),
    "strip_ansi": Row(LEFT, "the journal keeps what was printed"),
    **dict.fromkeys(("pidfile", "silent", "nocleanup", "childlogdir", "identifier",
                     "profile_options"), _NO_DAEMON),
}  # fmt: skip


def _machinery(says: str, *names: str, page: str = "") -> dict[str, Row]:
    return dict.fromkeys(names, Row(LEFT, says, page=page))


# Sections of Supervisor's own machinery, by how they begin.
MACHINERY = {
    "unix_http_server": _machinery(
        "there is no socket: sudo, polkit or `--user`",
        "file", "chmod", "chown", "username", "password",
        page="[sudo, polkit or `--user`](operating.md#deploys-without-root)"),
    "inet_http_server": _machinery(
        "ssh, `unitq status --json`; no web page: `unitq status --watch`, Cockpit",
        "port", "username", "password"),
    "supervisorctl": _machinery(
        "`unitq`, `unitq ctl`", "serverurl", "username", "password", "prompt", "history_file"),
    "rpcinterface:": _machinery(
        "`unitq … --json`, systemd's D-Bus", "supervisor.rpcinterface_factory"),
    "ctlplugin:": _machinery("no supervisorctl", "supervisor.ctl_factory"),
}  # fmt: skip
INCLUDE = {"files": Row(SAME, "what it names is read")}
_SECTIONS: Mapping[str, Mapping[str, Row]] = {
    "supervisord": DAEMON,
    "include": INCLUDE,
    "program:": PROGRAM,
    "fcgi-program:": PROGRAM | FCGI,
    "eventlistener:": dict.fromkeys(PROGRAM, Row(LEFT, "no worker is written")) | LISTENER,
    "group:": GROUP,
}

# What takes the place of a listener that many have (superlance's), or that waits for an event.
_ON_FAILURE = "`OnFailure=` in `[workers.NAME.unit]`"
LISTENERS = {
    "memmon": "`recycle = { memory = … }` replaces a worker that has grown too large",
    "httpok": "`probe` of a worker asks a new process whether it works",
    "crashmail": _ON_FAILURE,
    "fatalmail": _ON_FAILURE,
    "crashsms": _ON_FAILURE,
    "oomwatch": f"{_ON_FAILURE}; `journalctl -u` says oom-kill",
}
EVENTS = {
    "TICK": "a systemd timer",
    "PROCESS_STATE": f"{_ON_FAILURE}, or `unitq status` with its exit status",
    "PROCESS_LOG": "`journalctl -f -u 'unitq-*'`",
    "PROCESS_COMMUNICATION": "nothing: the program can say it where it is wanted",
    "SUPERVISOR_STATE": "a unit of yours that is WantedBy= the app's target",
}


def options(section: str) -> Mapping[str, Row] | None:
    """Returns the options that Supervisor knows in this section; None: it does not know it."""
    kind, colon, _ = section.partition(":")
    # Supervisor takes [inet_http_server:second] too.
    return _SECTIONS.get(kind + colon) or MACHINERY.get(kind + colon) or MACHINERY.get(kind)


def row(section: str, option: str) -> Row:
    """Returns what becomes of an option, also of one that Supervisor does not know."""
    rows = options(section) or {}
    if option in rows:
        return rows[option]
    # Those of a plug-in are its own business.
    if section.startswith(("rpcinterface:", "ctlplugin:")):
        return next(iter(rows.values()))
    near = nearest(option, rows)
    meant = f"; {near} is probably meant" if near else ""
    return Row(LEFT, f"unknown to Supervisor, which ignores it{meant}")
