"""Which unit a worker is ordered after: real sockets, and systemd's answers made up."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import pytest

from unitq.errors import NoMatchError
from unitq.linux import peer
from unitq.linux.proc import control_group
from unitq.units import local_services
from unitq.units.local_services import Surroundings, obstacle, services_of, unknown
from unitq.units.ordering import Address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from unitq.systemd.manager import Properties

TARGET = "unitq-shop.target"
LOCAL = "127.0.0.1"


class Units:
    """systemd, with these units."""

    def __init__(self, **units: Mapping[str, Any]) -> None:
        self.units = {name.replace("_", "-") + ".service": told for name, told in units.items()}

    def properties(self, unit: str, *wanted: str) -> Properties:
        if unit == "broken.service":
            raise NoMatchError(unit)
        there = {"LoadState": "loaded"} | dict(self.units.get(unit, {"LoadState": "not-found"}))
        rest = {"Id": unit, "ActiveState": "inactive", "UnitFileState": "", "After": []}
        return cast("Properties", {name: (rest | there)[name] for name in wanted})


def around(manager: Units | None = None, **more: Any) -> Surroundings:
    return Surroundings(manager or Units(), TARGET, **more)


@pytest.fixture
def port() -> Iterator[int]:
    with closing(socket.create_server((LOCAL, 0))) as server:
        yield int(server.getsockname()[1])


def _in(monkeypatch: pytest.MonkeyPatch, cgroup: str) -> None:
    monkeypatch.setattr(local_services, "control_group", lambda _: cgroup)


def test_who_listens_at_the_port_is_in_the_unit(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    address = Address("redis", "localhost", port, source="REDIS_URL")
    _in(monkeypatch, "/system.slice/my-redis.service")
    assert services_of([address], around()) == ((address, "my-redis.service", ""),)
    _in(monkeypatch, "/user.slice/user-0.slice/session-4.scope")
    ((_, unit, why),) = services_of([address], around())
    assert (unit, why) == (
        "",
        f"PID {os.getpid()} serves it, in session-4.scope, which is no service",
    )


def test_who_listens_at_a_socket_is_in_the_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    _in(monkeypatch, "/system.slice/my-redis.service")
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(tmp_path / "real/r.sock"))
        server.listen()
        for path in ("real/r.sock", "link/r.sock"):
            address = Address("redis", path=str(tmp_path / path), source="REDIS_URL")
            assert services_of([address], around()) == ((address, "my-redis.service", ""),)
    elsewhere = Address("redis", path=str(tmp_path / "none.sock"), source="REDIS_URL")
    assert services_of([elsewhere], around()) == ()


def test_a_unit_of_the_systems_is_none_for_a_users_manager(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = Address("redis", LOCAL, port, source="REDIS_URL")
    own = "/user.slice/user-1000.slice/user@1000.service"
    _in(monkeypatch, "/system.slice/redis-server.service")
    ((_, unit, why),) = services_of([address], around(own=own))
    assert not unit
    assert why.startswith("redis-server.service is a unit of the system")
    _in(monkeypatch, f"{own}/app.slice/redis.service")
    assert services_of([address], around(own=own))[0].unit == "redis.service"


def test_another_machines_service_is_none_of_this_one() -> None:
    # TEST-NET-1, RFC 5737, and a name that there never is, RFC 6761.
    for host in ("192.0.2.1", "2001:db8::1", "redis.invalid"):
        assert peer.own_addresses(host) == ()
        assert services_of([Address("redis", host, 6379, source="X")], around()) == ()
    assert peer.own_addresses("127.0.0.2") == ("127.0.0.2",)
    assert peer.own_addresses("localhost") == (LOCAL, "::1")


def test_a_service_that_is_down_is_known_by_the_usual_names() -> None:
    address = Address("redis", LOCAL, 1, source="REDIS_URL")
    enabled = {"UnitFileState": "enabled"}
    assert (
        services_of([address], around(Units(redis_server=enabled)))[0].unit
        == "redis-server.service"
    )
    alias = {"Id": "redis-server.service", "ActiveState": "active"}
    assert services_of([address], around(Units(redis=alias)))[0].unit == "redis-server.service"
    # Installed, and used for nothing.
    ((_, unit, why),) = services_of([address], around(Units(redis_server={})))
    assert (unit, why) == ("", "no unit is known that serves 127.0.0.1:1")
    rabbit = Address("rabbitmq", LOCAL, 1, source="BROKER")
    assert services_of([rabbit], around(Units(redis_server=enabled)))[0].unit == ""
    # What nothing says and nobody serves is nothing to be told of.
    assert services_of([address._replace(certain=False)], around(Units(redis_server=enabled))) == ()


def test_what_was_found_once_is_kept_while_it_is_down() -> None:
    address = Address("redis", LOCAL, 1, source="REDIS_URL")
    units = Units(my_redis={}, redis_server={"ActiveState": "active"})
    assert (
        services_of([address], around(units, kept=["my-redis.service"]))[0].unit
        == "my-redis.service"
    )
    assert (
        services_of([address], around(units, kept=["gone.service"]))[0].unit
        == "redis-server.service"
    )
    # Also where only the framework's default says that it is there; and not another kind's.
    both = around(
        Units(my_redis={}, rabbitmq_server={}), kept=["rabbitmq-server.service", "my-redis.service"]
    )
    default = address._replace(source="", certain=False)
    for each in (address, default):
        assert services_of([each], both)[0].unit == "my-redis.service"
    assert services_of([default], around(units, kept=["gone.service"])) == ()
    blind = Surroundings(None, TARGET, kept=["my-redis.service"])
    assert services_of([address], blind)[0].unit == "my-redis.service"


def test_an_order_in_a_circle_is_none(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    address = Address("redis", LOCAL, port, source="REDIS_URL")
    _in(monkeypatch, "/system.slice/late.service")
    late = Units(late={"After": ["between.service"]}, between={"After": ["multi-user.target"]})
    ((_, unit, why),) = services_of([address], around(late))
    assert not unit
    assert why == "late.service itself starts after multi-user.target, and so after the workers"
    early = Units(late={"After": ["between.service"]}, between={"After": ["late.service"]})
    assert services_of([address], around(early))[0].unit == "late.service"
    assert obstacle("unitq-shop-redis@1.service", around())
    assert obstacle(TARGET, around())
    assert obstacle("multi-user.target", around())
    assert not obstacle("unitq-other-redis@1.service", around())
    assert not obstacle("broken.service", around())


def test_units_that_are_not_there_are_named() -> None:
    assert unknown(["a.service", "b.service"], Units(a={})) == ("b.service",)
    assert unknown(["a.service"], None) == ()


def test_the_kernel_tells_the_own_cgroup() -> None:
    # Not everything that tests run in has systemd's own hierarchy.
    assert control_group(os.getpid()) is not None
    assert control_group(2**22 + 1) is None


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_port_is_looked_for_at_the_address_that_is_asked_for(
    family: socket.AddressFamily,
) -> None:
    host = "127.0.0.3" if family == socket.AF_INET else "::1"
    with closing(socket.socket(family)) as server:
        server.bind((host, 0))
        server.listen()
        port = server.getsockname()[1]
        assert peer.port_inodes(port, [host]) == {os.fstat(server.fileno()).st_ino}
        if family == socket.AF_INET:
            assert peer.port_inodes(port, ["127.0.0.4"]) == frozenset()
