"""The shape of unitq.toml as pydantic models: what there is, what it means, what it is by default.

The models are the one source for the checks, the JSON Schema, the reference and the starter file.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from unitq.config import directives, types
from unitq.model.app import ROLLOUT, App, CodeVersion, Probe, StartLimit, Worker
from unitq.model.hardening import Hardening
from unitq.model.recycle import Recycle
from unitq.model.settings import Duration, OnDrainTimeout, OnFailure, OnKilled, Promote, Share
from unitq.toml.types import (
    AnySpan,
    Command,
    Flag,
    KillModeWord,
    Kind,
    LongSpan,
    Name,
    PresetName,
    ShortSpan,
    StopSignal,
    Table,
    Variables,
    Word,
    forms,
    key,
    required,
)

if TYPE_CHECKING:
    from pydantic_core import core_schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _default(key: str, model: type[App | Probe | Worker] = Worker) -> Any:
    """What the model of the app has: it decides, the file only leaves it out."""
    field = next(field for field in dataclasses.fields(model) if field.name == key)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


class RecycleTable(Table):
    """When an instance is replaced without new code: workers leak, and grow old."""

    memory: types.Size | None = key(
        "How much an instance may use, as `unitq status` shows it.", "256M"
    )
    age: LongSpan | None = key("How long it may run.", "6h")
    jitter: types.Percentage = key(
        "How much earlier, different for each instance, so that they are not all due together.",
        "10%",
        default=Recycle().jitter,
    )


class RedisTable(Table):
    """Where the queues are. unitq only reads there. More in [queues.md](queues.md)."""

    url: types.RedisUrl | None = key(
        "`redis://`, `rediss://` (TLS) or `unix://`. A password in it is shown "
        "nowhere. With `sentinels` only database, user and TLS count.",
        "redis://127.0.0.1:6379/0",
    )
    preset: PresetName | None = key(
        "The framework of the keys, for workers without a `preset`.", "php-resque"
    )
    prefix: types.KeyPrefix | None = key(
        "What stands before the keys, with the separator; by default the preset's.", "resque:"
    )
    registry_prefix: types.KeyPrefix | None = key(
        "The same for Horizon's own keys.", "laravel_horizon:"
    )
    username: types.PlainText | None = key(
        "The user (ACL), with `+@read`, and `+select` for a database other than 0.", "unitq"
    )
    password_variable: types.VariableName | None = key(
        "The workers' variable that holds the password.", "REDIS_PASSWORD"
    )
    password_file: types.Directory | None = key(
        "A file with the password and nothing else.", "/etc/shop/redis-password"
    )
    password_credential: types.CredentialName | None = key(
        "A credential of systemd's (`systemd-creds`), in `/etc/credstore` or "
        "`/etc/credstore.encrypted`.",
        "shop.redis",
    )
    sentinels: types.Sentinels = key(
        "The Sentinels that know the master.", ["10.0.0.1:26379", "10.0.0.2:26379"], default=()
    )
    master: types.PlainText | None = key("The Sentinels' name for the master.", "mymaster")
    sentinel_username: types.PlainText | None = key("The Sentinels' user.", "unitq")
    sentinel_password_variable: types.VariableName | None = key(
        "As `password_variable`.", "SENTINEL_PASSWORD"
    )
    sentinel_password_file: types.Directory | None = key(
        "As `password_file`.", "/etc/shop/sentinel-password"
    )
    ca_file: types.Directory | None = key(
        "Who signed Redis's certificate; by default the system's authorities.",
        "/etc/ssl/redis-ca.pem",
    )
    cert_file: types.Directory | None = key("A client certificate.", "/etc/ssl/unitq.pem")
    key_file: types.Directory | None = key("The client certificate's key.", "/etc/ssl/unitq.key")


class RolloutTable(Table):
    """How a deploy replaces the instances, and when one counts as healthy."""

    max_unavailable: types.Amount = key(
        "How many instances of a worker may be down at once. A percentage is rounded "
        "down, to 1 at least without `max_surge`. 0 needs `max_surge`.",
        1,
        "25%",
        default=ROLLOUT.max_unavailable,
    )
    max_surge: types.Amount = key(
        "How many more processes than `instances` there may be meanwhile, draining "
        "ones included. A percentage is rounded up.",
        1,
        "25%",
        default=ROLLOUT.max_surge,
    )
    min_healthy: ShortSpan = key(
        "How long a new process must run to count as healthy.", "10s", default=ROLLOUT.min_healthy
    )
    start_timeout: LongSpan = key(
        "How long until there is a new process; with `Type=notify`, until it is "
        "ready. Then it has failed. systemd's own limit is `TimeoutStartSec`.",
        "90s",
        default=ROLLOUT.start_timeout,
    )
    healthy_deadline: LongSpan = key(
        "How long, from its start, until it is healthy. Then it has failed. Longer "
        "than `min_healthy`.",
        "2min",
        default=ROLLOUT.healthy_deadline,
    )
    canary: types.Amount = key(
        "How many instances of each worker go first. A percentage is rounded up.",
        1,
        "10%",
        default=ROLLOUT.canary,
    )
    canary_soak: ShortSpan = key(
        "How long the canaries stay healthy before the others follow.",
        "5min",
        default=ROLLOUT.canary_soak,
    )
    promote: Word[Promote] = key(
        "After `canary_soak`: `auto` continues, `manual` waits for `unitq rollout promote`.",
        "auto",
        default=ROLLOUT.promote,
    )
    max_failures: types.Failures = key(
        "How many instances may fail before the rollout stops.", 0, default=ROLLOUT.max_failures
    )
    on_failure: Word[OnFailure] = key(
        "After more failures: `rollback` goes back to the last stable revision, "
        "`pause` leaves all as it is.",
        "rollback",
        default=ROLLOUT.on_failure,
    )
    on_drain_timeout: Word[OnDrainTimeout] = key(
        "After `stop_timeout`: `kill` the worker and name it, or `wait` without "
        "limit. A shutdown [has its own limit](operating.md#shutdown-and-reboot).",
        "kill",
        default=ROLLOUT.on_drain_timeout,
    )


class HooksTable(Table):
    """Programs of your own that unitq runs around a deploy."""

    before_deploy: types.Program | None = key(
        "Before anything changes. If it fails, nothing does.", ["/usr/local/bin/before-deploy"]
    )
    after_deploy: types.Program | None = key(
        "After a deploy that went well.", ["/usr/local/bin/after-deploy", "shop"]
    )
    on_failure: types.Program | None = key(
        "After one that failed.", {"command": ["/usr/local/bin/alert"], "timeout": "30s"}
    )


class ProbeTable(Table):
    """Asks a new process whether it does its work, where that it runs does not say enough."""

    command: Command = required(
        "What asks, in the syntax of the worker's `command`. Exit status 0 says that it works.",
        "bin/probe %i",
    )
    timeout: LongSpan = key(
        "How long it may take. Then it has failed, and is ended.",
        "5s",
        default=_default("timeout", Probe),
    )
    successes: types.Successes = key(
        "How often in a row it must succeed.", 3, default=_default("successes", Probe)
    )


class WorkerTable(Table):
    """A worker: a named group of identical instances. `NAME` becomes part of unit names."""

    command: Command = required(
        "What each instance runs, in systemd's syntax, not a shell's. `%i` is the "
        "number of the instance. A relative program is one in `directory`.",
        "/usr/bin/php bin/resque",
    )
    preset: PresetName | None = key(
        "The framework, of those that `unitq presets` lists. See "
        "[frameworks.md](frameworks.md). A framework's command needs it; `none` says "
        "that it is something else.",
        "php-resque",
    )
    queues: types.Queues = key(
        "The queues, the most urgent first. They reach the worker the framework's "
        "way; without a preset as `QUEUE`, with commas.",
        ["sms", "default"],
        default=_default("queues"),
    )
    instances: types.Instances = key("How many run side by side.", 4, default=1)
    stop_timeout: AnySpan = key(
        "How long a job may take to finish when an instance stops. Then it is killed, and named.",
        "10min",
        default=_default("stop_timeout"),
    )
    stop_signal: StopSignal = key(
        "What tells the worker to finish and exit. Better left to `preset`.",
        "SIGQUIT",
        default=_default("stop_signal"),
    )
    kill_mode: KillModeWord = key(
        "Who gets the stop signal: every process, or with `mixed` the main process. "
        "Better left to `preset`.",
        "control-group",
        default=_default("kill_mode"),
    )
    restart_delay: ShortSpan = key(
        "How long systemd waits before it restarts an instance that ended.",
        "1s",
        default=_default("restart_delay"),
    )
    start_limit: types.Starts = key(
        'How often systemd restarts an instance before it gives up: `"5/1min"` is five '
        "times a minute.",
        "5/1min",
        default=_default("start_limit"),
    )
    allow: types.FindingNames = key(
        "Findings of `unitq check` to silence, by name; added to the app's.",
        ["pipe"],
        default=_default("allow"),
    )
    singleton: Flag = key(
        "Whether there are never two processes, as of a scheduler: one instance, no "
        "surge, the old process ends first.",
        True,
        default=_default("singleton"),
    )
    on_killed: Word[OnKilled] = key(
        "The job of a killed worker: `report` names it, `requeue` also puts it back "
        "at the head of its queue; nearly done, it is then done twice. Only for "
        "php-resque, resque and node-resque; needs `[redis]`.",
        "report",
        default=_default("on_killed"),
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
    ) = key(
        "Asks a new process whether it works.",
        {"command": "bin/probe %i", "timeout": "5s", "successes": 1},
    )
    recycle: (
        Annotated[RecycleTable, Kind("a table", words="table, see [Recycling](#recycling)")] | None
    ) = key(
        "Replaces instances that are too large or too old.",
        {"memory": "256M", "age": "6h", "jitter": "10%"},
    )
    supervisor_name: types.SupervisorName | None = key(
        "What Supervisor called the first instance ([`unitq "
        "ctl`](leaving-supervisor.md)); the others count on from its last number.",
        "shop:sms-8000",
    )
    nice: types.Nice | None = key("Scheduling priority; 19 is the most modest.", 5)
    umask: types.Umask | None = key("Permissions that new files do not get.", "0022")
    limits: directives.Limits = key(
        "Resource limits.", {"LimitNOFILE": 65536}, default=_default("limits")
    )
    user: types.User | None = key("In place of the app's.", "www-data")
    group: types.User | None = key("In place of the app's.", "www-data")
    directory: types.Directory | None = key("In place of the app's.", "/srv/shop/current")
    environment: Variables = key(
        "Added to the app's; the same name here wins.", {"QUEUE_WAIT": 5}, default=()
    )
    environment_file: types.Files | None = key("In place of the app's.", "/etc/shop/sms.env")
    hardening: Word[Hardening] | None = key("In place of the app's.", "strict")
    writable: types.Writable | None = key(
        "In place of the app's.", ["storage", "/srv/shop/shared/log"]
    )
    credentials: types.Credentials = key(
        "Added to the app's; the same name here wins.",
        {"SMS_KEY": "/etc/credstore.encrypted/shop.sms"},
        default=(),
    )
    unit: directives.UnitSection = key(
        "Other directives for `[Unit]`.",
        {"OnFailure": "alert@%n.service"},
        default=_default("unit"),
    )
    service: directives.ServiceSection = key(
        "Other directives for `[Service]`.",
        {"MemoryMax": "512M", "ProtectHome": True},
        default=_default("service"),
    )


class AppFile(Table):
    """One app: its workers, and what they have in common."""

    app: Name = required(
        "The app's name, a part of unit names. Another name is another app.", "shop"
    )
    user: types.User | None = key(
        'The account of the workers. Required, except with `--user`. `"root"` has to '
        "be written out.",
        "www-data",
    )
    group: types.User | None = key("Their group; by default the user's.", "www-data")
    directory: types.Directory | None = key(
        "Where the code is and the workers start. A symlink is followed at deploy. "
        "Required here or in every worker.",
        "/srv/shop/current",
    )
    environment: Variables = key(
        "Variables, literally: `%`, `$` and quotes mean nothing. Only root can read them.",
        {"APP_ENV": "production"},
        default=(),
    )
    environment_file: types.Files | None = key(
        "Files with more variables ([how they are "
        "read](your-worker.md#environment-files)). A deploy copies them.",
        "/etc/shop/env",
    )
    hardening: Word[Hardening] | None = key(
        "How much of the machine workers can reach: [hardening.md](hardening.md).", "standard"
    )
    writable: types.Writable = key(
        'What `hardening = "strict"` lets them write to. A relative path is in the '
        "instance's own release.",
        ["storage", "/srv/shop/shared/log"],
        default=(),
    )
    credentials: types.Credentials = key(
        "Secrets, as files in `$CREDENTIALS_DIRECTORY`.",
        {"DB_PASSWORD": "/etc/credstore.encrypted/shop.db"},
        default=(),
    )
    allow: types.FindingNames = key(
        "Findings of `unitq check` to silence, by [name](your-worker.md#findings), "
        "for all workers.",
        ["env-file"],
        default=_default("allow", App),
    )
    code_version: Word[CodeVersion] = key(
        "What makes new code: `release` is the directory that `directory` leads to, "
        "`git` is HEAD and whether files differ from it, `always` is each deploy. "
        "`auto` is `release` for a symlink, else `git` if there is one, else "
        "`always`.",
        "auto",
        default=CodeVersion.AUTO,
    )
    history: types.History = key(
        "How many revisions are kept. Those in use are kept anyway.",
        10,
        default=_default("history", App),
    )
    after: types.UnitNames = key(
        "Units of this machine that workers need: started before them, stopped after "
        "them. Redis and RabbitMQ [are found](operating.md#shutdown-and-reboot).",
        ["postgresql.service"],
        default=_default("after", App),
    )
    redis: RedisTable = key("Where the queues are.", default=RedisTable.model_construct())
    rollout: RolloutTable = key(
        "How a deploy replaces the instances.", default=RolloutTable.model_construct()
    )
    hooks: HooksTable = key(
        "Programs that unitq runs around a deploy.", default=HooksTable.model_construct()
    )
    workers: dict[Name, WorkerTable] = required(
        "The workers by name; at least one.",
        {"sms": {"command": "/usr/bin/php bin/resque"}},
        min_length=1,
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
