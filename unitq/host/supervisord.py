"""A running supervisord, by its own XML-RPC interface: looked at, and told to stop a process.

Only over a unix socket or loopback. It answers one call at a time, between its other work.
"""

from __future__ import annotations

import base64
import http.client
import os
import socket
import xmlrpc.client
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.parsers.expat import ExpatError

from unitq.core.errors import NotPermittedError, PreflightError, UnitqError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.core.supervisor.server import Address

_TIMEOUT = 30.0  # seconds for one answer
_NOT_RUNNING = 70  # supervisor/xmlrpc.py, Faults
_UNAUTHORIZED = 401


class SupervisordError(UnitqError):
    """supervisord does not answer, or says no."""


class Info(NamedTuple):
    """What supervisord says of one of its processes."""

    name: str  # group:process, as supervisorctl takes it
    state: str  # RUNNING, STOPPED …
    pid: int  # 0: none


class Supervisord:
    """One supervisord."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        """Takes the first address that answers. Raises PreflightError where none does."""
        why = ""
        for address in addresses:
            self.address = address
            self._server = xmlrpc.client.ServerProxy(
                "http://localhost/RPC2", transport=_Transport(address)
            )
            try:
                self.pid = int(self._call("getPID"))
            except SupervisordError as error:
                why = why or error.message
                continue
            return
        raise PreflightError(
            why or "supervisord has no address",
            hint="a host whose supervisord does not run needs no takeover: see to it that it is "
            "not started, then `unitq deploy`",
        )

    @property
    def containing(self) -> bool:
        """Whether its PID means the same to us: it may be in a container."""
        return os.path.exists(f"/proc/{self.pid}/stat")

    def processes(self) -> dict[str, Info]:
        """All of its processes, by name."""
        return {info.name: info for info in map(_info, self._call("getAllProcessInfo"))}

    def info(self, name: str) -> Info:
        """One of them, now."""
        return _info(self._call("getProcessInfo", name))

    def stop(self, name: str) -> bool:
        """Tells it to stop a process and never to start it by itself; does not wait for the end.

        The process gets its `stopsignal`, and SIGKILL after `stopwaitsecs`. Returns False where
        there is nothing to stop just now.
        """
        try:
            self._call("stopProcess", name, False)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == _NOT_RUNNING:
                return False
            raise SupervisordError(f"{self.address}: {fault.faultString}") from fault
        return True

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self._server.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if method == "stopProcess":
                raise
            words = " ".join((method, *map(str, arguments)))
            raise SupervisordError(f"{self.address}: {words}: {fault.faultString}") from fault
        except xmlrpc.client.ProtocolError as error:
            if error.errcode == _UNAUTHORIZED:
                raise NotPermittedError(
                    f"{self.address}: wrong user or password",
                    hint="they are read from the server's section, or from [supervisorctl] where "
                    "that has a hash only",
                ) from error
            raise SupervisordError(f"{self.address}: {error.errcode} {error.errmsg}") from error
        except PermissionError as error:
            raise NotPermittedError(
                f"{self.address}: {error.strerror}", hint="run it as root (sudo)"
            ) from error
        except (OSError, http.client.HTTPException, xmlrpc.client.Error, ExpatError) as error:
            said = (isinstance(error, OSError) and error.strerror) or str(error)
            raise SupervisordError(f"supervisord does not answer at {self.address}: {said}") from (
                error
            )


def _info(found: Any) -> Info:
    try:
        return Info(f"{found['group']}:{found['name']}", found["statename"], int(found["pid"]))
    except (TypeError, KeyError, ValueError) as error:
        raise SupervisordError(f"supervisord gives no answer that makes sense: {error!r}") from (
            error
        )


class _Connection(http.client.HTTPConnection):
    """A connection to the address, whatever the URL says."""

    def __init__(self, address: Address) -> None:
        super().__init__(address.host or "localhost", address.port or 80, timeout=_TIMEOUT)
        self._path = address.path

    def connect(self) -> None:
        """Connects."""
        if not self._path:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Transport(xmlrpc.client.Transport):
    """XML-RPC over such a connection."""

    def __init__(self, address: Address) -> None:
        headers = []
        if address.username is not None:
            word = f"{address.username}:{address.password or ''}".encode()
            headers = [("Authorization", f"Basic {base64.b64encode(word).decode()}")]
        super().__init__(headers=headers)
        self._address = address

    def make_connection(
        self,
        host: Any,  # the address is known
    ) -> http.client.HTTPConnection:
        """The connection; kept for the next call."""
        kept: Any = self._connection
        if kept and kept[1] is not None:
            connection: http.client.HTTPConnection = kept[1]
            return connection
        self._connection = (host, _Connection(self._address))
        made: http.client.HTTPConnection = self._connection[1]
        return made
