"""Reads what runs now: from systemd, /proc and the cgroup files.

Whatever can be read from a file is: a D-Bus call per instance takes 50 µs and a thousand of them
are felt, reading a small file takes 5.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from unitq.cmdline.wrappers import CLIENTS, WAITING
from unitq.instances.state import STOPPING, wrapper
from unitq.linux import proc
from unitq.model import names
from unitq.model.release_names import in_another
from unitq.revisions import state

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from unitq.model.layout import Layout
    from unitq.model.names import InstanceName
    from unitq.revisions.model import Revision
    from unitq.systemd.manager import Systemd, UnitStatus


class _Files(NamedTuple):
    """What files tell of an instance."""

    processes: dict[int, proc.Evidence]
    invocation: proc.Invocation | None
    memory: int | None  # bytes


class Instance(NamedTuple):
    """One instance as it is now."""

    name: InstanceName
    unit: str
    load: str = "not-loaded"  # LoadState
    active: str = "inactive"  # ActiveState
    sub: str = "dead"  # SubState
    job: bool = False  # a unit job waits or runs
    invocation: str = ""
    begun: float | None = None  # seconds since 1970 when this invocation began
    main_pid: int = 0
    pids: tuple[int, ...] = ()  # every process in its cgroup
    revision: str | None = None  # of the main process, from the process itself
    revisions: frozenset[str] = frozenset()  # of every process that tells
    readable: bool = True  # False: the processes are another user's, and we are not root
    elsewhere: str = ""  # where the worker runs that has left its unit, in words
    # Only where they were asked for:
    since: float | None = None  # seconds since 1970 when it got into its state
    restarts: int | None = None  # by systemd, since the last deliberate start
    memory: int | None = None  # bytes
    # See `compare_code`:
    moved: str = ""  # the commit that it runs in place of the deployed one
    doubtful: bool = False  # its checkout has moved, and nothing tells what it runs
    uncompared: bool = False  # updated in place, and nothing tells which commit is there
    replaced: str = ""  # its release, where it runs from what was there before, or from another one

    @property
    def serving(self) -> bool:
        """Takes jobs, as far as systemd can tell."""
        return self.active == "active" and self.sub == "running"

    @property
    def draining(self) -> bool:
        """Whether systemd stops it and its main process still runs; see Observed.stop_requested."""
        return self.active == "deactivating" and self.sub in STOPPING and bool(self.main_pid)

    @property
    def present(self) -> bool:
        """Whether there is a process: starting, running or draining."""
        return self.active not in ("inactive", "failed") or bool(self.pids)

    def fresh(self, wanted: str | None) -> bool | None:
        """Whether all its processes run what is wanted; None: there is none, or it is not known."""
        if self.moved or self.replaced:
            return False
        if not self.revisions or not self.readable or self.doubtful:
            return None
        if wanted is None or self.revisions != {wanted}:
            return False
        return None if self._silent else True

    @property
    def code_unknown(self) -> bool:
        """Whether there is a process, and nothing tells which code it runs though we may look."""
        unknown = self.doubtful or not self.revisions or self._silent
        return bool(self.pids) and self.readable and unknown

    @property
    def known_revision(self) -> str | None:
        """The revision that all of it runs; None: there is none, or not one, or nothing tells."""
        # One process that differs is enough to make the instance not what is wanted.
        alone = len(self.revisions) == 1 and not (self._silent and self.readable)
        return next(iter(self.revisions)) if alone else None

    @property
    def _silent(self) -> bool:
        """Whether nothing tells what the main process runs, whatever its children say."""
        return self.main_pid in self.pids and self.revision is None


class Machine(NamedTuple):
    """What is the same for every instance of one scope: read once."""

    cgroup: str  # the manager's own, as a path in the file system
    runtime: str  # where the manager keeps its run-time files
    accounted: bool  # whether cgroups count their memory
    layout: Layout


def machine(systemd: Systemd, layout: Layout) -> Machine:
    """Returns where this manager's cgroups and run-time files are."""
    runtime = str(layout.runtime_dir.parent)
    cgroup = proc.cgroup_root() + systemd.control_group()
    return Machine(cgroup, runtime, proc.counts_memory(cgroup), layout)


