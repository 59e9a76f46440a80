"""From the configuration to the queues: which queues, whose keys, and how to reach Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import ConfigError
from unitq.presets import NONE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from unitq.context import Scope
    from unitq.model.app import App, Worker
    from unitq.presets.model import Preset
    from unitq.queues.client import Connection, Secrets
    from unitq.queues.reader import Source
    from unitq.revisions.model import Revision

_LINES = ("[redis]", 'url = "redis://127.0.0.1:6379/0"')
_PRESET = 'preset = "php-resque"'


def load_app(scope: Scope, *, reading: bool = True) -> tuple[App, Path]:
    """Returns the app as its file describes it: also one that -a names, installed from elsewhere.

    Raises ConfigError. See Scope.load for `reading`.
    """
    from unitq.revisions import state

    try:
        return scope.load(reading=reading)
    except ConfigError as error:
        if error.problems or scope.app is None or scope.config is not None:
            raise
        revision = state.current(scope.layout.app(scope.app))
        if revision is None:
            raise
        return scope.replace(config=revision.config).load(reading=reading)


class NoRedisError(ConfigError):
    """The configuration does not say where the queues are: it need not."""


class QueueAccess(NamedTuple):
    """How to look at the queues of an app."""

    connection: Connection
    sources: tuple[Source, ...]


def queue_access(app: App, presets: Mapping[str, Preset], source: str) -> QueueAccess:
    """Raises ConfigError where the configuration does not say enough. Asks Redis nothing yet."""
    from unitq.linux.read_as import deciding
    from unitq.queues.client import Connection

    if app.redis.url is None and not app.redis.sentinels:
        named = app.redis.preset or any(worker.preset not in (None, NONE) for worker in app.workers)
        raise NoRedisError(
            f"{source}: it does not say where the queues are",
            problems=_LINES if named else (*_LINES, _PRESET),
            hint="add these lines",
        )
    sources = _sources(app, presets, source)
    return QueueAccess(Connection(app.redis, _secrets(app), told_by=deciding(app.owner)), sources)


def access_for_revision(
    scope: Scope, revision: Revision, *, reading: bool = True
) -> tuple[App, QueueAccess]:
    """Returns the same for an installed app. Raises UnitqError.

    What is installed does not say where Redis is; the file that it was made from does.
    """
    app, path = scope.replace(config=scope.config or revision.config).load(reading=reading)
    return app, queue_access(app, scope.presets(), str(path))


def _sources(app: App, presets: Mapping[str, Preset], source: str) -> tuple[Source, ...]:
    """Returns the queues of the app, by framework."""
    from unitq.queues.reader import Source

    queues: dict[str, dict[str, None]] = {}
    for worker in app.workers:
        if name := preset_of(app, worker):
            # Not patterns such as Resque's `*`.
            plain = [queue for queue in worker.queues if not set("*?[") & set(queue)]
            queues.setdefault(name, {}).update(dict.fromkeys(plain))
    if not queues:
        raise ConfigError(
            f"{source}: it does not say whose queues they are",
            hint='add preset = "php-resque", or another one, to the workers or to [redis]',
        )
    sources = []
    for name, own in queues.items():
        preset = presets.get(name)
        keys = preset.redis if preset else None
        if keys is None:
            raise ConfigError(f"{source}: the preset {name} does not say where its queues are")
        prefix, registry = app.redis.prefix, app.redis.registry_prefix
        sources.append(
            Source(
                preset=name,
                keys=keys,
                queues=tuple(own),
                prefix=keys.prefix if prefix is None else prefix,
                registry_prefix=keys.registry_prefix if registry is None else registry,
            )
        )
    return tuple(sources)


def preset_of(app: App, worker: Worker) -> str | None:
    """Returns whose keys this worker's queues have."""
    return app.redis.preset if worker.preset in (None, NONE) else worker.preset


def _secrets(app: App) -> Secrets:
    from unitq.linux.read_as import deciding
    from unitq.queues import secrets
    from unitq.queues.client import Secrets

    redis, told_by = app.redis, deciding(app.owner)

    def secret(stem: str, variable: str | None, file: str | None) -> str | None:
        if variable is not None:
            return secrets.from_variable(variable, app.workers, f"{stem}password_variable", told_by)
        if file is not None:
            return secrets.from_file(file, f"{stem}password_file", told_by)
        return None

    password = secret("", redis.password_variable, redis.password_file)
    if redis.password_credential is not None:
        password = secrets.from_credential(redis.password_credential, "password_credential")
    return Secrets(
        password,
        secret("sentinel_", redis.sentinel_password_variable, redis.sentinel_password_file),
    )
