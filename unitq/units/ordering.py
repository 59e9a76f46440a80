"""Behind which services of this machine a worker's unit is ordered. Pure.

At a shutdown systemd stops all units at once, except where one is ordered after another: it stops
the later one first (systemd.unit(5), Before= and After=). A worker that is not ordered after a
Redis on the same machine loses it in the middle of a job.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping


class Broker(NamedTuple):
    """A kind of service that queues live in."""

    port: int
    units: tuple[str, ...]  # what distributions and vendors call its unit


BROKERS = {
    "redis": Broker(
        6379,
        (
            "redis-server.service", "redis.service", "valkey-server.service", "valkey.service",
            "keydb-server.service", "keydb.service", "dragonfly.service",
        ),
    ),
    "rabbitmq": Broker(5672, ("rabbitmq-server.service", "rabbitmq.service")),
}  # fmt: skip

_SCHEMES = {
    "redis": "redis", "rediss": "redis", "valkey": "redis", "valkeys": "redis", "keydb": "redis",
    "sentinel": "redis", "amqp": "rabbitmq", "amqps": "rabbitmq", "pyamqp": "rabbitmq",
}  # fmt: skip
_PORTS = {"amqps": 5671, "sentinel": 26379}
_WORDS = {"REDIS": "redis", "VALKEY": "redis", "KEYDB": "redis", "RABBITMQ": "rabbitmq"}
_HOST_NAMES = ("HOST", "HOSTNAME", "SERVER", "BACKEND", "ADDR", "ADDRESS")
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::(?P<port>[0-9]{1,5}))?")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s,;]+")


# How Docker names the cgroup of a container. It stops containers itself, when its service stops.
_DOCKER = re.compile(r"docker-[0-9a-f]{12,}\.scope")


class Address(NamedTuple):
    """Where a worker expects a service."""

    kind: str  # of BROKERS
    host: str = ""
    port: int = 0
    path: str = ""  # of a unix socket; then there is no host
    source: str = ""  # what says so; "": the framework's default
    certain: bool = True  # False: the worker may talk to another one; it counts if it is served

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.path or f"{host}:{self.port}"


def addresses(
    url: str | None,
    sentinels: Collection[str],
    environment: Mapping[str, str],
    *,
    dotenv: Mapping[str, str] = MappingProxyType({}),
    default: bool = False,
) -> tuple[Address, ...]:
    """Returns where a worker's queues are, each place once.

    `url` and `sentinels` are those of [redis], `environment` is what the worker is started with,
    `dotenv` what it may read itself from its `.env`, which does not replace what it is started with
    (phpdotenv's createImmutable(), dotenv-rails, python-dotenv).
    `default`: its framework keeps its queues in Redis, at 127.0.0.1:6379 unless told otherwise.
    """
    places = [*_of_url(url or "", "[redis] url", "redis")]
    places += [
        Address("redis", host, port, source="[redis] sentinels")
        for host, port in (_host_port(place, 26379) for place in sentinels)
        if host
    ]
    variables = {**dotenv, **environment}
    for name, value in environment.items():
        places += _of_variable(name, value, variables)
    places += [
        place._replace(source=f"{name} in .env", certain=False)
        for name, value in dotenv.items()
        if name not in environment
        for place in _of_variable(name, value, variables)
    ]
    if default and not any(place.kind == "redis" for place in places):
        places.append(Address("redis", "127.0.0.1", BROKERS["redis"].port, certain=False))
    once = {place[:4]: place for place in reversed(places)}
    return tuple(sorted(once.values(), key=places.index))


def _of_variable(name: str, value: str, environment: Mapping[str, str]) -> Iterator[Address]:
    words = name.upper().split("_")
    kind = next((_WORDS[word] for word in words if word in _WORDS), "")
    if urls := _URL.findall(value):
        for url in urls:
            yield from _of_url(url, name, kind)
        return
    path = value.removeprefix("unix:")
    if kind and path.startswith("/") and (path != value or path.endswith(".sock")):
        yield Address(kind, path=path, source=name)
    elif kind and words[-1] in _HOST_NAMES and (match := _HOST.fullmatch(value)):
        beside = environment.get(f"{name.rpartition('_')[0]}_PORT", "")
        host, port = _host_port(match[0], int(beside) if _number(beside) else BROKERS[kind].port)
        if host:
            yield Address(kind, host, port, source=name)


def _of_url(url: str, source: str, kind: str) -> Iterator[Address]:
    """The address in a URL; none where it is of another kind, or broken. `kind`: of a unix://."""
    scheme, _, transport = url.partition("://")[0].lower().partition("+")
    kind = kind if scheme == "unix" else _SCHEMES.get(scheme, "")
    if not kind:
        return
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return
    if scheme == "unix" or transport in ("socket", "unix"):
        # redis-py's unix://[user:password@]/path; Celery's redis+socket:///path
        if parts.path:
            yield Address(kind, path=unquote(parts.path), source=source)
    else:
        yield Address(
            kind,
            host or "127.0.0.1",
            port or _PORTS.get(scheme, BROKERS[kind].port),
            source=source,
        )


def _host_port(text: str, default: int) -> tuple[str, int]:
    match = _HOST.fullmatch(text)
    if not match or not (port := int(match["port"] or default)) < 65536:
        return "", 0
    return match["host"].strip("[]"), port


def _number(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) < 6


def unit_of(cgroup: str, own: str = "") -> str:
    """Returns the service that a process belongs to, by its cgroup; empty: it is in none.

    `own` is the cgroup of a user's manager, if it is that manager's services that are asked for;
    else it is PID 1's, to whom all that a user's manager runs is `user@UID.service`.
    """
    if own:
        if not cgroup.startswith(f"{own}/"):
            return ""
        cgroup = cgroup.removeprefix(own)
    for part in cgroup.split("/"):
        if part.endswith(".service"):
            return part
        if part.endswith(".scope"):
            return "docker.service" if _DOCKER.fullmatch(part) and not own else ""
    return ""


def lines(units: Collection[str]) -> tuple[str, ...]:
    """Returns what is written into the [Unit] section of a worker."""
    if not units:
        return ()
    return (
        "# At a shutdown it stops before what it needs on this machine: its last job ends well.",
        f"After={' '.join(dict.fromkeys(units))}",
    )


def units_in(text: str) -> tuple[str, ...]:
    """Returns the units that `lines` has put into a unit text."""
    (comment, _) = lines(("",))
    before, mark, after = text.partition(f"{comment}\n")
    first = after.partition("\n")[0]
    return tuple(first.removeprefix("After=").split()) if before and mark else ()
