"""The machine goes down in mid-rollout: what comes up by itself, what unitq says, and the ways out.

The plug is pulled: what was not on the disk is lost, nobody is asked to stop. Or the machine is
rebooted while unitq is at work, which then sees everything being stopped under its hands.
"""

from __future__ import annotations

import signal
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.reboot.conftest import Machine, Shop

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import Popen

pytestmark = pytest.mark.reboot

# On a busy machine, too.
BOOT_SECONDS = 60

FOUR = ("sms@1", "sms@2", "sms@3", "sms@4")
OLD = {"state": "active", "release": "1", "nice": [0, 0], "stop_timeout": "20s"}
# A text that is switched in one go with the code, one that is switched after the stop, and one
# with a longer stop_timeout, which holds for the old processes of all instances at once.
AT_ONCE: dict[str, Any] = {"nice": 5}
AFTER_THE_STOP: dict[str, Any] = {"nice": 5, "stop_timeout": "15s"}
LONGER: dict[str, Any] = {"nice": 5, "stop_timeout": "31s"}


def _new(text: dict[str, Any]) -> dict[str, Any]:
    return OLD | {"release": "2", "nice": [5, 5], "stop_timeout": text.get("stop_timeout", "20s")}


def _are(shop: Shop) -> dict[str, dict[str, Any]]:
    """Code and unit text of all of them, once all are up; each as its revision has it."""
    for name in FOUR:
        shop.wait(name, "up")
    instances = shop.facts()["instances"]
    return {name: {key: instances[name][key] for key in OLD} for name in FOUR}


def _deployed(machine: Machine, scope: str) -> Shop:
    shop = Shop(machine, scope)
    shop.make()
    shop.unitq("deploy")
    assert _are(shop) == dict.fromkeys(FOUR, OLD)
    return shop


def _rests(shop: Shop, wanted: dict[str, Any]) -> None:
    """All four are the same, on what is wanted, and nothing is left of the way that led there."""
    assert _are(shop) == dict.fromkeys(FOUR, wanted)
    facts = shop.facts()
    # Its number may be that of an earlier deploy of the same.
    hashes = {each["revision"].partition("-")[2] for each in facts["instances"].values()}
    assert hashes == {facts["current"].partition("-")[2]}
    assert (facts["pinned"], facts["outside"]) == ([], 0)
    shop.unitq("status")
    shop.unitq("rollout", "status")


# --- the machine itself ---------------------------------------------------------------------------


def test_a_pulled_plug_is_one(machine: Machine) -> None:
    said = machine.run(
        "sh", "-c", "cat /proc/sys/kernel/random/boot_id; echo >/tmp/a; echo >/run/a"
    )
    machine.run("sh", "-c", "echo synced >/srv/synced; sync; echo lost >/srv/lost")
    machine.pull_the_plug()
    found = machine.run("sh", "-c", "cat /proc/sys/kernel/random/boot_id; ls /tmp /run")
    assert found.stdout.splitlines()[0] != said.stdout.splitlines()[0]
    assert "a" not in found.stdout.splitlines()[1:]
    assert machine.run("cat", "/srv/synced").stdout == "synced\n"
    if machine.forgets:
        assert machine.run("cat", "/srv/lost").stdout == ""


# --- at rest --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["system", "user"])
def test_at_rest_all_come_back_on_the_current_revision(machine: Machine, scope: str) -> None:
    shop = _deployed(machine, scope)
    for down in (machine.pull_the_plug, machine.reboot):
        boot = shop.facts()["boot"]
        down()
        assert shop.facts()["boot"] != boot
        _rests(shop, OLD)
    # What was written a moment ago is what comes back.
    shop.change(**AT_ONCE)
    shop.unitq("deploy")
    machine.pull_the_plug()
    _rests(shop, _new(AT_ONCE))
    assert shop.unitq("deploy").startswith("unchanged")
    shop.unitq("stop", "sms@2")
    shop.unitq("scale", "sms=3")
    machine.pull_the_plug()
    for name in ("sms@1", "sms@2", "sms@3"):
        shop.wait(name, "up")
    assert sorted(shop.facts()["instances"]) == ["sms@1", "sms@2", "sms@3"]
    shop.unitq("status")


