"""The configuration reference and the starter file, both written from the models."""

from __future__ import annotations

import re
import textwrap
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from unitq.config.schema import AppFile, HooksTable, ProbeTable, RolloutTable, WorkerTable, plain
from unitq.config.tables import RecycleTable, RedisTable
from unitq.model import duration
from unitq.toml import directives
from unitq.toml.types import Kind
from unitq.toml.values import RESERVED_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

_INTRO = """\
# Configuration: unitq.toml

<!-- Written from the models in unitq/config/schema.py; `unitq.config.parse.reference()`. -->

One app is one file in [TOML](https://toml.io). `unitq init` writes a commented one, `unitq check`
finds what is wrong with it, and `unitq schema` prints a JSON Schema with which editors complete and
check it. Unknown keys are mistakes. All mistakes are reported at once, each with its place.

```toml
app = "shop"
user = "www-data"
directory = "/srv/shop/current"

[workers.sms]
preset = "php-resque"
command = "/usr/bin/php bin/resque"
queues = ["sms", "default"]
instances = 4
stop_timeout = "10min"
```
"""

_STRINGS = """\
## Strings

No string, and no key, may hold a line break or another control character, nor a character that
systemd refuses in its files: a value can never become another directive. A secret of several lines
belongs in an `environment_file`, or in a file of its own. `command` and the values in `unit` and
`service` are systemd's to read: `%` and `$` mean there what
[systemd.unit(5)](https://www.freedesktop.org/software/systemd/man/systemd.unit.html) and
[systemd.service(5)](https://www.freedesktop.org/software/systemd/man/systemd.service.html) say,
blanks at either end are dropped, and a backslash at the end is refused. All other values arrive as
they stand.

`environment` takes no name that begins with `UNITQ_`, and none that systemd sets itself:
{reserved}.

## Files with secrets

As root, unitq reads an `environment_file`, and what `[redis]` names, with the rights of the account
that decides where the path leads:

| every directory and link on the way belongs to | the file is read |
| --- | --- |
| root, and only root may write there | as root, whoever owns the file |
| root and one other account, such as the one that deploys | as that account, with its groups |
| several accounts; or a group, or everybody, may write there | not at all: exit 13 says where |

A group that is the account's own counts as the account. So a `.env` that the deploying account
owns, in its own directory, works; one that only root may read belongs in a directory of root's,
such as `/etc/shop`.
"""

_CREDENTIALS = """\
## Credentials

systemd reads the file as root and gives the worker a copy that only its own user can read, as
`$CREDENTIALS_DIRECTORY/NAME`: not in the environment, where every child process has it.

```toml
[workers.sms.credentials]
DB_PASSWORD = "/etc/credstore.encrypted/shop.db"
SMS_KEY = { path = "/srv/shop/shared/sms.key", encrypted = false }
```

A file in a directory whose name ends with `.encrypted` is one that `systemd-creds encrypt
--name=DB_PASSWORD` wrote, unless `encrypted` says something else; with `--user` there are plain
files only. Every part of the path must belong to root (or to you, with `--user`). A deploy reads
the files first; a secret that has changed is a new revision, and restarts the workers. More in
[hardening.md](hardening.md#credentials).
"""

_PROBES = """\
A probe is a unit of its own beside the worker's, such as `unitq-shop-sms.probe@3.service`. It has
the worker's user, environment and directory, of the same revision as the instance, and begins in a
cgroup outside the worker's: it is no process of the instance. To change it restarts no worker.
`systemctl start unitq-shop-sms.probe@3.service` asks by hand, and
`journalctl -u unitq-shop-sms.probe@3.service` shows what it printed.

```toml
[workers.sms.probe]
command = "bin/probe --worker sms@%i"
timeout = "5s"
successes = 3
```

`probe = "registered"` asks Redis instead: an instance is healthy only once its framework has it on
its list of workers, with the PID of one of the instance's processes. It is for the presets whose
workers register with their PID (php-resque, resque, node-resque, rq, sidekiq), and needs `[redis]`.
While Redis does not answer, no instance becomes healthy.
"""

_RECYCLING = """\
Many workers leak memory, and some libraries do not outlive a night. systemd's `MemoryMax=` kills
such a worker with its job; `recycle` drains it, and starts another in its place. A deploy installs
the timer `unitq-shop-recycle.timer`, which runs [`unitq recycle`](commands.md#unitq-recycle) every
five minutes. Instances are replaced one by one, each healthy before the next drains, and none while
a rollout is under way, paused or cut off, or while an instance of the worker has failed.

A size is a number with `K`, `M`, `G` or `T`, powers of 1024. What counts is what `unitq status`
shows: with memory accounting the cgroup's memory, page cache included. What has not run for
`min_healthy` is never recycled.

```toml
[workers.sms.recycle]
memory = "256M"
age = "6h"
```
"""

