"""The way of a member: starts the unit that does it as root, and follows it to its end."""

from __future__ import annotations

import grp
import os
import pwd
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from unitq.errors import NotPermittedError
from unitq.grants import model, output, store
from unitq.systemd.errors import BusLostError
from unitq.systemd.manager import JobDone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from unitq.grants.model import Grant
    from unitq.grants.output import Line
    from unitq.systemd.manager import Event, Properties, Systemd, UnitStatus

_LOOK = 0.2  # seconds between two looks for lines
_OVER = frozenset({"inactive", "failed"})
_EXITED = 1  # CLD_EXITED, waitid(2)
_SYSTEMD_FAILED = 200  # from here on exit codes are systemd's own: EXEC, NAMESPACE, CAPABILITIES …


class Ended(NamedTuple):
    """How a run ended."""

    code: int | None  # its exit code; None: it has none, or nobody has seen it
    why: str = ""  # where there is none


def name() -> str | None:
    """The account that runs this, as polkit calls it; None: it has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return None


def covering(grants: Iterable[Grant], member: str) -> tuple[Grant, ...]:
    """Those grants whose group the account is in by now, whatever its login still has."""
    try:
        groups = set(os.getgrouplist(member, pwd.getpwnam(member).pw_gid))
    except KeyError:
        return ()
    return tuple(grant for grant in grants if gid(grant) in groups)


def gid(grant: Grant) -> int | None:
    """The number of the grant's group; None: the group is gone."""
    try:
        return grp.getgrnam(grant.group).gr_gid
    except KeyError:
        return None


class Run:
    """One run of a unit, from the order to its end. systemd names it: the invocation."""

    def __init__(
        self, systemd: Systemd, verb: str, app: str, member: str, *, other_here: bool = False
    ) -> None:
        """`other_here`: the directory has a unitq.toml, which does not count."""
        self.app = app
        self.other_here = other_here
        self.unit = model.unit(verb, app, member)
        self.joined = False  # it ran already: the same account's other terminal has started it
        self._systemd = systemd
        self._job = ""
        self._before = ""  # the invocation of the last run
        self._invocation = ""
        self._started = self._over = False
        self._exit: Properties = {}  # how its main process ended, as far as signals told
        self._reader: output.Reader | None = None

    def start(self) -> None:
        """Starts it. Raises NotPermittedError where polkit refuses."""
        self._systemd.subscribe([self.unit])
        row = self._row()
        invocation = self._read_invocation() if row else ""
        if row and row.active not in _OVER:
            self.joined = self._started = True
            self._invocation = invocation
            return
        self._before = invocation
        try:
            self._job = self._systemd.start(self.unit)
        except NotPermittedError as error:
            raise NotPermittedError(
                error.message,
                hint=f"{store.RECORD} grants it, polkit refuses: as root, `unitq grant` says "
                "whether its rule is in place",
            ) from error

    def follow(self, show: Callable[[Line], None], limit: float | None) -> Ended | None:
        """Shows what it prints until its end; None: it has not ended within `limit` seconds."""
        end = None if limit is None else monotonic() + limit
        while not self._over:
            if end is not None and monotonic() >= end:
                return None
            self._wait()
            self._show(show, last=False)
        self._show(show, last=True)
        return self._end()

    @property
    def hidden(self) -> bool:
        """Whether what it prints may not be read: this login has not got the group yet."""
        return self._reader is not None and self._reader.hidden

    def _wait(self) -> None:
        try:
            events = self._systemd.events(_LOOK)
            for event in events:
                self._note(event)
            if not self._invocation and self._started:
                invocation = self._read_invocation()
                self._invocation = "" if invocation == self._before else invocation
            if not events and self._started:
                # After a lost connection no signal tells. What came while we asked still does.
                row = self._row()
                for event in self._systemd.events(0):
                    self._note(event)
                self._over |= row is None or row.active in _OVER
        except BusLostError:
            self._exit = {}
            self._systemd.reconnect()

    def _note(self, event: Event) -> None:
        if isinstance(event, JobDone):
            if event.job == self._job:
                self._started = True
                self._over |= event.result != "done"
            return
        properties = event.properties
        # Those of the service come before those of the unit, which say whose they are. The first
        # ones of a run still have the state of the last, but no exit code any more.
        if "ExecMainCode" in properties:
            self._exit["ExecMainCode"] = properties["ExecMainCode"]
        if "ExecMainStatus" in properties:
            self._exit["ExecMainStatus"] = properties["ExecMainStatus"]
        life = properties.get("InvocationID", "")
        if life and life != self._before:
            if self._invocation and life != self._invocation:
                self._exit = {}  # it was started anew: that is another run
                self._over = True
                return
            self._invocation = life
        if self._invocation and "ActiveState" in properties:
            self._over |= properties["ActiveState"] in _OVER and bool(
                self._exit.get("ExecMainCode")
            )

    def _read_invocation(self) -> str:
        return self._systemd.properties(self.unit, "InvocationID")["InvocationID"]

    def _row(self) -> UnitStatus | None:
        """The unit's state; None: systemd does not know it, or not any more."""
        return next(iter(self._systemd.units([self.unit])), None)

    def _show(self, show: Callable[[Line], None], *, last: bool) -> None:
        if self._reader is None and self._invocation:
            self._reader = output.Reader(self.unit, self._invocation)
        for line in self._reader.news(last=last) if self._reader else ():
            show(line)

    def _end(self) -> Ended:
        ending = self._exit
        if not ending.get("ExecMainCode"):
            now = self._systemd.properties(
                self.unit, "InvocationID", "ExecMainCode", "ExecMainStatus"
            )
            if now["InvocationID"] == self._invocation:
                ending = now
        code, status = ending.get("ExecMainCode", 0), ending.get("ExecMainStatus", 0)
        if not code:
            return Ended(None, "has ended, and nobody has seen how")
        if code != _EXITED:
            return Ended(None, f"was killed by signal {status}")
        if status >= _SYSTEMD_FAILED:
            return Ended(None, f"could not be started by systemd (status {status})")
        return Ended(status)
