"""unitq.toml: text in, `model.App` out, or a ConfigError with every mistake in it."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from unitq.core import names
from unitq.core.errors import ConfigError
from unitq.core.mistakes import in_plain_words, means, place
from unitq.core.model import (
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
from unitq.core.reference import reference, starter
from unitq.core.schema import AppFile, ProbeTable, WorkerTable, json_schema
from unitq.core.settings import RolloutSettings
from unitq.core.values import MistakeError, share, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unitq.core.values import Path

__all__ = ["json_schema", "parse", "reference", "starter"]

TEXT_MAX = 1024 * 1024
VALUE_MAX = 64 * 1024
KEY_MAX = 255
DEPTH_MAX = 16  # the file itself needs 5
# tomllib takes quadratic time for a key of thousands of parts, and nobody writes one.
_PART = r"""(?:"[^"\n]*+"|'[^'\n]*+'|[A-Za-z0-9_-]++)[ \t]*+"""
_ENDLESS_KEY = re.compile(rf"(?<![A-Za-z0-9_-]){_PART}(?:\.[ \t]*+{_PART}){{200}}")

PROBLEMS_MAX = 100  # nobody reads more, and a file of rubbish could have a hundred thousand


def parse(text: str, *, source: str) -> App:
    """The app that the text of a unitq.toml describes. `source` is what messages call the file."""
    data = _toml(text, source)
    order: dict[Path, int] = {(): 0}
    problems: dict[Path, str] = {}
    for path, value in _walk(data):
        order[path] = len(order)
        if len(path) > DEPTH_MAX:
            # Whatever else is wrong: nothing below needs to know how to walk into this.
            raise _error(source, [f"{place(path[:3])}: nested too deeply"])
        if unsafe := _unsafe(path[-1], KEY_MAX, "the key ") or _unsafe(value, VALUE_MAX):
            problems[path] = unsafe
    app = None
    try:
        app = _app(AppFile.model_validate(data))
    except ValidationError as error:
        for path, problem in in_plain_words(error):
            problems.setdefault(path, problem)
    for path, problem in _across(data):
        problems.setdefault(path, problem)
    if app is None or problems:
        raise _error(source, _lines(problems, order))
    return app


def _toml(text: str, source: str) -> dict[str, Any]:
    if len(text) > TEXT_MAX:
        raise _error(source, [f"longer than {TEXT_MAX // 1024} KiB"])
    if found := re.search("[\ud800-\udfff]", text):
        # This is how Python reads bytes that are not UTF-8 when it is told to go on.
        line = text.count("\n", 0, found.start()) + 1
        raise _error(source, [f"line {line}: not UTF-8; save the file in that encoding"])
    if _ENDLESS_KEY.search(text):
        raise _error(source, ["a key has hundreds of parts"])
    # Windows editors begin a file with a byte order mark; TOML 1.1 ignores it.
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise _error(source, [_syntax(str(error))], hint=_syntax_hint(str(error))) from None
    except RecursionError:
        raise _error(source, ["nested too deeply"]) from None
    except ValueError:
        # Python converts no number of more than 4,300 digits.
        raise _error(source, ["contains a huge number"]) from None


def _syntax(said: str) -> str:
    """`line 3, column 5: …`: what tomllib said, its place first."""
    parts = re.fullmatch(
        r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", said, re.DOTALL
    )
    if parts is None:
        return _shortened(said)
    where = f"line {parts[2]}, column {parts[3]}" if parts[2] else "at the end of the file"
    what = parts[1][:1].lower() + parts[1][1:]
    return f"{where}: {_shortened(what)}"


def _syntax_hint(said: str) -> str:
    if said.startswith("Invalid value"):
        return 'text needs quotes: user = "www-data"; true and false are written small'
    if said.startswith("Unescaped '\\'"):
        return "in single quotes a backslash is only a backslash: 'a\\b'"
    if said.startswith(("Cannot overwrite", "Cannot declare")):
        return "the same key or table stands there twice"
    if said.startswith("Illegal character '\\n'"):
        return "a closing quote is missing in this line"
    return ""


def _shortened(said: str) -> str:
    line = "".join(c if c.isprintable() else " " for c in said)
    return line if len(line) <= 200 else f"{line[:199]}…"


def _walk(data: dict[str, Any]) -> Iterator[tuple[Path, object]]:
    """Every place in the data, in the file's order; without recursion, whatever the depth."""
    ahead: list[tuple[Path, object]] = [((), data)]
    while ahead:
        path, value = ahead.pop()
        if path:
            yield path, value
        if isinstance(value, dict):
            ahead.extend(((*path, key), value[key]) for key in reversed(value))
        elif isinstance(value, list):
            ahead.extend(((*path, index), value[index]) for index in reversed(range(len(value))))


