"""Unknown keys of unitq.toml: what other tools call a key, and where it belongs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unitq.config import directives
from unitq.config.schema import AppFile, HooksTable, RedisTable, RolloutTable, WorkerTable
from unitq.model.suggest import either, nearest
from unitq.toml.document import place
from unitq.toml.messages import Words

if TYPE_CHECKING:
    from pydantic import BaseModel

    from unitq.toml.values import Path

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


def _meant_key(path: Path, there: type[BaseModel] | None) -> str | None:
    """The key that somebody meant who wrote this one."""
    key, keys = str(path[-1]), there.model_fields if there else {}
    synonym = _SYNONYMS.get(key.lower().replace("-", "_"))
    return synonym if synonym in keys else nearest(key, keys)


def _unknown(path: Path, there: type[BaseModel] | None) -> str:
    key, meant, home = str(path[-1]), _meant_key(path, there), _home(str(path[-1]))
    if home:
        return f"unknown key here, it belongs {home}"
    if meant:
        return f'unknown key, did you mean "{meant}"?'
    if path[0] == "workers" and re.fullmatch(r"[A-Z][A-Za-z]+", key):
        service = f"systemd directives belong in [{place(path[:-1])}.service]"
        return f"unknown key; {directives.instead(key, directives.IN_SERVICE) or service}"
    keys = list(there.model_fields) if there else []
    return f"unknown key; the keys here are {either(keys, last='and')}"


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


WORDS = Words(_unknown, _meant_key)
