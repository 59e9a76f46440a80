"""The [redis] section of a preset: where a framework keeps its queues, as commands that only read.

A preset names commands, not code, so that a framework unknown to unitq needs no Python:

    [redis]
    prefix = "resque:"
    registry = "resque"
    names = [["SMEMBERS", "{p}queues"]]
    waiting = [["LLEN", "{p}queue:{q}"]]
    failed = [["LLEN", "{p}failed"]]
    oldest = { command = ["LINDEX", "{p}queue:{q}", "0"], field = "queue_time" }

`{p}` is the prefix, `{r}` the registry's own, `{q}` a queue, `{now}` and `{now_ms}` the time in
seconds and milliseconds. The answers of one key are added up. A command without `{q}` is asked
once, and its answer counts for all queues together.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from unitq.toml.types import Items, Kind, Table, at_most, forms
from unitq.toml.values import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from unitq.toml.values import Path

Words = tuple[str, ...]

# Reading, and at_most: KEYS and SCAN walk through everything that a server holds.
READING = frozenset({
    "EXISTS", "GET", "GETRANGE", "HEXISTS", "HGET", "HGETALL", "HKEYS", "HLEN", "HMGET", "HVALS",
    "LINDEX", "LLEN", "LRANGE", "MGET", "PTTL", "SCARD", "SISMEMBER", "SMEMBERS", "SMISMEMBER",
    "STRLEN", "TTL", "TYPE", "XINFO", "XLEN", "XPENDING", "XRANGE", "XREVRANGE", "ZCARD", "ZCOUNT",
    "ZLEXCOUNT", "ZMSCORE", "ZRANGE", "ZRANGEBYSCORE", "ZREVRANGE", "ZREVRANGEBYSCORE", "ZSCORE",
})  # fmt: skip
_STREAM = ("STREAM", "GROUPS", "CONSUMERS")

PLACES = ("p", "r", "q", "now", "now_ms")
_PLACE = re.compile(r"\{([^{}]*)\}")
_WORD_MAX = 1024
_EXAMPLE = '["LLEN", "{p}queue:{q}"]'


COUNTS = ("waiting", "delayed", "in_hand", "failed", "retry", "dead", "added", "done")

# As unitq.queues reads them. Here, so that a preset with another one is refused where it is read.
REGISTRIES = (
    "arq", "bullmq", "celery", "dramatiq", "horizon", "laravel", "node-resque", "resque", "rq",
    "saq", "sidekiq", "symfony", "taskiq",
)  # fmt: skip


# Those whose workers register with their host and PID.
WITH_PIDS = frozenset({"node-resque", "resque", "rq", "sidekiq"})


# Those of which a job that was in hand can be put back whole.
WITH_JOBS = frozenset({"node-resque", "resque"})


def _with_places(places: Sequence[str]) -> Callable[[str], str]:
    """Refuses what stands for nothing."""

    def check(value: str) -> str:
        for place in _PLACE.findall(value):
            if place not in places:
                known = ", ".join(f"{{{name}}}" for name in places)
                raise InvalidValueError(why=f"{{{place}}} stands for nothing; there are {known}")
        return at_most(_WORD_MAX)(value)

    return check


def _reading(words: Words) -> Words:
    """A command that only reads."""
    name = words[0].upper()
    if name not in READING:
        known = ", ".join(sorted(READING))
        why = f"{words[0]} is not among the commands that only read: {known}"
        raise InvalidValueError(why=why, at=(0,))
    if name == "XINFO" and words[1].upper() not in _STREAM:
        raise InvalidValueError(why=f"XINFO takes {', '.join(_STREAM)} here", at=(1,))
    return (name, *words[1:])


def _command(places: Sequence[str]) -> Kind:
    word = Annotated[str, Kind("a string", str, _with_places(places))]
    shape = Annotated[Items[word], Field(min_length=2)]
    expected = f"a command and its arguments such as {_EXAMPLE}"
    return Kind(expected, shape, _reading)


_Text = Annotated[str, Kind("a string", str, at_most(_WORD_MAX))]
_Command = Annotated[Words, _command(PLACES)]


class Count(Table):
    """A command whose answer is a number, or holds one."""

    command: _Command = Field(examples=[["LLEN", "{p}queue:{q}"]])
    # Where the answer is a list of rows, as XINFO GROUPS gives it: the row of this name …
    row: _Text = ""
    field: _Text = ""  # … and the number in it.

    @property
    def of_each(self) -> bool:
        """Asked for each queue; else once for all of them."""
        return any("{q}" in word for word in self.command)


class Oldest(Table):
    """How to learn since when a queue's next job waits."""

    # Gives the job, or its id.
    command: _Command = Field(examples=[["LINDEX", "{p}queue:{q}", "0"]])
    field: _Text = ""  # of the job as JSON: when it was enqueued
    then: Annotated[Words, _command((*PLACES, "j"))] = ()  # with the id as {j}: gives the time