def _unsafe(value: object, longest: int, what: str = "") -> str:
    """Why this string must reach no unit file, if so."""
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return "a whole number has at most 64 bits"
    if not isinstance(value, str):
        return ""
    if len(value) > longest or len(value.encode()) > longest:
        return f"{what}is longer than {longest} bytes"
    bad = next((c for c in value if _forbidden(c)), None)
    if bad is None:
        return ""
    if bad in "\n\r\u2028\u2029\x85":
        # In a unit file the next line would be another directive.
        return f"{what}contains a line break (U+{ord(bad):04X})"
    kind = "control character" if unicodedata.category(bad) == "Cc" else "character"
    return f"{what}contains the {kind} U+{ord(bad):04X}, which no unit file may hold"


def _forbidden(c: str) -> bool:
    if c < "\x7f":
        return c < " "
    code = ord(c)
    # The last line: Unicode's non-characters, with which systemd takes no line for UTF-8.
    return (
        unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")
        or 0xFDD0 <= code <= 0xFDEF
        or code & 0xFFFE == 0xFFFE
    )


def _across(data: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """What only several places together can get wrong, whatever else is wrong with them."""
    app, workers = data.get("app"), data.get("workers")
    workers = workers if isinstance(workers, dict) else {}
    tables = {name: table for name, table in workers.items() if isinstance(table, dict)}
    yield from _homeless(data, tables)
    rollout = data.get("rollout")
    yield from _impatient(rollout if isinstance(rollout, dict) else {})
    yield from _stuck(rollout if isinstance(rollout, dict) else {})
    redis = data.get("redis")
    yield from _unreachable(redis if isinstance(redis, dict) else {})
    for name, table in tables.items():
        if table.get("singleton") is True and table.get("instances", 1) != 1:
            problem = "must be 1 where singleton is true"
            yield ("workers", name, "instances"), problem
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
    seen = without[:PROBLEMS_MAX]
    missing = [name for name in seen if not means("directory", tables[name], ("workers", name))]
    if len(without) == len(tables) and len(missing) == len(seen):
        yield ("directory",), 'missing, for example directory = "/srv/shop/current"'
        return
    for name in missing:
        yield ("workers", name, "directory"), "missing, here or for the whole app"


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


def _unreachable(redis: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Settings of [redis] that contradict each other."""
    url = redis.get("url")
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


def _has_password(url: str) -> bool:
    return ":" in url.partition("://")[2].rpartition("@")[0]


def _lines(problems: dict[Path, str], order: dict[Path, int]) -> list[str]:
    """One line each, in the order of the file; what is missing comes at the end of its table."""

    def rank(path: Path) -> tuple[int, ...]:
        # The position of each key on the way, and behind all of them for a key that is not there.
        return tuple(order.get(path[: depth + 1], len(order)) for depth in range(len(path)))

    return [f"{place(path)}: {problems[path]}" for path in sorted(problems, key=rank)]


def _error(source: str, lines: list[str], hint: str = "") -> ConfigError:
    count = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    if len(lines) > PROBLEMS_MAX:
        count = f"more than {PROBLEMS_MAX} mistakes, of which these are the first"
        lines = lines[:PROBLEMS_MAX]
    return ConfigError(f"{source}: {count}", hint=hint, problems=tuple(lines))


def _app(file: AppFile) -> App:
    return App(
        name=file.app,
        workers=tuple(_worker(name, table, file) for name, table in file.workers.items()),
        rollout=RolloutSettings(**dict(file.rollout)),
        code_version=file.code_version,
        redis=Redis(**dict(file.redis)),
        history=file.history,
        hooks=Hooks(**dict(file.hooks)),
    )


def _worker(name: str, table: WorkerTable, file: AppFile) -> Worker:
    """The worker with what it has from its app; its own wins."""
    environment = dict(file.environment) | dict(table.environment)
    files = table.environment_file if table.environment_file is not None else file.environment_file
    return Worker(
        name=name,
        command=table.command,
        instances=table.instances,
        directory=table.directory or file.directory or "",
        queues=table.queues,
        user=table.user or file.user,
        group=table.group or file.group,
        environment=tuple(environment.items()),
        environment_files=files or (),
        stop_timeout=table.stop_timeout,
        stop_signal=table.stop_signal,
        kill_mode=table.kill_mode,
        restart_delay=table.restart_delay,
        start_limit=table.start_limit,
        nice=table.nice,
        umask=table.umask,
        limits=table.limits,
        unit=table.unit,
        service=table.service,
        singleton=table.singleton,
        probe=_probe(table.probe),
    )


def _probe(table: ProbeTable | None) -> Probe | None:
    return Probe(table.command, table.timeout, table.successes) if table else None
