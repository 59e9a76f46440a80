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
from unitq.toml.types import (
    FINDING,
    SOME,
    Flag,
    Items,
    Kind,
    LongSpan,
    Table,
    all_of,
    at_most,
    forms,
    key,
    list_of,
    required,
    whole,
)
from unitq.toml.values import InvalidValueError

TEXT_MAX = 255

Instances = Annotated[int, whole(1, INSTANCES_MAX)]
Failures = Annotated[int, whole(0, INSTANCES_MAX)]
History = Annotated[int, whole(1, 1000)]
Nice = Annotated[int, whole(-20, 19)]
Successes = Annotated[int, whole(1, 100)]

_USER = Annotated[str, Field(pattern=values.USER_PATTERN)]
User = Annotated[str, Kind(values.USER, _USER, values.user, "name, or number in quotes")]

_ABSOLUTE = Annotated[str, Field(pattern="^/")]
Directory = Annotated[str, Kind(values.PATH, _ABSOLUTE, values.path, "absolute path")]
_FILE = 'an absolute path such as "/etc/shop/env"'
_FILES = f"{_FILE}, or a list of them"
_File = Kind(_FILE, _ABSOLUTE, values.path)
Files = Annotated[
    tuple[str, ...],
    Kind(
        _FILES,
        forms(Annotated[str, _File], items=Annotated[tuple[str, ...], list_of(_File, _FILES)]),
        lambda given: (given,) if isinstance(given, str) else given,
        "absolute path, or list of them",
    ),
]


def _writable(value: str) -> str:
    if value.startswith("/"):
        return values.path(value)
    # What leads out of the code is named by its own path.
    return values.path(f"/{value}").lstrip("/") or "."


_WRITABLE = Kind('a path such as "storage" or "/srv/shop/shared/log"', SOME, _writable)
_WRITABLES = 'a list of paths such as ["storage", "/srv/shop/shared/log"]'
Writable = Annotated[tuple[str, ...], list_of(_WRITABLE, _WRITABLES, "list of paths")]


def _queue(name: str) -> str:
    if not name.strip() or name != name.strip():
        raise ValueError(name)
    if "," in name:
        raise InvalidValueError(why="a comma stands between queues; write them as a list")
    return at_most(TEXT_MAX)(name)


_QUEUE = Kind('the name of a queue such as "default"', SOME, _queue)
_QUEUES = 'a list of names such as ["sms", "default"]'
Queues = Annotated[tuple[str, ...], list_of(_QUEUE, _QUEUES, "list of strings")]

_UNIT = Kind('the name of a unit such as "postgresql.service"', all_of(UNIT_NAME, TEXT_MAX))
_UNITS = 'a list of units such as ["postgresql.service"]'
UnitNames = Annotated[tuple[str, ...], list_of(_UNIT, _UNITS, "list of units")]
FindingNames = Annotated[
    tuple[str, ...],
    list_of(FINDING, 'a list of names such as ["pipe"]', "list of names of findings"),
]

# What Supervisor takes for a name, and a script can say: no blanks, no ":", "/" or "*".
SUPERVISOR_NAME = r"[!-)+-.0-9;-~]{1,100}(:[!-)+-.0-9;-~]{1,100})?"
_SUPERVISOR = 'a name or GROUP:NAME such as "sms:sms_00"'
SupervisorName = Annotated[str, Kind(_SUPERVISOR, SUPERVISOR_NAME, words="string")]


def _starts(limit: str) -> StartLimit:
    if limit == "none":
        return StartLimit(0, Duration("0", 0.0))
    burst, interval = re.split(" */ *", limit, maxsplit=1)
    span = values.span(interval)
    if span.seconds in (0, float("inf")):
        raise ValueError(limit)
    return StartLimit(int(burst), span)


_STARTS = '"none", or starts per time span such as "5/1min"'
_STARTS_SHAPE = "none|[1-9][0-9]{0,5} */ *.+"
Starts = Annotated[
    StartLimit, Kind(_STARTS, _STARTS_SHAPE, _starts, '`"none"`, or starts per time span')
]
_UMASK = 'an octal number in quotes such as "0022"'
Umask = Annotated[
    str,
    Kind(_UMASK, "0?[0-7]{3}", lambda mask: mask.zfill(4), "octal number in quotes"),
]


