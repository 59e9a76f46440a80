"""The kinds of values that only unitq.toml has: each its type, constraints, words and name."""

from __future__ import annotations

import posixpath
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

from unitq.model.app import INSTANCES_MAX, Credential, Hook, StartLimit
from unitq.model.names import UNIT_NAME
from unitq.model.settings import Duration, Share
from unitq.toml import values
from unitq.toml.kinds import (
    FindingName,
    Flag,
    Items,
    Kind,
    LongSpan,
    Table,
    bounded,
    forms,
    listed,
    text,
    whole,
)
from unitq.toml.values import MistakeError, MistakesError

UNIT_MAX = 255
TEXT_MAX = 255
_PERCENTAGE = r"(0|[1-9][0-9]?|100)%"
_START_LIMIT = r"([1-9][0-9]{0,5}) */ *(.+)"
_SIZE = "([1-9][0-9]{0,5})([KMGT])"
REGISTERED = "registered"


def _file(example: str) -> Kind:
    shape = Annotated[str, Field(pattern="^/")]
    return Kind("absolute path", f"an absolute path such as {example}", shape, values.path)


User = Annotated[
    str,
    Kind("name, or number in quotes", values.USER,
         Annotated[str, Field(pattern=values.USER_PATTERN)], values.user),
]  # fmt: skip
Directory = Annotated[str, _file('"/srv/shop/current"')]
_File = Annotated[str, _file('"/etc/shop/env"')]
_FILES = 'an absolute path such as "/etc/shop/env", or a list of them'
Files = Annotated[
    tuple[str, ...],
    Kind(
        "absolute path, or list of them",
        _FILES,
        forms(_File, items=Annotated[tuple[str, ...], listed(_File, "list", _FILES)]),
        lambda given: (given,) if isinstance(given, str) else given,
    ),
]


def _queue(name: str) -> str:
    if not name.strip() or name != name.strip():
        raise ValueError(name)
    if "," in name:
        raise MistakeError(why="a comma stands between queues; write them as a list")
    return bounded(TEXT_MAX)(name)


Queues = Annotated[
    tuple[str, ...],
    listed(
        Annotated[
            str,
            Kind("queue", 'the name of a queue such as "default"',
                 Annotated[str, Field(min_length=1)], _queue),
        ],
        "list of strings",
        'a list of names such as ["sms", "default"]',
    ),
]  # fmt: skip
UnitNames = Annotated[
    tuple[str, ...],
    listed(
        Annotated[
            str,
            Kind("unit", 'the name of a unit such as "postgresql.service"',
                 text(UNIT_NAME, UNIT_MAX)),
        ],
        "list of units",
        'a list of units such as ["postgresql.service"]',
    ),
]  # fmt: skip
FindingNames = Annotated[
    tuple[str, ...],
    listed(FindingName, "list of names of findings", 'a list of names such as ["pipe"]'),
]
# What Supervisor takes for a name, and a script can say: no blanks, no ":", "/" or "*".
SUPERVISOR_NAME = r"[!-)+-.0-9;-~]{1,100}(:[!-)+-.0-9;-~]{1,100})?"
SupervisorName = Annotated[
    str, Kind("string", 'a name or GROUP:NAME such as "sms:sms_00"', text(SUPERVISOR_NAME))
]
Instances = Annotated[int, whole(1, INSTANCES_MAX)]
Failures = Annotated[int, whole(0, INSTANCES_MAX)]
History = Annotated[int, whole(1, 1000)]
Nice = Annotated[int, whole(-20, 19)]
Successes = Annotated[int, whole(1, 100)]


def _starts(limit: str) -> StartLimit:
    if limit == "none":
        return StartLimit(0, Duration("0", 0.0))
    burst, interval = re.split(" */ *", limit, maxsplit=1)
    found = values.span(interval)
    if found.seconds in (0, float("inf")):
        raise ValueError(limit)
    return StartLimit(int(burst), found)


Starts = Annotated[
    StartLimit,
    Kind('`"none"`, or starts per time span', '"none", or starts per time span such as "5/1min"',
         text(f"none|{_START_LIMIT}"), _starts),
]  # fmt: skip
Umask = Annotated[
    str,
    Kind("octal number in quotes", 'an octal number in quotes such as "0022"',
         text("[0-7]{3}|0[0-7]{3}"), lambda mask: mask.zfill(4)),
]  # fmt: skip


