"""A real Redis for every test, and a short way to read it as unitq does.

The keys of each framework are written here as the framework itself writes them: research on real
workers, and the source of the version that each test names.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness.redis_server import RedisServer
from unitq.model.app import Redis
from unitq.presets import redis_keys
from unitq.queues.client import Connection
from unitq.queues.reader import Source
from unitq.queues.snapshot import take_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unitq.queues.model import Sample

PRESETS = Path(__file__).resolve().parents[3] / "presets"


@pytest.fixture(scope="session")
def _server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(_server: RedisServer) -> RedisServer:
    """A Redis of our own; empty."""
    _server.client.flushall()
    return _server


def layout(preset: str) -> redis_keys.Keys:
    """The [redis] section of one of our presets."""
    return redis_keys.Keys.model_validate(
        tomllib.loads((PRESETS / f"{preset}.toml").read_text())["redis"]
    )


def source(preset: str, *queues: str, prefix: str | None = None) -> Source:
    """The queues of a framework, as the configuration would name them."""
    found = layout(preset)
    own = found.prefix if prefix is None else prefix
    return Source(preset, found, queues, own, found.registry_prefix)


def sample(
    server: RedisServer, preset: str, *queues: str, prefix: str | None = None, named: bool = False
) -> Sample:
    """One look at this Redis."""
    connection = Connection(Redis(url=server.url))
    try:
        (found,) = take_snapshot(connection, [source(preset, *queues, prefix=prefix)], named=named)
    finally:
        connection.close()
    return found
