"""A connection to Redis, by redis-py and hiredis: TLS, users, unix sockets. Never waits long."""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

from unitq.linux import changes
from unitq.linux.account import name_of
from unitq.linux.confined import connect
from unitq.linux.read_as import UnreadableError, read
from unitq.queues.bounded import BoundedSocket, Budget
from unitq.queues.commands import ErrorReply, QueuesError, misfit

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from unitq.linux.trust import Control
    from unitq.model.app import Redis
    from unitq.queues.commands import Answer, Commands

T = TypeVar("T")

# Seconds for all that one look takes, from the look-up of the name to the last answer.
PATIENCE = 1.0

_TLS_FILE_MAX = 1 << 20  # bytes

_PIECE = 2000  # commands, on which Redis works while the next are packed

# What Redis answers to any command while it cannot serve at all.
_NOT_NOW = ("NOAUTH", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "BUSY")
_NO_REDIS = "is it a Redis, or a proxy that changes its answers?"
_NO_PROTOCOL = "answers with what is none of its protocol"

_WRONG_USER = "the user or the password in [redis] is not the right one"
_LOG_IN = "[redis] takes password_variable, password_file or password_credential"
_CLUSTER = "a Redis Cluster, which unitq does not read"
# By the first word of an error, Redis's own or redis-py's.
_HINTS = {
    "NOAUTH": _LOG_IN,
    "Authentication": _LOG_IN,
    "WRONGPASS": _WRONG_USER,
    "invalid": _WRONG_USER,
    "NOPERM": "the user needs `+@read`, and `+select` for a database other than 0",
    "LOADING": "it is reading its data from disk; try again later",
    "MOVED": _CLUSTER,
    "CLUSTERDOWN": _CLUSTER,
}


class Secrets(NamedTuple):
    """What nobody may see: no message and no repr has it."""

    password: str | None = None
    sentinel_password: str | None = None

    def __repr__(self) -> str:
        return "Secrets(…)"


