"""Celery on Redis, by kombu.

    p _kombu.binding.celery.pidbox    \\x06\\x16\\x06\\x16NODE.celery.pidbox of each worker
    p unacked                         delivery tags -> messages: fetched, and not acknowledged

What a worker runs is in its memory only: `celery inspect active` asks it. With early
acknowledgement, which is the default, it is not in `unacked` any more. Node names have a host, but
no PID and no time, so of a worker nobody can tell from Redis alone whether it lives.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from unitq.queues.commands import command
from unitq.queues.model import Registration, Registry
from unitq.queues.reader import without_errors
from unitq.queues.values import text

if TYPE_CHECKING:
    from collections.abc import Generator

    from unitq.queues.commands import Answer, Commands
    from unitq.queues.reader import Notes, Source

    Reading = Generator[Commands, list[Answer], Registry]

_SEPARATOR = "\x06\x16"
_MAILBOX = ".celery.pidbox"
_READ = 10_000  # messages: with more, as where many tasks have an ETA, nobody looks at them


def read(source: Source, notes: Notes) -> Reading:
    """Its nodes."""
    key = f"{source.prefix}_kombu.binding.celery.pidbox"
    unacked = f"{source.prefix}unacked"
    members, amount = without_errors(
        (yield [command("SMEMBERS", key), command("HLEN", unacked)]), notes
    )
    fetched = None
    if source.named and amount is not None and amount <= _READ:
        (messages,) = without_errors((yield [command("HVALS", unacked)]), notes)
        fetched = frozenset(_id(each) for each in messages or ())
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
    return Registry(workers, fetched=fetched)


def _id(message: bytes) -> str:
    """Of a task, from the message as kombu keeps it: [message, exchange, routing key]."""
    try:
        headers = json.loads(message)[0]["headers"]
        return str(headers["id"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
