"""Configurations that root obeys though another account may change them: `unitq trust`.

The list is TOML, /etc/unitq/trust, one table for each file:

    ["/srv/shop/shared/unitq.toml"]
    owner = "deploy"
    run_as = ["www-data"]
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.errors import ConfigError
from unitq.model import names
from unitq.model.app import NAME_RE, Hooks
from unitq.model.finding import Finding, error
from unitq.toml import document as toml_document
from unitq.toml.values import USER_PATTERN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from unitq.model.app import App, Worker

HEAD = """\
# Written by `unitq trust`. Root obeys these files though the owner named may change them.
"""

# Directives of [Service] that can do nothing but take from a worker what its account could do, or
# that say how much it may use: systemd.exec(5), systemd.resource-control(5), systemd.service(5).
# All others may run something as root (ExecStartPre=+…), read or write files with root's rights
# (StandardOutput=file:…, LoadCredential=, StateDirectory=), or give rights (AmbientCapabilities=).
SERVICE = frozenset(
    {
        "AllowedCPUs", "CPUAccounting", "CPUQuota", "CPUWeight", "IOAccounting", "IOWeight",
        "LockPersonality", "MemoryAccounting", "MemoryDenyWriteExecute", "MemoryHigh", "MemoryLow",
        "MemoryMax", "MemoryMin", "MemorySwapMax", "NoNewPrivileges", "OOMPolicy",
        "OOMScoreAdjust", "PrivateDevices", "PrivateNetwork", "PrivateTmp", "ProcSubset",
        "ProtectClock", "ProtectControlGroups", "ProtectHome", "ProtectHostname",
        "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables", "ProtectProc",
        "ProtectSystem", "RemoveIPC", "Restart", "RestartForceExitStatus",
        "RestartPreventExitStatus", "RestrictAddressFamilies", "RestrictNamespaces",
        "RestrictRealtime", "RestrictSUIDSGID", "RuntimeMaxSec", "SuccessExitStatus",
        "SystemCallArchitectures", "SystemCallErrorNumber", "SystemCallFilter", "TasksMax",
        "TimeoutStartSec", "Type", "WatchdogSec",
    }
)  # fmt: skip
# Of [Unit]: what starts, stops or fails another unit is not among them, nor what others wait for.
# By Before=sockets.target there is a cycle at boot, which systemd breaks by leaving out a unit.
UNIT = frozenset({"After", "Description", "Documentation"})

# What puts a worker before the rest of the machine: setrlimit(2), nice(2), proc(5).
_LIMITS = frozenset({"LimitNICE", "LimitRTPRIO", "LimitMEMLOCK"})

_KEYS = frozenset({"owner", "run_as"})


class Delegation(NamedTuple):
    """One account may decide what this file says; workers run as that account or these."""

    path: str  # absolute, as it was added
    owner: str
    run_as: tuple[str, ...] = ()
    looking: bool = False  # nothing is run: what workers and hooks may be counts for nothing

    @property
    def accounts(self) -> tuple[str, ...]:
        """Whose rights a worker may have."""
        return (self.owner, *self.run_as)


def parse(text: str, source: str) -> tuple[Delegation, ...]:
    """Returns what the list says. Raises ConfigError where it is damaged."""
    try:
        document = toml_document.load(text, source)
    except ConfigError as error:
        raise ConfigError(error.message, problems=error.problems, hint=_AGAIN) from error
    return tuple(_entry(path, table, source) for path, table in document.items())


def dump(entries: Iterable[Delegation]) -> str:
    """Returns the text that `parse` reads."""
    tables = [
        f"\n[{json.dumps(entry.path)}]\nowner = {json.dumps(entry.owner)}\n"
        f"run_as = {json.dumps(entry.run_as)}\n"
        for entry in sorted(entries)
    ]
    return HEAD + "".join(tables)


_AGAIN = "`unitq trust remove FILE` and `unitq trust add FILE --owner ACCOUNT` write it anew"


def _entry(path: str, table: Any, source: str) -> Delegation:
    def wrong(what: str) -> ConfigError:
        return ConfigError(f"{source}: [{json.dumps(path)}]: {what}", hint=_AGAIN)

    if not path.startswith("/") or posixpath.normpath(path) != path:
        raise wrong("expected an absolute path")
    if not isinstance(table, dict) or not table.keys() <= _KEYS:
        raise wrong("expected owner and run_as, and nothing else")
    run_as = table.get("run_as", [])
    accounts = [table.get("owner"), *(run_as if isinstance(run_as, list) else [None])]
    if not all(isinstance(name, str) and re.fullmatch(USER_PATTERN, name) for name in accounts):
        raise wrong("owner is the name of an account, run_as a list of such names")
    return Delegation(path, accounts[0], tuple(accounts[1:]))


def findings(
    app: App, delegation: Delegation, member_of: Callable[[str, str], bool]
) -> list[Finding]:
    """Returns what an account that is not root may not say in a configuration that root obeys.

    `member_of` tells whether an account is a member of a group.
    """
    return list(_findings(app, delegation, member_of))


def _findings(
    app: App, delegation: Delegation, member_of: Callable[[str, str], bool]
) -> Iterator[Finding]:
    for worker in app.workers if not delegation.looking else ():
        yield from _of_worker(app, worker, delegation, member_of)
    for name, hook in app.hooks:
        if delegation.looking or hook.user is None:
            continue
        if hook.user not in delegation.accounts:
            yield _error(f"hooks.{name}.user", hook.user, delegation)
    if app.redis.password_credential is not None:
        yield error(
            "redis.password_credential",
            f"{delegation.owner} may not decide where root's credentials are sent",
            f"use password_file, with a file that {delegation.owner} can read",
        )


def plausible(app: str) -> bool:
    """Whether this can be the name of an app."""
    return NAME_RE.fullmatch(app) is not None


def apply(app: App, delegation: Delegation) -> App:
    """Returns the app with its hooks run, and its files read, as the account that decides."""
    hooks = {
        name: hook if hook.user else replace(hook, user=delegation.owner)
        for name, hook in app.hooks
    }
    return replace(app, owner=delegation.owner, hooks=Hooks(**hooks))


def _of_worker(
    app: App, worker: Worker, delegation: Delegation, member_of: Callable[[str, str], bool]
) -> Iterator[Finding]:
    place = f"workers.{worker.name}"
    if worker.user is not None and worker.user not in delegation.accounts:
        yield _error(f"{place}.user", worker.user, delegation)
    elif worker.user and worker.group and not member_of(worker.user, worker.group):
        yield error(
            f"{place}.group",
            f"{worker.user} is no member of the group {worker.group}",
            f"root can: `usermod --append --groups {worker.group} {worker.user}`",
            f"{delegation.owner} may not give workers more rights than that account has",
        )
    if worker.credentials:
        yield error(
            f"{place}.credentials",
            f"{delegation.owner} may not decide who gets root's secrets",
            _by_drop_in(app, worker),
        )
    yield from (
        error(
            f"{place}.{key}",
            f"{delegation.owner} may not put workers before the rest of the machine",
            _by_drop_in(app, worker),
        )
        for key in _privileges(worker)
    )
    for table, directives, allowed in (
        ("unit", worker.unit, UNIT),
        ("service", worker.service, SERVICE),
    ):
        yield from (
            error(
                f"{place}.{table}.{name}",
                f"{delegation.owner} may not set this directive",
                _by_drop_in(app, worker),
                "it could make root run, read or write something",
            )
            for name, _ in directives
            if name not in allowed and not name.startswith("X-")
        )


def _privileges(worker: Worker) -> Iterator[str]:
    """The keys by which a worker gets more than an account may take."""
    if worker.nice is not None and worker.nice < 0:
        yield "nice"
    yield from (f"limits.{name}" for name, _ in worker.limits if name in _LIMITS)
    for name, values in worker.service:
        if name == "OOMScoreAdjust" and any(value.startswith("-") for value in values):
            yield f"service.{name}"


def _by_drop_in(app: App, worker: Worker) -> str:
    return f"root can, in a drop-in: `systemctl edit {names.template(app.name, worker.name)}`"


def _error(place: str, account: str, delegation: Delegation) -> Finding:
    allowed = ", ".join(delegation.accounts)
    if account in ("root", "0"):
        hint = "a worker that needs root belongs in a file of root's, in /etc/unitq"
    else:
        hint = (
            f"as root: `unitq trust add {shlex.quote(delegation.path)} --owner {delegation.owner} "
            f"{' '.join(f'--run-as {name}' for name in (*delegation.run_as, account))}`"
        )
    return error(
        place,
        f"{account}: {delegation.owner} may only decide what runs as {allowed}",
        hint,
    )
