"""A connection to Redis, by redis-py: TLS, users, unix sockets, pipelines. Never waits long.

hiredis parses and packs where it is installed. Without it the same takes two to three times as
long.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

from unitq.linux.account import name_of
from unitq.linux.confined import connect
from unitq.linux.read_as import UnreadableError, read
from unitq.queues.bounded import BoundedSocket, Budget
from unitq.queues.commands import ErrorReply
from unitq.queues.errors import QueuesError
from unitq.queues.kinds import misfit

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
_NO_REDIS = "is it a Redis, or what stands before it a proxy that changes its answers?"


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


class _Link(NamedTuple):
    """An open connection, and what its answers may take."""

    connection: Any  # redis-py's
    budget: Budget


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
        self._link: _Link | None = None
        self._tls: dict[str, bytes] = {}  # by path
        self._given: socket.socket | None = None  # that another account's rights have opened
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

        def once() -> T:
            if self._link is None:
                self._link = self._opened(Budget(end))
            self._link.budget.renew(end)
            return work()

        def attempt() -> T:
            from redis.exceptions import ConnectionError as Closed
            from redis.exceptions import RedisError

            used = repeatable and self._link is not None and not self._given
            try:
                try:
                    return once()
                except (Closed, ConnectionError):
                    if not used:
                        raise
                    # Closed while nobody asked: Redis's `timeout`, its restart, `client kill`.
                    self._link = None
                    return once()
            except (RedisError, OSError) as error:
                raise self._failed(error) from error
            except (ValueError, ArithmeticError, MemoryError, RecursionError) as error:
                # What a parser makes of bytes that are none of Redis's protocol.
                raise self._unreadable("answers with what is none of its protocol") from error

        if self._link is None:  # not in the thread: these may take a process
            self._tls = self._tls_files()
            self._given = self._connected()
        try:
            return within(self._patience, attempt, self.where)
        except BaseException:
            # Answers to what was asked may still come: the connection is of no more use.
            self._link = None
            raise

    def _failed(self, error: Exception) -> QueuesError:
        from redis.exceptions import InvalidResponse

        if isinstance(error, InvalidResponse):
            return self._unreadable("answers with what is none of its protocol")
        words = _plain(error)
        return QueuesError(f"{self.where}: {words}", hint=_hint(words.partition(" ")[0]))

    def _unreadable(self, what: str) -> QueuesError:
        return QueuesError(f"cannot read the queues: {self.where} {what}", hint=_NO_REDIS)

    def ask(self, commands: Commands) -> list[Answer]:
        """The answer to each command; one trip. Only within `run`."""
        if not commands:
            return []
        assert self._link is not None, "asked outside of `run`"
        self.trips += 1
        connection = self._link.connection
        # All are sent before an answer is read: what Redis cannot send, it keeps.
        for at in range(0, len(commands), _PIECE):
            connection.send_packed_command(_packed(connection, commands[at : at + _PIECE]))
        answers = _answers(connection, len(commands))
        if ErrorReply in set(map(type, answers)):
            for answer in answers:
                if isinstance(answer, ErrorReply) and answer.code in _NOT_NOW:
                    raise QueuesError(f"{self.where}: {answer.words}", hint=_hint(answer.code))
        if name := misfit(commands, answers):
            raise self._unreadable(f"answers {name} with what is no answer to it")
        return answers

    def close(self) -> None:
        """Closes the connection."""
        if self._link is not None:
            self._link.connection.disconnect()
        self._link = None

    def _opened(self, budget: Budget) -> _Link:
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
        with ExitStack() as opened:
            options |= {name: self._file(path, opened) for name, path in tls.items() if path}
            made = _made(kind, options, self._patience, budget, self._given)
            made.connect()
        return _Link(made, budget)

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
            return connect(unquote(url.path), uid, seconds=self._patience)
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

    def _master(self) -> tuple[str, int]:
        """Where the master is, from the first Sentinel that knows it.

        By a question of our own: redis-py's own reads an answer to SENTINEL MASTERS, of any length,
        without a look at its kind.
        """
        import redis

        settings = self._settings
        patience = self._patience / (len(settings.sentinels) + 1)
        for place in settings.sentinels:
            host, _, port = place.rpartition(":")
            options = {
                "host": host,
                "port": int(port),
                "username": settings.sentinel_username,
                "password": self._secrets.sentinel_password,
            }
            budget = Budget(time.monotonic() + patience)
            sentinel = _made(redis.Connection, options, patience, budget)
            try:
                sentinel.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", settings.master)
                answer = sentinel.read_response()
            except (redis.ConnectionError, redis.TimeoutError):
                continue  # the next one may be there
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


def _made(
    kind: Any,
    options: dict[str, Any],
    patience: float,
    budget: Budget,
    given: socket.socket | None = None,
) -> Any:
    """redis-py's connection, not yet open, over a socket with limits. `given`: over this one."""
    import redis

    # redis-py's own takes the code from some errors, and makes others exceptions of their own.
    # Of thousands of queues comes the same error: one object.
    plain = {"parse_error": staticmethod(lru_cache(64)(redis.ResponseError))}
    made = kind(
        **options,
        protocol=2,  # any server has it, and a user with +@read needs no HELLO
        parser_class=type("Parser", (redis.connection.DefaultParser,), plain),
        socket_timeout=patience,
        socket_connect_timeout=patience,
        retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),
    )
    if given:
        given.settimeout(patience)
    connect = made._connect
    made._connect = lambda: BoundedSocket(given or connect(), budget)
    return made


def _packed(connection: Any, commands: Commands) -> list[bytes]:
    """redis-py's own packer takes four times as long, around hiredis's."""
    try:
        from hiredis import pack_command
    except ImportError:
        packed: list[bytes] = connection.pack_commands(commands)
    else:
        packed = [b"".join([pack_command(words) for words in commands])]  # type: ignore[arg-type]
    return packed


def _answers(connection: Any, amount: int) -> list[Answer]:
    from redis.exceptions import ResponseError

    read = connection._parser.read_response  # the connection's own takes twice as long
    answers: list[Answer] = [read() for _ in range(amount)]
    if ResponseError in set(map(type, answers)):
        refusals: dict[ResponseError, ErrorReply] = {}
        for index, answer in enumerate(answers):
            if type(answer) is ResponseError:
                if answer not in refusals:
                    refusals[answer] = ErrorReply(str(answer))
                answers[index] = refusals[answer]
    return answers


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
