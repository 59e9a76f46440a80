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
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from unitq.toml.values import MistakeError, MistakesError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_T = TypeVar("_T")
Words = tuple[str, ...]

# Reading, and bounded: KEYS and SCAN walk through everything that a server holds.
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


class Count(NamedTuple):
    """A command whose answer is a number, or holds one."""

    command: Words
    # Where the answer is a list of rows, as XINFO GROUPS gives it: the row of this name …
    row: str = ""
    field: str = ""  # … and the number in it.

    @property
    def of_each(self) -> bool:
        """Asked for each queue; else once for all of them."""
        return any("{q}" in word for word in self.command)


class Oldest(NamedTuple):
    """How to learn since when a queue's next job waits."""

    command: Words  # gives the job, or its id
    field: str = ""  # of the job as JSON: when it was enqueued
    then: Words = ()  # with the id as {j}: gives the time


class Keys(NamedTuple):
    """What a framework keeps in Redis, and how to read it."""

    prefix: str = ""
    registry: str = ""  # who reads the workers and the jobs in hand: unitq/queues/frameworks.py
    registry_prefix: str = ""  # where that keeps its own, if elsewhere: {r}
    names: tuple[Words, ...] = ()  # commands that give the names of the queues
    strip: str = ""  # what stands before each of those names
    waiting: tuple[Count, ...] = ()
    delayed: tuple[Count, ...] = ()
    in_hand: tuple[Count, ...] = ()
    failed: tuple[Count, ...] = ()
    retry: tuple[Count, ...] = ()
    dead: tuple[Count, ...] = ()
    added: tuple[Count, ...] = ()  # ever
    done: tuple[Count, ...] = ()  # ever
    oldest: Oldest | None = None
    notes: tuple[str, ...] = ()  # what somebody who reads the numbers should know

    def counts(self) -> dict[str, tuple[Count, ...]]:
        """Every number that the framework keeps, by its name."""
        return {name: found for name in COUNTS if (found := getattr(self, name))}


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


def parse(table: object) -> Keys:
    """The section's meaning. Raises MistakesError with every mistake in it."""
    if not isinstance(table, dict):
        raise MistakeError("a table")
    wrong: list[MistakeError] = []
    found: dict[str, object] = {}
    for key, value in table.items():
        if key not in Keys._fields:
            known = ", ".join(Keys._fields)
            wrong.append(MistakeError(why=f"unknown key; the keys here are {known}", at=(key,)))
            continue
        try:
            found[key] = _value(key, value)
        except MistakesError as mistakes:
            wrong += [mistake.below(key) for mistake in mistakes.every]
        except MistakeError as mistake:
            wrong.append(mistake.below(key))
    if wrong:
        raise MistakesError(wrong)
    return Keys(**found)  # type: ignore[arg-type]


def _value(key: str, value: object) -> object:
    if key in ("prefix", "registry_prefix", "strip"):
        return _text(value, places=("p",) if key == "strip" else ())
    if key == "registry":
        if value not in ("", *REGISTRIES):
            words = ", ".join(f'"{name}"' for name in REGISTRIES)
            raise MistakeError(f"one of {words}", words=REGISTRIES)
        return value
    if key == "oldest":
        return _oldest(value)
    if not isinstance(value, list):
        raise MistakeError(f"a list of commands such as [{_EXAMPLE}]")
    wrong: list[MistakeError] = []
    found: list[object] = []
    for index, item in enumerate(value):
        try:
            if key == "notes":
                found.append(_text(item))
            elif key == "names":
                found.append(_command(item, [place for place in PLACES if place != "q"]))
            else:
                found.append(_count(item))
        except MistakesError as mistakes:
            wrong += [mistake.below(index) for mistake in mistakes.every]
        except MistakeError as mistake:
            wrong.append(mistake.below(index))
    if wrong:
        raise MistakesError(wrong)
    return tuple(found)


def _count(value: object) -> Count:
    if not isinstance(value, dict):
        return Count(_command(value, PLACES))
    _only(value, ("command", "row", "field"))
    command = _part(value, "command", lambda given: _command(given, PLACES))
    row, field = (_part(value, key, _text) for key in ("row", "field"))
    if row and not field:
        raise MistakeError(why="missing; of the row, it is the number that counts", at=("field",))
    return Count(command, row, field)


def _oldest(value: object) -> Oldest:
    if not isinstance(value, dict):
        example = 'a table such as { command = ["LINDEX", "{p}queue:{q}", "0"], field = "at" }'
        raise MistakeError(example)
    _only(value, ("command", "field", "then"))
    command = _part(value, "command", lambda given: _command(given, PLACES))
    if not any("{q}" in word for word in command):
        raise MistakeError(why="must hold {q}: each queue is asked", at=("command",))
    field = _part(value, "field", _text)
    then: Words = ()
    if "then" in value:
        then = _part(value, "then", lambda given: _command(given, (*PLACES, "j")))
    if bool(field) == bool(then):
        raise MistakeError(why='needs either "field", of a job in JSON, or "then", a command')
    return Oldest(command, field, then)


def _only(table: Mapping[object, object], known: Words) -> None:
    wrong = [
        MistakeError(why=f"unknown key; the keys here are {', '.join(known)}", at=(str(key),))
        for key in table
        if key not in known
    ]
    if wrong:
        raise MistakesError(wrong)


def _part(table: Mapping[str, Any], key: str, check: Callable[[object], _T]) -> _T:
    """One key of a table; the mistake in it says which. What is not there is checked as ""."""
    if key == "command" and key not in table:
        raise MistakeError(why=f"missing, for example command = {_EXAMPLE}", at=(key,))
    try:
        return check(table.get(key, ""))
    except MistakeError as mistake:
        raise mistake.below(key) from None
    except MistakesError as mistakes:
        raise MistakesError([mistake.below(key) for mistake in mistakes.every]) from None


def _command(value: object, places: Sequence[str]) -> Words:
    if not isinstance(value, list) or len(value) < 2:
        raise MistakeError(f"a command and its arguments such as {_EXAMPLE}")
    wrong: list[MistakeError] = []
    words: list[str] = []
    for index, item in enumerate(value):
        try:
            words.append(_text(item, places=places))
        except MistakeError as mistake:
            wrong.append(mistake.below(index))
    if wrong:
        raise MistakesError(wrong)
    name = words[0].upper()
    if name not in READING:
        raise MistakeError(
            why=f"{words[0]} is not among the commands that only read: "
            f"{', '.join(sorted(READING))}",
            at=(0,),
        )
    if name == "XINFO" and words[1].upper() not in _STREAM:
        raise MistakeError(why=f"XINFO takes {', '.join(_STREAM)} here", at=(1,))
    return (name, *words[1:])


def _text(value: object, places: Sequence[str] = ()) -> str:
    if not isinstance(value, str):
        raise MistakeError("a string")
    if len(value.encode()) > _WORD_MAX:
        raise MistakeError(why=f"longer than {_WORD_MAX} bytes")
    if places:
        for place in _PLACE.findall(value):
            if place not in places:
                known = ", ".join(f"{{{name}}}" for name in places)
                raise MistakeError(why=f"{{{place}}} stands for nothing; there are {known}")
    return value


def filled(words: Words, values: Mapping[str, str]) -> Words:
    """The command with the values in their places; what has none stays, as {q} for a later one."""
    return tuple(
        _PLACE.sub(lambda found: values.get(found[1], found[0]), word) if "{" in word else word
        for word in words
    )
