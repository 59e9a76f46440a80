"""unitq.toml: text in, `model.App` out, or a ConfigError with every mistake in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from unitq.config import apply_preset
from unitq.config.reference import reference, starter
from unitq.config.schema import AppFile, ProbeTable, WorkerTable, json_schema
from unitq.errors import ConfigError
from unitq.model import names
from unitq.model.app import (
    INSTANCES_MAX,
    NAME_RE,
    ROLLOUT,
    UNIT_NAME_MAX,
    App,
    Hooks,
    Probe,
    Redis,
    Worker,
)
from unitq.model.hardening import Hardening
from unitq.model.recycle import Recycle
from unitq.model.settings import OnKilled, RolloutSettings
from unitq.model.suggest import either
from unitq.presets.redis_keys import WITH_JOBS, WITH_PIDS
from unitq.toml import document as toml_document
from unitq.toml.messages import in_plain_words, means
from unitq.toml.values import REGISTERED, MistakeError, share, span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from unitq.config.tables import RecycleTable
    from unitq.presets.model import Preset
    from unitq.toml.values import Path

__all__ = ["json_schema", "parse", "reference", "starter"]


def parse(
    text: str,
    *,
    source: str,
    presets: Mapping[str, Preset] | None = None,
    rollout: Mapping[str, Any] | None = None,
) -> App:
    """The app that the text of a unitq.toml describes. `source` is what messages call the file.

    `presets` are those that a worker may name, by their names. `rollout` comes from the command
    line, and takes the place of what is in [rollout].
    """
    presets, rollout = presets or {}, rollout or {}
    data, order, problems = toml_document.read(text, source)
    if rollout and isinstance(data.get("rollout", {}), dict):
        data["rollout"] = data.get("rollout", {}) | rollout
    app = None
    try:
        app = _app(AppFile.model_validate(data), presets)
    except ValidationError as error:
        for path, problem in in_plain_words(error):
            problems.setdefault(path, problem)
    for path, problem in _across(data, presets):
        problems.setdefault(path, problem)
    if wrong := [key for key in rollout if ("rollout", key) in problems]:
        flags = [f"--{key.replace('_', '-')}: {problems['rollout', key]}" for key in wrong]
        raise ConfigError("; ".join(flags))
    if app is None or problems:
        raise toml_document.refusal(source, toml_document.lines(problems, order))
    return app


def _across(data: dict[str, Any], presets: Mapping[str, Preset]) -> Iterator[tuple[Path, str]]:
    """What only several places together can get wrong, whatever else is wrong with them."""
    app, workers = data.get("app"), data.get("workers")
    workers = workers if isinstance(workers, dict) else {}
    tables = {name: table for name, table in workers.items() if isinstance(table, dict)}
    yield from _homeless(data, tables)
    rollout = data.get("rollout")
    yield from _impatient(rollout if isinstance(rollout, dict) else {})
    yield from _stuck(rollout if isinstance(rollout, dict) else {})
    yield from _unwritable(data, tables)
    redis = data.get("redis")
    yield from _unreachable(redis if isinstance(redis, dict) else {}, presets)
    for name, table in tables.items():
        for path, problem in apply_preset.clashes(table, data.get("environment"), presets):
            yield ("workers", name, *path), problem
        if table.get("singleton") is True and table.get("instances", 1) != 1:
            problem = "must be 1 where singleton is true"
            yield ("workers", name, "instances"), problem
        if table.get("probe") == REGISTERED and (
            problem := _unfit(table, redis if isinstance(redis, dict) else {}, presets, WITH_PIDS)
        ):
            yield ("workers", name, "probe"), f"{problem} whose workers register with their PID"
        if table.get("on_killed") == OnKilled.REQUEUE and (
            problem := _unfit(table, redis if isinstance(redis, dict) else {}, presets, WITH_JOBS)
        ):
            yield ("workers", name, "on_killed"), f"{problem} which keep a job whole"
        recycle = table.get("recycle")
        if isinstance(recycle, dict) and not {"memory", "age"} & recycle.keys():
            problem = 'needs a limit: memory = "256M", or age = "6h", or both'
            yield ("workers", name, "recycle"), problem
        if not (isinstance(app, str) and NAME_RE.fullmatch(app) and NAME_RE.fullmatch(name)):
            continue
        longest = max(
            len(names.unit(app, names.InstanceName(name, INSTANCES_MAX))),
            len(names.worker_slice(app, name)),
        )
        if longest > UNIT_NAME_MAX:
            problem = (
                f"with the app's name it makes a unit's name of {longest} characters, "
                f'and systemd allows {UNIT_NAME_MAX}; "-" counts for four'
            )
            yield ("workers", name), problem


def _homeless(data: dict[str, Any], tables: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Workers without a directory, unless one is there under a mistyped name."""
    without = [name for name, table in tables.items() if "directory" not in table]
    if means("directory", data, ()):
        return
    seen = without[: toml_document.PROBLEMS_MAX]
    missing = [name for name in seen if not means("directory", tables[name], ("workers", name))]
    if len(without) == len(tables) and len(missing) == len(seen):
        yield ("directory",), 'missing, for example directory = "/srv/shop/current"'
        return
    for name in missing:
        yield ("workers", name, "directory"), "missing, here or for the whole app"


