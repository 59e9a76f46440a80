"""The shape of unitq.toml as pydantic models: what there is, what it means, what it is by default.

The models are the one source for the checks, the JSON Schema, the reference and the starter file.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Discriminator, Field, Tag
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from unitq.config.tables import RecycleTable, RedisTable, Table
from unitq.model.app import ROLLOUT, App, CodeVersion, Probe, StartLimit, Worker
from unitq.model.settings import Duration, Share
from unitq.toml import types

if TYPE_CHECKING:
    from pydantic_core import core_schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _default(key: str, model: type[App | Probe | Worker] = Worker) -> Any:
    """What the model of the app has: it decides, the file only leaves it out."""
    field = next(field for field in dataclasses.fields(model) if field.name == key)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


class RolloutTable(Table):
    """How a deploy replaces the instances, and when one counts as healthy."""

    max_unavailable: types.Amount = Field(
        default=ROLLOUT.max_unavailable,
        description="How many instances of a worker may be down at once. A percentage is rounded "
        "down; without `max_surge` it is never less than 1. May be 0 only if `max_surge` is above "
        "0.",
        examples=[1, "25%"],
    )
    max_surge: types.Amount = Field(
        default=ROLLOUT.max_surge,
        description="How many more processes of a worker than its `instances` there may be while "
        "they are replaced: the new one is healthy before the old one drains. A percentage is "
        "rounded up.",
        examples=[1, "25%"],
    )
    min_healthy: types.ShortSpan = Field(
        default=ROLLOUT.min_healthy,
        description="How long a new process must run before the instance counts as healthy.",
        examples=["10s"],
    )
    start_timeout: types.LongSpan = Field(
        default=ROLLOUT.start_timeout,
        description="How long it may take until a new process is there; with `Type=notify`, until "
        "it says that it is ready. After that the instance has failed.",
        examples=["90s"],
    )
    healthy_deadline: types.LongSpan = Field(
        default=ROLLOUT.healthy_deadline,
        description="How long a new process may take, from its start, until the instance counts "
        "as healthy: it has run for `min_healthy` and its probe has succeeded. After that it has "
        "failed. Must be longer than `min_healthy`.",
        examples=["2min"],
    )
    canary: types.Amount = Field(
        default=ROLLOUT.canary,
        description="How many instances of each worker go first, and are watched for "
        "`canary_soak` before any other is touched. A percentage is rounded up. 0: none.",
        examples=[1, "10%"],
    )
    canary_soak: types.ShortSpan = Field(
        default=ROLLOUT.canary_soak,
        description="How long the canaries must stay healthy before the others follow.",
        examples=["5min"],
    )
    promote: types.PromoteWord = Field(
        default=ROLLOUT.promote,
        description="What follows when they have: with `auto` the rollout goes on, with `manual` "
        "it waits for `unitq rollout promote`.",
        examples=["auto"],
    )
    max_failures: types.Failures = Field(
        default=ROLLOUT.max_failures,
        description="How many instances may fail before the rollout stops.",
        examples=[0],
    )
    on_failure: types.OnFailureWord = Field(
        default=ROLLOUT.on_failure,
        description="What follows when more have failed: with `rollback` the instances go back to "
        "the last stable revision, where there is one; with `pause` all is left as it is.",
        examples=["rollback"],
    )
    on_drain_timeout: types.OnDrainTimeoutWord = Field(
        default=ROLLOUT.on_drain_timeout,
        description="What follows when a worker needs longer than its `stop_timeout` to finish "
        "its job: with `kill` it is killed, and named; with `wait` it is waited for as long as it "
        "takes. At a shutdown systemd sets the limit "
        "([Shutdown and reboot](runbook.md#shutdown-and-reboot)).",
        examples=["kill"],
    )


class HooksTable(Table):
    """Programs of your own that unitq runs around a deploy."""

    before_deploy: types.Program | None = Field(
        default=None,
        description="Before anything is changed. If it fails, nothing is.",
        examples=[["/usr/local/bin/before-deploy"]],
    )
    after_deploy: types.Program | None = Field(
        default=None,
        description="After a deploy that went well.",
        examples=[["/usr/local/bin/after-deploy", "shop"]],
    )
    on_failure: types.Program | None = Field(
        default=None,
        description="After one that did not.",
        examples=[{"command": ["/usr/local/bin/alert"], "timeout": "30s"}],
    )


# What pydantic calls the two forms of a probe. No key of a file holds these characters.
AS_WORD, AS_TABLE = "\x00word", "\x00table"


def _shape(value: object) -> str:
    return AS_TABLE if isinstance(value, dict | ProbeTable) else AS_WORD


class ProbeTable(Table):
    """Asks a new process whether it does its work, where that it runs does not say enough."""

    command: types.Command = Field(
        description="What asks, in the same syntax as the worker's `command`; `%i` is the number "
        "of the instance. Exit status 0 says that it is well.",
        examples=["bin/probe %i"],
    )
    timeout: types.LongSpan = Field(
        default=_default("timeout", Probe),
        description="How long it may take; after that it has failed, and is ended.",
        examples=["5s"],
    )
    successes: types.Successes = Field(
        default=_default("successes", Probe),
        description="How often in a row it must succeed.",
        examples=[3],
    )


class WorkerTable(Table):
    """A worker: a named group of identical instances. `NAME` becomes part of unit names."""

    command: types.Command = Field(
        description="What each instance runs: systemd's command-line syntax, not a shell's. `%i` "
        "is the number of the instance. A relative program (`bin/worker`) is one in `directory`.",
        examples=["/usr/bin/php bin/resque"],
    )
    preset: types.PresetName | None = Field(
        default=None,
        description="The framework of the worker, of those that `unitq presets` lists: how it is "
        "told to stop, and how long it may take, unless given here. See "
        "[frameworks.md](frameworks.md). A command that is recognisably a framework's needs it; "
        "`none` says that it is something else.",
        examples=["php-resque"],
    )
    queues: types.Queues = Field(
        default=_default("queues"),
        description="The queues that the worker serves, the most urgent first. They reach it the "
        "framework's way, as variable or as arguments, and without a preset in its environment, "
        "with commas between them, as `QUEUE`.",
        examples=[["sms", "default"]],
    )
    instances: types.Instances = Field(
        default=1, description="How many of them run side by side.", examples=[4]
    )
    stop_timeout: types.AnySpan = Field(
        default=_default("stop_timeout"),
        description="How long the job in hand may take to finish when an instance stops. Only "
        "then it is killed, and the deploy says so. A preset has a default of its own.",
        examples=["10min"],
    )
    stop_signal: types.Signal = Field(
        default=_default("stop_signal"),
        description="What tells the worker to finish its job and exit. Better left to `preset`.",
        examples=["SIGQUIT"],
    )
    kill_mode: types.KillModeWord = Field(
        default=_default("kill_mode"),
        description="Who gets the signal: every process of the instance, or with `mixed` only "
        "its main process. Nothing is left behind either way. Better left to `preset`.",
        examples=["control-group"],
    )
    restart_delay: types.ShortSpan = Field(
        default=_default("restart_delay"),
        description="How long systemd waits before it starts an instance again that ended by "
        "itself.",
        examples=["1s"],
    )
    start_limit: types.Starts = Field(
        default=_default("start_limit"),
        description="How often an instance that keeps ending is started again before systemd "
        'gives up: `"5/1min"` is five times a minute.',
        examples=["5/1min"],
    )
    allow: types.FindingNames = Field(
        default=_default("allow"),
        description="Findings of `unitq check` that are meant so, by the names that it prints in "
        "brackets. Together with the app's own `allow`.",
        examples=[["pipe"]],
    )
    singleton: types.Flag = Field(
        default=_default("singleton"),
        description="Whether there must never be two processes of it, not even for a moment: a "
        "scheduler, say. It has one instance, and the old process ends before the new one starts, "
        "whatever `max_surge` says.",
        examples=[True],
    )
    on_killed: types.OnKilledWord = Field(
        default=_default("on_killed"),
        description="What becomes of the job of a worker that had to be killed: with `report` it "
        "is named, with `requeue` also put back at the head of its queue. One that was nearly done "
        "is then done twice. Only for php-resque, resque and node-resque; needs `[redis]`.",
        examples=["report"],
    )
    probe: (
        Annotated[
            Annotated[types.Registered, Tag(AS_WORD)] | Annotated[ProbeTable, Tag(AS_TABLE)],
            Discriminator(_shape),
            types.Kind('table or `"registered"`, see [Probes](#probes)'),
        ]
        | None
    ) = Field(
        default=None,
        description="Asks a new process whether it does its work.",
        examples=[{"command": "bin/probe %i", "timeout": "5s", "successes": 1}],
    )
    recycle: Annotated[RecycleTable, types.Kind("table, see [Recycling](#recycling)")] | None = (
        Field(
            default=None,
            description="Drains and replaces instances that have become too large or too old.",
            examples=[{"memory": "256M", "age": "6h", "jitter": "10%"}],
        )
    )
    supervisor_name: types.SupervisorName | None = Field(
        default=None,
        description="What Supervisor called the first instance, for scripts that still do "
        "([`unitq ctl`](leaving-supervisor.md)); the others count on from its last number.",
        examples=["shop:sms-8000"],
    )
    nice: types.Nice | None = Field(
        default=None, description="Scheduling priority; 19 is the most modest.", examples=[5]
    )
    umask: types.Umask | None = Field(
        default=None,
        description="Permissions that new files do not get.",
        examples=["0022"],
    )
    limits: types.Limits = Field(
        default=_default("limits"),
        description="Resource limits.",
        examples=[{"LimitNOFILE": 65536}],
    )
    user: types.User | None = Field(
        default=None, description="The app's `user` unless given here.", examples=["www-data"]
    )
    group: types.User | None = Field(
        default=None, description="The app's `group` unless given here.", examples=["www-data"]
    )
    directory: types.Directory | None = Field(
        default=None,
        description="The app's `directory` unless given here.",
        examples=["/srv/shop/current"],
    )
    environment: types.Variables = Field(
        default=(),
        description="Added to the app's `environment`; the same name here wins.",
        examples=[{"QUEUE_WAIT": 5}],
    )
    environment_file: types.Files | None = Field(
        default=None,
        description="Read instead of the app's `environment_file`.",
        examples=["/etc/shop/sms.env"],
    )
    hardening: types.HardeningWord | None = Field(
        default=None, description="The app's `hardening` unless given here.", examples=["strict"]
    )
    writable: types.Writable | None = Field(
        default=None,
        description="Instead of the app's `writable`.",
        examples=[["storage", "/srv/shop/shared/log"]],
    )
    credentials: types.Credentials = Field(
        default=(),
        description="Added to the app's `credentials`; the same name here wins.",
        examples=[{"SMS_KEY": "/etc/credstore.encrypted/shop.sms"}],
    )
    unit: types.UnitSection = Field(
        default=_default("unit"),
        description="Any other directive for the unit's `[Unit]` section.",
        examples=[{"OnFailure": "alert@%n.service"}],
    )
    service: types.ServiceSection = Field(
        default=_default("service"),
        description="Any other directive for the unit's `[Service]` section.",
        examples=[{"MemoryMax": "512M", "ProtectHome": True}],
    )


class AppFile(Table):
    """One app: its workers, and what they have in common."""

    app: types.Name = Field(
        description="The app's name, which becomes part of unit names. To change it later makes "
        "another app.",
        examples=["shop"],
    )
    user: types.User | None = Field(
        default=None,
        description="The account that the workers run as. Required, except with `--user`: then "
        'they run as you. `"root"` has to be written out.',
        examples=["www-data"],
    )
    group: types.User | None = Field(
        default=None, description="Their group; the user's own if not given.", examples=["www-data"]
    )
    directory: types.Directory | None = Field(
        default=None,
        description="Where the code is and the workers start. A symlink is followed at deploy. "
        "Required here or in every worker.",
        examples=["/srv/shop/current"],
    )
    environment: types.Variables = Field(
        default=(),
        description="Environment variables. They arrive as they stand here: `%`, `$` and quotes "
        "mean nothing special. They are kept where only root can read them.",
        examples=[{"APP_ENV": "production"}],
    )
    environment_file: types.Files | None = Field(
        default=None,
        description="Files with more variables, one `NAME=value` a line. A deploy copies them, so "
        "that all instances of a revision have the same.",
        examples=["/etc/shop/env"],
    )
    hardening: types.HardeningWord | None = Field(
        default=None,
        description="How much of the machine the workers can reach: with `standard` what no "
        "worker in PHP, Python, Ruby or Node should miss, with `strict` as little as possible, "
        "with `off` all that their user can. Without it only `/usr`, `/boot`, `/etc` and the "
        "cgroups are protected. What each word means, and can break: [hardening.md](hardening.md).",
        examples=["standard"],
    )
    writable: types.Writable = Field(
        default=(),
        description='What workers with `hardening = "strict"` may write to. A relative path is '
        "one in the code that `directory` leads to, of the instance's own release.",
        examples=[["storage", "/srv/shop/shared/log"]],
    )
    credentials: types.Credentials = Field(
        default=(),
        description="Secrets that the workers find as files in `$CREDENTIALS_DIRECTORY`.",
        examples=[{"DB_PASSWORD": "/etc/credstore.encrypted/shop.db"}],
    )
    allow: types.FindingNames = Field(
        default=_default("allow", App),
        description="Findings of `unitq check` that are meant so, for all workers, by the names "
        "that it prints in brackets. What guards root has no name and cannot be allowed.",
        examples=[["env-file"]],
    )
    code_version: types.CodeVersionWord = Field(
        default=CodeVersion.AUTO,
        description="What tells a deploy that the code has changed: `release` is the directory "
        "that `directory` leads to, `git` is HEAD and whether the files differ from it, and with "
        "`always` every deploy restarts the workers. `auto` is `release` if `directory` is a "
        "symlink, else `git` if there is one, else `always`.",
        examples=["auto"],
    )
    history: types.History = Field(
        default=_default("history", App),
        description="How many revisions are kept to go back to. Those in use are kept anyway.",
        examples=[10],
    )
    after: types.UnitNames = Field(
        default=_default("after", App),
        description="Units of this machine that the workers need: systemd starts the workers after "
        "them, and at a shutdown stops them first. A Redis or RabbitMQ on this machine is found "
        "without this key ([Shutdown and reboot](runbook.md#shutdown-and-reboot)).",
        examples=[["postgresql.service"]],
    )
    redis: RedisTable = Field(default=RedisTable(), description="Where the queues are.")
    rollout: RolloutTable = Field(
        default=RolloutTable(), description="How a deploy replaces the instances."
    )
    hooks: HooksTable = Field(
        default=HooksTable(), description="Programs that unitq runs around a deploy."
    )
    workers: dict[types.Name, WorkerTable] = Field(
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