_HOOKS = """\
A hook is a program and its arguments, as a list of strings; no shell reads them. The program is
an absolute path, or one relative to the directory of unitq.toml, in which it runs; `$PATH` is not
searched. It runs as the account that runs unitq, or as its `user`. As root it runs only what root
alone can change: a program, or a script behind an interpreter, that another account can change
needs `user`. It finds what the deploy is about as a JSON document on its standard input, and has a
minute, or the `timeout` that it is given: then it gets SIGTERM, and SIGKILL after five seconds,
with all of its process group. What it prints is shown where it fails, the last 64 KiB of it. A
daemon that it starts should redirect its output: nobody reads it once the hook has ended.

```toml
[hooks]
before_deploy = ["bin/announce", "shop"]
after_deploy = { command = ["/srv/shop/current/bin/warm-cache"], user = "www-data" }
on_failure = { command = ["/usr/local/bin/alert", "deploy failed"], timeout = "30s" }
```
"""

_SPANS = """\
## Time spans

As systemd writes them
([systemd.time(7)](https://www.freedesktop.org/software/systemd/man/systemd.time.html)): one or
several numbers with units, such as `"90s"`, `"10min"`, `"1h 30min"` or `"1.5h"`. A number without a
unit means seconds, and may then stand without quotes. `"infinity"` is endless, where that makes
sense.

| unit | spellings |
| --- | --- |
{units}
"""

_LIMITS = """\
## Limits

`limits` takes setrlimit(2)'s limits by systemd's names
([systemd.exec(5)](https://www.freedesktop.org/software/systemd/man/systemd.exec.html)). Each takes
`"soft:hard"` too, such as `"1024:65536"`, and all but the nice level take `"infinity"`.

| limit | value |
| --- | --- |
{limits}
"""

_OTHERS = """\
## Other directives

`[workers.NAME.unit]` and `[workers.NAME.service]` take any other directive of those sections. A
value is a string, a whole number, `true` or `false` (systemd's `yes` and `no`), or a list of these,
which gives a line for each. `unitq check` has systemd itself look at the result.

```toml
[workers.sms.unit]
OnFailure = "alert@%n.service"

[workers.sms.service]
MemoryMax = "512M"
ProtectHome = true
ExecStartPre = ["/usr/bin/test -e .env", "-/usr/bin/php bin/warm-up"]
```

unitq writes these itself:

| section | directive | instead |
| --- | --- | --- |
{owned}

`Type` may be {types}.
"""


# Left out of the starter file: each needs another one, or rules one out that is there.
REDIS_RARE = (
    "registry_prefix", "password_file", "password_credential", "sentinels", "master",
    "sentinel_username", "sentinel_password_variable", "sentinel_password_file", "ca_file",
    "cert_file", "key_file",
)  # fmt: skip

_TABLES = ("redis", "rollout", "hooks", "workers")


def reference() -> str:
    """docs/configuration.md."""
    parts = [
        _INTRO,
        _section("The app", AppFile, skip=_TABLES),
        _section("[rollout]", RolloutTable),
        _section("[hooks]", HooksTable),
        _HOOKS,
        _section("[redis]", RedisTable),
        _section("[workers.NAME]", WorkerTable),
        _CREDENTIALS,
        _section("Probes", ProbeTable),
        _PROBES,
        _section("Recycling", RecycleTable),
        _RECYCLING,
        _SPANS.format(units="\n".join(_row(_unit(s), _codes(s)) for s, _ in duration.UNITS)),
        _LIMITS.format(
            limits="\n".join(_row(f"`{key}`", kind) for key, (_, kind) in directives.LIMITS.items())
        ),
        _OTHERS.format(
            owned="\n".join(
                _row(section, f"`{key}`", advice)
                for section, owned in (
                    ("`unit`", directives.IN_UNIT),
                    ("`service`", directives.IN_SERVICE),
                )
                for key, advice in owned.items()
            ),
            types=_codes(directives.TYPES),
        ),
        _STRINGS.format(reserved="\n".join(textwrap.wrap(_codes(RESERVED_VARIABLES), 100))),
    ]
    return "\n".join(parts)


def _section(title: str, model: type[BaseModel], skip: tuple[str, ...] = ()) -> str:
    rows = [
        _row(f"`{key}`", _kind(field), _default(field), field.description or "")
        for key, field in model.model_fields.items()
        if key not in skip
    ]
    head = [_row("key", "type", "default", "what it means"), "| --- | --- | --- | --- |"]
    return "\n".join([f"## {title}", "", (model.__doc__ or "").strip(), "", *head, *rows, ""])


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _unit(spellings: tuple[str, ...]) -> str:
    return max((word for word in spellings if word.isascii()), key=len)


