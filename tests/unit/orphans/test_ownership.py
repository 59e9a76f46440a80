"""What keeps a process that lives outside the app's units."""

from __future__ import annotations

from typing import Any

import pytest

from unitq.model.process import Process
from unitq.orphans.ownership import Owner, OwnerKind, owner, unit_of

SYSTEMD = "/usr/lib/systemd/systemd"
SERVICE = "/system.slice/supervisor.service"
SESSION = "/user.slice/user-1000.slice/session-5.scope"


def process(pid: int, parent: int, executable: str = "/usr/bin/php", **more: Any) -> Process:
    return Process(pid=pid, parent=parent, began=0.0, ticks=0, executable=executable, **more)


INIT = process(1, 0, SYSTEMD)


def kept(*processes: Process, **mains: int) -> Owner:
    """What keeps the first of them."""
    table = {one.pid: one for one in (*processes, INIT)}
    return owner(processes[0], table, {f"{name}.service": pid for name, pid in mains.items()})


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        (SERVICE, "supervisor.service"),
        (SESSION, "session-5.scope"),
        ("/user.slice/user-1.slice/user@1.service/app.slice/a.service", "a.service"),
        ("/init.scope", ""),
        ("/", ""),
        ("", ""),
    ],
)
def test_the_unit_of_a_cgroup(cgroup: str, unit: str) -> None:
    assert unit_of(cgroup) == unit


def test_adopted() -> None:
    assert kept(process(50, 1)) == Owner(OwnerKind.INIT, "PID 1 adopted it")
    one = kept(process(50, 1, cgroup=SERVICE), supervisor=7)
    assert one == Owner(
        OwnerKind.INIT, "PID 1 adopted it, in supervisor.service", None, "supervisor.service"
    )
    # Left from a login that is over.
    assert kept(process(50, 1, cgroup=SESSION)).words == "PID 1 adopted it, in session-5.scope"
    user = kept(process(50, 9), process(9, 1, SYSTEMD))
    assert (user.kind, user.words) == (OwnerKind.INIT, "the user's manager (PID 9) adopted it")


def test_a_child_of_supervisord() -> None:
    daemon = process(
        7, 1, "/usr/bin/python3.11", words=("/usr/bin/python3", "/usr/bin/supervisord", "-n")
    )
    shell = process(40, 7, "/bin/bash")
    for one in (
        kept(process(50, 7, cgroup=SERVICE), daemon, supervisor=7),
        kept(process(50, 40, cgroup=SERVICE), shell, daemon, supervisor=7),
    ):
        assert one == Owner(OwnerKind.SUPERVISORD, "supervisord (PID 7)", 7, "supervisor.service")
    # What has its name among its arguments is none.
    other = process(7, 1, "/usr/bin/python3.11", words=("python3", "x.py", "/usr/bin/supervisord"))
    assert kept(process(50, 7), other).kind is OwnerKind.PROCESS


def test_what_supervisord_calls_it_is_what_it_told_its_own_child() -> None:
    daemon = process(7, 1, "/usr/bin/python3", words=("python3", "-m", "supervisor.supervisord"))
    group = {"SUPERVISOR_PROCESS_NAME": "sms_00", "SUPERVISOR_GROUP_NAME": "sms"}
    shell = process(40, 7, "/bin/bash", environment=group)
    # Its title has been written over its environment.
    one = kept(process(50, 40), shell, daemon)
    assert (one.program, one.words) == ("sms:sms_00", "supervisord (PID 7), as sms:sms_00")
    other = {"SUPERVISOR_PROCESS_NAME": "mail", "SUPERVISOR_GROUP_NAME": "mail"}
    assert kept(process(50, 40, environment=other), shell, daemon).program == "sms:sms_00"
    assert kept(process(50, 7, environment=other), daemon).program == "mail"
    # Only what it keeps: this one it has lost.
    assert kept(process(50, 1, environment=group)) == Owner(OwnerKind.INIT, "PID 1 adopted it")


def test_another_unit() -> None:
    cgroup = "/system.slice/resque.service"
    assert kept(process(50, 1, cgroup=cgroup), resque=50) == Owner(
        OwnerKind.UNIT, "unit resque.service", 50, "resque.service"
    )
    cron = kept(process(50, 40, cgroup="/system.slice/cron.service"), process(40, 1, "/bin/sh"))
    assert (cron.kind, cron.words) == (OwnerKind.UNIT, "unit cron.service (sh, PID 40)")


def test_a_login_and_anything_else() -> None:
    shell = process(40, 1, "/bin/bash")
    assert kept(process(50, 40, cgroup=SESSION), shell) == Owner(
        OwnerKind.SESSION, "login session 5 (bash, PID 40)", 40, "session-5.scope"
    )
    assert kept(process(50, 40), shell) == Owner(OwnerKind.PROCESS, "bash, PID 40", 40)
    # A parent that may not be looked at.
    assert kept(process(50, 40), process(40, 1, "")).words == "a process, PID 40"


@pytest.mark.parametrize(
    "cgroup",
    [
        "/system.slice/docker-0a1b2c3d4e5f.scope",
        "/docker/0a1b2c3d4e5f",
        "/machine.slice/libpod-0a1b2c3d4e5f.scope/container",
        "/kubepods.slice/kubepods-burstable.slice/cri-containerd-0a1b2c3d4e5f.scope",
        "/lxc.payload.web/system.slice/x.service",
        "/lxc/web",
    ],
)
def test_a_container_by_its_cgroup(cgroup: str) -> None:
    assert kept(process(50, 1, cgroup=cgroup)).kind is OwnerKind.CONTAINER


def test_a_container_by_its_pids() -> None:
    assert kept(process(50, 1, contained=True)).words == "a container"


def test_what_is_only_called_so_is_no_container() -> None:
    for name in ("docker.service", "containerd.service", "lxcfs.service", "docker-shop.service"):
        one = kept(
            process(50, 1, cgroup=f"/system.slice/{name}"), **{name.removesuffix(".service"): 50}
        )
        assert one.kind is OwnerKind.UNIT, name
