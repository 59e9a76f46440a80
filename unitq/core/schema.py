"""The shape of unitq.toml as pydantic models: what there is, what it means, what it is by default.

The models are the one source for the checks, the JSON Schema, the reference and the starter file.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from unitq.core import kinds  # noqa: TC001 - pydantic reads annotations at run time
from unitq.core.model import CodeVersion, StartLimit, Worker
from unitq.core.settings import Duration, Share

if TYPE_CHECKING:
    from pydantic_core import core_schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _default(key: str) -> Any:
    """What `model.Worker` has: the model of the app decides, the file only leaves it out."""
    field = next(field for field in dataclasses.fields(Worker) if field.name == key)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


class Table(BaseModel):
    """A table of the file: no other keys, nothing converted, nothing changed later."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RedisTable(Table):
    """Where the queues are. unitq only reads there."""

    url: kinds.RedisUrl | None = Field(
        default=None,
        description="Where Redis is. A password in it is shown nowhere.",
        examples=["redis://127.0.0.1:6379/0"],
    )


class RolloutTable(Table):
    """How a deploy replaces the instances, and when one counts as healthy."""

    max_unavailable: kinds.Amount = Field(
        default=Share(1),
        description="How many instances of a worker may be down at once. A percentage is rounded "
        "down, but is never less than 1.",
        examples=[1, "25%"],
    )
    min_healthy: kinds.ShortSpan = Field(
        default=Duration("10s", 10.0),
        description="How long a new process must run before the instance counts as healthy.",
        examples=["10s"],
    )
    start_timeout: kinds.LongSpan = Field(
        default=Duration("90s", 90.0),
        description="How long an instance may take to become healthy before the deploy stops. "
        "Must be longer than `min_healthy`.",
        examples=["90s"],
    )


class WorkerTable(Table):
    """A worker: a named group of identical instances. `NAME` becomes part of unit names."""

    command: kinds.Command = Field(
        description="What each instance runs: systemd's command-line syntax, not a shell's. `%i` "
        "is the number of the instance. A relative program (`bin/worker`) is one in `directory`.",
        examples=["/usr/bin/php bin/resque"],
    )
    queues: kinds.Queues = Field(
        default=_default("queues"),
        description="The queues that the worker serves, the most urgent first. It finds them in "
        "its environment, with commas between them, as `QUEUE`.",
        examples=[["sms", "default"]],
    )
    instances: kinds.Instances = Field(
        default=1, description="How many of them run side by side.", examples=[4]
    )
    stop_timeout: kinds.AnySpan = Field(
        default=_default("stop_timeout"),
        description="How long the job in hand may take to finish when an instance stops. Only "
        "then it is killed, and the deploy says so.",
        examples=["10min"],
    )
    stop_signal: kinds.Signal = Field(
        default=_default("stop_signal"),
        description="What tells the worker to finish its job and exit.",
        examples=["SIGQUIT"],
    )
    kill_mode: kinds.KillModeWord = Field(
        default=_default("kill_mode"),
        description="Who gets the signal: every process of the instance, or with `mixed` only "
        "its main process. Nothing is left behind either way.",
        examples=["control-group"],
    )
    restart_delay: kinds.ShortSpan = Field(
        default=_default("restart_delay"),
        description="How long systemd waits before it starts an instance again that ended by "
        "itself.",
        examples=["1s"],
    )
    start_limit: kinds.Starts = Field(
        default=_default("start_limit"),
        description="How often an instance that keeps ending is started again before systemd "
        'gives up: `"5/1min"` is five times a minute.',
        examples=["5/1min"],
    )
    nice: kinds.Nice | None = Field(
        default=None, description="Scheduling priority; 19 is the most modest.", examples=[5]
    )
    umask: kinds.Umask | None = Field(
        default=None,
        description="Permissions that new files do not get.",
        examples=["0022"],
    )
    limits: kinds.Limits = Field(
        default=_default("limits"),
        description="Resource limits.",
        examples=[{"LimitNOFILE": 65536}],
    )
    user: kinds.User | None = Field(
        default=None, description="The app's `user` unless given here.", examples=["www-data"]
    )
    group: kinds.User | None = Field(
        default=None, description="The app's `group` unless given here.", examples=["www-data"]
    )
    directory: kinds.Directory | None = Field(
        default=None,
        description="The app's `directory` unless given here.",
        examples=["/srv/shop/current"],
    )
    environment: kinds.Variables = Field(
        default=(),
        description="Added to the app's `environment`; the same name here wins.",
        examples=[{"QUEUE_WAIT": 5}],
    )
    environment_file: kinds.Files | None = Field(
        default=None,
        description="Read instead of the app's `environment_file`.",
        examples=["/etc/shop/sms.env"],
    )
    unit: kinds.UnitSection = Field(
        default=_default("unit"),
        description="Any other directive for the unit's `[Unit]` section.",
        examples=[{"OnFailure": "alert@%n.service"}],
    )
    service: kinds.ServiceSection = Field(
        default=_default("service"),
        description="Any other directive for the unit's `[Service]` section.",
        examples=[{"MemoryMax": "512M", "ProtectHome": True}],
    )