def _share(value: str | int) -> Share:
    return Share.parse(str(value))


_PERCENT = "(0|[1-9][0-9]?|100)%"
Percentage = Annotated[Share, Kind('a percentage such as "10%"', _PERCENT, _share, "percentage")]
Amount = Annotated[
    Share,
    Kind(
        f'a whole number from 0 to {INSTANCES_MAX}, or a percentage such as "25%"',
        forms(all_of(_PERCENT), Annotated[int, Field(ge=0, le=INSTANCES_MAX)]),
        _share,
        "number of instances, or percentage",
    ),
]


def _bytes(size: str) -> int:
    """As systemd's MemoryMax= has them: K, M, G and T are powers of 1024."""
    return int(size[:-1]) << (10 * (1 + "KMGT".index(size[-1])))


Size = Annotated[
    int, Kind('a size such as "256M" or "1G"', "[1-9][0-9]{0,5}[KMGT]", _bytes, "size")
]

REGISTERED = "registered"
PROBE = '"registered", or a table such as { command = "bin/probe %i" }'
Registered = Annotated[str, Kind(PROBE, REGISTERED)]


def _secret(path: str) -> str:
    path = values.path(path)
    if path.endswith((" ", "\\")):
        raise InvalidValueError(why="must end neither in a blank nor in a backslash")
    return path


_CREDENTIAL_FILE = 'a path such as "/etc/credstore.encrypted/shop.db"'
_SecretFile = Annotated[str, Kind(_CREDENTIAL_FILE, _ABSOLUTE, _secret, "absolute path")]


class SecretTable(Table):
    """A credential is the path of its file, or a table.

    The worker gets a copy that only its user can read: `$CREDENTIALS_DIRECTORY/NAME`
    ([how](hardening.md#credentials)).
    """

    path: _SecretFile = required(
        "The file. The whole path belongs to root (with `--user`, or to you).",
        "/etc/credstore.encrypted/shop.db",
    )
    encrypted: Flag | None = key(
        "Whether `systemd-creds encrypt --name=NAME` wrote it; in a directory that "
        "ends with `.encrypted`: yes. With `--user` files are plain.",
        False,
    )


def _credentials(table: dict[str, SecretTable | str]) -> tuple[Credential, ...]:
    credentials = []
    for name, value in table.items():
        path, encrypted = (value, None) if isinstance(value, str) else (value.path, value.encrypted)
        # As systemd itself has it: /etc/credstore.encrypted and its like (systemd.exec(5)).
        usual = posixpath.dirname(path).endswith(".encrypted")
        credentials.append(Credential(name, path, usual if encrypted is None else encrypted))
    return tuple(credentials)


# systemd takes whatever names a file (credential_name_valid() in creds-util.c); a shell has to
# name it, too.
_CREDENTIAL = r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,126}"
_CREDENTIAL_NAME = 'a name of letters, digits, "_", "-" and ".", at most 127'
_Secret = Kind(_CREDENTIAL_FILE, forms(_SecretFile, table=SecretTable))
Credentials = Annotated[
    tuple[Credential, ...],
    Kind(
        'a table such as { DB_PASSWORD = "/etc/credstore.encrypted/shop.db" }',
        Annotated[
            dict[
                Annotated[str, Kind(_CREDENTIAL_NAME, _CREDENTIAL)],
                Annotated[str | SecretTable, _Secret],
            ],
            Field(max_length=32),
        ],
        _credentials,
        "table of absolute paths, see [Credentials](#credentials)",
    ),
]


