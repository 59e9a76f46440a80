"""Reads the registrations of an app's workers in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unitq.errors import UnitqError

if TYPE_CHECKING:
    from unitq.context import Scope
    from unitq.queues.model import Registration
    from unitq.revisions.model import Revision


class RegistrationReader:
    """Reads them where the configuration says how to. Fails once."""

    def __init__(self, scope: Scope, revision: Revision) -> None:
        from unitq.queues.sources import NoRedisError, access_for_revision

        self.notes: list[str] = []
        self.presets: dict[str, str] = {}  # by the id of a registration
        self._access = None
        try:
            _, self._access = access_for_revision(scope, revision)
        except NoRedisError:
            pass  # it need not be configured
        except UnitqError as error:
            self.notes.append(f"{error.message}: Redis is not asked")

    def read(self) -> list[Registration] | None:
        """Returns every worker that Redis has; None: it is not configured, or does not answer."""
        from unitq.queues.snapshot import take_snapshot

        if self._access is None:
            return None
        connection, sources = self._access
        try:
            samples = take_snapshot(connection, sources, numbers=False, ages=False)
        except UnitqError as error:
            self.notes.append(f"{error.message}: queues and in-flight jobs are not known")
            self._access = None
            return None
        registrations = []
        for sample in samples:
            self.notes += [f"{note}: some orphans may be missing" for note in sample.notes]
            for registration in sample.registry.workers or ():
                self.presets[registration.id] = sample.preset
                registrations.append(registration)
        return registrations
