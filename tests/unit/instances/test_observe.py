"""What an instance is, by what was observed of it."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from unitq.instances import observe, status
from unitq.linux import proc
from unitq.model.names import InstanceName
from unitq.systemd.manager import UnitStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OLD, NEW = "1-aaaaaa", "2-bbbbbb"
RUNS: dict[str, Any] = {
    "name": InstanceName("sms", 1), "unit": "unitq-shop-sms@1.service", "load": "loaded",
    "active": "active", "sub": "running", "job": False, "invocation": "i", "begun": 1.0,
    "main_pid": 7, "pids": (7,), "revision": NEW, "revisions": frozenset({NEW}), "readable": True,
}  # fmt: skip


def instance(**values: Any) -> observe.Instance:
    return observe.Instance(**(RUNS | values))


@pytest.mark.parametrize(
    ("revisions", "readable", "wanted", "expected"),
    [
        ({NEW}, True, NEW, True),
        ({OLD}, True, NEW, False),
        ({OLD, NEW}, True, NEW, False),  # a child that outlived its stop
        ({OLD, NEW}, True, OLD, False),
        ({NEW}, True, None, False),
        (set(), True, NEW, None),
        ({NEW}, False, NEW, None),
    ],
)
def test_fresh(
    revisions: set[str], readable: bool, wanted: str | None, expected: bool | None
) -> None:
    found = instance(revisions=frozenset(revisions), readable=readable)
    assert found.fresh(wanted) is expected


def test_a_checkout_that_has_moved_is_not_fresh_and_a_doubt_is_none() -> None:
    assert instance(moved="abc").fresh(NEW) is False
    assert instance(doubtful=True).fresh(NEW) is None
    # Who may not look knows that it was moved all the same.
    assert instance(moved="abc", readable=False).fresh(NEW) is False


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, False),
        ({"revisions": frozenset()}, True),
        ({"revisions": frozenset(), "pids": ()}, False),  # there is nothing to tell
        ({"revisions": frozenset(), "readable": False}, False),  # root may know
        ({"doubtful": True}, True),
        ({"doubtful": True, "readable": False}, False),
    ],
)
def test_code_unknown(values: dict[str, Any], expected: bool) -> None:
    assert instance(**values).code_unknown is expected


class Wanted:
    """A revision of which NEW is wanted everywhere."""

    def code(self, _: InstanceName) -> str:
        return NEW


@pytest.mark.parametrize(
    ("values", "told", "left"),
    [
        ({}, {7: NEW}, ()),
        ({"revisions": frozenset({OLD})}, {7: OLD}, (7,)),
        # Beside the new main process: those alone that tell that they are old.
        ({"revisions": frozenset({OLD, NEW}), "pids": (7, 8, 9)}, {7: NEW, 8: OLD, 9: None}, (8,)),
        ({"revisions": frozenset({OLD, NEW}), "pids": (7, 8)}, {7: NEW, 8: None}, ()),  # it ended
        ({"moved": "abc"}, {7: NEW}, (7,)),
        ({"moved": "abc", "pids": (7, 8)}, {7: NEW, 8: NEW}, (7, 8)),
        ({"revisions": frozenset()}, {7: None}, ()),  # unknown is not old
        ({"revisions": frozenset({OLD}), "readable": False}, {7: OLD}, ()),
        ({"revisions": frozenset({OLD}), "pids": ()}, {}, ()),
    ],
)
def test_leftovers(
    values: dict[str, Any],
    told: dict[int, str | None],
    left: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proc, "evidence", lambda pid: proc.Evidence(told[pid]))
    found = observe.leftovers(Wanted(), [instance(**values)])  # type: ignore[arg-type]
    assert tuple(pid for each in found for pid in each.pids) == left


@pytest.mark.parametrize(
    ("evidence", "readable", "revision", "revisions"),
    [
        ({7: (NEW, 7, True), 8: (NEW, 7, True)}, True, NEW, {NEW}),
        ({7: (NEW, 7, True), 8: (OLD, 7, True)}, True, NEW, {OLD, NEW}),
        ({8: (OLD, 7, True), 7: (NEW, 7, True)}, True, NEW, {OLD, NEW}),
        # One that may not be looked at may run anything.
        ({7: (NEW, 7, True), 8: (None, None, False)}, False, NEW, {NEW}),
        ({7: (None, None, False)}, False, None, set()),
    ],
)
def test_what_the_processes_of_an_instance_tell(
    evidence: dict[int, Any], readable: bool, revision: str | None, revisions: set[str]
) -> None:
    systemd: Any = SimpleNamespace(properties=lambda *_: {"MainPID": 7})
    where: Any = None
    row = UnitStatus("unitq-shop-sms@1.service", "loaded", "active", "running", False)
    processes = {pid: proc.Evidence(*values) for pid, values in evidence.items()}
    told = observe._Files(processes, proc.Invocation("i", 1.0), None)
    found = observe._instance(systemd, where, "shop", RUNS["name"], row, told)
    assert (found.readable, found.main_pid) == (readable, 7)
    assert (found.revision, found.revisions) == (revision, frozenset(revisions))


@pytest.mark.parametrize(
    ("main", "children", "expected", "untold"),
    [
        (NEW, {NEW}, True, False),
        (None, {NEW}, None, True),  # what takes the jobs says nothing, a helper of it has the mark
        (None, {OLD}, False, True),
        (None, {OLD, NEW}, False, True),
        (None, set(), None, True),
    ],
)
def test_a_child_does_not_speak_for_the_worker(
    main: str | None, children: set[str], expected: bool | None, untold: bool
) -> None:
    found = instance(pids=(7, 8), revision=main, revisions=frozenset(children))
    assert found.fresh(NEW) is expected
    assert found.code_unknown is untold
    assert found.known_revision == main
    # Where there is no main process any more, what it has left says what it is.
    left = found._replace(pids=(8,))
    assert left.fresh(NEW) is (children == {NEW} if children else None)


def test_what_the_disk_says_counts_more_than_the_mark() -> None:
    assert instance(moved="a" * 40).fresh(NEW) is False
    assert instance(replaced="/srv/shop").fresh(NEW) is False
    assert instance(doubtful=True).fresh(NEW) is None
    assert instance(uncompared=True).fresh(NEW) is True


def test_one_whose_process_has_just_ended_is_young() -> None:
    """Between two looks of one crash loop: systemd still says running, /proc has nothing."""
    with subprocess.Popen(["true"]) as ended:
        ended.wait()

    def unproven(one: observe.Instance, least: float) -> bool:
        return status._unproven(one, status._uptime(one), least)

    for pid in (ended.pid, 0):
        assert unproven(instance(main_pid=pid, pids=()), 10.0)
    assert not unproven(instance(main_pid=os.getpid()), 0.0)
    assert not unproven(instance(active="inactive", sub="dead", main_pid=0), 10.0)


@pytest.mark.parametrize(
    ("active", "pids", "expected"),
    [
        ("active", (7,), True),
        ("activating", (), True),
        ("inactive", (), False),
        ("failed", (), False),
        ("failed", (7,), True),  # a child that outlived it
        ("inactive", (7,), True),
    ],
)
def test_present(active: str, pids: tuple[int, ...], expected: bool) -> None:
    assert instance(active=active, pids=pids).present is expected


@pytest.mark.parametrize("detailed", [False, True])
def test_what_files_tell_costs_no_call_of_systemd(
    monkeypatch: pytest.MonkeyPatch, *, detailed: bool
) -> None:
    """Of fifty instances: one call for the list, and one more for how often they restarted."""
    calls = []

    class Counted:
        def units(self, _: list[str]) -> list[UnitStatus]:
            calls.append("units")
            return [
                UnitStatus(f"unitq-shop-sms@{n}.service", "loaded", "active", "running", False)
                for n in range(1, 51)
            ]

        def restarts(self, units: list[str]) -> dict[str, int]:
            calls.append("restarts")
            return dict.fromkeys(units, 2)

    monkeypatch.setattr(proc, "pids", lambda cgroup: (int(cgroup.rpartition("@")[2][:-8]),))
    monkeypatch.setattr(proc, "evidence", lambda pid: proc.Evidence(NEW, pid, True, "i"))
    monkeypatch.setattr(proc, "invocation", lambda *_: proc.Invocation("i", 1.0))
    monkeypatch.setattr(proc, "name_of", lambda _: "php")
    monkeypatch.setattr(proc, "cgroup_memory", lambda _: 4096)
    systemd: Any = Counted()
    layout: Any = None
    where = observe.Machine("/sys/fs/cgroup", "/run", accounted=True, layout=layout)
    found = observe.instances(systemd, where, "shop", ["sms"], detailed=detailed)
    assert calls == ["units", *(["restarts"] if detailed else [])]
    assert len(found) == 50
    one = found[InstanceName("sms", 7)]
    assert (one.main_pid, one.pids, one.revision, one.invocation) == (7, (7,), NEW, "i")
    assert (one.since, one.restarts, one.memory) == ((1.0, 2, 4096) if detailed else (None,) * 3)


def test_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    cgroups = {7: "/user.slice/user-0.slice/session-4.scope", 8: "", 9: None}
    monkeypatch.setattr(proc, "cgroup_of", cgroups.__getitem__)
    monkeypatch.setattr(proc, "name_of", lambda _: "su")
    assert observe.elsewhere((), 7) == "its process runs in session-4.scope"
    assert observe.elsewhere((7,), 7) == ""
    assert observe.elsewhere((10,), 7) == ""  # there is a process in it
    assert observe.elsewhere((), 0) == ""
    assert observe.elsewhere((), 8) == ""  # hidden from us
    assert observe.elsewhere((), 9) == ""  # it has ended


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Starts a process whose program has a name, and returns its PID once it has it."""
    with ExitStack() as stack:

        def start(name: str, *words: str) -> int:
            program = tmp_path / name
            if not program.is_symlink():
                program.symlink_to(sys.executable)
            code = "import time; time.sleep(60)"
            process = subprocess.Popen([program, "-ISc", code, *words])
            stack.enter_context(process)
            stack.callback(process.kill)
            wanted = name[:15]
            # The kernel sets the name first, the command line a moment later (execve(2)).
            while proc.name_of(process.pid) != wanted or not proc.words_of(process.pid):
                pass
            return process.pid

        yield start