def _share(value: str | int) -> Share:
    if isinstance(value, str):
        return Share(int(value.removesuffix("%")), percent=True)
    return Share(value)


Amount = Annotated[
    Share,
    Kind(
        "number of instances, or percentage",
        f'a whole number from 0 to {INSTANCES_MAX}, or a percentage such as "25%"',
        forms(text(_PERCENTAGE), Annotated[int, Field(ge=0, le=INSTANCES_MAX)]),
        _share,
    ),
]
Percentage = Annotated[
    Share, Kind("percentage", 'a percentage such as "10%"', text(_PERCENTAGE), _share)
]
# As systemd's MemoryMax= has them: K, M, G and T are powers of 1024.
Size = Annotated[
    int,
    Kind("size", 'a size such as "256M" or "1G"', text(_SIZE),
         lambda size: int(size[:-1]) << (10 * (1 + "KMGT".index(size[-1])))),
]  # fmt: skip


def _writable(value: str) -> str:
    if value.startswith("/"):
        return values.path(value)
    # What leads out of the code is named by its own path.
    return values.path(f"/{value}").lstrip("/") or "."


Writable = Annotated[
    tuple[str, ...],
    listed(
        Annotated[
            str,
            Kind("path", 'a path such as "storage" or "/srv/shop/shared/log"',
                 Annotated[str, Field(min_length=1)], _writable),
        ],
        "list of paths",
        'a list of paths such as ["storage", "/srv/shop/shared/log"]',
    ),
]  # fmt: skip

# systemd takes whatever names a file (credential_name_valid() in creds-util.c); a shell has to
# name it, too.
_CREDENTIAL = r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,126}"
CREDENTIALS_MAX = 32


def _secret(path: str) -> str:
    path = values.path(path)
    if path.endswith((" ", "\\")):
        raise MistakeError(why="must end neither in a blank nor in a backslash")
    return path


_CREDENTIAL_FILE = 'a path such as "/etc/credstore.encrypted/shop.db"'
_SecretFile = Annotated[
    str, Kind("path", _CREDENTIAL_FILE, Annotated[str, Field(pattern="^/")], _secret)
]


class SecretTable(Table):
    """A credential is the path of its file, or a table.

    The worker gets a copy that only its user can read: `$CREDENTIALS_DIRECTORY/NAME`
    ([how](hardening.md#credentials)).
    """

    path: _SecretFile = Field(
        description="The file. The whole path belongs to root (with `--user`, or to you).",
        examples=["/etc/credstore.encrypted/shop.db"],
    )
    encrypted: Flag | None = Field(
        default=None,
        description="Whether `systemd-creds encrypt --name=NAME` wrote it; in a directory that "
        "ends with `.encrypted`: yes. With `--user` files are plain.",
        examples=[False],
    )


def _credentials(table: dict[str, SecretTable | str]) -> tuple[Credential, ...]:
    found = []
    for name, value in table.items():
        path, encrypted = (value, None) if isinstance(value, str) else (value.path, value.encrypted)
        # As systemd itself has it: /etc/credstore.encrypted and its like (systemd.exec(5)).
        usual = posixpath.dirname(path).endswith(".encrypted")
        found.append(Credential(name, path, usual if encrypted is None else encrypted))
    return tuple(found)


Credentials = Annotated[
    tuple[Credential, ...],
    Kind(
        "table of absolute paths, see [Credentials](#credentials)",
        'a table such as { DB_PASSWORD = "/etc/credstore.encrypted/shop.db" }',
        Annotated[
            dict[
                Annotated[
                    str,
                    Kind("name", 'a name of letters, digits, "_", "-" and ".", at most 127',
                         text(_CREDENTIAL)),
                ],
                Annotated[
                    str | SecretTable,
                    Kind("path, or table", _CREDENTIAL_FILE, forms(_SecretFile, table=SecretTable)),
                ],
            ],
            Field(max_length=CREDENTIALS_MAX),
        ],
        _credentials,
    ),
]  # fmt: skip
PROBE = '"registered", or a table such as { command = "bin/probe %i" }'
Registered = Annotated[str, Kind('`"registered"`', PROBE, text(REGISTERED))]