def _program(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words[0]:
        raise InvalidValueError("the program to run", at=(0,))
    return words


# The program and its arguments, of which any may be empty but the program.
_ARGUMENTS = 'a list of strings such as ["bin/hook", "shop"]'
_FIRST = {"prefixItems": [{"type": "string", "minLength": 1}]}
_Words = Annotated[
    Items[Annotated[str, Kind("a string")]], Field(min_length=1, json_schema_extra=_FIRST)
]
Arguments = Annotated[tuple[str, ...], Kind(_ARGUMENTS, _Words, _program, "list of strings")]


class HookTable(Table):
    """A hook is a program and its arguments, or a table ([when they run](deploying.md#hooks))."""

    command: Arguments = required(
        "Program and arguments, without a shell or `$PATH`. It runs in the directory "
        "of unitq.toml, where a relative path begins.",
        ["bin/hook", "shop"],
    )
    timeout: LongSpan = key(
        "Then its process group gets SIGTERM, after five more seconds SIGKILL.",
        "30s",
        default=Hook(()).timeout,
    )
    user: User | None = key("Its account; else the one that runs unitq.", "www-data")


Program = Annotated[
    tuple[str, ...] | HookTable,
    Kind(
        _ARGUMENTS,
        forms(items=Arguments, table=HookTable),
        words="[hook](#a-hook)",
    ),
]


def _text(shortest: int) -> Kind:
    shape = Annotated[str, Field(min_length=shortest, max_length=TEXT_MAX)]
    expected = f"a string of {shortest} to {TEXT_MAX} characters"
    return Kind(expected, shape, at_most(TEXT_MAX), "string")


KeyPrefix = Annotated[str, _text(0)]
PlainText = Annotated[str, _text(1)]
# Never its value: a message may repeat nothing here.
_VARIABLE = 'the name of a variable such as "REDIS_PASSWORD", not what is in it'
VariableName = Annotated[
    str, Kind(_VARIABLE, all_of(values.VARIABLE, TEXT_MAX), words="name of a variable")
]
_STORED = 'the name of a credential such as "shop.redis"'
CredentialName = Annotated[str, Kind(_STORED, _CREDENTIAL, words="name of a credential")]


def _sentinel(place: str) -> str:
    if int(place.rpartition(":")[2]) > 65535:
        raise ValueError(place)
    return place


_PLACE = r"([^\s:/@]+|\[[0-9A-Fa-f:.]+\]):[1-9][0-9]{0,4}"
_SENTINEL = Kind('a place such as "10.0.0.1:26379"', _PLACE, _sentinel)
_SENTINELS = 'a list of places such as ["10.0.0.1:26379", "10.0.0.2:26379"]'
Sentinels = Annotated[tuple[str, ...], list_of(_SENTINEL, _SENTINELS, "list of `host:port`", 1)]


def _redis_url(value: str) -> str:
    """A URL that redis-py understands. It may hold a password: no message repeats it."""
    url = urlsplit(value)
    port = url.port  # reading it checks it
    if any(c.isspace() for c in value) or port == 0:
        raise ValueError
    if url.fragment:
        raise InvalidValueError(why='"#" in a URL is written as "%23"')
    if url.scheme == "unix" and not url.path.startswith("/"):
        raise InvalidValueError('an absolute path in the URL: "unix:///run/redis.sock"')
    if url.scheme != "unix" and not url.hostname:
        raise InvalidValueError('a host in the URL: "redis://127.0.0.1:6379/0"')
    if url.scheme != "unix" and not re.fullmatch(r"/?|/[0-9]{1,9}", url.path):
        raise InvalidValueError(
            'a database number at the end of the URL: "redis://127.0.0.1:6379/0"'
        )
    for part in url.query.split("&") if url.query else []:
        key, _, number = part.partition("=")
        if key != "db" or not re.fullmatch(r"[0-9]{1,9}", number):
            # redis-py would take any option of its own here, a switched-off check of TLS too.
            raise InvalidValueError(why='after "?" there may be "db=NUMBER" and nothing else')
    return value


_URL = 'a URL such as "redis://127.0.0.1:6379/0", "rediss://…" or "unix:///run/redis.sock"'
_URL_SHAPE = Annotated[str, Field(pattern="^(rediss?|unix)://")]
RedisUrl = Annotated[str, Kind(_URL, _URL_SHAPE, _redis_url, "URL")]
