"""Takes an app to a revision: installs it, rolls it out, and rolls back where that fails."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from unitq.errors import (
    GoingDownError,
    NotPermittedError,
    PreflightError,
    SystemdError,
    UnitqError,
)
from unitq.linux import files
from unitq.model.settings import OnFailure, Share
from unitq.revisions import in_place, state, store
from unitq.revisions.model import Origin, Revision
from unitq.rollout import install, ledger_store, reports
from unitq.rollout.advisory import Advisory, end_in_words, in_words
from unitq.rollout.engine.instance import IN_FLIGHT
from unitq.rollout.engine.rollout import begin
from unitq.rollout.executor import forget, out_of_reach
from unitq.rollout.ledger import story
from unitq.rollout.observed_report import NO_TARGET
from unitq.rollout.outcome import Outcome, RollbackOutcome
from unitq.rollout.plan import Change, Plan
from unitq.rollout.rollback_target import restore
from unitq.text import unitq

if TYPE_CHECKING:
    from collections.abc import Callable

    from unitq.context import Scope
    from unitq.model.names import InstanceName
    from unitq.model.settings import RolloutSettings
    from unitq.rollout.ledger_store import Ledger
    from unitq.rollout.operation import Operation
    from unitq.rollout.report import Report
    from unitq.units.render import Rendered


@dataclass(frozen=True, slots=True)
class Deployment:
    """One app on its way to a revision."""

    operation: Operation
    plan: Plan
    content: Rendered | Revision | None  # see install.install
    settings: RolloutSettings
    rollback_target: Revision | None = None  # None: a failure is followed by no rollback
    keep: int | None = None  # so many revisions stay; None: nothing is deleted
    then: Callable[[Report], None] | None = None  # gets the report
    promoted: bool = False  # what it takes the app to has proved itself before

    @property
    def scope(self) -> Scope:
        return self.operation.scope

    @property
    def target(self) -> Revision:
        return self.plan.target

    @property
    def app(self) -> str:
        return self.target.app

    @property
    def previous(self) -> str | None:
        return self.plan.current.id if self.plan.current else None

    def run(
        self, max_unavailable: Share | None = None, settings: RolloutSettings | None = None
    ) -> Report:
        """Begins a rollout and carries it out, under the app's lock.

        `max_unavailable` and `settings` are what the command line says: the ledger keeps them for
        who goes on with the rollout. Nothing is changed before the ledger is open. Raises
        PreflightError on a full disk.
        """
        with self.operation.interrupts.caught():
            with files.preflight_errors("cannot write the ledger"):
                ledger = ledger_store.begin(
                    self.scope.layout.app(self.app),
                    self.operation.verb,
                    revision=self.target.id,
                    previous=self.previous,
                    instances=len(self.plan.changes),
                    max_unavailable=None if max_unavailable is None else str(max_unavailable),
                    settings=settings,
                )
            with ledger:
                return self._carry_out(ledger)

    def resume(self, number: int, *, promote: bool = False) -> Report:
        """Goes on with a rollout that has begun.

        `promote`: somebody has said that its canaries are good.
        """
        with self.operation.interrupts.caught():
            with files.preflight_errors("cannot write the ledger"):
                place = self.scope.layout.app(self.app)
                ledger = ledger_store.resume(place, number, len(self.plan.changes))
            with ledger:
                if promote:
                    ledger.write("promote", by=state.whoami())
                return self._carry_out(ledger)

    def _carry_out(self, ledger: Ledger) -> Report:
        """Takes the app there, or back; shows, keeps and returns the report."""
        operation = self.operation
        try:
            outcome = self._roll_out(ledger)
        except (PreflightError, NotPermittedError):
            ledger.void()
            raise
        except (ledger_store.LedgerError, GoingDownError):
            raise  # cut off: what it was about to do has to be looked at again
        except UnitqError as error:
            if out_of_reach(operation.systemd):
                raise  # cut off as well, whatever the last words were
            # It ended with an error that was told: the same command again goes on.
            with suppress(ledger_store.LedgerError):
                ledger.write("end", code=int(error.exit))
            raise
        except Exception as error:  # noqa: BLE001  (told in the report, and gone back from)
            outcome = self._broken(end_in_words(error))
        back: RollbackOutcome | str | None = None
        # What somebody else stopped says nothing about the release.
        to_blame = [slot for slot in outcome.failed if not slot.stopped_externally]
        if ((outcome.rollout.failed and to_blame) or outcome.broken) and not outcome.detached:
            back = self._roll_back(outcome, ledger)
        why_not = None
        if isinstance(back, str):
            why_not, back = f"it could not begin: {back}", None
        elif (outcome.failed or outcome.broken) and back is None:
            why_not = self._why_no_rollback(outcome)
        return operation.close(
            self.target, self._replaced(ledger), outcome,
            ledger=ledger, back=back, why_not=why_not, then=self.then,
            restore="" if back else self._restore(),
        )  # fmt: skip

    def _roll_out(self, ledger: Ledger) -> Outcome:
        """Installs the revision and rolls it out; clears up after a good end."""
        plan, systemd, layout = self.plan, self.operation.systemd, self.scope.layout
        ledger.write("install", revision=self.target.id, files=len(plan.files), pins=len(plan.pins))
        install.install(systemd, layout, plan, self.content)
        outcome = self.operation.roll(
            self.target, plan.changes, self.settings, ledger, promoted=self.promoted
        )
        outcome = replace(outcome, limits=plan.limits)
        if outcome.rollout.complete and not outcome.failed:
            deleted = [change for change in plan.files if change.after is None]
            gone = [
                step.instance for step in plan.changes if step.change in (Change.STOP, Change.SURGE)
            ]
            alive = {seen.revision for seen in outcome.seen.values() if seen.revision}
            try:
                install.clean(systemd, layout, self.app, deleted, gone)
                forget(systemd, layout, self.app, gone)
                if self.keep is not None:
                    reports.prune(layout.app(self.app), self.target, self.keep, alive)
            except OSError as error:
                Advisory(self.operation.presenter.warn).warn(
                    error, "what is no longer wanted stays until the next deploy"
                )
        return outcome

    def _roll_back(self, failed: Outcome, ledger: Ledger) -> RollbackOutcome | str | None:
        """The rollback after a failure, or why it could not begin.

        None: there is nothing to go back to, or it is not wanted. A rollback is never rolled back.
        """
        goal = self.rollback_target
        if goal is None or self.settings.on_failure is not OnFailure.ROLLBACK:
            return None
        if in_place.overwritten_workers(goal, self.target):
            return None  # it would start the same files, also where the old ones are in memory
        origin = Origin(
            time.time(), state.whoami(), goal.config, f"revision {self.target.number} failed"
        )
        target = self.target.back_to(goal, origin)
        try:
            return self._roll_back_to(goal, target, failed, ledger)
        except GoingDownError:
            raise
        except Exception as error:
            if isinstance(error, SystemdError) and out_of_reach(self.operation.systemd):
                raise
            # A disk that is full, or read-only, mostly.
            with suppress(ledger_store.LedgerError):
                ledger.write("stay", revision=self.target.id)
            why = in_words(error)
            self.operation.presenter.warn(
                f"no rollback, all is left as it is: {why}; once that is mended, "
                f"`{unitq(self.app, user=self.scope.user)} rollback` goes back"
            )
            return why

    def _roll_back_to(
        self, goal: Revision, target: Revision, failed: Outcome, ledger: Ledger
    ) -> RollbackOutcome:
        """Goes back to `goal`, as the revision `target`."""
        place = self.scope.layout.app(self.app)
        ledger_store.give_up_way_back(place)
        plan = self.operation.plan(self.target, target, store.unit_texts(place, goal))
        urgent: set[InstanceName] = {slot.instance for slot in failed.failed}
        # Where the rollout broke off, some may still be on their way to what has failed, whatever
        # runs at this moment.
        if failed.broken:
            urgent |= {
                slot.instance
                for slot in failed.rollout.instances.values()
                if slot.phase in IN_FLIGHT
            }
        steps = tuple(
            replace(
                step,
                failed_before=True,
                change=Change.RESTART if step.change is Change.KEEP else step.change,
            )
            if step.instance in urgent
            else step
            for step in plan.changes
        )
        # One that fails now must not keep the others on the code that has failed already.
        settings = goal.rollout._replace(max_failures=len(steps), canary=Share(0))
        ledger.write("rollback", revision=target.id, restores=goal.id)
        back = Deployment(
            self.operation, replace(plan, changes=steps), goal, settings, promoted=True
        )
        words = f"{self.app}: rolling back to revision {goal.number}, as {target.number}"
        self.operation.presenter.say(words)
        ledger.progress(words)
        return RollbackOutcome(target, back._roll_out(ledger))

    def _broken(self, why: str) -> Outcome:
        """What became of a rollout that ended before its first look, by what nobody expected."""
        rollout = begin(self.plan.changes, self.settings, {}, probes={})
        return Outcome(rollout=rollout, seen={}, seconds=0.0, least_serving={}, broken=why)

    def _replaced(self, ledger: Ledger) -> str | None:
        """What it replaces: of a rollout that goes on, what it replaced when it began."""
        records = ledger_store.read(self.scope.layout.app(self.app), ledger.number)
        told = story(ledger.number, records)
        return told.previous if told and told.revision == self.target.id else self.previous

    def _restore(self) -> str:
        """What brings the old code back where it was updated in place; empty: a rollback does."""
        goal = self.rollback_target
        return restore(self.scope, goal, self.target) if goal else ""

    def _why_no_rollback(self, outcome: Outcome) -> str:
        """Why a failure is followed by no rollback, in words."""
        goal, target, settings = self.rollback_target, self.target, self.settings
        if outcome.detached:
            return "nobody waited for the end"
        if not outcome.rollout.failed and not outcome.broken:
            return f"no more have failed than max_failures ({settings.max_failures}) allows"
        if outcome.failed and all(slot.stopped_externally for slot in outcome.failed):
            return "somebody stopped what failed, which says nothing about the release"
        if goal is None and target.restores is not None:
            return "this is a rollback, which is never rolled back"
        if settings.on_failure is not OnFailure.ROLLBACK:
            return f'on_failure = "{settings.on_failure}"'
        if goal is not None and (gone := in_place.overwritten_workers(goal, target)):
            return (
                f"the code in {', '.join(in_place.directories(gone))} is updated in place, so a "
                "rollback would start the same files again; instances that were not restarted "
                "still run the old code, from memory"
            )
        return NO_TARGET
