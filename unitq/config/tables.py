"""What every table of unitq.toml has in common, and those for recycling and for Redis."""

from __future__ import annotations

from pydantic import Field

from unitq.config import types
from unitq.model.recycle import Recycle
from unitq.toml import kinds
from unitq.toml.kinds import Table


class RecycleTable(Table):
    """When an instance is replaced without new code: workers leak, and grow old."""

    memory: types.Size | None = Field(
        default=None,
        description="How much an instance may use, as `unitq status` shows it.",
        examples=["256M"],
    )
    age: kinds.LongSpan | None = Field(
        default=None, description="How long it may run.", examples=["6h"]
    )
    jitter: types.Percentage = Field(
        default=Recycle().jitter,
        description="How much earlier, different for each instance, so that they are not all due "
        "together.",
        examples=["10%"],
    )


class RedisTable(Table):
    """Where the queues are. unitq only reads there. More in [queues.md](queues.md)."""

    url: types.RedisUrl | None = Field(
        default=None,
        description="`redis://`, `rediss://` (TLS) or `unix://`. A password in it is shown "
        "nowhere. With `sentinels` only database, user and TLS count.",
        examples=["redis://127.0.0.1:6379/0"],
    )
    preset: kinds.PresetName | None = Field(
        default=None,
        description="The framework of the keys, for workers without a `preset`.",
        examples=["php-resque"],
    )
    prefix: types.KeyPrefix | None = Field(
        default=None,
        description="What stands before the keys, with the separator; by default the preset's.",
        examples=["resque:"],
    )
    registry_prefix: types.KeyPrefix | None = Field(
        default=None,
        description="The same for Horizon's own keys.",
        examples=["laravel_horizon:"],
    )
    username: types.PlainText | None = Field(
        default=None,
        description="The user (ACL), with `+@read`, and `+select` for a database other than 0.",
        examples=["unitq"],
    )
    password_variable: types.VariableName | None = Field(
        default=None,
        description="The workers' variable that holds the password.",
        examples=["REDIS_PASSWORD"],
    )
    password_file: types.Directory | None = Field(
        default=None,
        description="A file with the password and nothing else.",
        examples=["/etc/shop/redis-password"],
    )
    password_credential: types.CredentialName | None = Field(
        default=None,
        description="A credential of systemd's (`systemd-creds`), in `/etc/credstore` or "
        "`/etc/credstore.encrypted`.",
        examples=["shop.redis"],
    )
    sentinels: types.Sentinels = Field(
        default=(),
        description="The Sentinels that know the master.",
        examples=[["10.0.0.1:26379", "10.0.0.2:26379"]],
    )
    master: types.PlainText | None = Field(
        default=None, description="The Sentinels' name for the master.", examples=["mymaster"]
    )
    sentinel_username: types.PlainText | None = Field(
        default=None, description="The Sentinels' user.", examples=["unitq"]
    )
    sentinel_password_variable: types.VariableName | None = Field(
        default=None,
        description="As `password_variable`.",
        examples=["SENTINEL_PASSWORD"],
    )
    sentinel_password_file: types.Directory | None = Field(
        default=None,
        description="As `password_file`.",
        examples=["/etc/shop/sentinel-password"],
    )
    ca_file: types.Directory | None = Field(
        default=None,
        description="Who signed Redis's certificate; by default the system's authorities.",
        examples=["/etc/ssl/redis-ca.pem"],
    )
    cert_file: types.Directory | None = Field(
        default=None,
        description="A client certificate.",
        examples=["/etc/ssl/unitq.pem"],
    )
    key_file: types.Directory | None = Field(
        default=None, description="The client certificate's key.", examples=["/etc/ssl/unitq.key"]
    )
