"""Where supervisord listens, as its configuration says."""

from __future__ import annotations

import os.path
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import ConfigError
from unitq.supervisor.conf.section import Section, names_of, refusal

if TYPE_CHECKING:
    from unitq.supervisor.conf.ini import Ini
    from unitq.supervisor.conf.section import Names, Surroundings

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HASHED = "{SHA}"


class Address(NamedTuple):
    """One way to supervisord."""

    path: str = ""  # of a unix socket; empty: it is host and port
    host: str = ""
    port: int = 0
    username: str | None = None
    password: str | None = None

    def __str__(self) -> str:
        # Without the password: it is shown.
        return f"unix://{self.path}" if self.path else f"http://{self.host}:{self.port}"


def addresses(ini: Ini, around: Surroundings) -> tuple[Address, ...]:
    """Returns its addresses on this machine, sockets first. Raises ConfigError if there is none."""
    names = names_of(around)
    local: list[Address] = []
    foreign: list[str] = []
    for section in _servers(ini, "unix_http_server", names):
        if path := section.text("file"):
            path = os.path.normpath(os.path.join(around.here, path.strip()))
            local.append(Address(path, "", 0, *_account(section)))
    for section in _servers(ini, "inet_http_server", names):
        host, _, number = (section.text("port") or "").strip().rpartition(":")
        if not number.isascii() or not number.isdigit() or not 0 < int(number[:6]) < 65536:
            names.wrong.append(f"[{section.name}] port: expected HOST:PORT")
            continue
        # What listens everywhere listens here, too.
        host = "127.0.0.1" if host in ("", "*", "0.0.0.0") else host.lower()  # noqa: S104
        if host not in _LOOPBACK:
            foreign.append(f"{host}:{number}")
            continue
        local.append(Address("", host, int(number), *_account(section)))
    where = ini.sources[0] if ini.sources else ""
    if names.wrong:
        raise refusal(where, names)
    if not local:
        raise ConfigError(
            f"{where}: says no way to supervisord on this machine"
            + (f", only {', '.join(foreign)}" if foreign else ""),
            hint="name the main file, which has [unix_http_server], and not one that it includes"
            if not foreign
            else "only unix sockets and 127.0.0.1 are used: everything else could be another host",
        )
    return tuple(local)


def pidfile(ini: Ini, around: Surroundings) -> str:
    """Returns the file with supervisord's PID; empty: none is named, or not by an absolute path."""
    path = (Section(ini, "supervisord", names_of(around)).text("pidfile") or "").strip()
    return os.path.normpath(path) if path.startswith("/") and "\0" not in path else ""


def _servers(ini: Ini, kind: str, names: Names) -> list[Section]:
    sections = (name for name in ini.sections if name == kind or name.startswith(f"{kind}:"))
    return [Section(ini, name, names) for name in sections]


def _account(section: Section) -> tuple[str | None, str | None]:
    """The user and the password; those of [supervisorctl] where the server has a hash only."""
    user, password = section.text("username"), section.text("password")
    if password is not None and password.startswith(_HASHED):
        control = Section(section.ini, "supervisorctl", section.names)
        user, password = control.text("username") or user, control.text("password")
    return user, password
