"""The orders to systemd in a rollout, and what has to be on disk before each."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from unitq.errors import GoingDownError, NoMatchError, SystemdError
from unitq.instances.state import Observed, failure
from unitq.linux.account import account
from unitq.linux.trust import ROOT
from unitq.model import names
from unitq.revisions import state
from unitq.rollout import install
from unitq.rollout.engine.instance import Action, ActionKind
from unitq.systemd import journal
from unitq.systemd.errors import BusLostError
from unitq.text import unitq
from unitq.units import unit_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from unitq.model.layout import Layout
    from unitq.model.names import InstanceName
    from unitq.rollout.ledger_store import Ledger
    from unitq.systemd.manager import Systemd

_FOREVER = 1e12  # seconds; systemd's "infinity" is more

_LOG_LINES = 20  # of a failed start that are shown
_LAST_WORDS = 5  # of one that was killed
_PROBE_LINES = 5  # and of its probe


class Orders:
    """Gives the orders of one app; where there is a ledger, each is in it before it is given."""

    def __init__(
        self, systemd: Systemd, layout: Layout, app: str, ledger: Ledger | None = None
    ) -> None:
        self._systemd = systemd
        self._layout = layout
        self._place = layout.app(app)
        self._app = app
        self._ledger = ledger

    def unless_going_down(self) -> None:
        """Raises GoingDownError where systemd is shutting down.

        An instance that is down then has not failed. systemd says so before it stops the first one:
        so it is asked after each observation and before the observation is acted upon.
        """
        with suppress(BusLostError):  # the next order will notice
            if self._systemd.stopping():
                raise self.cut_off("systemd is shutting down")

    def cut_off(self, why: str) -> GoingDownError:
        """Returns the error for a rollout that ends where it is, as by a power failure."""
        return GoingDownError(
            f"{why}: the rollout of {self._app} is cut off",
            hint=f"once it is up again, `{unitq(self._app, user=self._layout.user)} status` says "
            "what to type",
        )

    def write_down(self, actions: Iterable[Action], seen: Mapping[InstanceName, Observed]) -> None:
        """Puts all of them into the ledger: on disk when this returns.

        Raises LedgerError, and GoingDownError at a shutdown.
        """
        actions = tuple(actions)
        if actions:
            self.unless_going_down()
        # A probe changes nothing.
        real = [action for action in actions if action.kind is not ActionKind.PROBE]
        if self._ledger is None or not real:
            return
        for action in real:
            name = action.state.instance
            observed = seen.get(name)
            self._ledger.note(
                "order",
                instance=str(name),
                do=str(action.kind),
                before=observed.invocation if observed else "",
            )
        self._ledger.sync()

    def with_pin(self, actions: Iterable[Action]) -> list[Action]:
        """Returns the actions that start an instance which still has an older unit text."""
        starting = (ActionKind.START, ActionKind.RESTART, ActionKind.SWITCH)
        folder = self._layout.unit_dir
        return [
            action
            for action in actions
            if action.kind in starting
            and unit_files.pin(folder, names.unit(self._app, action.state.instance))
        ]

    def switch(self, actions: Iterable[Action], wanted: Mapping[InstanceName, str]) -> None:
        """Gives these instances the new code and the new unit text, both or neither.

        One daemon-reload for all of them. Raises OSError, SystemdError.
        """
        instances = [action.state.instance for action in actions]
        for name in instances:
            if name in wanted:
                state.pin(self._place, name, wanted[name])
        units = [names.unit(self._app, name) for name in instances]
        install.switch(self._systemd, self._layout, self._app, units)

    def give(self, action: Action, wanted: str | None, seen: Observed) -> str:
        """Orders an action; returns the path of its unit job. Raises OSError, SystemdError."""
        name = action.state.instance
        if action.kind is ActionKind.PROBE:
            return self._systemd.start(names.probe(self._app, name))
        unit = names.unit(self._app, name)
        if action.kind is ActionKind.STOP:
            return self._systemd.stop(unit)
        if wanted:
            state.pin(self._place, name, wanted)
        # Deliberate starts count against the start limit: forget the earlier ones.
        self._systemd.reset_failed(unit)
        return self._systemd.start(unit) if seen.down else self._systemd.restart(unit)

    def limit(self, name: InstanceName) -> float | None:
        """Returns the seconds that it may take to stop; None: no limit, or it is not loaded."""
        try:
            properties = self._systemd.properties(names.unit(self._app, name), "TimeoutStopUSec")
        except (NoMatchError, SystemdError):
            return None
        seconds: float = properties["TimeoutStopUSec"] / 1e6
        return seconds if seconds < _FOREVER else None

    def probe_failure(self, name: InstanceName) -> str:
        """Returns how a probe failed."""
        unit = names.probe(self._app, name)
        properties = self._systemd.properties(unit, "Result", "ExecMainCode", "ExecMainStatus")
        # Else it would stay in systemd's list of failed units.
        self._systemd.reset_failed(unit)
        seen = Observed(
            result=properties["Result"],
            code=properties["ExecMainCode"],
            status=properties["ExecMainStatus"],
        )
        return f"its probe: {failure(seen)}"

    def logs(self, name: InstanceName, invocation: str, *, probed: bool) -> tuple[str, ...]:
        """Returns the last lines of a start of an instance, after those of its probe."""
        user = self._layout.user
        lines: tuple[str, ...] = ()
        if probed and (uid := self._uid(name)) is not None:
            identifier = names.probe_identifier(self._app, name)
            lines = journal.identifier_lines(identifier, _PROBE_LINES, uid=uid, user=user)
        return lines + (journal.tail(invocation, _LOG_LINES, user=user) if invocation else ())

    def _uid(self, name: InstanceName) -> int | None:
        """Returns the user ID that a probe's command runs as; None: unknown."""
        if self._layout.user:
            return os.getuid()
        try:
            user = self._systemd.properties(names.probe(self._app, name), "User")["User"]
            return account(user).uid if user else ROOT
        except LookupError:
            return int(user) if user.isdigit() else None
        except SystemdError:
            return None

    def last_words(self, invocation: str) -> tuple[str, ...]:
        """Returns what the processes of a start printed last."""
        if not invocation:
            return ()
        return journal.last_output(invocation, _LAST_WORDS, user=self._layout.user)
