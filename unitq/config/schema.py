"""The shape of unitq.toml as pydantic models: what there is, what it means, what it is by default.

The models are the one source for the checks, the JSON Schema, the reference and the starter file.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from unitq.config import directives, types
from unitq.config.tables import RecycleTable, RedisTable
from unitq.model.app import ROLLOUT, App, CodeVersion, Probe, StartLimit, Worker
from unitq.model.hardening import Hardening
from unitq.model.settings import Duration, OnDrainTimeout, OnFailure, OnKilled, Promote, Share
from unitq.toml import kinds
from unitq.toml.kinds import Kind, Table, forms

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
        "down, to 1 at least without `max_surge`. 0 needs `max_surge`.",
        examples=[1, "25%"],
    )
    max_surge: types.Amount = Field(
        default=ROLLOUT.max_surge,
        description="How many more processes than `instances` there may be meanwhile, draining "
        "ones included. A percentage is rounded up.",
        examples=[1, "25%"],
    )
    min_healthy: kinds.ShortSpan = Field(
        default=ROLLOUT.min_healthy,
        description="How long a new process must run to count as healthy.",
        examples=["10s"],
    )
    start_timeout: kinds.LongSpan = Field(
        default=ROLLOUT.start_timeout,
        description="How long until there is a new process; with `Type=notify`, until it is "
        "ready. Then it has failed. systemd's own limit is `TimeoutStartSec`.",
        examples=["90s"],
    )
    healthy_deadline: kinds.LongSpan = Field(
        default=ROLLOUT.healthy_deadline,
        description="How long, from its start, until it is healthy. Then it has failed. Longer "
        "than `min_healthy`.",
        examples=["2min"],
    )
    canary: types.Amount = Field(
        default=ROLLOUT.canary,
        description="How many instances of each worker go first. A percentage is rounded up.",
        examples=[1, "10%"],
    )
    canary_soak: kinds.ShortSpan = Field(
        default=ROLLOUT.canary_soak,
        description="How long the canaries stay healthy before the others follow.",
        examples=["5min"],
    )
    promote: kinds.Word[Promote] = Field(
        default=ROLLOUT.promote,
        description="After `canary_soak`: `auto` continues, `manual` waits for `unitq rollout "
        "promote`.",
        examples=["auto"],
    )
    max_failures: types.Failures = Field(
        default=ROLLOUT.max_failures,
        description="How many instances may fail before the rollout stops.",
        examples=[0],
    )
    on_failure: kinds.Word[OnFailure] = Field(
        default=ROLLOUT.on_failure,
        description="After more failures: `rollback` goes back to the last stable revision, "
        "`pause` leaves all as it is.",
        examples=["rollback"],
    )
    on_drain_timeout: kinds.Word[OnDrainTimeout] = Field(
        default=ROLLOUT.on_drain_timeout,
        description="After `stop_timeout`: `kill` the worker and name it, or `wait` without "
        "limit. A shutdown [has its own limit](operating.md#shutdown-and-reboot).",
        examples=["kill"],
    )


class HooksTable(Table):
    """Programs of your own that unitq runs around a deploy."""

    before_deploy: types.Program | None = Field(
        default=None,
        description="Before anything changes. If it fails, nothing does.",
        examples=[["/usr/local/bin/before-deploy"]],
    )
    after_deploy: types.Program | None = Field(
        default=None,
        description="After a deploy that went well.",
        examples=[["/usr/local/bin/after-deploy", "shop"]],
    )
    on_failure: types.Program | None = Field(
        default=None,
        description="After one that failed.",
        examples=[{"command": ["/usr/local/bin/alert"], "timeout": "30s"}],
    )


class ProbeTable(Table):
    """Asks a new process whether it does its work, where that it runs does not say enough."""

    command: kinds.Command = Field(
        description="What asks, in the syntax of the worker's `command`. Exit status 0 says that "
        "it works.",
        examples=["bin/probe %i"],
    )
    timeout: kinds.LongSpan = Field(
        default=_default("timeout", Probe),
        description="How long it may take. Then it has failed, and is ended.",
        examples=["5s"],
    )
    successes: types.Successes = Field(
        default=_default("successes", Probe),
        description="How often in a row it must succeed.",
        examples=[3],
    )


class WorkerTable(Table):
    """A worker: a named group of identical instances. `NAME` becomes part of unit names."""

    command: kinds.Command = Field(
        description="What each instance runs, in systemd's syntax, not a shell's. `%i` is the "
        "number of the instance. A relative program is one in `directory`.",
        examples=["/usr/bin/php bin/resque"],
    )
    preset: kinds.PresetName | None = Field(
        default=None,
        description="The framework, of those that `unitq presets` lists. See "
        "[frameworks.md](frameworks.md). A framework's command needs it; `none` says "
        "that it is something else.",
        examples=["php-resque"],
    )
    queues: types.Queues = Field(
        default=_default("queues"),
        description="The queues, the most urgent first. They reach the worker the framework's "
        "way; without a preset as `QUEUE`, with commas.",
        examples=[["sms", "default"]],
    )
    instances: types.Instances = Field(
        default=1, description="How many run side by side.", examples=[4]
    )
    stop_timeout: kinds.AnySpan = Field(
        default=_default("stop_timeout"),
        description="How long a job may take to finish when an instance stops. Then it is killed, "
        "and named.",
        examples=["10min"],
    )
    stop_signal: kinds.StopSignal = Field(
        default=_default("stop_signal"),
        description="What tells the worker to finish and exit. Better left to `preset`.",
        examples=["SIGQUIT"],
    )
    kill_mode: kinds.KillModeWord = Field(
        default=_default("kill_mode"),
        description="Who gets the stop signal: every process, or with `mixed` the main process. "
        "Better left to `preset`.",
        examples=["control-group"],
    )
    restart_delay: kinds.ShortSpan = Field(
        default=_default("restart_delay"),
        description="How long systemd waits before it restarts an instance that ended.",
        examples=["1s"],
    )
    start_limit: types.Starts = Field(
        default=_default("start_limit"),
        description='How often systemd restarts an instance before it gives up: `"5/1min"` is five '
        "times a minute.",
        examples=["5/1min"],
    )
    allow: types.FindingNames = Field(
        default=_default("allow"),
        description="Findings of `unitq check` to silence, by name; added to the app's.",
        examples=[["pipe"]],
    )
    singleton: kinds.Flag = Field(
        default=_default("singleton"),
        description="Whether there are never two processes, as of a scheduler: one instance, no "
        "surge, the old process ends first.",
        examples=[True],
    )
    on_killed: kinds.Word[OnKilled] = Field(
        default=_default("on_killed"),
        description="The job of a killed worker: `report` names it, `requeue` also puts it back "
        "at the head of its queue; nearly done, it is then done twice. Only for "
        "php-resque, resque and node-resque; needs `[redis]`.",
        examples=["report"],
    )
    probe: (
        Annotated[
            str | ProbeTable,
            Kind(
                types.PROBE,
                forms(types.Registered, table=ProbeTable),
                words='table or `"registered"`, see [Probes](#probes)',
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="Asks a new process whether it works.",
        examples=[{"command": "bin/probe %i", "timeout": "5s", "successes": 1}],
    )
    recycle: (
        Annotated[RecycleTable, Kind("a table", words="table, see [Recycling](#recycling)")] | None
    ) = Field(
        default=None,
        description="Replaces instances that are too large or too old.",
        examples=[{"memory": "256M", "age": "6h", "jitter": "10%"}],
    )
    supervisor_name: types.SupervisorName | None = Field(
        default=None,
        description="What Supervisor called the first instance ([`unitq "
        "ctl`](leaving-supervisor.md)); the others count on from its last number.",
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
    limits: directives.Limits = Field(
        default=_default("limits"),
        description="Resource limits.",
        examples=[{"LimitNOFILE": 65536}],
    )
    user: types.User | None = Field(
        default=None, description="In place of the app's.", examples=["www-data"]
    )
    group: types.User | None = Field(
        default=None, description="In place of the app's.", examples=["www-data"]
    )
    directory: types.Directory | None = Field(
        default=None,
        description="In place of the app's.",
        examples=["/srv/shop/current"],
    )
    environment: kinds.Variables = Field(
        default=(),
        description="Added to the app's; the same name here wins.",
        examples=[{"QUEUE_WAIT": 5}],
    )
    environment_file: types.Files | None = Field(
        default=None,
        description="In place of the app's.",
        examples=["/etc/shop/sms.env"],
    )
    hardening: kinds.Word[Hardening] | None = Field(
        default=None, description="In place of the app's.", examples=["strict"]
    )
    writable: types.Writable | None = Field(
        default=None,
        description="In place of the app's.",
        examples=[["storage", "/srv/shop/shared/log"]],
    )
    credentials: types.Credentials = Field(
        default=(),
        description="Added to the app's; the same name here wins.",
        examples=[{"SMS_KEY": "/etc/credstore.encrypted/shop.sms"}],
    )
    unit: directives.UnitSection = Field(
        default=_default("unit"),
        description="Other directives for `[Unit]`.",
        examples=[{"OnFailure": "alert@%n.service"}],
    )
    service: directives.ServiceSection = Field(
        default=_default("service"),
        description="Other directives for `[Service]`.",
        examples=[{"MemoryMax": "512M", "ProtectHome": True}],
    )


class AppFile(Table):
    """One app: its workers, and what they have in common."""

    app: kinds.Name = Field(
        description="The app's name, a part of unit names. Another name is another app.",
        examples=["shop"],
    )
    user: types.User | None = Field(
        default=None,
        description='The account of the workers. Required, except with `--user`. `"root"` has to '
        "be written out.",
        examples=["www-data"],
    )
    group: types.User | None = Field(
        default=None, description="Their group; by default the user's.", examples=["www-data"]
    )
    directory: types.Directory | None = Field(
        default=None,
        description="Where the code is and the workers start. A symlink is followed at deploy. "
        "Required here or in every worker.",
        examples=["/srv/shop/current"],
    )
    environment: kinds.Variables = Field(
        default=(),
        description="Variables, literally: `%`, `$` and quotes mean nothing. Only root can read "
        "them.",
        examples=[{"APP_ENV": "production"}],
    )
    environment_file: types.Files | None = Field(
        default=None,
        description="Files with more variables ([how they are "
        "read](your-worker.md#environment-files)). A deploy copies them.",
        examples=["/etc/shop/env"],
    )
    hardening: kinds.Word[Hardening] | None = Field(
        default=None,
        description="How much of the machine workers can reach: [hardening.md](hardening.md).",
        examples=["standard"],
    )
    writable: types.Writable = Field(
        default=(),
        description='What `hardening = "strict"` lets them write to. A relative path is in the '
        "instance's own release.",
        examples=[["storage", "/srv/shop/shared/log"]],
    )
    credentials: types.Credentials = Field(
        default=(),
        description="Secrets, as files in `$CREDENTIALS_DIRECTORY`.",
        examples=[{"DB_PASSWORD": "/etc/credstore.encrypted/shop.db"}],
    )
    allow: types.FindingNames = Field(
        default=_default("allow", App),
        description="Findings of `unitq check` to silence, by [name](your-worker.md#findings), "
        "for all workers.",
        examples=[["env-file"]],
    )
    code_version: kinds.Word[CodeVersion] = Field(
        default=CodeVersion.AUTO,
        description="What makes new code: `release` is the directory that `directory` leads to, "
        "`git` is HEAD and whether files differ from it, `always` is each deploy. "
        "`auto` is `release` for a symlink, else `git` if there is one, else "
        "`always`.",
        examples=["auto"],
    )
    history: types.History = Field(
        default=_default("history", App),
        description="How many revisions are kept. Those in use are kept anyway.",
        examples=[10],
    )
    after: types.UnitNames = Field(
        default=_default("after", App),
        description="Units of this machine that workers need: started before them, stopped after "
        "them. Redis and RabbitMQ [are found](operating.md#shutdown-and-reboot).",
        examples=[["postgresql.service"]],
    )
    redis: RedisTable = Field(
        default=RedisTable.model_construct(), description="Where the queues are."
    )
    rollout: RolloutTable = Field(
        default=RolloutTable.model_construct(), description="How a deploy replaces the instances."
    )
    hooks: HooksTable = Field(
        default=HooksTable.model_construct(),
        description="Programs that unitq runs around a deploy.",
    )
    workers: dict[kinds.Name, WorkerTable] = Field(
        description="The workers by name; at least one.",
        min_length=1,
        examples=[{"sms": {"command": "/usr/bin/php bin/resque"}}],
    )


class _Generator(GenerateJsonSchema):
    """TOML has no null, and our values have a text that the file would have."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002
        # "Stop Timeout" says nothing that "stop_timeout" does not.
        return False

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        made = super().dict_schema(schema)
        # Without this a key that does not match would be no mistake.
        for pattern, value in made.pop("patternProperties", {}).items():
            made |= {"propertyNames": {"pattern": pattern}, "additionalProperties": value}
        return made

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
