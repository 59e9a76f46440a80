"""Which units of this machine serve what workers talk to: socket, process, cgroup, unit."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

from unitq.errors import UnitqError
from unitq.linux import peer
from unitq.linux.proc import control_group
from unitq.units.ordering import BROKERS, unit_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from unitq.systemd.manager import Properties
    from unitq.units.ordering import Address

# What starts an app at boot waits for its workers: they cannot wait for what comes after that.
_AT_THE_END = frozenset({"multi-user.target", "graphical.target", "default.target"})
_ENABLED = ("enabled", "enabled-runtime", "generated")


class Manager(Protocol):
    """What is asked of systemd."""

    def properties(self, unit: str, *wanted: str) -> Properties:
        """Returns properties of a unit. Raises UnitqError."""


class Served(NamedTuple):
    """A service on this machine that a worker talks to."""

    address: Address
    unit: str  # that the worker is ordered after; "": none
    why: str = ""  # there is none, in words


class Surroundings(NamedTuple):
    """From where it is looked."""

    manager: Manager | None  # None: systemd cannot be asked
    target: str  # of the app
    own: str = ""  # the cgroup of the user's manager, in its scope
    kept: Collection[str] = ()  # what the installed units are ordered after


def services_of(addresses: Iterable[Address], around: Surroundings) -> tuple[Served, ...]:
    """Returns those of the addresses that are on this machine, each with its unit."""
    services = []
    for address in addresses:
        if address.path:
            inodes = frozenset[int]().union(*map(_unix_inodes, _spellings(address.path)))
            if not inodes and not os.path.exists(address.path):
                continue
        else:
            own = peer.own_addresses(address.host)
            if not own:
                continue
            inodes = peer.port_inodes(address.port, own)
        service = _serving(address, inodes, around)
        if inodes or address.certain or service.unit in around.kept:
            services.append(service)
    return tuple(services)


def _spellings(path: str) -> set[str]:
    """A path as a server may have said it when it made the socket."""
    real = os.path.realpath(path)
    return {path, real, real.replace("/run/", "/var/run/", 1) if real[:5] == "/run/" else real}


def _unix_inodes(path: str) -> frozenset[int]:
    try:
        return peer.unix_inodes(path)
    except OSError:
        return frozenset()


def _serving(address: Address, inodes: Collection[int], around: Surroundings) -> Served:
    owners = {process.pid for processes in peer.holders(inodes).values() for process in processes}
    # PID 1 listens for others (systemd.socket(5)): which, the usual names tell.
    cgroups = {pid: control_group(pid) or "" for pid in sorted(owners) if pid != 1}
    units = {unit_of(cgroup, around.own) for cgroup in cgroups.values()} - {""}
    if not units and cgroups:
        pid, cgroup = next(iter(cgroups.items()))
        return Served(address, "", _no_unit(pid, cgroup, around))
    for unit in sorted(units) or _usual(address, around):
        if why := obstacle(unit, around):
            return Served(address, "", why)
        return Served(address, unit)
    return Served(address, "", f"no unit is known that serves {address}")


def _no_unit(pid: int, cgroup: str, around: Surroundings) -> str:
    if around.own and (unit := unit_of(cgroup)):
        return (
            f"{unit} is a unit of the system, and one of your own (--user) cannot be ordered "
            "after it"
        )
    where = cgroup.rstrip("/").rpartition("/")[2] or "no cgroup of its own"
    return f"PID {pid} serves it, in {where}, which is no service"


def _usual(address: Address, around: Surroundings) -> list[str]:
    """What its unit may be called where nothing listens now, or who listens may not be seen."""
    others = {unit for kind in BROKERS if kind != address.kind for unit in BROKERS[kind].units}
    kept = [unit for unit in around.kept if unit not in others]
    if around.manager is None:
        return kept
    units = []
    for unit in (*kept, *BROKERS[address.kind].units):
        try:
            state = around.manager.properties(
                unit, "Id", "LoadState", "ActiveState", "UnitFileState"
            )
        except UnitqError:
            continue
        used = state["ActiveState"] == "active" or state["UnitFileState"] in _ENABLED
        if state["LoadState"] == "loaded" and (used or unit in kept):
            units.append(str(state["Id"]))
    return units


def obstacle(unit: str, around: Surroundings) -> str:
    """Returns why a worker cannot be ordered after this unit; empty: it can.

    A circle of orders would make systemd leave one of the starts out (systemd.unit(5)).
    """
    if around.manager is None:
        return ""
    app = around.target.removesuffix(".target")
    if unit == around.target or unit.startswith(f"{app}-"):
        return f"{unit} is part of the app"
    if unit in _AT_THE_END:
        return f"{unit} itself starts after the workers"
    seen, left = {unit}, [unit]
    while left:
        try:
            after = around.manager.properties(left.pop(), "After")["After"]
        except UnitqError:
            continue
        new = set(after) - seen
        if late := sorted(new & (_AT_THE_END | {around.target})):
            return f"{unit} itself starts after {late[0]}, and so after the workers"
        seen |= new
        left += new
    return ""


def unknown(units: Iterable[str], manager: Manager | None) -> tuple[str, ...]:
    """Returns those of the units that are not on this machine."""
    missing = []
    for unit in units:
        try:
            if manager and manager.properties(unit, "LoadState")["LoadState"] == "not-found":
                missing.append(unit)
        except UnitqError:
            missing.append(unit)
    return tuple(missing)
