"""Every option of Supervisor 4 by its section, and what becomes of it."""

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


SAME, CHANGED, LEFT = Fate


class Row(NamedTuple):
    """What becomes of one option, unless its value needs other words."""

    fate: Fate
    says: str = ""


JOURNAL = "the journal: `unitq logs`, `journalctl`"
_ROTATES = Row(LEFT, "the journal rotates: SystemMaxUse= in journald.conf")
_STREAM = {
    "logfile": Row(CHANGED, f"{JOURNAL}; a comment keeps the file, if that is wanted"),
    "logfile_maxbytes": _ROTATES,
    "logfile_backups": _ROTATES,
    "capture_maxbytes": Row(LEFT, "there is no capture mode"),
    "events_enabled": Row(LEFT, "there are no events; follow the journal"),
    "syslog": Row(CHANGED, f"{JOURNAL}; for syslog, ForwardToSyslog= in journald.conf"),
}
KILLED = "what is left when the main process has ended gets SIGKILL"
_TOGETHER = Row(LEFT, "workers start together; one that needs another has to try again, or says "
                "so in [workers.NAME.unit]")  # fmt: skip

PROGRAM = {
    "command": Row(SAME),
    "process_name": Row(CHANGED, "instances are NAME@1 and on; `unitq ctl` knows the names"),
    "numprocs": Row(SAME, "instances"),
    "numprocs_start": Row(CHANGED, "instances are counted from 1"),
    "priority": _TOGETHER,
    "autostart": Row(SAME),
    "startsecs": Row(CHANGED, "[rollout] min_healthy, which all workers share: the shortest, where "
                     "each says one"),
    "startretries": Row(SAME, "start_limit: as many starts in the time in which they can fail"),
    "autorestart": Row(SAME),
    "exitcodes": Row(SAME, "they count with autorestart=unexpected, and without a preset"),
    "stopsignal": Row(SAME),
    "stopwaitsecs": Row(SAME),
    "stopasgroup": Row(SAME),
    "killasgroup": Row(CHANGED, f"always: {KILLED}"),
    "user": Row(SAME),
    "redirect_stderr": Row(SAME, "both go to the journal in any case"),
    "environment": Row(SAME),
    "directory": Row(SAME),
    "umask": Row(SAME),
    "serverurl": Row(LEFT, "there is no server whose URL a program could be told"),
}  # fmt: skip
PROGRAM |= {f"{name}_{end}": row for name in ("stdout", "stderr") for end, row in _STREAM.items()}
FCGI = {
    "socket": Row(LEFT, "unitq makes no sockets, so the worker is a comment: a .socket unit of "
                  "your own with ListenStream= and a service with StandardInput=socket take its "
                  "place, or a program that opens its socket itself, as php-fpm does"),
    "socket_backlog": Row(LEFT, "Backlog= of that .socket unit"),
    "socket_owner": Row(LEFT, "SocketUser= and SocketGroup= of that .socket unit"),
    "socket_mode": Row(LEFT, "SocketMode= of that .socket unit, whose default is 0666"),
}  # fmt: skip
LISTENER = dict.fromkeys(
    ("events", "buffer_size", "result_handler"), Row(LEFT, "there are no events")
)
GROUP = {
    "programs": Row(CHANGED, "there are no groups: it is the beginning of the workers' names"),
    "priority": _TOGETHER,
}

_OF_EACH = Row(CHANGED, "each worker without one of its own has this one")
_LOG = Row(LEFT, "there is no daemon with a log of its own: `journalctl -u 'unitq-*'` has what "
           "systemd did")  # fmt: skip
_NO_FILES = Row(LEFT, "there are no temporary log files: what workers print is in the journal")
DAEMON = {
    "environment": Row(CHANGED, "the app's environment"),
    "user": _OF_EACH,
    "directory": _OF_EACH,
    "umask": _OF_EACH,
    "minfds": Row(CHANGED, "above 1024 it is LimitNOFILE of every worker"),
    "minprocs": Row(LEFT, "what Supervisor demanded for itself; set LimitNPROC in `limits` if you "
                    "mean it"),
    **dict.fromkeys(("logfile", "logfile_maxbytes", "logfile_backups", "loglevel", "silent"), _LOG),
    "pidfile": Row(LEFT, "there is no daemon and no such file"),
    "nodaemon": Row(LEFT, "there is no daemon; in a container systemd has to be the first process"),
    "nocleanup": _NO_FILES,
    "childlogdir": _NO_FILES,
    "strip_ansi": Row(LEFT, "the journal keeps what was printed; `journalctl -o cat | sed` can "
                      "strip it"),
    "identifier": Row(LEFT, "units are named after the app"),
    "profile_options": Row(LEFT, "there is no daemon to profile"),
}  # fmt: skip


def _machinery(says: str, *names: str) -> dict[str, Row]:
    return dict.fromkeys(names, Row(LEFT, says))


# Sections of Supervisor's own machinery, by how they begin.
MACHINERY = {
    "unix_http_server": _machinery(
        "there is no socket: commands go to systemd, as root, with sudo or by a polkit rule; "
        "`unitq --user` manages your own", "file", "chmod", "chown", "username", "password"),
    "inet_http_server": _machinery(
        "nothing listens on the network: ssh to the host, and `unitq status --json`",
        "port", "username", "password"),
    "supervisorctl": _machinery(
        "there is no server to connect to",
        "serverurl", "username", "password", "prompt", "history_file"),
    "rpcinterface:": _machinery(
        "there is no XML-RPC: scripts use `unitq --json`, or systemd's D-Bus interface",
        "supervisor.rpcinterface_factory"),
    "ctlplugin:": _machinery("there is no supervisorctl to extend", "supervisor.ctl_factory"),
}  # fmt: skip
_SECTIONS: Mapping[str, Mapping[str, Row]] = {
    "supervisord": DAEMON,
    "include": {"files": Row(SAME, "what it names was read")},
    "program:": PROGRAM,
    "fcgi-program:": PROGRAM | FCGI,
    "eventlistener:": dict.fromkeys(PROGRAM, Row(LEFT, "no worker is written")) | LISTENER,
    "group:": GROUP,
}


def options(section: str) -> Mapping[str, Row] | None:
    """Returns the options that Supervisor knows in this section; None: it does not know it."""
    kind, colon, _ = section.partition(":")
    if found := _SECTIONS.get(kind + colon):
        return found
    # Supervisor takes [inet_http_server:second] too.
    return MACHINERY.get(kind + colon) or MACHINERY.get(kind)


def row(section: str, option: str) -> Row:
    """Returns what becomes of an option, also of one that Supervisor does not know."""
    there = options(section) or {}
    if option in there:
        return there[option]
    # Those of a plug-in are its own business.
    if section.startswith(("rpcinterface:", "ctlplugin:")):
        return next(iter(there.values()))
    near = nearest(option, there)
    meant = f"; {near} is probably meant" if near else ""
    return Row(LEFT, f"unknown to Supervisor, which ignores it{meant}")