def within(seconds: float, work: Callable[[], T], what: str) -> T:
    """Returns the result of `work`. Raises QueuesError once the time is over, wherever it is stuck.

    The look-up of a host's name knows no limit of time. So the work is done in a thread, which
    ends a little later, or with this process.
    """
    result: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:  # noqa: BLE001  (raised again below, by who asked)
            errors.append(error)

    thread = threading.Thread(target=run, name="redis", daemon=True)
    thread.start()
    # What is in time is not cut off by the thread's own start.
    thread.join(seconds + 0.05)
    if errors:
        raise errors[0]
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
        self._budget = Budget()
        self._redis: Any = None  # redis-py's connection, where it is open
        self._tls: dict[str, bytes] = {}  # by path
        self._given: socket.socket | None = None  # opened with another account's rights
        self.trips = 0  # to Redis and back, for the tests

    @property
    def where(self) -> str:
        """What messages call it; never a password."""
        return place(self._settings)

    def run(self, work: Callable[[], T], *, repeatable: bool = True) -> T:
        """Does all the work that asks this connection within one limit of time.

        What only reads is done once more where the connection was closed since it was last used.
        Raises QueuesError, and nothing of redis-py's own.
        """
        end = time.monotonic() + self._patience
        # Closed while nobody asked: Redis's `timeout`, its restart, `client kill`.
        may_be_closed = repeatable and self._redis is not None and not self._given

        def attempt(*, again: bool) -> T:
            from redis.exceptions import ConnectionError as Closed
            from redis.exceptions import RedisError

            try:
                self._budget.renew(end)
                if self._redis is None:
                    self._redis = self._open()
                return work()
            except (RedisError, OSError, ValueError, ArithmeticError, MemoryError,
                    RecursionError) as error:  # fmt: skip
                if again and isinstance(error, (Closed, ConnectionError)):
                    self._redis = None
                    return attempt(again=False)
                raise self._failure(error) from error

        if self._redis is None:  # not in the thread: these may take a process
            self._tls = self._tls_files()
            self._given = self._connect_as_another()
        try:
            return within(self._patience, lambda: attempt(again=may_be_closed), self.where)
        except BaseException:
            # Answers to what was asked may still come: the connection is of no more use.
            self._redis = None
            raise

    def _failure(self, error: Exception) -> QueuesError:
        from redis.exceptions import InvalidResponse, RedisError

        if isinstance(error, InvalidResponse) or not isinstance(error, (RedisError, OSError)):
            # Other errors are what a parser makes of bytes that are none of Redis's protocol.
            return self._unreadable(_NO_PROTOCOL)
        words = _one_line(error)
        return QueuesError(f"{self.where}: {words}", hint=_HINTS.get(words.partition(" ")[0], ""))

    def _unreadable(self, what: str) -> QueuesError:
        return QueuesError(f"cannot read the queues: {self.where} {what}", hint=_NO_REDIS)

    def ask(self, commands: Commands) -> list[Answer]:
        """Returns the answer to each command; one trip. Only within `run`."""
        from hiredis import pack_command

        if not commands:
            return []
        self.trips += 1
        # All are sent before an answer is read: what Redis cannot send, it keeps. redis-py's own
        # packer takes four times as long around hiredis's, its read_response twice.
        for at in range(0, len(commands), _PIECE):
            piece = b"".join(map(pack_command, commands[at : at + _PIECE]))  # type: ignore[arg-type]
            self._redis.send_packed_command([piece])
        read_response = self._redis._parser.read_response
        answers: list[Answer] = [read_response() for _ in commands]
        for answer in set(filter(lambda answer: isinstance(answer, ErrorReply), answers)):
            if answer.code in _NOT_NOW:
                hint = _HINTS.get(answer.code, "")
                raise QueuesError(f"{self.where}: {answer.words}", hint=hint)
        if name := misfit(commands, answers):
            raise self._unreadable(f"answers {name} with what is no answer to it")
        return answers

    def script(self, what: str, text: str, keys: Sequence[str], values: Sequence[Any]) -> Answer:
        """Runs a script, which Redis runs as a whole, and returns its answer. Raises QueuesError.

        `what` names what it does in the message where the user may not.
        """
        words = ("EVAL", text, str(len(keys)), *keys, *values)
        call = tuple(word if isinstance(word, bytes) else word.encode() for word in words)
        changes.note()
        (answer,) = self.run(lambda: self.ask([call]), repeatable=False)
        if isinstance(answer, ErrorReply):
            raise QueuesError(
                f"{self.where}: cannot {what}: {answer.words}",
                hint="the Redis user needs the rights of a worker, and +eval",
            )
        return answer

    def close(self) -> None:
        """Closes the connection."""
        if self._redis is not None:
            self._redis.disconnect()
        self._redis = None

    def _open(self) -> Any:
        import redis

        settings = self._settings
        parse: Any = redis.connection.parse_url
        options = parse(settings.url) if settings.url else {}
        kind = options.pop("connection_class", redis.Connection)
        if settings.username is not None:
            options["username"] = settings.username
        if self._secrets.password is not None:
            options["password"] = self._secrets.password
        if settings.sentinels:
            options["host"], options["port"] = self._master()
        tls = {
            "ssl_ca_certs": settings.ca_file,
            "ssl_certfile": settings.cert_file,
            "ssl_keyfile": settings.key_file,
        }
        with ExitStack() as files:
            options |= {name: self._tls_path(path, files) for name, path in tls.items() if path}
            made = _connection(kind, options, self._patience, self._budget, self._given)
            made.connect()
        return made

    def _connect_as_another(self) -> socket.socket | None:
        """Returns a connection to a unix socket that others have named; None: root needs none.

        Root may connect to any, and would be taken at its word there.
        """
        url = urlsplit(self._settings.url or "")
        deciding = {control.uid for control in self._told_by}
        if url.scheme != "unix" or self._settings.sentinels or not deciding or os.geteuid() != 0:
            return None
        try:
            (uid,) = deciding
            return connect(unquote(url.path), uid, seconds=self._patience)
        except OSError as error:
            raise QueuesError(f"{self.where}: {error.strerror} for {name_of(uid)}") from None

    def _tls_files(self) -> dict[str, bytes]:
        """Returns what root reads of them, by path; OpenSSL would follow any link."""
        settings = self._settings
        paths = (settings.ca_file, settings.cert_file, settings.key_file)
        contents = {}
        for path in filter(None, paths) if os.geteuid() == 0 else ():
            try:
                contents[path] = read(path, _TLS_FILE_MAX, told_by=self._told_by)
            except UnreadableError as error:
                message = f"{self.where}: {path}: {error.reason}"
                raise QueuesError(message, hint=error.hint) from None
        return contents

    def _tls_path(self, path: str, files: ExitStack) -> str:
        """Returns a path for OpenSSL, which takes nothing else."""
        if path not in self._tls:
            return path
        file = files.enter_context(os.fdopen(os.memfd_create("unitq-tls"), "wb", buffering=0))
        file.write(self._tls[path])
        return f"/proc/self/fd/{file.fileno()}"

    def _master(self) -> tuple[str, int]:
        """Returns where the master is, from the first Sentinel that knows it.

        By a question of our own: redis-py's own reads an answer to SENTINEL MASTERS, of any length,
        without a look at its kind.
        """
        import redis

        settings = self._settings
        patience = self._patience / (len(settings.sentinels) + 1)
        for address in settings.sentinels:
            host, _, port = address.rpartition(":")
            options = {
                "host": host,
                "port": int(port),
                "username": settings.sentinel_username,
                "password": self._secrets.sentinel_password,
            }
            budget = Budget(time.monotonic() + patience)
            sentinel = _connection(redis.Connection, options, patience, budget)
            try:
                sentinel.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", settings.master)
                answer = sentinel.read_response()
            except (redis.ConnectionError, redis.TimeoutError):
                continue  # the next one may be up
            finally:
                sentinel.disconnect()
            if answer is None:
                continue
            if not isinstance(answer, list) or list(map(type, answer)) != [bytes, bytes]:
                raise QueuesError(
                    f"{self.where}: a Sentinel gives no answer of a Sentinel's",
                    hint="does `sentinels` in [redis] name something else?",
                )
            return answer[0].decode(), int(answer[1])
        raise QueuesError(
            f"{self.where}: none of the Sentinels names a master {settings.master}",
            hint="`redis-cli -p 26379 sentinel masters` shows what they know",
        )


