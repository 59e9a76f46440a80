"""docs/configuration.md: the reference of unitq.toml, written from its models."""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import TYPE_CHECKING

from unitq.config import directives
from unitq.config.schema import (
    AppFile,
    HooksTable,
    ProbeTable,
    RecycleTable,
    RedisTable,
    RolloutTable,
    WorkerTable,
    plain,
)
from unitq.config.starter import TABLES
from unitq.config.types import HookTable, SecretTable
from unitq.model.suggest import either
from unitq.toml.document import toml
from unitq.toml.types import TYPES, Choice, Kind
from unitq.toml.values import RESERVED_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

_INTRO = """\
# Configuration: unitq.toml

<!-- Written from the models in unitq/config/schema.py by tests/harness/config_page.py. -->

One app is one file in [TOML](https://toml.io). `unitq init` writes a commented one, `unitq check`
finds mistakes, `unitq schema` prints a JSON Schema for editors. Unknown keys are mistakes; all are
reported at once, each with its place. [Start](start.md) has an example.
"""

_STRINGS = """\
## Strings

No string and no key holds a control character or one that systemd refuses: a value never becomes
another directive. A secret of several lines belongs in an `environment_file` or a credential.
`command` and the values in `unit` and `service` are systemd's: `%` and `$` mean what
[systemd.unit(5)](https://www.freedesktop.org/software/systemd/man/systemd.unit.html) and
[systemd.service(5)](https://www.freedesktop.org/software/systemd/man/systemd.service.html) say,
blanks at either end are dropped, a backslash at the end is refused. Other values arrive literally.

`environment` takes no name that begins with `UNITQ_`, and none of systemd's: {reserved}.

## Files with secrets

As root, unitq reads an `environment_file`, and what `[redis]` names, with these rights:

| directories and links on the path belong to | the file is read |
| --- | --- |
| root, and only root may write there | as root, whoever owns the file |
| root and one other account, such as the one that deploys | as that account, with its groups |
| several accounts; or a group, or everybody, may write there | not at all: exit 13 says where |

An account's own group counts as the account. So the deploying account's `.env` works; a file for
root alone belongs in a directory of root's, such as `/etc/shop`.
"""

_CREDENTIALS = """\
```toml
[workers.sms.credentials]
DB_PASSWORD = "/etc/credstore.encrypted/shop.db"
SMS_KEY = { path = "/srv/shop/shared/sms.key", encrypted = false }
```
"""

_PROBES = """\
[Probes](deploying.md#probes) belong to a rollout. A probe is a unit beside the worker's, with its
user, environment, directory and revision, outside its cgroup.

`probe = "registered"` asks Redis instead: an instance is healthy once its framework lists one of
its PIDs. For php-resque, resque, node-resque, rq and sidekiq; needs `[redis]`. While Redis does not
answer, no instance becomes healthy.
"""

_RECYCLING = """\
`MemoryMax=` kills a worker with its job; `recycle` drains it and starts another. A deploy installs
the timer `unitq-shop-recycle.timer`, which runs `unitq recycle` every five minutes: instances one
by one, each healthy before the next drains, and none while a rollout is under way, paused or cut
off, or while an instance of the worker has failed. An instance younger than `min_healthy` stays.

A size is a number with `K`, `M`, `G` or `T`, powers of 1024; page cache counts, where cgroups do.

```toml
[workers.sms.recycle]
memory = "256M"
age = "6h"
```
"""

_HOOKS = """\
As root a hook runs only what root alone can change; anything else needs `user`. Its last 64 KiB
of output are shown if it fails. A daemon redirects its output.

```toml
[hooks]
before_deploy = ["bin/announce", "shop"]
after_deploy = { command = ["/srv/shop/current/bin/warm-cache"], user = "www-data" }
on_failure = { command = ["/usr/local/bin/alert", "deploy failed"], timeout = "30s" }
```
"""

_SPANS = """\
## Time spans

As in [systemd.time(7)](https://www.freedesktop.org/software/systemd/man/systemd.time.html):
`"90s"`, `"1h 30min"`, `"1.5h"`. A number without a unit means seconds, and needs no quotes.
`"infinity"` is endless. Units are systemd's, from `us` to `years`.
"""

