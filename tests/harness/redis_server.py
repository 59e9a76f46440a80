"""A private Redis for one test or one demo: own directory, own port, nothing kept."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import redis

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_ATTEMPTS = 5


class RedisServer:
    """A redis-server on 127.0.0.1 and on a unix socket, for as long as the context lasts.

    `url` is what workers of any user and with a private /tmp can reach; `socket` is only for those
    that see the directory.
    """

    def __init__(self, directory: Path | None = None, start_timeout: float = 10.0) -> None:
        self._parent = directory
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._client: redis.Redis | None = None
        self._directory: Path | None = None
        self.port = 0

    @property
    def address(self) -> str:
        """`host:port`, as Resque's REDIS_BACKEND wants it."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """`redis://…`, as unitq.toml wants it."""
        return f"redis://{self.address}/0"

    @property
    def socket(self) -> Path:
        """The unix socket; workers of other users may connect."""
        assert self._directory is not None, "not started"
        return self._directory / "redis.sock"

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def client(self) -> redis.Redis:
        """A client that is safe to use from several threads; answers are str."""
        assert self._client is not None, "not started"
        return self._client

    def start(self) -> None:
        """Start on a free port; another program may grab it first, so try again."""
        self._directory = Path(tempfile.mkdtemp(prefix="unitq-redis-", dir=self._parent))
        # mkdtemp makes it 0700, and the workers of the tests run as other users.
        self._directory.chmod(0o755)
        try:
            for _ in range(_ATTEMPTS):
                self.port = _free_port()
                if self._start_once():
                    return
            raise RuntimeError(f"redis-server does not start: {self._log()}")
        except BaseException:
            self.stop()
            raise

    def restart(self) -> None:
        """Lose every connection and all data, and come back on the same port."""
        self._end()
        deadline = time.monotonic() + self._start_timeout
        while not self._start_once():
            if time.monotonic() > deadline:
                raise RuntimeError(f"redis-server does not come back: {self._log()}")

    def stop(self) -> None:
        """End the server that was started here, and no other."""
        self._end()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _start_once(self) -> bool:
        assert self._directory is not None
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("redis-server", "--bind", "127.0.0.1", "--port", str(self.port)),
                    *("--unixsocket", str(self.socket), "--unixsocketperm", "777"),
                    *("--save", "", "--appendonly", "no", "--daemonize", "no"),
                    *("--dir", str(self._directory), "--loglevel", "warning"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C in a terminal is for the tests, which still want to read Redis then.
                start_new_session=True,
            )
        self._client = redis.Redis(host="127.0.0.1", port=self.port, decode_responses=True)
        deadline = time.monotonic() + self._start_timeout
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._answers():
                return True
            time.sleep(0.01)
        self._end()
        return False

    def _answers(self) -> bool:
        # The answer must be our own server's, not that of another one on the port.
        try:
            return bool(self.client.info("server")["process_id"] == self.pid)
        except redis.RedisError:
            return False

    def _end(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _log(self) -> str:
        assert self._directory is not None
        return (self._directory / "log").read_text(errors="replace")[-500:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
