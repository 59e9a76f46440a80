"""Whether the Redis that is configured can be asked, and is one for queues: `check --redis`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from unitq.errors import NotPermittedError
from unitq.model.finding import Finding, Level
from unitq.queues.commands import QueuesError, command
from unitq.queues.snapshot import take_snapshot
from unitq.queues.values import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.errors import UnitqError
    from unitq.queues.client import Connection
    from unitq.queues.model import Sample
    from unitq.queues.reader import Source

_WHY = "without it a report cannot name the jobs of a worker that had to be killed"


class RedisCheck(NamedTuple):
    """The outcome of one look at a Redis."""

    where: str
    findings: tuple[Finding, ...]
    queues: int = 0
    workers: int | None = None  # registered ones; None: the frameworks keep no list of them
    denied: bool = False  # its password can only be read as root

    @property
    def reachable(self) -> bool:
        return not any(finding.level is Level.ERROR for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Returns what docs/json.md describes."""
        return {
            "where": self.where,
            "reachable": self.reachable,
            "queues": self.queues,
            "workers": self.workers,
        }

    def __str__(self) -> str:
        parts = [f"{self.queues} queue{'s' * (self.queues != 1)}"]
        if self.workers is not None:
            parts.append(f"{self.workers} registered worker{'s' * (self.workers != 1)}")
        return f"{self.where}: {', '.join(parts)}"


def unreachable(error: UnitqError, where: str = "") -> RedisCheck:
    """Returns the same where there is nothing to ask, or no answer."""
    add = "; ".join(error.problems)
    hint = ": ".join(part for part in (error.hint, add) if part) or "correct [redis], or start it"
    finding = Finding(Level.ERROR, "redis", error.message, hint, _WHY)
    return RedisCheck(where, (finding,), denied=isinstance(error, NotPermittedError))


def check_redis(connection: Connection, sources: Sequence[Source]) -> RedisCheck:
    """Looks at the queues, and at what Redis does when its memory is full.

    Takes two seconds at the most. What the account of Redis may not ask is left out.
    """
    try:
        samples = take_snapshot(connection, sources, ages=False)
        (memory,) = connection.run(lambda: connection.ask([command("INFO", "memory")]))
    except QueuesError as error:
        return unreachable(error, connection.where)
    lists = [sample.registry.workers for sample in samples if sample.registry.workers is not None]
    findings = [
        *(Finding(Level.NOTE, "redis", note) for sample in samples for note in sample.notes),
        *(_empty(sample, source) for sample, source in zip(samples, sources, strict=True)
          if not _has_keys(sample)),
        *_eviction(memory),
    ]  # fmt: skip
    return RedisCheck(
        connection.where,
        tuple(findings),
        sum(len(sample.queues) for sample in samples),
        sum(map(len, lists)) if lists else None,
    )


def _has_keys(sample: Sample) -> bool:
    """Whether any key of the framework is there."""
    numbers = [number for lengths in sample.queues.values() for number in lengths]
    return any(numbers) or any(sample.whole) or bool(sample.registry.workers)


def _empty(sample: Sample, source: Source) -> Finding:
    prefix = f' with the prefix "{source.prefix}"' if source.prefix else ""
    return Finding(
        Level.NOTE,
        "redis",
        f"no key of {sample.preset}{prefix}",
        "if there are jobs: `url` names another database, or `prefix` is another one",
        "no job waits there, and no worker is registered",
        "redis-empty",
    )


def _eviction(memory: Any) -> list[Finding]:
    """Returns a finding where Redis deletes keys to make room (redis.io, Key eviction)."""
    if not isinstance(memory, bytes):
        return []
    lines = text(memory).splitlines()
    memory_info = dict(line.split(":", 1) for line in lines if ":" in line)
    policy, limit = memory_info.get("maxmemory_policy"), memory_info.get("maxmemory", "0")
    if limit == "0" or policy in (None, "noeviction"):
        return []
    any_key = policy.startswith("allkeys")
    return [
        Finding(
            Level.WARNING if any_key else Level.NOTE,
            "redis",
            f"maxmemory-policy is {policy}",
            "`maxmemory-policy noeviction` in redis.conf; a cache belongs in a Redis of its own",
            "when its memory is full, Redis deletes "
            + ("any key, queues and their jobs too" if any_key else "keys that expire, jobs too")
            + ", and nothing says so",
            name="redis-eviction",
        )
    ]
