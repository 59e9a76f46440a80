"""What an instance is, by what was observed of it."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest

from unitq import observe
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
    assert found.untold is untold
    assert found.told == main
    # Where there is no main process any more, what it has left says what it is.
    left = found._replace(pids=(8,))
    assert left.fresh(NEW) is (children == {NEW} if children else None)


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
