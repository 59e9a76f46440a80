"""Every option of Supervisor 4 by its section, and what becomes of those that no program has."""

from __future__ import annotations

from unitq.model.suggest import nearest

# What stands in a [program:x], and in the others that run processes.
PROGRAM = (
    "command", "process_name", "numprocs", "numprocs_start", "priority", "autostart", "startsecs",
    "startretries", "autorestart", "exitcodes", "stopsignal", "stopwaitsecs", "stopasgroup",
    "killasgroup", "user", "redirect_stderr", "stdout_logfile", "stdout_logfile_maxbytes",
    "stdout_logfile_backups", "stdout_capture_maxbytes", "stdout_events_enabled", "stdout_syslog",
    "stderr_logfile", "stderr_logfile_maxbytes", "stderr_logfile_backups",
    "stderr_capture_maxbytes", "stderr_events_enabled", "stderr_syslog", "environment",
    "directory", "umask", "serverurl",
)  # fmt: skip
FCGI = ("socket", "socket_backlog", "socket_owner", "socket_mode")
LISTENER = ("events", "buffer_size", "result_handler")
GROUP = ("programs", "priority")
INCLUDE = ("files",)

_ROTATES = "the journal rotates: SystemMaxUse= in journald.conf"

# Options of a program that are not carried over, and what takes their place.
LEFT = {
    "priority": "workers start together; where one needs another, say so in [workers.NAME.unit], "
    "and let it retry",
    "serverurl": "there is no server whose URL a program could be told",
    "socket": "unitq makes no sockets, so the worker is a comment: a .socket unit of your "
    "own with ListenStream= and a service with StandardInput=socket take its place, or a program "
    "that opens its socket itself, as php-fpm does",
    "socket_backlog": "Backlog= of that .socket unit",
    "socket_owner": "SocketUser= and SocketGroup= of that .socket unit",
    "socket_mode": "SocketMode= of that .socket unit, whose default is 0666",
} | {
    f"{stream}_{end}": says
    for stream in ("stdout", "stderr")
    for end, says in (
        ("logfile_maxbytes", _ROTATES),
        ("logfile_backups", _ROTATES),
        ("capture_maxbytes", "there is no capture mode"),
        ("events_enabled", "there are no events; follow the journal"),
    )
}
JOURNAL = "the journal: `unitq logs`, `journalctl`"
# Those that something else stands for in any case.
CHANGED = dict.fromkeys(
    ("stdout_syslog", "stderr_syslog"),
    f"{JOURNAL}; ForwardToSyslog= in journald.conf if syslog has to have it",
)

_LOG = "there is no daemon with a log of its own: `journalctl -u 'unitq-*'` has what systemd did"
_FILES = "there is no daemon and no such file"
_SOCKET = (
    "there is no socket: commands go to systemd, as root, with sudo or by a polkit rule; "
    "`unitq --user` manages your own"
)
_CLIENT = "there is no server to connect to"

# The daemon's own options without a counterpart, and what to do. The rest is translated.
DAEMON_LEFT = {
    "logfile": _LOG,
    "logfile_maxbytes": _LOG,
    "logfile_backups": _LOG,
    "loglevel": _LOG,
    "pidfile": _FILES,
    "nodaemon": "there is no daemon; in a container, systemd has to be the first process",
    "silent": _LOG,
    "minprocs": "what Supervisor demanded for itself; set LimitNPROC in `limits` if you mean it",
    "nocleanup": "there are no temporary log files",
    "childlogdir": "there are no temporary log files: what workers print is in the journal",
    "strip_ansi": "the journal keeps what was printed; `journalctl -o cat | sed` can strip it",
    "identifier": "units are named after the app",
    "profile_options": "there is no daemon to profile",
}
DAEMON = (*DAEMON_LEFT, "user", "directory", "umask", "environment", "minfds")

# Sections of Supervisor's own machinery, by how they begin, and what takes their place.
MACHINERY = {
    "unix_http_server": (("file", "chmod", "chown", "username", "password"), _SOCKET),
    "inet_http_server": (
        ("port", "username", "password"),
        "nothing listens on the network: ssh to the host, and `unitq status --json`",
    ),
    "supervisorctl": (
        ("serverurl", "username", "password", "prompt", "history_file"),
        _CLIENT,
    ),
    "rpcinterface:": (
        ("supervisor.rpcinterface_factory",),
        "there is no XML-RPC: scripts use `unitq --json`, or systemd's D-Bus interface",
    ),
    "ctlplugin:": (("supervisor.ctl_factory",), "there is no supervisorctl to extend"),
}


def machinery(section: str) -> tuple[tuple[str, ...], str] | None:
    """The options of such a section and what takes its place; None for any other section."""
    for begin, found in MACHINERY.items():
        # Supervisor takes [inet_http_server:second] too.
        if section == begin or section.startswith(begin if begin.endswith(":") else f"{begin}:"):
            return found
    return None


def unknown(option: str, there: tuple[str, ...]) -> str:
    """What is said of an option that Supervisor does not know, and so ignores."""
    near = nearest(option, there)
    meant = f"; {near} is probably meant" if near else ""
    return f"unknown to Supervisor, which ignores it{meant}"


def options(section: str) -> tuple[str, ...] | None:
    """Every option that Supervisor knows in this section; None where it does not know the section.

    Those of an rpcinterface are its plug-in's business.
    """
    kind, colon, _ = section.partition(":")
    if not colon:
        by_name = {"supervisord": DAEMON, "include": INCLUDE}
        if section in by_name:
            return by_name[section]
    else:
        by_kind = {
            "program": PROGRAM,
            "fcgi-program": (*PROGRAM, *FCGI),
            "eventlistener": (*PROGRAM, *LISTENER),
            "group": GROUP,
        }
        if kind in by_kind:
            return by_kind[kind]
    found = machinery(section)
    return found[0] if found else None