def _unwritable(data: dict[str, Any], tables: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """`writable` where nothing keeps the worker from writing."""
    shared = data.get("hardening")
    words = {name: table.get("hardening", shared) for name, table in tables.items()}
    problem = 'means something only with hardening = "strict"'
    if "writable" in data and tables and Hardening.STRICT not in words.values():
        yield ("writable",), problem
    for name, table in tables.items():
        if "writable" in table and words[name] != Hardening.STRICT:
            yield ("workers", name, "writable"), problem


def _impatient(rollout: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    try:
        healthy = span()(rollout.get("min_healthy", ROLLOUT.min_healthy.text))
        deadline = span()(rollout.get("healthy_deadline", ROLLOUT.healthy_deadline.text))
    except MistakeError:
        return  # said already
    if deadline.seconds <= healthy.seconds:
        problem = f"must be longer than min_healthy, but is {deadline} against {healthy}"
        yield ("rollout", "healthy_deadline"), problem


def _stuck(rollout: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Nothing may be down and nothing may be started beside it: nothing could be replaced."""
    if "max_unavailable" not in rollout:
        return
    surge_given = "max_surge" in rollout
    if not surge_given and means("max_surge", rollout, ("rollout",)):
        return  # mistyped, and said already
    try:
        unavailable = share(rollout["max_unavailable"])
        surge = share(rollout["max_surge"]) if surge_given else ROLLOUT.max_surge
    except MistakeError:
        return  # said already
    if not unavailable.number and not surge.number:
        yield ("rollout", "max_unavailable"), "may be 0 only if max_surge is above 0"


def _unreachable(
    redis: dict[str, Any], presets: Mapping[str, Preset]
) -> Iterator[tuple[Path, str]]:
    """Settings of [redis] that contradict each other."""
    url, preset = redis.get("url"), redis.get("preset")
    if isinstance(preset, str) and presets and (preset not in presets):
        known = [name for name, each in presets.items() if each.redis]
        yield ("redis", "preset"), f"no such preset; there are {either(known, last='and')}"
    for stem in ("", "sentinel_"):
        sources = [f"{stem}password_{kind}" for kind in ("variable", "file", "credential")]
        given = [key for key in sources if key in redis]
        if len(given) > 1:
            yield ("redis", given[1]), f"there is {given[0]} already: one of them is enough"
        if given and not stem and isinstance(url, str) and "@" in url and _has_password(url):
            yield ("redis", given[0]), "there is a password in the URL already"
    if ("sentinels" in redis) != ("master" in redis):
        missing = "master" if "sentinels" in redis else "sentinels"
        if not means(missing, redis, ("redis",)):
            yield ("redis", missing), "missing; sentinels and master go together"
    if not (isinstance(url, str) and url.startswith("rediss://")):
        for key in ("ca_file", "cert_file", "key_file"):
            if key in redis:
                yield ("redis", key), "is for a URL that begins with rediss://"
    elif ("cert_file" in redis) != ("key_file" in redis):
        missing = "key_file" if "cert_file" in redis else "cert_file"
        if not means(missing, redis, ("redis",)):
            yield ("redis", missing), "missing; cert_file and key_file go together"


def _unfit(
    worker: dict[str, Any],
    redis: dict[str, Any],
    presets: Mapping[str, Preset],
    registries: frozenset[str],
) -> str:
    """Why a worker has none of these registries, up to what they have; empty: it has one."""
    if not {"url", "sentinels"} & redis.keys():
        return "needs [redis] url, and one of the presets"
    name = worker.get("preset") or redis.get("preset")
    preset = presets.get(name) if isinstance(name, str) else None
    if preset and preset.redis and preset.redis.registry in registries:
        return ""
    told = [each for each, one in presets.items() if one.redis and one.redis.registry in registries]
    return f"needs one of the presets {either(told, last='or')},"


def _has_password(url: str) -> bool:
    return ":" in url.partition("://")[2].rpartition("@")[0]


def _app(file: AppFile, presets: Mapping[str, Preset]) -> App:
    return App(
        name=file.app,
        workers=tuple(_worker(name, table, file, presets) for name, table in file.workers.items()),
        rollout=RolloutSettings(**dict(file.rollout)),
        code_version=file.code_version,
        redis=Redis(**dict(file.redis)),
        history=file.history,
        after=file.after,
        allow=file.allow,
        hooks=Hooks(**dict(file.hooks)),
    )


def _worker(name: str, table: WorkerTable, file: AppFile, presets: Mapping[str, Preset]) -> Worker:
    """The worker with what it has from its app and its preset; its own wins."""
    environment = dict(file.environment) | dict(table.environment)
    files = table.environment_file if table.environment_file is not None else file.environment_file
    hardening = table.hardening or file.hardening
    writable = file.writable if table.writable is None else table.writable
    credentials = {each.name: each for each in (*file.credentials, *table.credentials)}
    given = apply_preset.Given(
        table.command, table.stop_signal, table.kill_mode, table.stop_timeout, table.queues,
        table.service, table.model_fields_set,
    )  # fmt: skip
    # A preset that there is not is a mistake of the file, and said as that.
    fitted = apply_preset.fitted(given, presets.get(table.preset or ""))
    return Worker(
        name=name,
        command=table.command,
        instances=table.instances,
        directory=table.directory or file.directory or "",
        queues=fitted.queues,
        user=table.user or file.user,
        group=table.group or file.group,
        environment=tuple(environment.items()),
        environment_files=files or (),
        stop_timeout=fitted.stop_timeout,
        stop_signal=fitted.stop_signal,
        kill_mode=fitted.kill_mode,
        restart_delay=table.restart_delay,
        start_limit=table.start_limit,
        nice=table.nice,
        umask=table.umask,
        limits=table.limits,
        unit=table.unit,
        service=table.service,
        hardening=hardening,
        writable=writable if hardening is Hardening.STRICT else (),
        credentials=tuple(credentials.values()),
        singleton=table.singleton,
        probe=_probe(table.probe),
        registered=table.probe == REGISTERED,
        on_killed=table.on_killed,
        recycle=_recycle(table.recycle),
        preset=table.preset,
        quiet=fitted.quiet,
        resume=fitted.resume,
        supervisor_name=table.supervisor_name or "",
        allow=table.allow,
        fit=fitted.fit,
    )


def _probe(given: ProbeTable | str | None) -> Probe | None:
    if not isinstance(given, ProbeTable):
        return None
    return Probe(given.command, given.timeout, given.successes)


def _recycle(table: RecycleTable | None) -> Recycle | None:
    return Recycle(table.memory, table.age, table.jitter) if table else None
