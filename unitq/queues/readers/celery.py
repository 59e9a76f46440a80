"""Celery on Redis, by kombu.

    p _kombu.binding.celery.pidbox    \\x06\\x16\\x06\\x16NODE.celery.pidbox of each worker
    p unacked                         delivery tags -> messages: fetched, and not acknowledged

What a worker runs is in its memory only: `celery inspect active` asks it. With early
acknowledgement, which is the default, it is not in `unacked` any more. Node names have a host, but
no PID and no time, so Redis alone does not tell whether a worker lives.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from unitq.queues.commands import command
from unitq.queues.model import Registration, Registry
from unitq.queues.reader import without_errors
from unitq.queues.values import text

if TYPE_CHECKING:
    from unitq.queues.commands import Reading
    from unitq.queues.reader import Notes, Source

_SEPARATOR = "\x06\x16"
_MAILBOX = ".celery.pidbox"
_READ = 10_000  # messages: with more, as where many tasks have an ETA, they are not read


def read(source: Source, notes: Notes) -> Reading[Registry]:
    """Returns its nodes."""
    key, unacked = f"{source.prefix}_kombu.binding.celery.pidbox", f"{source.prefix}unacked"
    commands = [command("SMEMBERS", key), command("HLEN", unacked)]
    members, amount = without_errors((yield commands), notes)
    fetched = None
    if source.named and amount is not None and amount <= _READ:
        (messages,) = without_errors((yield [command("HVALS", unacked)]), notes)
        fetched = frozenset(map(_task_id, messages or ()))
    mailboxes = sorted(text(member).rpartition(_SEPARATOR)[2] for member in members or ())
    nodes = [name.removesuffix(_MAILBOX) for name in mailboxes]
    workers = tuple(Registration(node, host=node.rpartition("@")[2]) for node in nodes)
    return Registry(workers, fetched=fetched)


def _task_id(message: bytes) -> str:
    """Returns it from the message as kombu keeps it: [message, exchange, routing key]."""
    try:
        headers = json.loads(message)[0]["headers"]
        return str(headers["id"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
