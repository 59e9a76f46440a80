"""Registrations of workers in containers, matched with processes of this host."""

from __future__ import annotations

from typing import Any

import pytest

from unitq.model.process import Process
from unitq.orphans.containers import name, translate
from unitq.queues.model import Registration

ID, OTHER = "0a1b2c3d4e5f" + "0" * 52, "aa1b2c3d4e5f" + "1" * 52


@pytest.mark.parametrize(
    ("cgroup", "called"),
    [
        (f"/system.slice/docker-{ID}.scope", "0a1b2c3d4e5f"),
        (f"/docker/{ID}", "0a1b2c3d4e5f"),
        (f"/machine.slice/libpod-{ID}.scope/container", "0a1b2c3d4e5f"),
        (f"/docker/{ID}/docker/{OTHER}", "aa1b2c3d4e5f"),
        # Their names are their owners' choice.
        (f"/kubepods.slice/cri-containerd-{ID}.scope", ""),
        ("/lxc.payload.0a1b2c3d4e5f/x.service", ""),
        ("/machine.slice/machine-0a1b2c3d4e5f.scope", ""),
        # Not an id of theirs.
        (f"/system.slice/docker-{ID}0.scope", ""),
        ("/system.slice/docker-0a1b2c3d4e5f.scope", ""),
        (f"/system.slice/mydocker-{ID}.scope", ""),
        ("/", ""),
        ("", ""),
    ],
)
def test_the_name_of_a_container(cgroup: str, called: str) -> None:
    assert name(cgroup) == called


def process(pid: int, inner: int, cgroup: str = f"/docker/{ID}", **more: Any) -> Process:
    return Process(
        pid,
        1,
        0,
        executable="/usr/bin/php",
        cgroup=cgroup,
        contained=bool(inner),
        inner=inner,
        **more,
    )


def registration(host: str | None, pid: int | None) -> Registration:
    return Registration(f"{host}:{pid}:sms", host, pid, ("sms",), 1.0, None)


def test_it_leads_to_the_process_and_keeps_its_id() -> None:
    one, mine = registration("0a1b2c3d4e5f", 7), registration("web1", 7)
    seen = translate((one, mine), (process(900, 7), process(7, 0, "/x.service")), "web1")
    assert seen == (one._replace(host="web1", pid=900), mine)
    assert seen[0].id == "0a1b2c3d4e5f:7:sms"


@pytest.mark.parametrize(
    "there",
    [
        (),
        (process(900, 8),),
        (process(900, 7, f"/docker/{OTHER}"),),
        (process(7, 0),),  # in its cgroup, but with the host's PIDs
        (process(900, 7, "/lxc/0a1b2c3d4e5f"),),
        (process(900, 7), process(901, 7)),
    ],
)
def test_in_doubt_it_stays_another_host_s(there: tuple[Process, ...]) -> None:
    one = registration("0a1b2c3d4e5f", 7)
    assert translate((one,), there, "web1") == (one,)
    nothing = registration(None, None)
    assert translate((nothing,), there, "web1") == (nothing,)
