"""The shape of unitq.toml as pydantic models: what there is, what it means, what it is by default.

The models are the one source for the checks, the JSON Schema, the reference and the starter file.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from unitq.core import directives, duration, values
from unitq.core.model import (
    INSTANCES_MAX,
    NAME,
    CodeVersion,
    Directives,
    KillMode,
    StartLimit,
    Worker,
)
from unitq.core.settings import Duration, Share

if TYPE_CHECKING:
    from pydantic_core import core_schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class Kind:
    """What the reference calls a type."""

    words: str


_SPAN = {"type": ["string", "integer"], "pattern": duration.FINITE, "minimum": 0}
_PATH = {"type": "string", "pattern": "^/"}
_STRING_TABLE = {"type": "object", "additionalProperties": {"type": ["string", "integer"]}}
_SCALAR = {"type": ["string", "integer", "boolean"]}
_DIRECTIVES = {
    "type": "object",
    "propertyNames": {"pattern": f"^({directives.DIRECTIVE})$"},
    "additionalProperties": {
        "anyOf": [_SCALAR, {"type": "array", "items": _SCALAR, "minItems": 1}]
    },
}
_LIMITS = {
    "type": "object",
    "properties": {name: {"type": ["string", "integer"]} for name in directives.LIMITS},
    "additionalProperties": False,
}
_VARIABLES = _STRING_TABLE | {"propertyNames": {"pattern": f"^{values.VARIABLE}$"}}


def _text(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^({pattern})$"}


Name = Annotated[str, PlainValidator(values.name), WithJsonSchema(_text(NAME)), Kind("name")]
Command = Annotated[
    str,
    PlainValidator(values.command),
    WithJsonSchema({"type": "string", "minLength": 1}),
    Kind("command line"),
]
User = Annotated[
    str,
    PlainValidator(values.user),
    WithJsonSchema({"type": "string", "pattern": values.USER_PATTERN}),
    Kind("name, or number in quotes"),
]
Directory = Annotated[
    str, PlainValidator(values.path), WithJsonSchema(_PATH), Kind("absolute path")
]
Files = Annotated[
    tuple[str, ...],
    PlainValidator(values.paths),
    WithJsonSchema({"anyOf": [_PATH, {"type": "array", "items": _PATH, "uniqueItems": True}]}),
    Kind("absolute path, or list of them"),
]
Variables = Annotated[
    tuple[tuple[str, str], ...],
    PlainValidator(values.environment),
    WithJsonSchema(_VARIABLES),
    Kind("table of strings and whole numbers"),
]
Queues = Annotated[
    tuple[str, ...],
    PlainValidator(values.queues),
    WithJsonSchema(
        {"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": True}
    ),
    Kind("list of strings"),
]
Instances = Annotated[
    int,
    PlainValidator(values.whole(1, INSTANCES_MAX)),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": INSTANCES_MAX}),
    Kind(f"1 to {INSTANCES_MAX}"),
]
AnySpan = Annotated[
    Duration,
    PlainValidator(values.span(zero=False)),
    WithJsonSchema(_SPAN | {"pattern": duration.PATTERN, "minimum": 1}),
    Kind('time span, or `"infinity"`'),
]
ShortSpan = Annotated[
    Duration,
    PlainValidator(values.span(infinite=False)),
    WithJsonSchema(_SPAN),
    Kind("time span"),
]
LongSpan = Annotated[
    Duration,
    PlainValidator(values.span(zero=False, infinite=False)),
    WithJsonSchema(_SPAN | {"minimum": 1}),
    Kind("time span"),
]
Signal = Annotated[
    str,
    PlainValidator(values.stop_signal),
    WithJsonSchema({"type": "string", "pattern": values.SIGNAL_PATTERN}),
    Kind("signal"),
]
KillModeWord = Annotated[
    KillMode,
    PlainValidator(values.kill_mode),
    WithJsonSchema({"enum": [mode.value for mode in KillMode]}),
    Kind('`"control-group"` or `"mixed"`'),
]
CodeVersionWord = Annotated[
    CodeVersion,
    PlainValidator(values.choice(CodeVersion)),
    WithJsonSchema({"enum": [version.value for version in CodeVersion]}),
    Kind('`"auto"`, `"git"`, `"release"` or `"always"`'),
]
Starts = Annotated[
    StartLimit,
    PlainValidator(values.start_limit),
    WithJsonSchema(_text(f"none|{values.START_LIMIT.pattern}")),
    Kind('`"none"`, or starts per time span'),
]
Nice = Annotated[
    int,
    PlainValidator(values.whole(-20, 19)),
    WithJsonSchema({"type": "integer", "minimum": -20, "maximum": 19}),
    Kind("-20 to 19"),
]
Umask = Annotated[
    str,
    PlainValidator(values.umask),
    WithJsonSchema(_text(values.UMASK)),
    Kind("octal number in quotes"),
]
Limits = Annotated[
    tuple[tuple[str, str], ...],
    PlainValidator(directives.limits),
    WithJsonSchema(_LIMITS),
    Kind("table, see [Limits](#limits)"),
]
UnitSection = Annotated[
    Directives,
    PlainValidator(directives.unit),
    WithJsonSchema(_DIRECTIVES),
    Kind("table, see [Other directives](#other-directives)"),
]
ServiceSection = Annotated[
    Directives,
    PlainValidator(directives.service),
    WithJsonSchema(_DIRECTIVES),
    Kind("table, see [Other directives](#other-directives)"),
]
Amount = Annotated[
    Share,
    PlainValidator(values.share),
    WithJsonSchema(
        {
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": INSTANCES_MAX,
            "pattern": f"^{values.PERCENTAGE}$",
        }
    ),
    Kind("number of instances, or percentage"),
]
RedisUrl = Annotated[
    str,
    PlainValidator(values.redis_url),
    WithJsonSchema({"type": "string", "pattern": "^(rediss?|unix)://"}),
    Kind("URL"),
]


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

    url: RedisUrl | None = Field(
        default=None,
        description="Where Redis is. A password in it is shown nowhere.",
        examples=["redis://127.0.0.1:6379/0"],
    )


class RolloutTable(Table):
    """How a deploy replaces the instances, and when one counts as healthy."""

    max_unavailable: Amount = Field(
        default=Share(1),
        description="How many instances of a worker may be down at once. A percentage is rounded "
        "down, but is never less than 1.",
        examples=[1, "25%"],
    )
    min_healthy: ShortSpan = Field(
        default=Duration("10s", 10.0),
        description="How long a new process must run before the instance counts as healthy.",
        examples=["10s"],
    )
    start_timeout: LongSpan = Field(
        default=Duration("90s", 90.0),
        description="How long an instance may take to become healthy before the deploy stops. "
        "Must be longer than `min_healthy`.",
        examples=["90s"],
    )


class WorkerTable(Table):
    """A worker: a named group of identical instances. `NAME` becomes part of unit names."""

    command: Command = Field(
        description="What each instance runs: systemd's command-line syntax, not a shell's. `%i` "
        "is the number of the instance. A relative program (`bin/worker`) is one in `directory`.",
        examples=["/usr/bin/php bin/resque"],
    )
    queues: Queues = Field(
        default=_default("queues"),
        description="The queues that the worker serves, the most urgent first. It finds them in "
        "its environment, with commas between them, as `QUEUE`.",
        examples=[["sms", "default"]],
    )
    instances: Instances = Field(
        default=1, description="How many of them run side by side.", examples=[4]
    )
    stop_timeout: AnySpan = Field(
        default=_default("stop_timeout"),
        description="How long the job in hand may take to finish when an instance stops. Only "
        "then it is killed, and the deploy says so.",
        examples=["10min"],
    )
    stop_signal: Signal = Field(
        default=_default("stop_signal"),
        description="What tells the worker to finish its job and exit.",
        examples=["SIGQUIT"],
    )
    kill_mode: KillModeWord = Field(
        default=_default("kill_mode"),
        description="Who gets the signal: every process of the instance, or with `mixed` only "
        "its main process. Nothing is left behind either way.",
        examples=["control-group"],
    )
    restart_delay: ShortSpan = Field(
        default=_default("restart_delay"),
        description="How long systemd waits before it starts an instance again that ended by "
        "itself.",
        examples=["1s"],
    )
    start_limit: Starts = Field(
        default=_default("start_limit"),
        description="How often an instance that keeps ending is started again before systemd "
        'gives up: `"5/1min"` is five times a minute.',
        examples=["5/1min"],
    )
    nice: Nice | None = Field(
        default=None, description="Scheduling priority; 19 is the most modest.", examples=[5]
    )
    umask: Umask | None = Field(
        default=None,
        description="Permissions that new files do not get.",
        examples=["0022"],
    )
    limits: Limits = Field(
        default=_default("limits"),
        description="Resource limits.",
        examples=[{"LimitNOFILE": 65536}],
    )
    user: User | None = Field(
        default=None, description="The app's `user` unless given here.", examples=["www-data"]
    )
    group: User | None = Field(
        default=None, description="The app's `group` unless given here.", examples=["www-data"]
    )
    directory: Directory | None = Field(
        default=None,
        description="The app's `directory` unless given here.",
        examples=["/srv/shop/current"],
    )
    environment: Variables = Field(
        default=(),
        description="Added to the app's `environment`; the same name here wins.",
        examples=[{"QUEUE_WAIT": 5}],
    )
    environment_file: Files | None = Field(
        default=None,
        description="Read instead of the app's `environment_file`.",
        examples=["/etc/shop/sms.env"],
    )
    unit: UnitSection = Field(
        default=_default("unit"),
        description="Any other directive for the unit's `[Unit]` section.",
        examples=[{"OnFailure": "alert@%n.service"}],
    )
    service: ServiceSection = Field(
        default=_default("service"),
        description="Any other directive for the unit's `[Service]` section.",
        examples=[{"MemoryMax": "512M", "ProtectHome": True}],
    )


class AppFile(Table):
    """One app: its workers, and what they have in common."""

    app: Name = Field(
        description="The app's name, which becomes part of unit names. To change it later makes "
        "another app.",
        examples=["shop"],
    )
    user: User | None = Field(
        default=None,
        description="The user whose rights the workers have. Without it root's, or your own with "
        "`--user`.",
        examples=["www-data"],
    )
    group: User | None = Field(
        default=None, description="Their group; the user's own if not given.", examples=["www-data"]
    )
    directory: Directory | None = Field(
        default=None,
        description="Where the code is and the workers start. A symlink is followed at deploy. "
        "Required here or in every worker.",
        examples=["/srv/shop/current"],
    )
    environment: Variables = Field(
        default=(),
        description="Environment variables. They arrive as they stand here: `%`, `$` and quotes "
        "mean nothing special. They are kept where only root can read them.",
        examples=[{"APP_ENV": "production"}],
    )
    environment_file: Files | None = Field(
        default=None,
        description="Files with more variables, one `NAME=value` a line. A deploy copies them, so "
        "that all instances of a revision have the same.",
        examples=["/etc/shop/env"],
    )
    code_version: CodeVersionWord = Field(
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
    workers: dict[Name, WorkerTable] = Field(
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
