"""What `hardening = "standard"` and `"strict"` put into a unit: one table, with reasons. Pure.

docs/hardening.md is written from it. Facts are systemd.exec(5)'s, and measured on systemd 252.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class Hardening(StrEnum):
    """How much of the machine a worker can reach."""

    OFF = "off"
    STANDARD = "standard"
    STRICT = "strict"


class Line(NamedTuple):
    """One directive. `since`: the first systemd that knows it; an older one ignores the line."""

    directive: str
    value: str
    since: int
    keeps: str  # what it keeps a worker from
    breaks: str  # what it can break, and for whom
    words: tuple[Hardening, ...] = (Hardening.STANDARD, Hardening.STRICT)
    by_user: bool = False  # a user's own manager can apply it; the others fail there, or do nothing
    no_new_privileges: bool = True  # systemd sets NoNewPrivileges where it sets this one
    unprivileged: bool = False  # only where the worker does not run as root

    def __str__(self) -> str:
        return f"{self.directive}={self.value}"


_STANDARD = (Hardening.STANDARD,)
_STRICT = (Hardening.STRICT,)

# MemoryDenyWriteExecute= is in none: Node, PHP's JIT, Ruby's YJIT and ctypes die of it. Nor is
# RemoveIPC=: it deletes what others of the same account share, such as php-fpm's memory.
LINES = (
    Line(
        "NoNewPrivileges", "yes", 187,
        "gaining rights by a setuid or setgid program",
        "PHP's `mail()` and `sendmail` with Postfix (`postdrop` is setgid), Exim (setuid); `sudo`, "
        "`su`, `crontab`, `fusermount`; `ping` on some systems",
        by_user=True,
    ),
    Line(
        "CapabilityBoundingSet", "", 21,
        "root's single rights, also by way of a hole in the kernel or a daemon",
        "a worker with `AmbientCapabilities`: then the line is left out",
        no_new_privileges=False, unprivileged=True,
    ),
    Line(
        "RestrictSUIDSGID", "yes", 242,
        "leaving a setuid or setgid program behind",
        "`chmod g+s` or `2775`, `cp -p`, `rsync -p` and `tar -p` of such files, git's "
        "`core.sharedRepository`",
        by_user=True,
    ),
    Line(
        "ProtectProc", "invisible", 247,
        "seeing processes of other accounts, their arguments, and that they are there",
        "frameworks that look for living workers with `ps`: the line is left out for the presets "
        "that say so; jobs that watch other accounts' processes",
        no_new_privileges=False,
    ),
    Line(
        "ProtectKernelTunables", "yes", 232,
        "changing `/proc/sys` and `/sys`",
        "jobs that set sysctls",
    ),
    Line(
        "ProtectKernelModules", "yes", 232,
        "loading kernel modules",
        "a first `mount` or `iptables` of its kind, by a worker that runs as root",
    ),
    Line(
        "ProtectKernelLogs", "yes", 244,
        "reading and clearing the kernel's log",
        "jobs that call `dmesg`",
    ),
    Line(
        "ProtectControlGroups", "yes", 232,
        "changing its own limits",
        "a worker that runs containers of its own",
        no_new_privileges=False,
    ),
    Line(
        "ProtectClock", "yes", 245,
        "setting the clock",
        "`ntp_gettime` and `adjtimex`, also for reading; before systemd 253 (Debian's 252 has the "
        "mend) all devices but `/dev/null` and its like: GPUs",
    ),
    Line(
        "ProtectHostname", "yes", 242,
        "changing the host's name",
        "a new host name is seen only after a restart",
    ),
    Line(
        "LockPersonality", "yes", 235,
        "switching to rarely tested kernel interfaces",
        "`setarch`, `linux32`, some emulators and debuggers",
        by_user=True,
    ),
    Line(
        "RestrictRealtime", "yes", 231,
        "taking all of a CPU by real-time scheduling",
        "audio and control programs",
        by_user=True,
    ),
    Line(
        "SystemCallArchitectures", "native", 209,
        "the 32-bit system calls, which filters know less well",
        "32-bit programs that jobs start, such as old `wkhtmltopdf` or licence tools",
        by_user=True,
    ),
    Line(
        "ProtectSystem", "full", 220,
        "writing to `/usr`, `/boot` and `/etc`",
        "jobs that write there; every worker has this line, also without `hardening`",
        words=_STANDARD, no_new_privileges=False,
    ),
    Line(
        "ProtectSystem", "strict", 232,
        "writing anywhere but `/dev/shm`, its own `/tmp` and `writable`",
        "logs, caches, sessions and uploads in files: Laravel's `storage` and `bootstrap/cache`, "
        "Rails' `log` and `tmp`, Symfony's `var`, PHP's sessions, a beat's schedule, `~/.cache`",
        words=_STRICT, no_new_privileges=False,
    ),
    Line(
        "ProtectHome", "read-only", 214,
        "writing to `/home`, `/root` and `/run/user`",
        "as the line before; `writable` opens a folder there",
        words=_STRICT, no_new_privileges=False,
    ),
    Line(
        "PrivateTmp", "yes", 183,
        "meeting other programs in `/tmp` and `/var/tmp`",
        "sockets in `/tmp` (some MySQL, PostgreSQL, PHP-FPM), files handed from the web server to "
        "the worker there, what a job keeps there for the one after a restart",
        words=_STRICT, no_new_privileges=False,
    ),
    Line(
        "PrivateDevices", "yes", 209,
        "devices, but for `/dev/null`, `/dev/urandom`, `/dev/shm` and their like",
        "GPUs, printers, serial ports, `/dev/kvm`, `/dev/fuse`",
        words=_STRICT,
    ),
    Line(
        "RestrictNamespaces", "yes", 233,
        "namespaces of its own, a common way into the kernel",
        "Chrome's sandbox (Puppeteer, Playwright, Browsershot: `--no-sandbox`), bubblewrap, "
        "rootless containers",
        words=_STRICT, by_user=True,
    ),
    Line(
        "RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK", 211,
        "raw packets, Bluetooth, virtual machines' sockets",
        "`tcpdump`, `ping` by a raw socket. AF_NETLINK stays: `getaddrinfo` and Node's "
        "`os.networkInterfaces` need it",
        words=_STRICT, by_user=True,
    ),
    Line(
        "SystemCallFilter", "@system-service", 187,
        "system calls that no service needs: mounting, tracing, loading modules, rebooting",
        "debuggers and profilers (`strace`, `py-spy`, `perf`), `bpf`, `mount`, `swapon`",
        words=_STRICT, by_user=True,
    ),
    Line(
        "SystemCallErrorNumber", "EPERM", 209,
        "",
        "nothing: a call that is refused fails, and does not kill the worker",
        words=_STRICT, by_user=True, no_new_privileges=False,
    ),
)  # fmt: skip

DIRECTIVES = frozenset(line.directive for line in LINES) | {"ReadWritePaths"}

_NO = frozenset({"no", "n", "false", "f", "off", "0"})  # parse_boolean() of systemd


class Sandbox(NamedTuple):
    """The lines that a worker gets, and the directives that it does not get after all."""

    lines: tuple[Line, ...]
    left_out: tuple[str, ...]


def sandbox(
    word: Hardening,
    *,
    user_scope: bool,
    root: bool,
    own: Mapping[str, tuple[str, ...]],
    leave_out: Collection[str] = (),
) -> Sandbox:
    """Returns what the word means for one worker.

    `own` are the directives of its [service] table: they take the place of the word's lines.
    `leave_out` are those that its preset says its framework cannot have.
    """
    given = own.get("NoNewPrivileges", ())
    privileges = bool(given) and given[-1].lower() in _NO
    kept, left_out = [], []
    for line in LINES:
        if word not in line.words or line.directive in own:
            continue
        # What implies it would make a "no" mean nothing, and a setuid program needs the rights.
        refused = privileges and (line.no_new_privileges or line.unprivileged)
        ambient = line.unprivileged and "AmbientCapabilities" in own
        elsewhere = (user_scope and not line.by_user) or (root and line.unprivileged)
        if refused or ambient or elsewhere or line.directive in leave_out:
            left_out.append(line.directive)
        else:
            kept.append(line)
    return Sandbox(tuple(kept), tuple(left_out))
