"""What is wrong with a file, in plain words: one line for each place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from unitq.config.schema import (
    AS_TABLE,
    AS_WORD,
    AppFile,
    HooksTable,
    ProbeTable,
    RolloutTable,
    WorkerTable,
)
from unitq.config.tables import RecycleTable, RedisTable
from unitq.model.suggest import either, nearest
from unitq.toml import directives
from unitq.toml.document import found, place, quoted
from unitq.toml.values import MistakeError, MistakesError, Path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel, ValidationError

WORDS_MAX = 200  # mistakes that are put into words at all: looking for near words takes time

# What other tools call it.
_SYNONYMS = {
    "name": "app", "cwd": "directory", "chdir": "directory", "working_directory": "directory",
    "env": "environment", "env_file": "environment_file", "cmd": "command", "exec": "command",
    "exec_start": "command", "queue": "queues", "numprocs": "instances", "processes": "instances",
    "replicas": "instances", "count": "instances", "concurrency": "instances",
    "stopsignal": "stop_signal", "kill_signal": "stop_signal", "signal": "stop_signal",
    "stopwaitsecs": "stop_timeout", "kill_timeout": "stop_timeout", "timeout": "stop_timeout",
    "restart_sec": "restart_delay", "priority": "nice", "programs": "workers",
}  # fmt: skip


def confidential(path: Path) -> bool:
    """Whether what stands there may be nobody's business."""
    return (
        path[:1] == ("redis",)
        or "environment" in path
        # A token in an argument, say.
        or (path[:1] == ("hooks",) and path[-1] not in ("timeout", "user"))
    )


def in_plain_words(error: ValidationError) -> Iterator[tuple[Path, str]]:
    """pydantic's findings, one by one."""
    every = error.errors(include_url=False)[:WORDS_MAX]
    for item in every:
        item["loc"] = tuple(part for part in item["loc"] if part not in (AS_WORD, AS_TABLE))
    unknown = [item["loc"] for item in every if item["type"] == "extra_forbidden"]
    meant = {(*path[:-1], _meant(path)) for path in unknown}
    for item in every:
        path: Path = item["loc"]
        cause = item.get("ctx", {}).get("error")
        match item["type"]:
            case "extra_forbidden":
                yield path, _unknown(path)
            case "missing" if path not in meant:
                yield path, _missing(path)
            case "missing":
                pass  # it is there, but mistyped, and that is said already
            case "value_error" if isinstance(cause, MistakesError):
                for mistake in cause.every:
                    yield said(mistake, path, item["input"])
            case "value_error" if isinstance(cause, MistakeError):
                # A worker's name is the one key that pydantic checks as a value.
                if len(path) == 3 and path[0] == "workers" and path[2] == "[key]":
                    path = path[:2]
                yield said(cause, path, item["input"])
            case "too_short":
                yield path, "empty; at least one [workers.NAME] is needed"
            case _:
                yield path, f"expected a table, got {found(item['input'], secret=True)}"


def said(mistake: MistakeError, path: Path, value: Any) -> tuple[Path, str]:
    """The place below `path` and the words for it; `value` is what stands at `path`."""
    path = (*path, *mistake.at)
    if mistake.why:
        return path, mistake.why
    for key in mistake.at:
        value = value[key]
    word = nearest(value, mistake.words) if isinstance(value, str) else None
    near = f', did you mean "{word}"?' if word else ""
    return path, f"expected {mistake.expected}, got {found(value, secret=confidential(path))}{near}"


def _missing(path: Path) -> str:
    if path == ("workers",):
        return "missing; at least one [workers.NAME] is needed"
    key = str(path[-1])
    example = table(path[:-1]).model_fields[key].examples
    return f"missing, for example {key} = {quoted(str((example or ['…'])[0]))}"


def table(path: Path) -> type[BaseModel]:
    """The model of the table there."""
    if path[:1] == ("workers",):
        below: dict[object, type[BaseModel]] = {"probe": ProbeTable, "recycle": RecycleTable}
        return below.get(path[2] if len(path) > 2 else None, WorkerTable)
    tables: dict[Path, type[BaseModel]] = {
        ("redis",): RedisTable,
        ("rollout",): RolloutTable,
        ("hooks",): HooksTable,
    }
    return tables.get(path, AppFile)


def means(key: str, found: Mapping[str, object], path: Path) -> bool:
    """Whether the table there has the key, if only in a spelling of its own."""
    if key in found:
        return True
    unknown = [other for other in found if other not in table(path).model_fields]
    return any(_meant((*path, other)) == key for other in unknown[:WORDS_MAX])


def _meant(path: Path) -> str | None:
    key = str(path[-1])
    keys = table(path[:-1]).model_fields
    synonym = _SYNONYMS.get(key.lower().replace("-", "_"))
    return synonym if synonym in keys else nearest(key, keys)


def _unknown(path: Path) -> str:
    key, keys = str(path[-1]), table(path[:-1]).model_fields
    meant, home = _meant(path), _home(key)
    if home:
        return f"unknown key here, it belongs {home}"
    if meant:
        return f'unknown key, did you mean "{meant}"?'
    if path[0] == "workers" and re.fullmatch(r"[A-Z][A-Za-z]+", key):
        service = f"systemd directives belong in [{place(path[:-1])}.service]"
        return f"unknown key; {directives.instead(key, directives.IN_SERVICE) or service}"
    return f"unknown key; the keys here are {either(list(keys), last='and')}"


def _home(key: str) -> str | None:
    """The table that has a key of exactly this name."""
    # A key of the app's that follows a [table] is in that table: the first mistake with TOML.
    homes: tuple[tuple[type[BaseModel], str], ...] = (
        (AppFile, "at the top level, before the first [table]"),
        (WorkerTable, "in [workers.NAME]"),
        (RolloutTable, "in [rollout]"),
        (RedisTable, "in [redis]"),
        (HooksTable, "in [hooks]"),
    )
    if key in ("redis", "rollout", "hooks", "workers"):
        return "at the top level"
    if key == "successes":
        # Not so `timeout`, by which other tools mean a worker's stop_timeout.
        return "in [workers.NAME.probe]"
    if key in ("memory", "jitter"):
        return "in [workers.NAME.recycle]"
    return next((words for model, words in homes if key in model.model_fields), None)