class AppFile(Table):
    """One app: its workers, and what they have in common."""

    app: kinds.Name = Field(
        description="The app's name, which becomes part of unit names. To change it later makes "
        "another app.",
        examples=["shop"],
    )
    user: kinds.User | None = Field(
        default=None,
        description="The user whose rights the workers have. Without it root's, or your own with "
        "`--user`.",
        examples=["www-data"],
    )
    group: kinds.User | None = Field(
        default=None, description="Their group; the user's own if not given.", examples=["www-data"]
    )
    directory: kinds.Directory | None = Field(
        default=None,
        description="Where the code is and the workers start. A symlink is followed at deploy. "
        "Required here or in every worker.",
        examples=["/srv/shop/current"],
    )
    environment: kinds.Variables = Field(
        default=(),
        description="Environment variables. They arrive as they stand here: `%`, `$` and quotes "
        "mean nothing special. They are kept where only root can read them.",
        examples=[{"APP_ENV": "production"}],
    )
    environment_file: kinds.Files | None = Field(
        default=None,
        description="Files with more variables, one `NAME=value` a line. A deploy copies them, so "
        "that all instances of a revision have the same.",
        examples=["/etc/shop/env"],
    )
    code_version: kinds.CodeVersionWord = Field(
        default=CodeVersion.AUTO,
        description="What tells a deploy that the code has changed: `release` is the directory "
        "that `directory` leads to, `git` is HEAD and whether the files differ from it, and with "
        "`always` every deploy restarts the workers. `auto` is `release` if `directory` is a "
        "symlink, else `git` if there is one, else `always`.",
        examples=["auto"],
    )
    redis: RedisTable = Field(default=RedisTable(), description="Where the queues are.")
    rollout: RolloutTable = Field(
        default=RolloutTable(), description="How a deploy replaces the instances."
    )
    workers: dict[kinds.Name, WorkerTable] = Field(
        description="The workers by name; at least one.", min_length=1
    )


class _Generator(GenerateJsonSchema):
    """TOML has no null, and our values have a text that the file would have."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002
        # "Stop Timeout" says nothing that "stop_timeout" does not.
        return False

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        default = plain(schema.get("default"))
        return inner if default in (None, [], {}) else {**inner, "default": default}


def plain(default: Any) -> Any:
    """A default as TOML has it."""
    match default:
        case Duration() | Share(percent=True):
            return str(default)
        case Share():
            return default.number
        case StartLimit():
            return f"{default.burst}/{default.interval}" if default.burst else "none"
        case BaseModel() | ():
            return None
        case _:
            return default


def json_schema() -> dict[str, Any]:
    """For editors, and for `unitq schema`: JSON Schema, draft 2020-12."""
    schema = AppFile.model_json_schema(schema_generator=_Generator)
    return {"$schema": DIALECT, **schema, "title": "unitq.toml"}
