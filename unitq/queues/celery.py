"""Celery on Redis, by kombu.

    p _kombu.binding.celery.pidbox    \\x06\\x16\\x06\\x16NODE.celery.pidbox of each worker

What a worker runs is in its memory only: `celery inspect active` asks it. Node names have a host,
but no PID and no time, so of a worker nobody can tell from Redis alone whether it lives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.core.queue import Registration, Registry
from unitq.queues.commands import pack
from unitq.queues.source import good
from unitq.queues.values import text

if TYPE_CHECKING:
    from collections.abc import Generator

    from unitq.queues.commands import Commands
    from unitq.queues.source import Notes, Source
    from unitq.queues.wire import Answer

    Reading = Generator[Commands, list[Answer], Registry]

_SEPARATOR = "\x06\x16"
_MAILBOX = ".celery.pidbox"


def read(source: Source, notes: Notes) -> Reading:
    """Its nodes."""
    key = f"{source.prefix}_kombu.binding.celery.pidbox"
    (members,) = good((yield [pack("SMEMBERS", key)]), notes)
    nodes = sorted(text(each).rpartition(_SEPARATOR)[2] for each in members or ())
    workers = tuple(
        Registration(
            id=node.removesuffix(_MAILBOX),
            host=node.removesuffix(_MAILBOX).rpartition("@")[2],
            pid=None,
            queues=None,
            since=None,
            heartbeat=None,
        )
        for node in nodes
    )
    return Registry(workers)
