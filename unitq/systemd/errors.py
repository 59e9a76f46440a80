"""What a failed call means, in an operator's words."""

from __future__ import annotations

import errno
import os

from unitq.errors import NoMatchError, NoSystemdError, NotPermittedError, SystemdError, UnitqError
from unitq.linux.account import name_of

# How long sd-bus waits for an answer (sd_bus_call(3)); a time span as systemd reads it.
TIMEOUT = "SYSTEMD_BUS_TIMEOUT"

GONE = frozenset({errno.ENOTCONN, errno.ECONNRESET, errno.EPIPE, errno.ECONNREFUSED})


# systemd's methods (org.freedesktop.systemd1(5)) as people say it.
_WORDS = {
    "StartUnit": "start",
    "StopUnit": "stop",
    "RestartUnit": "restart",
    "KillUnit": "send a signal to",
    "ResetFailedUnit": "restart",
    "EnableUnitFiles": "enable",
    "DisableUnitFiles": "disable",
    "Reload": "reload systemd",
}


class BusLostError(SystemdError):
    """The connection broke (daemon-reexec, a D-Bus restart): reconnect and read the state again."""


def number_of(error: Exception) -> int:
    """The errno of one of pystemd's errors; 0: it has none."""
    return abs(int(getattr(error, "errno", 0) or 0))


def no_systemd(error: Exception, *, user: bool) -> NoSystemdError:
    """The error for "there is nobody to talk to"."""
    reason = os.strerror(number_of(error)) if number_of(error) else str(error)
    if user:
        return NoSystemdError(
            f"no user manager to talk to: {reason}",
            hint="it runs while its account is logged in, and cron, CI, su and sudo are no login: "
            f"`sudo loginctl enable-linger {name_of(os.getuid())}` starts it now and at each boot",
        )
    return NoSystemdError(
        f"no systemd to talk to: {reason}",
        hint="unitq needs systemd as PID 1; in a container, try `script/demo`, or use --user",
    )


def failure(
    error: Exception, what: str, values: tuple[object, ...], *, user: bool = False
) -> UnitqError:
    """The error for a call that failed; `values` are its arguments, the unit first."""
    number = number_of(error)
    kind = type(error).__name__
    message = getattr(error, "err_message", "") or str(error)
    if isinstance(message, bytes):
        message = message.decode(errors="replace")
    about = " ".join(
        value.decode(errors="replace") for value in values[:1] if isinstance(value, bytes)
    )
    call = f"systemd: {what} {about}".rstrip()
    # The bus itself is there still where systemd has left it: it then answers in its place.
    if number in GONE or (kind == "DBusNoReplyError" and "disconnected" in message):
        return BusLostError(f"{call}: the connection broke")
    if number in (errno.EACCES, errno.EPERM) or "Authorization" in kind or "AccessDenied" in kind:
        return NotPermittedError(
            f"not permitted to {_WORDS.get(what, what)} {about}".rstrip(),
            hint="run it as root (sudo), or with --user for your own units",
        )
    if "NoSuchUnit" in kind or "no such unit" in message.lower() or "not loaded" in message:
        return NoMatchError(f"{call}: {message}")
    if number == errno.ETIMEDOUT:
        return SystemdError(
            f"{call}: no answer within {os.environ.get(TIMEOUT)}",
            hint=f"set {TIMEOUT} to a longer time span",
        )
    if "UnitMasked" in kind or "is masked" in message:
        # In the message, as a report has no hints.
        return SystemdError(f"{about} is masked: `systemctl {'--user ' * user}unmask {about}`")
    return SystemdError(f"{call}: {message} ({kind})")