def instances(
    systemd: Systemd,
    where: Machine,
    app: str,
    workers: Iterable[str],
    known: Iterable[InstanceName] = (),
    *,
    detailed: bool = False,
) -> dict[InstanceName, Instance]:
    """Returns every instance that systemd has loaded, and the `known` ones that it has not.

    `detailed` adds what only `status` shows: since when, restarts, memory.
    """
    worker_names = sorted(set(workers))
    result: dict[InstanceName, Instance] = {}
    if worker_names:
        patterns = [f"unitq-{app}-{worker}@*.service" for worker in worker_names]
        rows = {row.name: row for row in systemd.units(patterns)}
        units = {
            name: unit
            for worker in worker_names
            for name, unit in names.of_worker(app, worker, rows).items()
        }
        files = {
            name: _read_files(where, app, name, unit, memory=detailed)
            for name, unit in units.items()
        }
        restarts = systemd.restarts(list(units.values())) if detailed else {}
        for name, unit in units.items():
            instance = _instance(systemd, where, app, name, rows[unit], files[name])
            if detailed:
                since = _since(systemd, instance)
                instance = instance._replace(since=since, restarts=restarts.get(unit))
                if instance.pids and instance.memory is None:
                    # It lives in another slice.
                    instance = instance._replace(memory=proc.proportional_memory(instance.pids))
            result[name] = instance
    for name in known:
        if name not in result:
            result[name] = Instance(name, names.unit(app, name))
    return dict(sorted(result.items()))


def running(
    systemd: Systemd, layout: Layout, where: Machine, revision: Revision
) -> dict[InstanceName, Instance]:
    """Every instance of the app: those that systemd knows and those that should be there."""
    pinned = state.instances_with_pin(layout.app(revision.app))
    workers = {worker.name for worker in revision.workers} | {name.worker for name in pinned}
    known = pinned | set(revision.instances)
    seen = compare_code(revision, instances(systemd, where, revision.app, workers, known))
    # What is loaded, not wanted, not there and not pinned is only a memory of systemd's.
    return {
        name: instance
        for name, instance in seen.items()
        if name in known or instance.present or revision.goal(name)
    }


def _read_files(where: Machine, app: str, name: InstanceName, unit: str, *, memory: bool) -> _Files:
    cgroup = f"{where.cgroup}/{names.cgroup_path(app, name)}"
    processes = {pid: proc.evidence(pid) for pid in proc.pids(cgroup)}
    used = _memory(where, cgroup, processes) if memory and processes else None
    # Of the main process, or of what it has started, which inherits it.
    ids = {
        each.main_pid: each.invocation
        for each in processes.values()
        if each.invocation and each.main_pid in processes
    }
    pid, own = ids.popitem() if len(ids) == 1 else (0, None)
    return _Files(processes, proc.invocation(unit, where.runtime, pid or 0, own), used)


def _instance(
    systemd: Systemd,
    where: Machine,
    app: str,
    name: InstanceName,
    row: UnitStatus,
    files: _Files,
) -> Instance:
    processes, life, memory = files
    running = row.active in ("active", "activating", "deactivating", "reloading")
    if running and not processes and row.sub != "auto-restart":
        # A drop-in may have moved it to another slice: systemd knows where it is.
        processes = {pid: proc.evidence(pid) for pid in members(systemd, row.name)}
    readable = all(evidence.readable for evidence in processes.values())
    mains = {each.main_pid for each in processes.values() if each.main_pid in processes}
    # What an earlier start left behind (KillMode=process, none) names itself as well.
    main_pid = mains.pop() if len(mains) == 1 else None
    serves = row.active == "active" and row.sub == "running"
    if main_pid is None and (processes or serves):
        main_pid = systemd.properties(row.name, "MainPID")["MainPID"]
    invocation, begun = life if running and life else ("", None)
    if running and not invocation:
        invocation = systemd.properties(row.name, "InvocationID")["InvocationID"]
    revision = processes[main_pid].revision if main_pid in processes else None
    revisions = frozenset(each.revision for each in processes.values() if each.revision)
    if main_pid in processes and revision is None and readable:
        revision = revision_by_pin(where, app, name, main_pid)
        revisions |= {revision} if revision else frozenset()
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
        pids=tuple(processes),
        revision=revision,
        revisions=revisions,
        readable=readable,
        elsewhere=elsewhere(tuple(processes), main_pid or 0) if serves else "",
        memory=memory,
    )