def _codes(words: tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _kind(field: FieldInfo) -> str:
    # Of `User | None` pydantic keeps the union, and the kind one level further in.
    metadata = [*field.metadata]
    for part in getattr(field.annotation, "__args__", ()):
        metadata += getattr(part, "__metadata__", ())
    return next((item.words for item in metadata if isinstance(item, Kind)), "")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = plain(field.default)
    return "" if value in (None, []) else f"`{toml(value)}`"


def toml(value: Any) -> str:
    """The value as TOML writes it, on one line."""
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case dict():
            return f"{{ {', '.join(f'{key} = {toml(item)}' for key, item in value.items())} }}"
        case list() | tuple():
            return f"[{', '.join(toml(item) for item in value)}]"
    escaped = (c if c.isprintable() else f"\\U{ord(c):08X}" for c in _escape_quotes(str(value)))
    return '"' + "".join(escaped) + '"'


def _escape_quotes(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


_STARTER = """\
# The queue workers of one app. Change what follows, look at it with "unitq check" and "unitq plan",
# then run "unitq deploy". A key behind a "#" shows its default, or an example where it has none.
# All keys, and some more, in detail: docs/configuration.md.

{app}
# How a deploy replaces the instances.
[rollout]

{rollout}
# Programs of your own that unitq runs around a deploy, without a shell.
[hooks]

{hooks}
# Where the queues are.
[redis]

{redis}
# A worker: a group of identical instances. Add another table like this one for each further worker.
[workers.{worker}]

{keys}
# Any other systemd directive, by section. Keep these two behind the worker's own keys.
#[workers.{worker}.unit]
{unit}

#[workers.{worker}.service]
{service}
"""


def starter(
    *,
    app: str = "shop",
    directory: str = "/srv/shop/current",
    user: str | None = "www-data",
    worker: str = "default",
    command: str = "/usr/bin/php bin/resque",
    instances: int = 4,
    preset: str | None = None,
    queues: bool = False,
    defaults: Mapping[str, Any] | None = None,
) -> str:
    """The commented file that `unitq init` writes. Without `user` that key stays a comment.

    `defaults` are those of the worker's keys that its preset has in place of ours.
    """
    given: dict[str, Any] = {"app": app, "directory": directory, "hardening": "standard"}
    if user is not None:
        given["user"] = user
    known: dict[str, Any] = {"command": command, "instances": instances}
    if preset is not None:
        known["preset"] = preset
    if queues:
        known["queues"] = ["default"]
    return _STARTER.format(
        worker=worker,
        app=_keys(AppFile, given, skip=_TABLES),
        rollout=_keys(RolloutTable, {}),
        hooks=_keys(HooksTable, {}),
        redis=_keys(RedisTable, {}, skip=REDIS_RARE),
        keys=_keys(WorkerTable, known, skip=("unit", "service"), defaults=defaults or {}),
        unit=_directives("unit"),
        service=_directives("service"),
    )


def _keys(
    model: type[BaseModel],
    given: dict[str, Any],
    skip: tuple[str, ...] = (),
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """Each key below what it means: as given, else as a comment with its default or an example."""
    lines = []
    for key, field in model.model_fields.items():
        if key in skip:
            continue
        lines += textwrap.wrap(
            plain_words(field.description or ""),
            100,
            initial_indent="# ",
            subsequent_indent="# ",
            break_on_hyphens=False,
            break_long_words=False,
        )
        if key in given:
            lines += [f"{key} = {toml(given[key])}", ""]
        else:
            value = defaults[key] if key in defaults else _example(field)
            lines += [f"#{key} = {toml(value)}", ""]
    return "\n".join(lines)


def plain_words(text: str) -> str:
    """A description for who reads it as it stands: no backticks, and links as files or addresses.

    What stood between backticks stands in quotes, so that a key is told from a word.
    """

    def link(found: re.Match[str]) -> str:
        words, target = found[1], found[2]
        place = target if "://" in target else f"docs/{target}"
        return place if words == target else f"{words}: {place}"

    def quoted(found: re.Match[str]) -> str:
        words = found[1].strip('"')
        return found[1] if '"' in words else f'"{words}"'

    text = re.sub(r"\[([^\]]*)\]\(([^)]*)\)", link, text)
    return re.sub(r"`([^`]*)`", quoted, text)


def _example(field: FieldInfo) -> Any:
    default = None if field.is_required() else plain(field.default)
    # An empty list or table shows nothing.
    return (field.examples or [""])[0] if default in (None, []) else default


def _directives(key: str) -> str:
    example = _example(WorkerTable.model_fields[key])
    return "\n".join(f"#{name} = {toml(value)}" for name, value in example.items())
