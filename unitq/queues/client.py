"""A connection to Redis, by redis-py: TLS, users, unix sockets, Sentinel. Never waits long."""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast
from urllib.parse import unquote, urlsplit

from unitq.linux.account import name_of
from unitq.linux.connect_as import connected
from unitq.linux.read_as import UnreadableError, read
from unitq.queues.commands import count, pieces
from unitq.queues.errors import QueuesError
from unitq.queues.kinds import misfit
from unitq.queues.wire import Parser, Refused

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from unitq.linux.trust import Control
    from unitq.model.app import Redis
    from unitq.queues.commands import Commands
    from unitq.queues.wire import Answer

T = TypeVar("T")

# Seconds for all that one look takes, from the look-up of the name to the last answer.
PATIENCE = 1.0

_TLS_FILE_MAX = 1 << 20  # bytes

# What Redis answers to any command while it cannot serve at all.
_NOT_NOW = ("NOAUTH", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "BUSY")


class Secrets(NamedTuple):
    """What nobody may see: no message and no repr has it."""

    password: str | None = None
    sentinel_password: str | None = None

    def __repr__(self) -> str:
        return "Secrets(…)"


def within(seconds: float, work: Callable[[], T], what: str) -> T:
    """The result of `work`, or QueuesError once the time is over, wherever it is stuck by then.

    The look-up of a host's name knows no limit of time, and a socket's begins anew with each
    answer. So the work is done in a thread, which ends by itself a little later, or with us.
    """
    result: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:  # noqa: BLE001  (raised again below, by who asked)
            failed.append(error)

    thread = threading.Thread(target=run, name="redis", daemon=True)
    thread.start()
    # What is in time is not cut off by the thread's own start.
    thread.join(seconds + 0.05)
    if failed:
        raise failed[0]
    if not result:
        raise QueuesError(
            f"{what}: no answer within {seconds:g} s",
            hint="is Redis stopped, overloaded, or behind a firewall that drops?",
        )
    return result[0]


