"""The registrations of an app's workers in Redis, for who looks for orphans."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.errors import UnitqError

if TYPE_CHECKING:
    from unitq.context import Scope
    from unitq.queues.model import Registration
    from unitq.revisions.model import Revision


class Redis:
    """The app's registrations, where the configuration says how to get them. Fails once."""

    def __init__(self, scope: Scope, revision: Revision) -> None:
        from unitq.queues.sources import NoRedisError, access_for_revision

        self.notes: list[str] = []
        self.presets: dict[str, str] = {}  # by the id of a registration
        self._way = None
        try:
            _, self._way = access_for_revision(scope, revision)
        except NoRedisError:
            pass  # it need not be configured
        except UnitqError as error:
            self.notes.append(f"{error.message}: Redis is not asked")

    def registered(self) -> list[Registration] | None:
        """Every worker that Redis has; None: it is not configured, or does not answer."""
        from unitq.queues.snapshot import take_snapshot

        if self._way is None:
            return None
        try:
            samples = take_snapshot(
                self._way.connection, self._way.sources, numbers=False, ages=False
            )
        except UnitqError as error:
            self.notes.append(f"{error.message}: queues and jobs in hand are not known")
            self._way = None
            return None
        found = []
        for sample in samples:
            for words in sample.notes:
                self.notes.append(f"{words}: not all that works for the app may be known")
            for one in sample.registry.workers or ():
                self.presets[one.id] = sample.preset
                found.append(one)
        return found