def members(systemd: Systemd, unit: str) -> tuple[int, ...]:
    """Returns the processes in a unit's cgroup, wherever that is. Raises SystemdError."""
    cgroup = systemd.properties(unit, "ControlGroup")["ControlGroup"]
    return proc.pids(proc.cgroup_root() + cgroup) if cgroup else ()


# What podman leaves beside itself: the container is in a cgroup of its own (podman-run(1),
# --cgroups).
_HELPERS = frozenset({"conmon", "rootlessport", "slirp4netns"})
# A shell's own job may be a client, too, for a moment; what is all that it runs is there at once.
_AT_ONCE = 2.0  # seconds


def elsewhere(members: Sequence[int], main_pid: int) -> str:
    """Returns where the worker of an active unit runs, in words; empty: in its cgroup.

    `members` are the processes in the cgroup. PAM moves `su -` into a session of its own.
    """
    if main_pid in members:
        return _client(members, main_pid)
    if members or not main_pid:
        return ""
    cgroup = proc.cgroup_of(main_pid)
    return f"its process runs in {cgroup.rpartition('/')[2] or cgroup}" if cgroup else ""


def _client(members: Sequence[int], main_pid: int) -> str:
    """Returns the client that is all that a unit runs, in words; empty: there is a worker."""
    main = proc.name_of(main_pid)
    waits = main in WAITING or wrapper((main,), 0) is not None
    if main not in CLIENTS and not (waits and len(members) > 1):
        return ""
    clients = {}
    for pid in members:
        name = main if pid == main_pid else proc.name_of(pid)
        if name in CLIENTS:
            clients[pid] = name
        elif name not in _HELPERS and name not in WAITING and wrapper((name,), 0) is None:
            return ""
    if not clients or any(_serves_itself(pid, name) for pid, name in clients.items()):
        return ""
    if main in CLIENTS:
        return f"its main process is {main}, a client, and the worker runs elsewhere"
    begun = proc.age(main_pid)
    pid, name = next(iter(clients.items()))
    age = proc.age(pid)
    if begun is None or age is None or begun - age > _AT_ONCE:
        return ""
    waits_for = f"which waits for {name}, a client"
    return f"its main process is {main}, {waits_for}, and the worker runs elsewhere"


def _serves_itself(pid: int, name: str) -> bool:
    """Whether a client is the worker: it forwards ports, and starts nothing elsewhere."""
    words = proc.words_of(pid)[1:]
    if not words:
        return True  # the kernel sets the name first, the command line a moment later (execve(2))
    if name in ("ssh", "autossh"):
        # ssh(1): -N, also among others that take no value, as in -fNT.
        return any(re.fullmatch(r"-[46AaCfGgKkMNnqsTtVvXxYy]*N[^-]*", word) for word in words)
    return name == "kubectl" and any(word in ("port-forward", "proxy") for word in words)


def different_heads(revision: Revision) -> dict[str, str]:
    """Returns the commit that is checked out now, by worker, where another one was deployed."""
    if not _checked_out(revision):
        return {}
    from unitq.revisions import checkout
    from unitq.revisions.in_place import commit_of, same_commit

    workers = {worker.name: worker for worker in revision.workers}
    return {
        name: head.commit
        for name, head in checkout.heads(revision.workers).items()
        if head and not same_commit(head.commit, commit_of(workers[name]))
    }


def _checked_out(revision: Revision) -> bool:
    return any(worker.commit or worker.in_place is None for worker in revision.workers)