# --- what workers need while they stop -----------------------------------------------------------


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@pytest.mark.parametrize("ordered", [True, False])
def test_jobs_in_flight_outlive_a_redis_on_the_machine(machine: Machine, ordered: bool) -> None:
    port = _free_port()
    shop = Shop(machine, "system")
    shop.make()
    shop.serve_redis(port)
    # Nothing says yet where the queues are, as in an app that an older unitq has deployed.
    shop.unitq("deploy")
    before = shop.facts()["instances"]
    if ordered:
        shop.add_to_config(f'[redis]\nurl = "redis://127.0.0.1:{port}/0"')
        told = shop.unitq("check")
        assert f"127.0.0.1:{port} ([redis] url) is shop-redis.service" in told
        shop.unitq("plan", code=12)
        assert "ok: 4 of 4 on 2" in shop.unitq("deploy")
        shop.unitq("plan")
    # A daemon-reload is enough: no process was touched for it.
    assert shop.facts()["instances"] == before
    pids = sorted(str(each["pid"]) for each in before.values())
    machine.reboot()
    for name in FOUR:
        shop.wait(name, "up")
    jobs = shop.told(port)
    # After the boot they have begun once more.
    assert sorted(jobs["begun"][:4]) == pids
    assert sorted(jobs["done"]) == (pids if ordered else [])


# --- instances that were never started -----------------------------------------------------------


def test_the_plug_is_pulled_in_the_first_deploy(machine: Machine) -> None:
    shop = Shop(machine, "system")
    shop.make()
    shop.start("deploy")
    shop.wait("sms@1", "up")
    machine.pull_the_plug()
    # All of them start at boot, so each must find its code.
    assert _are(shop) == dict.fromkeys(FOUR, OLD)
    assert "was cut off" in shop.unitq("status", code=0)
    shop.unitq("rollout", "resume")
    _rests(shop, OLD)


@pytest.mark.parametrize("way", ["scale", "deploy"])
def test_the_plug_is_pulled_while_instances_are_added(machine: Machine, way: str) -> None:
    shop = _deployed(machine, "system")
    if way == "deploy":
        shop.change(instances=7)
    shop.start(*(("scale", "sms=7") if way == "scale" else ("deploy",)))
    shop.wait("sms@5", "up")
    machine.pull_the_plug()
    for number in range(1, 8):
        shop.wait(f"sms@{number}", "up")
    assert "was cut off" in shop.unitq("status", code=15 if way == "deploy" else 0)
    shop.unitq("rollout", "resume")
    shop.unitq("status")


# --- in mid-rollout -------------------------------------------------------------------------------


def _under_way(shop: Shop, text: dict[str, Any], moment: str, *arguments: str) -> Popen[str]:
    """A deploy that has come as far as the second instance's proof, or to the third one's drain."""
    shop.change(**text)
    # However long it takes until the machine goes down, the deploy is there still.
    shop.hold("3" if moment == "draining" else "proof-2")
    deploy = shop.start("deploy", *arguments)
    shop.wait(*(("sms@3", "draining") if moment == "draining" else ("sms@2", "new")))
    return deploy


def _each_is_of_one_piece(shop: Shop, text: dict[str, Any], moment: str) -> None:
    """After the boot, all that were rolled are new; the others as they were, or with more time."""
    old = OLD | {"stop_timeout": text["stop_timeout"]} if text is LONGER else OLD
    # The order was given, with the code, unless the text waits for the end of the old process.
    switched = moment == "draining" and text is not AFTER_THE_STOP
    third = _new(text) if switched else old
    wanted = {"sms@1": _new(text), "sms@2": _new(text), "sms@3": third, "sms@4": old}
    assert _are(shop) == wanted