def _connection(
    kind: Any,
    options: dict[str, Any],
    patience: float,
    budget: Budget,
    given: socket.socket | None = None,
) -> Any:
    """Returns redis-py's connection, not yet open, over a socket with limits.

    `given`: over this socket.
    """
    import redis

    # redis-py takes the code away from some errors. Thousands of queues get the same: one object.
    refusal = type("Refusal", (ErrorReply, redis.ResponseError), {})
    parser = type(
        "Parser",
        (redis.connection.DefaultParser,),
        {"parse_error": staticmethod(lru_cache(64)(refusal))},
    )
    made = kind(
        **options,
        protocol=2,  # any server has it, and a user with +@read needs no HELLO
        parser_class=parser,
        socket_timeout=patience,
        socket_connect_timeout=patience,
        retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),
    )
    if given:
        given.settimeout(patience)
    connect = made._connect
    made._connect = lambda: BoundedSocket(given or connect(), budget)
    return made


def place(settings: Redis) -> str:
    """Returns `Redis at 127.0.0.1:6379/0`; never a password."""
    if settings.sentinels:
        return f"Redis master {settings.master}"
    url = urlsplit(settings.url or "")
    if url.scheme == "unix":
        return f"Redis at {url.path}"
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    return f"Redis at {host}:{url.port or 6379}{url.path.rstrip('/')}"


def _one_line(error: BaseException) -> str:
    # redis-py's TimeoutError is a class of its own.
    if type(error).__name__ == "TimeoutError":
        return f"no answer within {PATIENCE:g} s"
    text = " ".join(str(error).split()).rstrip(".")
    # redis-py: "Error 111 connecting to 127.0.0.1:6379. Connection refused."
    return text.rpartition(". ")[2] if text.startswith("Error ") else text or type(error).__name__
