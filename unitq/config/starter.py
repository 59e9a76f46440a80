"""The commented unitq.toml that `unitq init` writes, from the models."""

from __future__ import annotations

import re
import textwrap
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from unitq.config.schema import AppFile, HooksTable, RedisTable, RolloutTable, WorkerTable, plain
from unitq.toml.document import toml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

# Left out of the starter file: each needs another one, or rules one out that is there.
REDIS_RARE = (
    "registry_prefix", "password_file", "password_credential", "sentinels", "master",
    "sentinel_username", "sentinel_password_variable", "sentinel_password_file", "ca_file",
    "cert_file", "key_file",
)  # fmt: skip

TABLES = ("redis", "rollout", "hooks", "workers")

_STARTER = """\
# The queue workers of one app. Change what follows, look at it with "unitq check" and "unitq plan",
# then run "unitq deploy". A key behind a "#" shows its default, or an example where it has none.
# All keys, and some more, in detail: docs/configuration.md.

{app}
# How a deploy replaces the instances.
[rollout]

{rollout}
# Programs of your own that unitq runs around a deploy, without a shell.
[hooks]

{hooks}
# Where the queues are.
[redis]

{redis}
# A worker: a group of identical instances. Add another table like this one for each further worker.
[workers.{worker}]

{keys}
# Any other systemd directive, by section. Keep these two behind the worker's own keys.
#[workers.{worker}.unit]
{unit}

#[workers.{worker}.service]
{service}
"""


def starter(
    *,
    app: str = "shop",
    directory: str = "/srv/shop/current",
    user: str | None = "www-data",
    worker: str = "default",
    command: str = "/usr/bin/php bin/resque",
    instances: int = 4,
    preset: str | None = None,
    queues: bool = False,
    defaults: Mapping[str, Any] | None = None,
) -> str:
    """The commented file that `unitq init` writes. Without `user` that key stays a comment.

    `defaults` are those of the worker's keys that its preset has in place of ours.
    """
    given: dict[str, Any] = {"app": app, "directory": directory, "hardening": "standard"}
    if user is not None:
        given["user"] = user
    known: dict[str, Any] = {"command": command, "instances": instances}
    if preset is not None:
        known["preset"] = preset
    if queues:
        known["queues"] = ["default"]
    return _STARTER.format(
        worker=worker,
        app=_keys(AppFile, given, skip=TABLES),
        rollout=_keys(RolloutTable, {}),
        hooks=_keys(HooksTable, {}),
        redis=_keys(RedisTable, {}, skip=REDIS_RARE),
        keys=_keys(WorkerTable, known, skip=("unit", "service"), defaults=defaults or {}),
        unit=_directives("unit"),
        service=_directives("service"),
    )


def _keys(
    model: type[BaseModel],
    given: dict[str, Any],
    skip: tuple[str, ...] = (),
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """Each key below what it means: as given, else as a comment with its default or an example."""
    lines = []
    for key, field in model.model_fields.items():
        if key in skip:
            continue
        lines += textwrap.wrap(
            plain_words(field.description or ""),
            100,
            initial_indent="# ",
            subsequent_indent="# ",
            break_on_hyphens=False,
            break_long_words=False,
        )
        if key in given:
            lines += [f"{key} = {toml(given[key])}", ""]
        else:
            value = defaults[key] if key in defaults else _example(field)
            lines += [f"#{key} = {toml(value)}", ""]
    return "\n".join(lines)


def plain_words(text: str) -> str:
    """A description for who reads it as it stands: no backticks, and links as files or addresses.

    What stood between backticks stands in quotes, so that a key is told from a word.
    """

    def link(found: re.Match[str]) -> str:
        words, target = found[1], found[2]
        place = target if "://" in target else f"docs/{target}"
        return place if words == target else f"{words}: {place}"

    def quoted(found: re.Match[str]) -> str:
        words = found[1].strip('"')
        return found[1] if '"' in words else f'"{words}"'

    text = re.sub(r"\[([^\]]*)\]\(([^)]*)\)", link, text)
    return re.sub(r"`([^`]*)`", quoted, text)


def _example(field: FieldInfo) -> Any:
    default = None if field.is_required() else plain(field.default)
    # An empty list or table shows nothing.
    return (field.examples or [""])[0] if default in (None, []) else default


def _directives(key: str) -> str:
    example = _example(WorkerTable.model_fields[key])
    return "\n".join(f"#{name} = {toml(value)}" for name, value in example.items())