_LIMITS = """\
## Limits

`limits` takes setrlimit(2)'s by the names of
[systemd.exec(5)](https://www.freedesktop.org/software/systemd/man/systemd.exec.html), also as
`"soft:hard"`, such as `"1024:65536"`. All but the nice level take `"infinity"`.

{limits}
"""

_OTHERS = """\
## Other directives

`[workers.NAME.unit]` and `[workers.NAME.service]` take any other directive. A value is a string, a
whole number, `true` or `false` (`yes`, `no`), or a list of these: a line for each.

```toml
[workers.sms.unit]
OnFailure = "alert@%n.service"

[workers.sms.service]
MemoryMax = "512M"
ExecStartPre = ["/usr/bin/test -e .env", "-/usr/bin/php bin/warm-up"]
```

unitq writes these itself:

{owned}

`Type` may be {types}.
"""


def reference() -> str:
    """docs/configuration.md."""
    parts = [
        _INTRO,
        _section("The app", AppFile, skip=TABLES),
        _section("[rollout]", RolloutTable),
        _section("[hooks]", HooksTable),
        _section("A hook", HookTable),
        _HOOKS,
        _section("[redis]", RedisTable),
        _section("[workers.NAME]", WorkerTable),
        _section("Credentials", SecretTable),
        _CREDENTIALS,
        _section("Probes", ProbeTable),
        _PROBES,
        _section("Recycling", RecycleTable),
        _RECYCLING,
        _SPANS,
        _LIMITS.format(limits="\n".join(_by_value(directives.LIMITS))),
        _OTHERS.format(
            owned="\n".join(_by_advice({**directives.IN_UNIT, **directives.IN_SERVICE})),
            types=_codes(TYPES),
        ),
        _STRINGS.format(reserved="\n".join(textwrap.wrap(_codes(RESERVED_VARIABLES), 100))),
    ]
    return "\n".join(parts)


def _section(title: str, model: type[BaseModel], skip: tuple[str, ...] = ()) -> str:
    head = [_row("key", "type", "default", "what it means"), "| --- | --- | --- | --- |"]
    # What stands in place of the app's has a row together.
    rows: dict[str, list[str]] = {}
    for key, field in model.model_fields.items():
        if key not in skip:
            shared = model is WorkerTable and key in AppFile.model_fields
            rows.setdefault((field.description or key) if shared else key, []).append(key)
    for keys in rows.values():
        field = model.model_fields[keys[0]]
        facts = (_kind(field), _default(field)) if len(keys) == 1 else ("as the app's", "")
        head.append(_row(_codes(tuple(keys)), *facts, field.description or ""))
    return "\n".join([f"## {title}", "", inspect.cleandoc(model.__doc__ or ""), "", *head, ""])


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _by_value(limits: Mapping[str, tuple[object, str]]) -> Iterator[str]:
    """A line for each kind of value, with the limits that take it."""
    kinds: dict[str, list[str]] = {}
    for key, (_, kind) in limits.items():
        kinds.setdefault(kind, []).append(key)
    for kind, keys in kinds.items():
        yield f"- {kind}: {_codes(tuple(keys))}"


def _by_advice(owned: Mapping[str, str]) -> Iterator[str]:
    """A line for each thing to use instead, with the directives that it is for."""
    told: dict[str, list[str]] = {}
    by_key = []
    for key, advice in owned.items():
        if found := re.fullmatch(r"use (\w+)", advice):
            by_key.append(f"`{key}` (`{found[1]}`)")
        else:
            told.setdefault(advice, []).append(key)
    yield f"- by a key of its own: {', '.join(by_key)}"
    for advice, keys in told.items():
        yield f"- {_codes(tuple(keys))}: {advice}"


def _codes(words: tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _kind(field: FieldInfo) -> str:
    # Of `User | None` pydantic keeps the union, and the kind one level further in.
    parts = (field, *getattr(field.annotation, "__args__", ()))
    for part in parts:
        metadata = part.metadata if part is field else getattr(part, "__metadata__", ())
        kind = next((item for item in metadata if isinstance(item, Kind | Choice)), None)
        if isinstance(kind, Kind):
            return kind.words
        if kind:
            words = field.annotation if part is field else part.__origin__
            return either([f'`"{word}"`' for word in words])
    return ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = plain(field.default)
    return "" if value in (None, []) else f"`{toml(value)}`"