CLIENT = "its main process is {}, a client, and the worker runs elsewhere"
WAITS = "its main process is {}, which waits for {}, a client, and the worker runs elsewhere"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["docker"], CLIENT.format("docker")),
        (["docker", "docker-compose"], CLIENT.format("docker")),
        (["podman", "conmon"], CLIENT.format("podman")),
        (["systemd-run"], CLIENT.format("systemd-run")),
        (["sh", "docker"], WAITS.format("sh", "docker")),
        (["bash", "sudo", "podman", "conmon"], WAITS.format("bash", "podman")),
        (["timeout", "ssh"], WAITS.format("timeout", "ssh")),
        (["flock", "sh", "kubectl"], WAITS.format("flock", "kubectl")),
        # A tool of the worker's own, whoever is above it.
        (["php", "ssh"], ""),
        (["docker", "php"], ""),
        (["sh", "php", "docker"], ""),
        # No client at all.
        (["php"], ""),
        (["sh", "php"], ""),
        (["sh"], ""),
        (["sh", "sleep"], ""),
        (["conmon"], ""),
    ],
    ids=str,
)
def test_a_client_of_a_daemon_is_no_worker(
    programs: Callable[..., int], names: list[str], expected: str
) -> None:
    pids = [programs(name) for name in names]
    assert observe.elsewhere(pids, pids[0]) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ssh", "-N", "-L", "1:a:2", "host"], ""),
        (["ssh", "-fNT", "host"], ""),
        (["autossh", "-M0", "-NL1:a:2", "host"], ""),
        (["kubectl", "port-forward", "svc/redis", "6379"], ""),
        (["ssh", "host", "worker"], CLIENT.format("ssh")),
        (["ssh", "-T", "host", "bin/run -N"], CLIENT.format("ssh")),
        (["kubectl", "exec", "pod", "worker"], CLIENT.format("kubectl")),
    ],
    ids=str,
)
def test_what_forwards_a_port_is_the_worker_itself(
    programs: Callable[..., int], words: list[str], expected: str
) -> None:
    pid = programs(*words)
    assert observe.elsewhere((pid,), pid) == expected


def test_a_shells_job_is_no_worker_that_runs_elsewhere(
    programs: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    shell, job = programs("bash"), programs("docker")
    ages = {shell: 60.0, job: 1.0}
    monkeypatch.setattr(proc, "age", ages.__getitem__)
    assert observe.elsewhere((shell, job), shell) == ""
    ages[job] = 59.5
    assert observe.elsewhere((shell, job), shell) == WAITS.format("bash", "docker")