class Connection:
    """One connection. Made when it is first used, and again after a failure."""

    def __init__(
        self,
        settings: Redis,
        secrets: Secrets | None = None,
        *,
        patience: float = PATIENCE,
        told_by: Sequence[Control] = (),
    ) -> None:
        """`told_by` are those who decide what the settings say: see linux/read_as.py."""
        self._settings = settings
        self._told_by = told_by
        self._secrets = secrets or Secrets()
        self._patience = patience
        self._connection: Any = None
        self._tls: dict[str, bytes] = {}  # by path
        self._given: socket.socket | None = None  # that another account's rights have opened
        self._parser: Parser | None = None
        self.trips = 0  # to Redis and back, for the tests

    @property
    def where(self) -> str:
        """What messages call it; never a password."""
        return place(self._settings)

    def together(self, work: Callable[[], T], *, repeatable: bool = True) -> T:
        """Does all the work that asks this connection within one limit of time.

        What only reads is done once more where the connection was closed since it was last used.
        Raises QueuesError, and nothing of redis-py's own.
        """
        end = time.monotonic() + self._patience

        def run() -> T:
            from redis.exceptions import ConnectionError as Closed
            from redis.exceptions import RedisError

            used = repeatable and self._connection is not None and not self._given
            try:
                self._ready(end)
                return work()
            except (Closed, ConnectionError) as error:
                if not used:
                    raise self._failed(error) from error
                # Closed while nobody asked: Redis's `timeout`, its restart, `client kill`.
                self._connection = self._parser = None
            except (RedisError, OSError, ValueError) as error:
                raise self._failed(error) from error
            try:
                self._ready(end)
                return work()
            except (RedisError, OSError, ValueError) as error:
                raise self._failed(error) from error

        if self._connection is None:  # not in the thread: these may take a process
            self._tls = self._tls_files()
            self._given = self._connected()
        try:
            return within(self._patience, run, self.where)
        except BaseException:
            # Answers to what was asked may still come: the connection is of no more use.
            self._connection = self._parser = None
            raise

    def _failed(self, error: Exception) -> QueuesError:
        return QueuesError(f"{self.where}: {_plain(error)}")

    def ask(self, commands: Commands) -> list[Answer]:
        """The answer to each command; one trip. Only within `together`."""
        if not (wanted := count(commands)):
            return []
        assert self._parser is not None, "asked outside of `together`"
        self.trips += 1
        # Redis works on the first while the next are packed. All are sent before an answer is read:
        # what it cannot send, it keeps.
        for piece in pieces(commands):
            self._connection.send_packed_command([piece])
        answers = self._parser.read(wanted)
        if Refused in set(map(type, answers)):
            for answer in answers:
                if isinstance(answer, Refused) and answer.code in _NOT_NOW:
                    raise QueuesError(f"{self.where}: {answer.words}", hint=_hint(answer.code))
        if name := misfit(commands, answers):
            raise QueuesError(
                f"cannot read the queues: {self.where} answers {name} with what is no answer to it",
                hint="is it a Redis, or what stands before it a proxy that changes its answers?",
            )
        return answers

    def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.disconnect()
        self._connection = self._parser = None

    def _ready(self, end: float) -> None:
        if self._connection is None:
            self._open()
        assert self._parser is not None
        self._parser.deadline = end

    def _open(self) -> None:
        import redis

        try:
            with ExitStack() as opened:
                connection = self._made(redis, opened)
                connection.connect()
        except (redis.exceptions.RedisError, OSError) as error:
            raise QueuesError(
                f"{self.where}: {_plain(error)}", hint=_hint(str(error).partition(" ")[0])
            ) from None
        self._connection = connection
        self._parser = connection._parser

    def _made(self, redis: Any, opened: ExitStack) -> Any:
        settings = self._settings
        options = redis.connection.parse_url(settings.url) if settings.url else {}
        kind = options.pop("connection_class", redis.Connection)
        if settings.username is not None:
            options["username"] = settings.username
        if self._secrets.password is not None:
            options["password"] = self._secrets.password
        options |= {
            "protocol": 2,  # any server has it, and a user with +@read needs no HELLO
            "parser_class": Parser,
            "socket_timeout": self._patience,
            "socket_connect_timeout": self._patience,
            "retry": redis.retry.Retry(redis.backoff.NoBackoff(), 0),
        }
        tls = {
            "ssl_ca_certs": settings.ca_file,
            "ssl_certfile": settings.cert_file,
            "ssl_keyfile": settings.key_file,
        }
        options |= {name: self._file(path, opened) for name, path in tls.items() if path}
        if settings.sentinels:
            options["host"], options["port"] = self._master(redis)
        made = kind(**options)
        if given := self._given:
            given.settimeout(self._patience)
            made._connect = lambda: given
        return made

    def _connected(self) -> socket.socket | None:
        """A connection to a unix socket that others have named to root; None: root makes its own.

        Root may connect to any, and would be taken at its word there.
        """
        url = urlsplit(self._settings.url or "")
        deciding = {control.uid for control in self._told_by}
        if url.scheme != "unix" or self._settings.sentinels or not deciding or os.geteuid() != 0:
            return None
        try:
            (uid,) = deciding
            return connected(unquote(url.path), uid, seconds=self._patience)
        except OSError as error:
            raise QueuesError(f"{self.where}: {error.strerror} for {name_of(uid)}") from None

    def _tls_files(self) -> dict[str, bytes]:
        """What root reads of them, by path; OpenSSL would follow whatever the path leads to."""
        settings = self._settings
        paths = (settings.ca_file, settings.cert_file, settings.key_file)
        found = {}
        for path in paths if os.geteuid() == 0 else ():
            try:
                if path:
                    found[path] = read(path, _TLS_FILE_MAX, told_by=self._told_by)
            except UnreadableError as error:
                raise QueuesError(
                    f"{self.where}: {path}: {error.reason}", hint=error.hint
                ) from None
        return found

    def _file(self, path: str, opened: ExitStack) -> str:
        """A path for OpenSSL, which takes nothing else."""
        if path not in self._tls:
            return path
        file = opened.enter_context(os.fdopen(os.memfd_create("unitq-tls"), "wb", buffering=0))
        file.write(self._tls[path])
        return f"/proc/self/fd/{file.fileno()}"

    def _master(self, redis: Any) -> tuple[str, int]:
        """Where the master is, from the first Sentinel that knows it."""
        from redis.sentinel import MasterNotFoundError, Sentinel

        settings = self._settings
        places = [
            (host, int(port))
            for host, _, port in (each.rpartition(":") for each in settings.sentinels)
        ]
        options = {
            "socket_timeout": self._patience / (len(places) + 1),
            "socket_connect_timeout": self._patience / (len(places) + 1),
            "retry": redis.retry.Retry(redis.backoff.NoBackoff(), 0),
            "username": settings.sentinel_username,
            "password": self._secrets.sentinel_password,
        }
        sentinel: Any = cast("Any", Sentinel)(places, sentinel_kwargs=options)
        try:
            host, port = sentinel.discover_master(settings.master)
        except (TypeError, LookupError, AttributeError) as error:
            # redis-py takes the answers apart without a look at their kind.
            raise QueuesError(
                f"{self.where}: a Sentinel gives no answer of a Sentinel's",
                hint="does `sentinels` in [redis] name something else?",
            ) from error
        except MasterNotFoundError:
            raise QueuesError(
                f"{self.where}: none of the Sentinels names a master {settings.master}",
                hint="`redis-cli -p 26379 sentinel masters` shows what they know",
            ) from None
        return host, port


def place(settings: Redis) -> str:
    """`Redis at 127.0.0.1:6379/0`; never a password."""
    if settings.sentinels:
        return f"Redis master {settings.master}"
    url = urlsplit(settings.url or "")
    if url.scheme == "unix":
        return f"Redis at {url.path}"
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    return f"Redis at {host}:{url.port or 6379}{url.path.rstrip('/')}"


def _plain(error: BaseException) -> str:
    """What went wrong, in one line."""
    # redis-py's own is a class of its own.
    if isinstance(error, TimeoutError) or type(error).__name__ == "TimeoutError":
        return f"no answer within {PATIENCE:g} s"
    text = " ".join(str(error).split()).rstrip(".")
    # redis-py: "Error 111 connecting to 127.0.0.1:6379. Connection refused."
    return text.rpartition(". ")[2] if text.startswith("Error ") else text or type(error).__name__


def _hint(code: str) -> str:
    return {
        "NOAUTH": "it wants a password: password_variable, password_file or password_credential",
        "WRONGPASS": "the user or the password in [redis] is not the right one",
        "NOPERM": "the user needs `+@read`, and `+select` for a database other than 0",
        "Authentication": "it wants a password: password_variable, password_file, "
        "password_credential in [redis]",
        "invalid": "the user or the password in [redis] is not the right one",
        "LOADING": "it is reading its data from disk; try again later",
        "MOVED": "a Redis Cluster, which unitq does not read",
        "CLUSTERDOWN": "a Redis Cluster, which unitq does not read",
    }.get(code, "")
