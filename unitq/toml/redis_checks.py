"""Values of [redis]: where Redis is, and where its password is to be found. Never the password."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from unitq.toml.values import CREDENTIAL, VARIABLE, MistakeError, items

TEXT_MAX = 255


def redis_url(value: object) -> str:
    """A URL that redis-py understands. It may hold a password: no message repeats it."""
    expected = 'a URL such as "redis://127.0.0.1:6379/0", "rediss://…" or "unix:///run/redis.sock"'
    if not isinstance(value, str):
        raise MistakeError(expected)
    try:
        url = urlsplit(value)
        port = url.port  # reading it checks it
    except ValueError:
        raise MistakeError(expected) from None
    known = (
        url.scheme in ("redis", "rediss", "unix")
        and f"{url.scheme}://" == value[: len(url.scheme) + 3]
    )
    if not known or any(c.isspace() for c in value) or port == 0:
        raise MistakeError(expected)
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


def plain_text(value: object) -> str:
    """Any text that is not too long; also none."""
    if not isinstance(value, str):
        raise MistakeError("a string")
    if len(value.encode()) > TEXT_MAX:
        raise MistakeError(why=f"longer than {TEXT_MAX} bytes")
    return value


def some_text(value: object) -> str:
    """Any text that is not empty."""
    if not plain_text(value):
        raise MistakeError("a string that is not empty")
    return str(value)


def variable_name(value: object) -> str:
    """The name of an environment variable. Never its value: a message may repeat nothing here."""
    if not isinstance(value, str) or not re.fullmatch(VARIABLE, value) or len(value) > TEXT_MAX:
        raise MistakeError('the name of a variable such as "REDIS_PASSWORD", not what is in it')
    return value


def credential_name(value: object) -> str:
    """The name of a credential of systemd's, which is the name of a file."""
    if not isinstance(value, str) or not re.fullmatch(CREDENTIAL, value):
        raise MistakeError('the name of a credential such as "shop.redis"')
    return value


def sentinels(value: object) -> tuple[str, ...]:
    """Where the Sentinels are."""
    if not isinstance(value, list) or not value:
        raise MistakeError('a list of places such as ["10.0.0.1:26379", "10.0.0.2:26379"]')

    def sentinel(item: object) -> str:
        found = re.fullmatch(r"([^\s:/@]+|\[[0-9A-Fa-f:.]+\]):([1-9][0-9]{0,4})", str(item))
        if not isinstance(item, str) or found is None or int(found[2]) > 65535:
            raise MistakeError('a place such as "10.0.0.1:26379"')
        return item

    return items(value, sentinel)
