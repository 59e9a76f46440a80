"""Who reads which framework's workers and jobs in hand: what `registry` of a preset names."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from unitq.queues.commands import Answer, Commands
    from unitq.queues.model import Registry
    from unitq.queues.reader import Notes, Source

    Reader = Callable[[Source, Notes], Generator[Commands, list[Answer], Registry]]

_READERS = {
    "arq": "arq:read",
    "bullmq": "bullmq:read",
    "celery": "celery:read",
    "dramatiq": "dramatiq:read",
    "horizon": "laravel:read_horizon",
    "laravel": "laravel:read",
    "node-resque": "resque:read_node",
    "resque": "resque:read",
    "rq": "rq:read",
    "saq": "saq:read",
    "sidekiq": "sidekiq:read",
    "symfony": "streams:read_symfony",
    "taskiq": "streams:read_taskiq",
}


def reader(name: str) -> Reader:
    """The reader of that registry; imported when it is used."""
    module, _, function = _READERS[name].partition(":")
    return cast("Reader", getattr(import_module(f"unitq.queues.readers.{module}"), function))


def names() -> tuple[str, ...]:
    """All that there are."""
    return tuple(_READERS)