def _is_told_what_to_do(shop: Shop) -> None:
    told = shop.unitq("status", code=15)
    assert "was cut off" in told, f"{told}\n{shop.ledger()}"
    assert "OLD CODE" in told
    shop.unitq("rollout", "status", code=8)
    before = shop.facts()
    told = shop.unitq("deploy", code=8)
    for way in ("rollout resume", "rollback", "rollout abort"):
        assert f"-a shop {way}`" in told, told
    assert shop.facts() == before


def _resume(shop: Shop, text: dict[str, Any]) -> None:
    shop.unitq("rollout", "resume")
    _rests(shop, _new(text))
    assert shop.unitq("deploy").startswith("unchanged")


def _rollback(shop: Shop, text: dict[str, Any]) -> None:
    shop.unitq("rollback")
    _rests(shop, OLD)


def _abort(shop: Shop, text: dict[str, Any]) -> None:
    before = shop.facts()["instances"]
    shop.unitq("rollout", "abort")
    assert shop.facts()["instances"] == before
    assert "was cut off" not in shop.unitq("status", code=15)
    shop.unitq("deploy")
    _rests(shop, _new(text))


WAYS: dict[str, Callable[[Shop, dict[str, Any]], None]] = {
    "resume": _resume,
    "rollback": _rollback,
    "abort": _abort,
}


@pytest.mark.parametrize(
    ("scope", "text", "moment", "way"),
    [
        ("system", AT_ONCE, "settling", "resume"),
        ("system", AT_ONCE, "draining", "rollback"),
        ("system", AFTER_THE_STOP, "draining", "abort"),
        ("system", AFTER_THE_STOP, "settling", "rollback"),
        ("user", AFTER_THE_STOP, "draining", "resume"),
        ("user", AT_ONCE, "settling", "abort"),
        ("system", LONGER, "draining", "rollback"),
        ("user", LONGER, "settling", "resume"),
    ],
)
def test_the_plug_is_pulled(
    machine: Machine, scope: str, text: dict[str, Any], moment: str, way: str
) -> None:
    shop = _deployed(machine, scope)
    _under_way(shop, text, moment)
    machine.pull_the_plug()
    shop.hold()
    _each_is_of_one_piece(shop, text, moment)
    # To be found as it is, once more: the next one is pulled before anybody has come to look.
    machine.pull_the_plug()
    _each_is_of_one_piece(shop, text, moment)
    _is_told_what_to_do(shop)
    WAYS[way](shop, text)
    machine.pull_the_plug()
    _rests(shop, OLD if way == "rollback" else _new(text))


@pytest.mark.parametrize(
    ("scope", "text", "moment", "way", "arguments"),
    [
        ("system", AFTER_THE_STOP, "draining", "rollback", ()),
        ("system", AT_ONCE, "settling", "resume", ()),
        ("system", AFTER_THE_STOP, "settling", "abort", ("--detach",)),
        ("system", LONGER, "draining", "abort", ()),
        ("user", AT_ONCE, "settling", "resume", ("--detach",)),
    ],
)
def test_the_machine_is_shut_down(
    machine: Machine,
    scope: str,
    text: dict[str, Any],
    moment: str,
    way: str,
    arguments: tuple[str, ...],
) -> None:
    shop = _deployed(machine, scope)
    deploy = _under_way(shop, text, moment, *arguments)
    began = time.monotonic()
    machine.reboot()
    # One that drains has its stop_timeout, and no more is waited for: not for a proof of health.
    assert time.monotonic() - began < (20 if moment == "draining" else 0) + BOOT_SECONDS
    if not arguments:
        out, err = deploy.communicate()
        assert "systemd is shutting down" in err, (deploy.returncode, out, err)
        # As it ends it may hear the SIGTERM that all hear in the end.
        assert deploy.returncode in (7, -signal.SIGTERM)
    shop.hold()
    # What is stopped with all others is not taken for one whose turn it is, nor for a failure.
    _each_is_of_one_piece(shop, text, moment)
    _is_told_what_to_do(shop)
    WAYS[way](shop, text)
