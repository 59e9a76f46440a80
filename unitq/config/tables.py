"""What every table of unitq.toml has in common, and those for recycling and for Redis."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from unitq.model.recycle import Recycle
from unitq.toml import types  # noqa: TC001  (pydantic reads the annotations)


class Table(BaseModel):
    """A table of the file: no other keys, nothing converted, nothing changed later."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RecycleTable(Table):
    """When an instance is replaced though there is no new code: workers leak, and grow old."""

    memory: types.Size | None = Field(
        default=None,
        description="How much an instance may use, as `unitq status` shows it.",
        examples=["256M"],
    )
    age: types.LongSpan | None = Field(
        default=None, description="How long it may run.", examples=["6h"]
    )
    jitter: types.Percentage = Field(
        default=Recycle().jitter,
        description="How much earlier it may be its turn, so that instances that were started "
        "together are not all due together: a different part of this for each.",
        examples=["10%"],
    )


class RedisTable(Table):
    """Where the queues are. unitq only reads there. More in [queues.md](queues.md)."""

    url: types.RedisUrl | None = Field(
        default=None,
        description="Where Redis is: `redis://`, `rediss://` (TLS) or `unix://`. A password in it "
        "is shown nowhere. With `sentinels` only its database, its user and TLS count.",
        examples=["redis://127.0.0.1:6379/0"],
    )
    preset: types.PresetName | None = Field(
        default=None,
        description="The framework whose keys are there, for workers without a `preset` of their "
        "own.",
        examples=["php-resque"],
    )
    prefix: types.KeyPrefix | None = Field(
        default=None,
        description="What stands before all of its keys, with the separator. The preset's unless "
        "given here.",
        examples=["resque:"],
    )
    registry_prefix: types.KeyPrefix | None = Field(
        default=None,
        description="The same for Horizon's own keys.",
        examples=["laravel_horizon:"],
    )
    username: types.PlainText | None = Field(
        default=None,
        description="The user (ACL). It needs `+@read`, and `+select` for a database other than 0.",
        examples=["unitq"],
    )
    password_variable: types.VariableName | None = Field(
        default=None,
        description="The variable of the workers' `environment_file` or `environment` that holds "
        "the password.",
        examples=["REDIS_PASSWORD"],
    )
    password_file: types.Directory | None = Field(
        default=None,
        description="A file that holds the password and nothing else.",
        examples=["/etc/shop/redis-password"],
    )
    password_credential: types.CredentialName | None = Field(
        default=None,
        description="The credential of systemd's that holds it (`systemd-creds`), in "
        "`/etc/credstore`, `/etc/credstore.encrypted` and their like.",
        examples=["shop.redis"],
    )
    sentinels: types.Sentinels = Field(
        default=(),
        description="The Sentinels to ask where the master is.",
        examples=[["10.0.0.1:26379", "10.0.0.2:26379"]],
    )
    master: types.PlainText | None = Field(
        default=None, description="What the Sentinels call it.", examples=["mymaster"]
    )
    sentinel_username: types.PlainText | None = Field(
        default=None, description="The Sentinels' own user.", examples=["unitq"]
    )
    sentinel_password_variable: types.VariableName | None = Field(
        default=None,
        description="As `password_variable`, for the Sentinels.",
        examples=["SENTINEL_PASSWORD"],
    )
    sentinel_password_file: types.Directory | None = Field(
        default=None,
        description="As `password_file`, for the Sentinels.",
        examples=["/etc/shop/sentinel-password"],
    )
    ca_file: types.Directory | None = Field(
        default=None,
        description="With `rediss://`: the authority that has signed Redis's certificate; the "
        "system's own unless given here.",
        examples=["/etc/ssl/redis-ca.pem"],
    )
    cert_file: types.Directory | None = Field(
        default=None,
        description="A certificate of the client's, where Redis wants one.",
        examples=["/etc/ssl/unitq.pem"],
    )
    key_file: types.Directory | None = Field(
        default=None, description="Its key.", examples=["/etc/ssl/unitq.key"]
    )
