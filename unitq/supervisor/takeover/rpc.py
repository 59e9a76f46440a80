"""A running supervisord, by its own XML-RPC interface: looked at, and told to stop a process.

Only over a unix socket or loopback. It answers one call at a time, between its other work. Before
anything is sent the kernel has to say who answers there (supervisor/takeover/answering.py).
"""

from __future__ import annotations

import base64
import http.client
import socket
import xmlrpc.client
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.parsers.expat import ExpatError

from unitq.errors import NotPermittedError, PreflightError, UnitqError
from unitq.linux.proc import PID_MAX
from unitq.printable import one_line
from unitq.supervisor.takeover.answering import Guard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unitq.model.process import Process
    from unitq.supervisor.conf.server import Address
    from unitq.supervisor.takeover.answering import Expected

_TIMEOUT = 30.0  # seconds for one answer
_SHOWN = 200  # characters of an answer that is none
_NOT_RUNNING = 70  # supervisor/xmlrpc.py, Faults
_ANSWER_MAX = 16 << 20  # bytes; of 10,000 processes it has some 8 MB
_STATES = frozenset(  # supervisor/states.py
    {"STOPPED", "STARTING", "RUNNING", "BACKOFF", "STOPPING", "EXITED", "FATAL", "UNKNOWN"}
)


class SupervisordError(UnitqError):
    """supervisord does not answer, or says no."""


class Info(NamedTuple):
    """What supervisord says of one of its processes."""

    name: str  # group:process, as supervisorctl takes it
    state: str  # RUNNING, STOPPED …
    pid: int  # 0: none


class Supervisord:
    """One supervisord."""

    def __init__(self, addresses: Sequence[Address], expected: Expected) -> None:
        """Takes the first address that answers.

        Raises PreflightError where none does, or somebody who is not `expected`.
        """
        why = ""
        for address in addresses:
            self.address = address
            self._guard = Guard(address, expected)
            self._server = xmlrpc.client.ServerProxy(
                "http://localhost/RPC2", transport=_Transport(address, self._guard)
            )
            try:
                pid = self._call("getPID")
            except SupervisordError as error:
                why = why or error.message
                continue
            self._guard.says(pid)
            return
        raise PreflightError(
            why or "supervisord has no address",
            hint="a host whose supervisord does not run needs no takeover: see to it that it is "
            "not started, then `unitq deploy`",
        )

    @property
    def daemon(self) -> Process:
        """It itself, as the kernel knows it."""
        return self._guard.daemon

    @property
    def pid(self) -> int:
        """Its PID, as the kernel knows it."""
        return self.daemon.pid

    def processes(self) -> dict[str, Info]:
        """All of its processes, by name."""
        answer = self._call("getAllProcessInfo")
        if not isinstance(answer, list):
            raise _nonsense(answer)
        return {info.name: info for info in map(_info, answer)}

    def info(self, name: str) -> Info:
        """One of them, now."""
        return _info(self._call("getProcessInfo", name))

    def stop(self, name: str) -> bool:
        """Tells it to stop a process and never to start it again; does not wait for the end.

        The process gets its `stopsignal`, and SIGKILL after `stopwaitsecs`. Returns False where
        there is nothing to stop just now.
        """
        try:
            self._call("stopProcess", name, False)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == _NOT_RUNNING:
                return False
            raise self._fault("", fault) from fault
        return True

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self._server.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if method == "stopProcess":
                raise
            words = " ".join((method, *map(str, arguments)))
            raise self._fault(f"{words}: ", fault) from fault
        except PermissionError as error:
            raise NotPermittedError(
                f"{self.address}: {error.strerror}", hint="run it as root (sudo)"
            ) from error
        except (OSError, http.client.HTTPException, xmlrpc.client.Error, ExpatError) as error:
            why = (isinstance(error, OSError) and error.strerror) or one_line(str(error))
            what = f"supervisord does not answer at {self.address}: {why}"
            raise SupervisordError(what) from error
        except _MALFORMED as error:
            raise _nonsense(error) from error

    def _fault(self, words: str, fault: xmlrpc.client.Fault) -> SupervisordError:
        return SupervisordError(f"{self.address}: {words}{one_line(str(fault.faultString))}")


# What the standard library's parser raises for what is XML, and no answer.
_MALFORMED = (LookupError, ValueError, TypeError, ArithmeticError, RecursionError, AssertionError)


def _info(found: Any) -> Info:
    """Its answer, which is only believed as far as it can be one."""
    match found:
        case {"group": str(group), "name": str(name), "statename": str(state), "pid": int(pid)}:
            # A bool is an int in Python, and no PID; 1 is nobody's child.
            if state in _STATES and type(pid) is int and 0 <= pid <= PID_MAX and pid != 1:
                return Info(f"{group}:{name}", state, pid)
    raise _nonsense(found)


def _nonsense(said: object) -> SupervisordError:
    shown = one_line(repr(said))[:_SHOWN]
    return SupervisordError(f"supervisord gives no answer that makes sense: {shown}")


class _Connection(http.client.HTTPConnection):
    """A connection to the address, whatever the URL says."""

    def __init__(self, address: Address, guard: Guard) -> None:
        super().__init__(address.host or "localhost", address.port or 80, timeout=_TIMEOUT)
        self._path, self._guard = address.path, guard

    def connect(self) -> None:
        """Connects, and sends nothing to who should not answer. Raises PreflightError."""
        if self._path:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._path)
        else:
            super().connect()
        try:
            self._guard.check(self.sock)
        except BaseException:
            self.close()
            raise


class _Transport(xmlrpc.client.Transport):
    """XML-RPC over such a connection."""

    accept_gzip_encoding = False

    def __init__(self, address: Address, guard: Guard) -> None:
        headers = []
        if address.username is not None:
            word = f"{address.username}:{address.password or ''}".encode()
            headers = [("Authorization", f"Basic {base64.b64encode(word).decode()}")]
        super().__init__(headers=headers)
        self._address, self._guard = address, guard

    def make_connection(
        self,
        host: Any,  # the address is known
    ) -> http.client.HTTPConnection:
        """The connection; kept for the next call."""
        kept: Any = self._connection
        if kept and kept[1] is not None:
            connection: http.client.HTTPConnection = kept[1]
            return connection
        self._connection = (host, _Connection(self._address, self._guard))
        made: http.client.HTTPConnection = self._connection[1]
        return made

    def parse_response(self, response: Any) -> Any:
        """The answer's values. Raises SupervisordError where it is larger than any of its own."""
        content = response.read(_ANSWER_MAX + 1)
        if len(content) > _ANSWER_MAX:
            raise SupervisordError(
                f"{self._address}: an answer of more than {_ANSWER_MAX >> 20} MiB"
            )
        parser, values = self.getparser()
        parser.feed(content)
        parser.close()
        return values.close()