def _program(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words[0]:
        raise MistakesError([MistakeError("the program to run", at=(0,))])
    return words


# The program and its arguments, of which any may be empty but the program.
_ARGUMENTS = 'a list of strings such as ["bin/hook", "shop"]'
_FIRST = {"prefixItems": [{"type": "string", "minLength": 1}]}
Arguments = Annotated[
    tuple[str, ...],
    Kind(
        "list of strings",
        _ARGUMENTS,
        Annotated[
            Items[Annotated[str, Kind("string", "a string")]],
            Field(min_length=1, json_schema_extra=_FIRST),
        ],
        _program,
    ),
]


class HookTable(Table):
    """A hook is a program and its arguments, or a table ([when they run](deploying.md#hooks))."""

    command: Arguments = Field(
        description="Program and arguments, without a shell or `$PATH`. It runs in the directory "
        "of unitq.toml, where a relative path begins.",
        examples=[["bin/hook", "shop"]],
    )
    timeout: LongSpan = Field(
        default=Hook(()).timeout,
        description="Then its process group gets SIGTERM, after five more seconds SIGKILL.",
        examples=["30s"],
    )
    user: User | None = Field(
        default=None,
        description="Its account; else the one that runs unitq.",
        examples=["www-data"],
    )


Program = Annotated[
    tuple[str, ...] | HookTable,
    Kind(
        "[hook](#a-hook)",
        _ARGUMENTS,
        forms(items=Arguments, table=HookTable),
    ),
]


def _text(shortest: int) -> Kind:
    shape = Annotated[str, Field(min_length=shortest, max_length=TEXT_MAX)]
    return Kind(
        "string", f"a string of {shortest} to {TEXT_MAX} characters", shape, bounded(TEXT_MAX)
    )


KeyPrefix = Annotated[str, _text(0)]
PlainText = Annotated[str, _text(1)]
# Never its value: a message may repeat nothing here.
VariableName = Annotated[
    str,
    Kind("name of a variable",
         'the name of a variable such as "REDIS_PASSWORD", not what is in it',
         text(values.VARIABLE, TEXT_MAX)),
]  # fmt: skip
CredentialName = Annotated[
    str,
    Kind("name of a credential", 'the name of a credential such as "shop.redis"',
         text(_CREDENTIAL)),
]  # fmt: skip


def _sentinel(place: str) -> str:
    if int(place.rpartition(":")[2]) > 65535:
        raise ValueError(place)
    return place


Sentinels = Annotated[
    tuple[str, ...],
    listed(
        Annotated[
            str,
            Kind("place", 'a place such as "10.0.0.1:26379"',
                 text(r"([^\s:/@]+|\[[0-9A-Fa-f:.]+\]):([1-9][0-9]{0,4})"), _sentinel),
        ],
        "list of `host:port`",
        'a list of places such as ["10.0.0.1:26379", "10.0.0.2:26379"]',
        least=1,
    ),
]  # fmt: skip


def _redis_url(value: str) -> str:
    """A URL that redis-py understands. It may hold a password: no message repeats it."""
    url = urlsplit(value)
    port = url.port  # reading it checks it
    if any(c.isspace() for c in value) or port == 0:
        raise ValueError
    if url.fragment:
        raise MistakeError(why='"#" in a URL is written as "%23"')
    if url.scheme == "unix" and not url.path.startswith("/"):
        raise MistakeError('an absolute path in the URL: "unix:///run/redis.sock"')
    if url.scheme != "unix" and not url.hostname:
        raise MistakeError('a host in the URL: "redis://127.0.0.1:6379/0"')
    if url.scheme != "unix" and not re.fullmatch(r"/?|/[0-9]{1,9}", url.path):
        raise MistakeError('a database number at the end of the URL: "redis://127.0.0.1:6379/0"')
    for part in url.query.split("&") if url.query else []:
        key, _, number = part.partition("=")
        if key != "db" or not re.fullmatch(r"[0-9]{1,9}", number):
            # redis-py would take any option of its own here, a switched-off check of TLS too.
            raise MistakeError(why='after "?" there may be "db=NUMBER" and nothing else')
    return value


RedisUrl = Annotated[
    str,
    Kind("URL",
         'a URL such as "redis://127.0.0.1:6379/0", "rediss://…" or "unix:///run/redis.sock"',
         Annotated[str, Field(pattern="^(rediss?|unix)://")], _redis_url),
]  # fmt: skip
