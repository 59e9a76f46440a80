"""What is there: systemd, /proc and the cgroup files put together. Reads only.

Whatever can be read from a file is: a D-Bus call per instance takes 50 µs and a thousand of them
are felt, reading a small file takes 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unitq.core import names
from unitq.host import processes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unitq.core.layout import Layout
    from unitq.core.names import InstanceName
    from unitq.core.revision import Revision
    from unitq.host.systemd import Systemd, UnitStatus


class Instance(NamedTuple):
    """One instance as it is now."""

    name: InstanceName
    unit: str
    load: str  # LoadState
    active: str  # ActiveState
    sub: str  # SubState
    job: bool  # a unit job waits or runs
    invocation: str
    begun: float | None  # seconds since 1970 when this invocation began
    main_pid: int
    pids: tuple[int, ...]  # every process in its cgroup
    revision: str | None  # of the main process, from the process itself
    revisions: frozenset[str]  # of every process that tells
    readable: bool  # False: the processes are another user's, and we are not root

    @property
    def serving(self) -> bool:
        """Takes jobs, as far as systemd can tell."""
        return self.active == "active" and self.sub == "running"

    @property
    def present(self) -> bool:
        """There is a process, be it starting, running or draining."""
        return self.active not in ("inactive", "failed") or bool(self.pids)

    def fresh(self, wanted: str | None) -> bool | None:
        """Whether all its processes run what is wanted; None: there is none, or nobody can tell."""
        if not self.revisions or not self.readable:
            return None
        return wanted is not None and self.revisions == {wanted}


class Details(NamedTuple):
    """What only `status` shows of an instance."""

    since: float | None  # seconds since 1970 when it got into its state
    restarts: int | None  # by systemd, since the last deliberate start
    memory: int | None  # bytes


class Machine(NamedTuple):
    """What is the same for every instance of one scope: read once."""

    cgroup: str  # the manager's own, as a path in the file system
    runtime: str  # where the manager keeps its run-time files
    accounted: bool  # whether cgroups count their memory


def machine(systemd: Systemd, layout: Layout) -> Machine:
    """Where this manager's cgroups and run-time files are."""
    runtime = str(layout.runtime_dir.parent)
    cgroup = processes.cgroup_root() + systemd.control_group()
    return Machine(cgroup, runtime, processes.accounted(cgroup))


def instances(
    systemd: Systemd,
    where: Machine,
    app: str,
    workers: Iterable[str],
    known: Iterable[InstanceName] = (),
) -> dict[InstanceName, Instance]:
    """Every instance that systemd has loaded, and the `known` ones that it has not."""
    names_of_workers = sorted(set(workers))
    found: dict[InstanceName, Instance] = {}
    if names_of_workers:
        patterns = [f"unitq-{app}-{worker}@*.service" for worker in names_of_workers]
        rows = {row.name: row for row in systemd.units(patterns)}
        for worker in names_of_workers:
            for name, unit in names.of_worker(app, worker, rows).items():
                found[name] = _instance(systemd, where, app, name, rows[unit])
    for name in known:
        if name not in found:
            found[name] = _absent(app, name)
    return dict(sorted(found.items()))


def _instance(
    systemd: Systemd, where: Machine, app: str, name: InstanceName, row: UnitStatus
) -> Instance:
    pids = processes.pids(f"{where.cgroup}/{names.cgroup_path(app, name)}")
    running = row.active in ("active", "activating", "deactivating", "reloading")
    if running and not pids and row.sub != "auto-restart":
        # A drop-in may have moved it to another slice: systemd knows where it is.
        told = systemd.properties(row.name, "ControlGroup")["ControlGroup"]
        pids = processes.pids(processes.cgroup_root() + told) if told else ()
    told_by = {pid: processes.evidence(pid) for pid in pids}
    readable = all(evidence.readable for evidence in told_by.values())
    main_pid = next((e.main_pid for e in told_by.values() if e.main_pid in told_by), None)
    if pids and main_pid is None:
        main_pid = systemd.properties(row.name, "MainPID")["MainPID"]
    invocation, begun = "", None
    if running:
        link = processes.invocation(row.name, where.runtime)
        if link:
            invocation, begun = link
        else:
            invocation = systemd.properties(row.name, "InvocationID")["InvocationID"]
    return Instance(
        name=name,
        unit=row.name,
        load=row.load,
        active=row.active,
        sub=row.sub,
        job=row.job,
        invocation=invocation,
        begun=begun,
        main_pid=main_pid or 0,
        pids=pids,
        revision=told_by[main_pid].revision if main_pid in told_by else None,
        revisions=frozenset(e.revision for e in told_by.values() if e.revision),
        readable=readable,
    )


def _absent(app: str, name: InstanceName) -> Instance:
    return Instance(
        name=name,
        unit=names.unit(app, name),
        load="not-loaded",
        active="inactive",
        sub="dead",
        job=False,
        invocation="",
        begun=None,
        main_pid=0,
        pids=(),
        revision=None,
        revisions=frozenset(),
        readable=True,
    )


def details(
    systemd: Systemd, where: Machine, app: str, shown: Iterable[Instance]
) -> dict[InstanceName, Details]:
    """What only `status` shows."""
    shown = list(shown)
    restarts = systemd.restarts([one.unit for one in shown if one.load != "not-loaded"])
    return {
        one.name: Details(
            since=_since(systemd, one),
            restarts=restarts.get(one.unit),
            memory=_memory(where, app, one) if one.pids else None,
        )
        for one in shown
    }


def _memory(where: Machine, app: str, instance: Instance) -> int | None:
    if where.accounted:
        cgroup = f"{where.cgroup}/{names.cgroup_path(app, instance.name)}"
        if (size := processes.cgroup_memory(cgroup)) is not None:
            return size
    return processes.proportional_memory(instance.pids)


def _since(systemd: Systemd, instance: Instance) -> float | None:
    if instance.load == "not-loaded":
        return None
    if instance.serving and instance.begun:
        # A Type=exec unit is active from the moment that its process is there.
        return instance.begun
    stamp = systemd.properties(instance.unit, "StateChangeTimestamp")["StateChangeTimestamp"]
    return stamp / 1e6 if stamp else None


def leftovers(revision: Revision, seen: Iterable[Instance]) -> list[Instance]:
    """The instances with a process that does not run what is wanted now."""
    return [one for one in seen if one.pids and one.fresh(revision.wanted(one.name)) is False]
