"""The kinds of values in unitq.toml: each with its check, its JSON Schema and its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from unitq.model import duration
from unitq.model.app import (
    INSTANCES_MAX,
    NAME,
    CodeVersion,
    Credential,
    Directives,
    Hook,
    KillMode,
    StartLimit,
)
from unitq.model.hardening import Hardening
from unitq.model.settings import Duration, OnDrainTimeout, OnFailure, OnKilled, Promote, Share
from unitq.toml import directives, hook_checks, redis_checks, values
from unitq.units.ordering import UNIT_NAME


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
_ARGUMENTS = {
    "type": "array",
    "items": {"type": "string"},
    "prefixItems": [{"type": "string", "minLength": 1}],
    "minItems": 1,
}
_VARIABLES = _STRING_TABLE | {"propertyNames": {"pattern": f"^{values.VARIABLE}$"}}


def _text(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^({pattern})$"}


Name = Annotated[str, PlainValidator(values.name), WithJsonSchema(_text(NAME)), Kind("name")]
PresetName = Annotated[
    str,
    PlainValidator(values.preset),
    WithJsonSchema(_text(NAME)),
    Kind("name of a preset"),
]
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
UnitNames = Annotated[
    tuple[str, ...],
    PlainValidator(values.unit_names),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string", "pattern": f"^{UNIT_NAME}$"},
            "uniqueItems": True,
        }
    ),
    Kind("list of units"),
]
FindingNames = Annotated[
    tuple[str, ...],
    PlainValidator(values.finding_names),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string", "pattern": f"^{values.FINDING_NAME}$"},
            "uniqueItems": True,
        }
    ),
    Kind("list of names of findings"),
]
SupervisorName = Annotated[
    str,
    PlainValidator(values.supervisor_name),
    WithJsonSchema({"type": "string", "pattern": f"^{values.SUPERVISOR_NAME}$"}),
    Kind("string"),
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
            "minimum": 0,
            "maximum": INSTANCES_MAX,
            "pattern": f"^{values.PERCENTAGE}$",
        }
    ),
    Kind("number of instances, or percentage"),
]
PromoteWord = Annotated[
    Promote,
    PlainValidator(values.choice(Promote)),
    WithJsonSchema({"enum": [word.value for word in Promote]}),
    Kind('`"auto"` or `"manual"`'),
]
OnFailureWord = Annotated[
    OnFailure,
    PlainValidator(values.choice(OnFailure)),
    WithJsonSchema({"enum": [word.value for word in OnFailure]}),
    Kind('`"rollback"` or `"pause"`'),
]
OnDrainTimeoutWord = Annotated[
    OnDrainTimeout,
    PlainValidator(values.choice(OnDrainTimeout)),
    WithJsonSchema({"enum": [word.value for word in OnDrainTimeout]}),
    Kind('`"kill"` or `"wait"`'),
]
OnKilledWord = Annotated[
    OnKilled,
    PlainValidator(values.choice(OnKilled)),
    WithJsonSchema({"enum": [word.value for word in OnKilled]}),
    Kind('`"report"` or `"requeue"`'),
]
HardeningWord = Annotated[
    Hardening,
    PlainValidator(values.choice(Hardening)),
    WithJsonSchema({"enum": [word.value for word in Hardening]}),
    Kind('`"standard"`, `"strict"` or `"off"`'),
]
Writable = Annotated[
    tuple[str, ...],
    PlainValidator(values.writable),
    WithJsonSchema(
        {"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": True}
    ),
    Kind("list of paths"),
]
Credentials = Annotated[
    tuple[Credential, ...],
    PlainValidator(values.credentials),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": f"^{values.CREDENTIAL}$"},
            "maxProperties": values.CREDENTIALS_MAX,
            "additionalProperties": {
                "anyOf": [
                    _PATH,
                    {
                        "type": "object",
                        "properties": {"path": _PATH, "encrypted": {"type": "boolean"}},
                        "required": ["path"],
                        "additionalProperties": False,
                    },
                ]
            },
        }
    ),
    Kind("table of absolute paths, see [Credentials](#credentials)"),
]
Failures = Annotated[
    int,
    PlainValidator(values.whole(0, INSTANCES_MAX)),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": INSTANCES_MAX}),
    Kind(f"0 to {INSTANCES_MAX}"),
]
History = Annotated[
    int,
    PlainValidator(values.whole(1, 1000)),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 1000}),
    Kind("1 to 1000"),
]
Flag = Annotated[
    bool,
    PlainValidator(values.flag),
    WithJsonSchema({"type": "boolean"}),
    Kind("`true` or `false`"),
]
Size = Annotated[
    int,
    PlainValidator(values.size),
    WithJsonSchema({"type": "string", "pattern": f"^{values.SIZE.pattern}$"}),
    Kind("size"),
]
Registered = Annotated[
    str,
    PlainValidator(values.registered),
    WithJsonSchema({"const": values.REGISTERED}),
    Kind('`"registered"`'),
]
Percentage = Annotated[
    Share,
    PlainValidator(values.percent),
    WithJsonSchema({"type": "string", "pattern": f"^{values.PERCENTAGE}$"}),
    Kind("percentage"),
]
Successes = Annotated[
    int,
    PlainValidator(values.whole(1, 100)),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 100}),
    Kind("1 to 100"),
]
Program = Annotated[
    Hook,
    PlainValidator(hook_checks.hook),
    WithJsonSchema(
        {
            "anyOf": [
                _ARGUMENTS,
                {
                    "type": "object",
                    "properties": {
                        "command": _ARGUMENTS,
                        "timeout": _SPAN | {"minimum": 1},
                        "user": {"type": "string", "pattern": values.USER_PATTERN},
                    },
                    "required": ["command"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
    Kind("list of strings, or table with `command`, `timeout` and `user`"),
]
KeyPrefix = Annotated[
    str,
    PlainValidator(redis_checks.plain_text),
    WithJsonSchema({"type": "string", "maxLength": redis_checks.TEXT_MAX}),
    Kind("string"),
]
PlainText = Annotated[
    str,
    PlainValidator(redis_checks.some_text),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": redis_checks.TEXT_MAX}),
    Kind("string"),
]
VariableName = Annotated[
    str,
    PlainValidator(redis_checks.variable_name),
    WithJsonSchema({"type": "string", "pattern": f"^{values.VARIABLE}$"}),
    Kind("name of a variable"),
]
CredentialName = Annotated[
    str,
    PlainValidator(redis_checks.credential_name),
    WithJsonSchema({"type": "string", "pattern": f"^{values.CREDENTIAL}$"}),
    Kind("name of a credential"),
]
Sentinels = Annotated[
    tuple[str, ...],
    PlainValidator(redis_checks.sentinels),
    WithJsonSchema(
        {"type": "array", "items": {"type": "string", "pattern": ":[0-9]+$"}, "uniqueItems": True}
    ),
    Kind("list of `host:port`"),
]
RedisUrl = Annotated[
    str,
    PlainValidator(redis_checks.redis_url),
    WithJsonSchema({"type": "string", "pattern": "^(rediss?|unix)://"}),
    Kind("URL"),
]