def revision_by_pin(where: Machine, app: str, name: InstanceName, pid: int) -> str | None:
    """Returns the revision of a main process that does not say it; None: not certain."""
    from unitq.revisions import process_revision as by_pin
    from unitq.revisions import store

    places = proc.places(pid)
    if not places and proc.is_gone(pid):
        return None  # the times alone would speak for it
    place = where.layout.app(app)
    pinned, since = state.pin_of(place, name), state.pin_time(place, name)
    own = proc.evidence(pid).invocation
    life = proc.invocation(names.unit(app, name), where.runtime, pid, own)
    return by_pin.process_revision(
        by_pin.Pin(pinned, since) if pinned and since is not None else None,
        life.begun if life else None,
        store.worker_releases(place, name.worker),
        places,
    )


def compare_code(
    revision: Revision, seen: Mapping[InstanceName, Instance]
) -> dict[InstanceName, Instance]:
    """Returns the same instances, with what the disk says of those that seem to run what is wanted.

    Also a process of the right revision runs other code if it was started after HEAD had moved, or
    before its release was deleted and another was put in its place.
    """
    fresh = {name: each for name, each in seen.items() if each.fresh(revision.code(name))}
    compared = dict(seen) | _in_other_code(revision, fresh)
    if not _checked_out(revision):
        return compared
    from unitq.revisions import checkout

    begun = {name: each.begun for name, each in fresh.items() if not compared[name].replaced}
    blind = checkout.unreadable(revision.workers)
    for name, commit in checkout.other_commits(revision, begun).items():
        compared[name] = seen[name]._replace(moved=commit or "", doubtful=commit is None)
    for name in begun:
        if name.worker in blind:
            compared[name] = seen[name]._replace(uncompared=True)
    return compared


def _in_other_code(
    revision: Revision, instances: Mapping[InstanceName, Instance]
) -> dict[InstanceName, Instance]:
    """Returns those whose code is not what is at their release's path now: another was put there.

    A process is in the release that was deleted; or the main one in what has another name now,
    or was another release before.
    """
    releases = {worker.name: worker.release for worker in revision.workers}
    left = {
        name: each._replace(replaced=releases[name.worker])
        for name, each in instances.items()
        if _works_in_another(each, releases[name.worker])
    }
    return {name: each for name, each in left.items() if os.path.isdir(each.replaced)}


def _works_in_another(instance: Instance, release: str) -> bool:
    directories = {pid: proc.directory_link(pid) for pid in (*instance.pids, instance.main_pid)}
    deleted = f"{release}{proc.DELETED}"
    return deleted in directories.values() or in_another(directories[instance.main_pid], release)


def _memory(where: Machine, cgroup: str, pids: Iterable[int]) -> int | None:
    if where.accounted and (size := proc.cgroup_memory(cgroup)) is not None:
        return size
    return proc.proportional_memory(pids)


def _since(systemd: Systemd, instance: Instance) -> float | None:
    if instance.load == "not-loaded":
        return None
    if instance.serving and instance.begun:
        # A Type=exec unit is active from the moment that its process is there.
        return instance.begun
    stamp = systemd.properties(instance.unit, "StateChangeTimestamp")["StateChangeTimestamp"]
    return stamp / 1e6 if stamp else None


def leftovers(revision: Revision, seen: Iterable[Instance]) -> list[Instance]:
    """Returns instances with a process that does not run what is wanted, and only those PIDs."""
    result = []
    for instance in seen:
        wanted, pids = revision.code(instance.name), instance.pids
        if not pids or instance.fresh(wanted) is not False:
            continue
        # After a moved HEAD a process has the mark of what is wanted, and runs other code.
        if wanted in instance.revisions and not (instance.moved or instance.replaced):
            revisions = {pid: proc.evidence(pid).revision for pid in pids}
            pids = tuple(pid for pid in pids if revisions[pid] not in (None, wanted))
        if pids:  # else they have ended meanwhile
            result.append(instance._replace(pids=pids))
    return result