def _count(given: Count | Words) -> Count:
    count = given if isinstance(given, Count) else Count.model_construct(command=given)
    if count.row and not count.field:
        why = "missing; of the row, it is the number that counts"
        raise InvalidValueError(why=why, at=("field",))
    return count


_COMMAND = f"a command and its arguments such as {_EXAMPLE}"
_COMMANDS = f"a list of commands such as [{_EXAMPLE}]"
_Count = Annotated[Count, Kind(_COMMAND, forms(items=_Command, table=Count), _count)]
_Counts = Annotated[tuple[Count, ...], Kind(_COMMANDS, Items[_Count])]
_Name = Annotated[Words, _command([place for place in PLACES if place != "q"])]
_REGISTRY = Kind(f"one of {', '.join(REGISTRIES)}", "|".join(["", *REGISTRIES]), near=REGISTRIES)


class Keys(Table):
    """What a framework keeps in Redis, and how to read it."""

    prefix: _Text = ""
    # Who reads the workers and in-flight jobs: READERS of unitq/queues/snapshot.py
    registry: Annotated[str, _REGISTRY] = ""
    registry_prefix: _Text = ""  # where that keeps its own, if elsewhere: {r}
    # Commands that give the names of the queues …
    names: Annotated[tuple[Words, ...], Kind(_COMMANDS, Items[_Name])] = ()
    # … and what stands before each of those names.
    strip: Annotated[str, Kind("a string", str, _with_places(("p",)))] = ""
    waiting: _Counts = ()
    delayed: _Counts = ()
    in_hand: _Counts = ()
    failed: _Counts = ()
    retry: _Counts = ()
    dead: _Counts = ()
    added: _Counts = ()  # ever
    done: _Counts = ()  # ever
    oldest: Oldest | None = None
    # What somebody who reads the numbers should know.
    notes: Annotated[tuple[str, ...], Kind("a list of strings", Items[_Text])] = ()

    def counts(self) -> dict[str, tuple[Count, ...]]:
        """Every number that the framework keeps, by its name."""
        return {name: count for name in COUNTS if (count := getattr(self, name))}

    def clashes(self) -> Iterator[tuple[Path, str]]:
        """What only several keys together can get wrong, by its place."""
        if self.oldest and not any("{q}" in word for word in self.oldest.command):
            yield ("oldest", "command"), "must hold {q}: each queue is asked"
        if self.oldest and bool(self.oldest.field) == bool(self.oldest.then):
            yield ("oldest",), 'needs either "field", of a job in JSON, or "then", a command'


def fill_in(words: Words, values: Mapping[str, str]) -> Words:
    """The command with the values in their places; what has none stays, as {q} for a later one."""
    return tuple(
        _PLACE.sub(lambda match: values.get(match[1], match[0]), word) if "{" in word else word
        for word in words
    )
