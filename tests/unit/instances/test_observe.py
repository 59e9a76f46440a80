"""What an instance is, by what was observed of it."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest

from unitq import observe
from unitq.cli import status
from unitq.core.names import InstanceName
from unitq.host import processes

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


def test_what_the_disk_says_counts_more_than_the_mark() -> None:
    assert instance(moved="a" * 40).fresh(NEW) is False
    assert instance(replaced="/srv/shop").fresh(NEW) is False
    assert instance(doubtful=True).fresh(NEW) is None
    assert instance(uncompared=True).fresh(NEW) is True


def test_one_whose_process_has_just_ended_is_young() -> None:
    """Between two looks of one crash loop: systemd still says running, /proc has nothing."""
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    for pid in (ended.pid, 0):
        assert status._young(instance(main_pid=pid, pids=()), 10.0)
    assert not status._young(instance(main_pid=os.getpid()), 0.0)
    assert not status._young(instance(active="inactive", sub="dead", main_pid=0), 10.0)


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


def test_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    cgroups = {7: "/user.slice/user-0.slice/session-4.scope", 8: "", 9: None}
    monkeypatch.setattr(processes, "cgroup_of", cgroups.__getitem__)
    monkeypatch.setattr(processes, "name_of", lambda _: "su")
    assert observe.elsewhere((), 7) == "its process runs in session-4.scope"
    assert observe.elsewhere((7,), 7) == ""
    assert observe.elsewhere((10,), 7) == ""  # there is a process in it
    assert observe.elsewhere((), 0) == ""
    assert observe.elsewhere((), 8) == ""  # hidden from us
    assert observe.elsewhere((), 9) == ""  # it has ended


def test_a_client_of_a_daemon_is_no_worker(tmp_path: Any) -> None:
    program = tmp_path / "docker"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"]) as client:
        try:
            while processes.name_of(client.pid) != "docker":
                pass
            words = "its unit holds only docker, which has something else start it"
            assert observe.elsewhere((client.pid,), client.pid) == words
            # Beside the worker itself it is a tool of its.
            assert observe.elsewhere((client.pid, os.getpid()), client.pid) == ""
        finally:
            client.kill()
