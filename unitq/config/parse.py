"""unitq.toml: text in, `model.App` out, or a ConfigError with every mistake in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unitq.config import apply_preset
from unitq.config.messages import WORDS
from unitq.config.schema import AppFile, ProbeTable, WorkerTable
from unitq.config.types import REGISTERED, HookTable
from unitq.errors import ConfigError
from unitq.model import names
from unitq.model.app import INSTANCES_MAX, UNIT_NAME_MAX, App, Hook, Hooks, Probe, Redis, Worker
from unitq.model.hardening import Hardening
from unitq.model.recycle import Recycle
from unitq.model.settings import OnKilled, RolloutSettings
from unitq.model.suggest import either
from unitq.presets.redis_keys import WITH_JOBS, WITH_PIDS
from unitq.toml import document as toml_document
from unitq.toml.messages import validate
from unitq.toml.values import Clash

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from unitq.config.schema import RecycleTable, RedisTable, RolloutTable
    from unitq.presets.model import Preset


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
    presets, rollout = {} if presets is None else presets, rollout or {}
    data, order, problems = toml_document.read(text, source)
    if rollout and isinstance(data.get("rollout", {}), dict):
        data["rollout"] = data.get("rollout", {}) | rollout
    file, wrongs = validate(AppFile, data, lambda file: _clashes(file, presets), WORDS)
    problems = wrongs | problems
    if wrong := [key for key in rollout if ("rollout", key) in problems]:
        flags = [f"--{key.replace('_', '-')}: {problems['rollout', key]}" for key in wrong]
        raise ConfigError("; ".join(flags))
    if file is None or problems:
        raise toml_document.refusal(source, toml_document.lines(problems, order))
    return _app(file, presets)


def _clashes(file: AppFile, presets: Mapping[str, Preset]) -> Iterator[Clash]:
    """What only several places together can get wrong."""
    yield from _homeless(file)
    yield from _unwritable(file)
    yield from _of_rollout(file.rollout)
    yield from _of_redis(file.redis, presets)
    for name, worker in file.workers.items():
        yield from _of_worker(name, worker, file, presets)


def _homeless(file: AppFile) -> Iterator[Clash]:
    """Workers without a directory."""
    if file.directory is not None:
        return
    without = [name for name, worker in file.workers.items() if worker.directory is None]
    places = [("workers", name, "directory") for name in without]
    if len(without) == len(file.workers):
        problem = 'missing, for example directory = "/srv/shop/current"'
        yield Clash(("directory",), problem, (("directory",), *places))
        return
    for place in places:
        yield Clash(place, "missing, here or for the whole app", (("directory",), place))


def _unwritable(file: AppFile) -> Iterator[Clash]:
    """`writable` where nothing keeps the worker from writing."""
    words = {name: worker.hardening or file.hardening for name, worker in file.workers.items()}
    problem = 'means something only with hardening = "strict"'
    shared = ("hardening",)
    own = {name: ("workers", name, "hardening") for name in words}
    if "writable" in file.model_fields_set and Hardening.STRICT not in words.values():
        yield Clash(("writable",), problem, (shared, *own.values()))
    for name, worker in file.workers.items():
        if worker.writable is not None and words[name] is not Hardening.STRICT:
            yield Clash(("workers", name, "writable"), problem, (shared, own[name]))


def _of_rollout(rollout: RolloutTable) -> Iterator[Clash]:
    healthy, deadline = rollout.min_healthy, rollout.healthy_deadline
    if deadline.seconds <= healthy.seconds:
        problem = f"must be longer than min_healthy, but is {deadline} against {healthy}"
        yield Clash(("rollout", "healthy_deadline"), problem, (("rollout", "min_healthy"),))
    if not rollout.max_unavailable.number and not rollout.max_surge.number:
        # Nothing may be down and nothing may be started beside it: nothing could be replaced.
        problem = "may be 0 only if max_surge is above 0"
        yield Clash(("rollout", "max_unavailable"), problem, (("rollout", "max_surge"),))


def _of_redis(redis: RedisTable, presets: Mapping[str, Preset]) -> Iterator[Clash]:
    """Settings of [redis] that contradict each other."""

    def clash(key: str, why: str, *needs: str) -> Clash:
        return Clash(("redis", key), why, tuple(("redis", other) for other in (key, *needs)))

    given = redis.model_fields_set
    url = redis.url or ""
    if redis.preset and redis.preset not in presets and presets:
        known = [name for name, preset in presets.items() if preset.redis]
        yield clash("preset", f"no such preset; there are {either(known, last='and')}")
    for stem in ("", "sentinel_"):
        sources = [f"{stem}password_{kind}" for kind in ("variable", "file", "credential")]
        first, *more = [key for key in sources if key in given] or [""]
        if more:
            yield clash(more[0], f"there is {first} already: one of them is enough")
        if first and not stem and _has_password(url):
            yield clash(first, "there is a password in the URL already", "url")
    for first, other in (("sentinels", "master"), ("master", "sentinels")):
        if first in given and other not in given:
            yield clash(other, "missing; sentinels and master go together")
    if not url.startswith("rediss://"):
        for key in given & {"ca_file", "cert_file", "key_file"}:
            yield clash(key, "is for a URL that begins with rediss://", "url")
    elif pair := given & {"cert_file", "key_file"}:
        for other in {"cert_file", "key_file"} - pair:
            yield clash(other, "missing; cert_file and key_file go together")


def _has_password(url: str) -> bool:
    user, at, _ = url.partition("://")[2].rpartition("@")
    return bool(at) and ":" in user


def _of_worker(
    name: str, worker: WorkerTable, file: AppFile, presets: Mapping[str, Preset]
) -> Iterator[Clash]:
    place, redis = ("workers", name), (("redis",),)
    yield from apply_preset.clashes(place, worker, file.environment, presets)
    if worker.singleton and worker.instances != 1:
        at, singleton = (*place, "instances"), (*place, "singleton")
        yield Clash(at, "must be 1 where singleton is true", (singleton,))
    if worker.probe == REGISTERED and (problem := _unfit(worker, file.redis, presets, WITH_PIDS)):
        why = f"{problem} whose workers register with their PID"
        yield Clash((*place, "probe"), why, redis)
    if worker.on_killed is OnKilled.REQUEUE and (
        problem := _unfit(worker, file.redis, presets, WITH_JOBS)
    ):
        yield Clash((*place, "on_killed"), f"{problem} which keep a job whole", redis)
    if worker.recycle and worker.recycle.memory is None and worker.recycle.age is None:
        at = (*place, "recycle")
        yield Clash(at, 'needs a limit: memory = "256M", or age = "6h", or both', (at,))
    longest = max(
        len(names.unit(file.app, names.InstanceName(name, INSTANCES_MAX))),
        len(names.worker_slice(file.app, name)),
    )
    if longest > UNIT_NAME_MAX:
        problem = (
            f"with the app's name it makes a unit's name of {longest} characters, "
            f'and systemd allows {UNIT_NAME_MAX}; "-" counts for four'
        )
        yield Clash(place, problem, (("app",),))


def _unfit(
    worker: WorkerTable,
    redis: RedisTable,
    presets: Mapping[str, Preset],
    registries: frozenset[str],
) -> str:
    """Why a worker has none of these registries, up to what they keep; empty: it has one."""
    if redis.url is None and not redis.sentinels:
        return "needs [redis] url, and one of the presets"
    preset = presets.get(worker.preset or redis.preset or "")
    if preset and preset.redis and preset.redis.registry in registries:
        return ""
    fit = [
        name
        for name, known in presets.items()
        if known.redis and known.redis.registry in registries
    ]
    return f"needs one of the presets {either(fit, last='or')},"


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
        hooks=Hooks(**{name: _hook(given) for name, given in file.hooks}),
    )


def _worker(name: str, table: WorkerTable, file: AppFile, presets: Mapping[str, Preset]) -> Worker:
    """The worker with the values of its app and its preset; its own win."""
    environment = dict(file.environment) | dict(table.environment)
    files = table.environment_file if table.environment_file is not None else file.environment_file
    hardening = table.hardening or file.hardening
    writable = file.writable if table.writable is None else table.writable
    credentials = {
        credential.name: credential for credential in (*file.credentials, *table.credentials)
    }
    given = apply_preset.Given(
        table.command, table.stop_signal, table.kill_mode, table.stop_timeout, table.queues,
        table.service, table.model_fields_set,
    )  # fmt: skip
    # A preset that there is not is a mistake of the file, and said as that.
    settings = apply_preset.settings(given, presets.get(table.preset or ""))
    return Worker(
        name=name,
        command=table.command,
        instances=table.instances,
        directory=table.directory or file.directory or "",
        queues=settings.queues,
        user=table.user or file.user,
        group=table.group or file.group,
        environment=tuple(environment.items()),
        environment_files=files or (),
        stop_timeout=settings.stop_timeout,
        stop_signal=settings.stop_signal,
        kill_mode=settings.kill_mode,
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
        quiet=settings.quiet,
        resume=settings.resume,
        supervisor_name=table.supervisor_name or "",
        allow=table.allow,
        from_preset=settings.from_preset,
    )


def _probe(given: ProbeTable | str | None) -> Probe | None:
    if not isinstance(given, ProbeTable):
        return None
    return Probe(given.command, given.timeout, given.successes)


def _recycle(table: RecycleTable | None) -> Recycle | None:
    return Recycle(table.memory, table.age, table.jitter) if table else None


def _hook(given: HookTable | tuple[str, ...] | None) -> Hook | None:
    if isinstance(given, HookTable):
        return Hook(given.command, given.timeout, given.user)
    return Hook(given) if given is not None else None
