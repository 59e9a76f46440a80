"""One look at the queues of an app: all frameworks' readers together, in as few trips as can be."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from unitq.queues import frameworks, lengths
from unitq.queues.model import Lengths, Registry, Sample
from unitq.queues.reader import Notes, side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from unitq.queues.client import Connection
    from unitq.queues.commands import Answer, Commands
    from unitq.queues.reader import Source

    Reading = Generator[Commands, list[Answer], Any]


def take_snapshot(
    connection: Connection,
    sources: Sequence[Source],
    *,
    numbers: bool = True,
    workers: bool = True,
    ages: bool = True,
    named: bool = False,
) -> list[Sample]:
    """What is there, one sample per source. Raises QueuesError within a second or so.

    `named`: where a framework keeps only what a worker has fetched, those jobs, one trip more.
    """
    sources = [source._replace(named=named) for source in sources]
    return connection.run(
        lambda: _read(connection.ask, sources, numbers=numbers, workers=workers, ages=ages)
    )


def _read(
    ask: Callable[[Commands], list[Answer]],
    sources: Sequence[Source],
    *,
    numbers: bool,
    workers: bool,
    ages: bool,
) -> list[Sample]:
    now = time.time()
    at = time.monotonic()
    stamped = [
        source._replace(now=now, queues=tuple(dict.fromkeys(source.queues))) for source in sources
    ]
    notes = [Notes() for _ in sources]
    readings: list[Reading] = []
    for source, note in zip(stamped, notes, strict=True):
        readings.append(lengths.read(source, note, aged=ages) if numbers else _nothing(None))
        registry = source.keys.registry
        readings.append(
            frameworks.reader(registry)(source, note)
            if registry and workers
            else _nothing(Registry())
        )
    reading = side_by_side(readings)
    answers: list[Answer] | None = None
    while True:
        try:
            commands = reading.send(answers)  # type: ignore[arg-type]
        except StopIteration as end:
            results = end.value
            break
        # What two readers ask, the same of all queues, is sent once.
        sent = list(dict.fromkeys(commands))
        answers = ask(sent)
        if len(sent) < len(commands):
            told = dict(zip(sent, answers, strict=True))
            answers = [told[command] for command in commands]
    samples = []
    for index, source in enumerate(stamped):
        read, registry = results[2 * index : 2 * index + 2]
        samples.append(
            Sample(
                preset=source.preset,
                at=at,
                time=now,
                queues=read.queues if read else {},
                whole=read.whole if read else Lengths(),
                registry=registry,
                notes=tuple(notes[index]),
                refused=notes[index].refused,
            )
        )
    return samples


def _nothing(result: Any) -> Reading:
    yield from ()
    return result
