"""One look at the queues of an app: all frameworks' readers together, in as few trips as can be."""

from __future__ import annotations

import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from unitq.queues import lengths
from unitq.queues.model import Lengths, Registry, Sample
from unitq.queues.reader import Notes, side_by_side

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.queues.client import Connection
    from unitq.queues.commands import Answer, Reading
    from unitq.queues.reader import Source

# Who reads a framework's workers and in-flight jobs: `registry` of a preset -> module:function.
READERS = {
    "arq": "arq:read",
    "bullmq": "bullmq:read",
    "celery": "celery:read",
    "dramatiq": "dramatiq:read",
    "horizon": "laravel:read_horizon",
    "laravel": "laravel:read",
    "node-resque": "resque:read",
    "resque": "resque:read",
    "rq": "rq:read",
    "saq": "saq:read",
    "sidekiq": "sidekiq:read",
    "symfony": "streams:read",
    "taskiq": "streams:read",
}


def take_snapshot(
    connection: Connection,
    sources: Sequence[Source],
    *,
    numbers: bool = True,
    workers: bool = True,
    ages: bool = True,
    named: bool = False,
) -> list[Sample]:
    """Returns one sample per source. Raises QueuesError within a second or so.

    `named`: where a framework keeps only what a worker has fetched, those jobs, one trip more.
    """

    def work() -> list[Sample]:
        now, at = time.time(), time.monotonic()
        asked = [
            source._replace(now=now, named=named, queues=tuple(dict.fromkeys(source.queues)))
            for source in sources
        ]
        notes = [Notes() for _ in asked]
        readings: list[Reading[Any]] = []
        for source, note in zip(asked, notes, strict=True):
            readings += [
                lengths.read(source, note, ages=ages) if numbers else _nothing(None),
                read_registry(source, note) if workers else _nothing(Registry()),
            ]
        results = _drive(connection, side_by_side(readings))
        return [
            Sample(
                preset=source.preset,
                at=at,
                time=now,
                queues=counted.queues if counted else {},
                whole=counted.whole if counted else Lengths(),
                registry=registry,
                notes=tuple(note),
                refused=note.refused,
            )
            for source, note, counted, registry in zip(
                asked, notes, results[::2], results[1::2], strict=True
            )
        ]

    return connection.run(work)


def read_registry(source: Source, notes: Notes) -> Reading[Registry]:
    """Returns what the framework of the source knows of its workers and their jobs."""
    if not source.keys.registry:
        return _nothing(Registry())
    module, _, function = READERS[source.keys.registry].partition(":")
    # Imported when it is used: an app has one or two of them.
    reader = getattr(import_module(f"unitq.queues.readers.{module}"), function)
    reading: Reading[Registry] = reader(source, notes)
    return reading


def _drive(connection: Connection, reading: Reading[list[Any]]) -> list[Any]:
    answers: list[Answer] | None = None
    while True:
        try:
            commands = reading.send(answers)  # type: ignore[arg-type]
        except StopIteration as end:
            results: list[Any] = end.value
            return results
        # What two readers ask, such as the same of all queues, is sent once.
        sent = list(dict.fromkeys(commands))
        answers = connection.ask(sent)
        if len(sent) < len(commands):
            known = dict(zip(sent, answers, strict=True))
            answers = [known[command] for command in commands]


def _nothing(result: Any) -> Reading[Any]:
    yield from ()
    return result
