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
from unitq.rollout import install, ledger_store
from unitq.rollout.advisory import Advisory, end_in_words, in_words
from unitq.rollout.engine.instance import IN_FLIGHT
from unitq.rollout.engine.rollout import begin
from unitq.rollout.executor import forget, is_unreachable
from unitq.rollout.ledger import story
from unitq.rollout.plan import Change, Plan
from unitq.rollout.reports import stored_reports as reports
from unitq.rollout.reports.observed_report import NO_TARGET
from unitq.rollout.reports.outcome import Outcome, RollbackOutcome
from unitq.rollout.rollback_target import restore_commands
from unitq.text import unitq

if TYPE_CHECKING:
    from collections.abc import Callable

    from unitq.context import Scope
    from unitq.model.names import InstanceName
    from unitq.model.settings import RolloutSettings
    from unitq.rollout.ledger_store import Ledger
    from unitq.rollout.operation import Operation
    from unitq.rollout.reports.report import Report
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
        """Begins a rollout and runs it, under the app's lock.

        `max_unavailable` and `settings` are those of the command line: the ledger keeps them for
        `rollout resume`. Nothing is changed before the ledger is open. Raises PreflightError on a
        full disk.
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
                return self._run(ledger)

    def resume(self, number: int, *, promote: bool = False) -> Report:
        """Continues a rollout that has begun.

        `promote`: an operator has said that its canaries are good.
        """
        with self.operation.interrupts.caught():
            with files.preflight_errors("cannot write the ledger"):
                place = self.scope.layout.app(self.app)
                ledger = ledger_store.resume(place, number, len(self.plan.changes))
            with ledger:
                if promote:
                    ledger.write("promote", by=state.whoami())
                return self._run(ledger)

    def _run(self, ledger: Ledger) -> Report:
        """Rolls out, and back after a failure; keeps and shows the report."""
        outcome = self._roll_out_to_the_end(ledger)
        back, why_not = self._roll_back(outcome, ledger)
        return self.operation.close(
            self.target, self._replaced_revision(ledger), outcome,
            ledger=ledger, back=back, why_not=why_not, then=self.then,
            restore="" if back else self._restore(),
        )  # fmt: skip

    def _roll_out_to_the_end(self, ledger: Ledger) -> Outcome:
        """Returns the outcome, also of an unexpected error; raises what says itself what to do.

        A rollout that was cut off has no `end` in the ledger, and has to be looked at again.
        """
        try:
            return self._roll_out(ledger)
        except (PreflightError, NotPermittedError):
            ledger.void()
            raise
        except (ledger_store.LedgerError, GoingDownError):
            raise  # cut off
        except UnitqError as error:
            if is_unreachable(self.operation.systemd):
                raise  # cut off as well, whatever it says
            # It has ended: the same command again continues.
            with suppress(ledger_store.LedgerError):
                ledger.write("end", code=int(error.exit))
            raise
        except Exception as error:  # noqa: BLE001  (the report says it, and a rollback follows)
            return self._unexpected_end(end_in_words(error))

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

    def _roll_back(
        self, outcome: Outcome, ledger: Ledger
    ) -> tuple[RollbackOutcome | None, str | None]:
        """Returns the rollback after a failure, or why there was none.

        Neither where nothing has failed. A rollback is never rolled back.
        """
        if not outcome.failed and not outcome.broken:
            return None, None
        goal = self.rollback_target
        # What somebody else stopped says nothing about the release.
        to_blame = [state for state in outcome.failed if not state.stopped_externally]
        failed = (outcome.rollout.failed and to_blame) or outcome.broken
        if (
            not failed
            or outcome.detached
            or goal is None
            or self.settings.on_failure is not OnFailure.ROLLBACK
            or in_place.overwritten_workers(goal, self.target)  # it would start the same files
        ):
            return None, self._why_no_rollback(outcome)
        origin = Origin(
            time.time(), state.whoami(), goal.config, f"revision {self.target.number} failed"
        )
        target = self.target.back_to(goal, origin)
        try:
            return self._roll_back_to(goal, target, outcome, ledger), None
        except GoingDownError:
            raise
        except Exception as error:
            if isinstance(error, SystemdError) and is_unreachable(self.operation.systemd):
                raise
            # A disk that is full, or read-only, mostly.
            with suppress(ledger_store.LedgerError):
                ledger.write("stay", revision=self.target.id)
            why = in_words(error)
            self.operation.presenter.warn(
                f"no rollback, all is left as it is: {why}; once that is mended, "
                f"`{unitq(self.app, user=self.scope.user)} rollback` goes back"
            )
            return None, f"it could not begin: {why}"

    def _roll_back_to(
        self, goal: Revision, target: Revision, failed: Outcome, ledger: Ledger
    ) -> RollbackOutcome:
        """Goes back to `goal`, as the revision `target`."""
        place = self.scope.layout.app(self.app)
        ledger_store.free_rollback_space(place)
        plan = self.operation.plan(self.target, target, store.unit_texts(place, goal))
        failed_before: set[InstanceName] = {state.instance for state in failed.failed}
        # Where the rollout broke off, some may still be about to start the failed code, whatever
        # they run at this moment.
        if failed.broken:
            failed_before |= {
                state.instance
                for state in failed.rollout.instances.values()
                if state.phase in IN_FLIGHT
            }
        steps = tuple(
            replace(
                step,
                failed_before=True,
                change=Change.RESTART if step.change is Change.KEEP else step.change,
            )
            if step.instance in failed_before
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

    def _unexpected_end(self, why: str) -> Outcome:
        """Returns the outcome where an unexpected error came before the first order."""
        rollout = begin(self.plan.changes, self.settings, {}, probes={})
        return Outcome(rollout=rollout, seen={}, seconds=0.0, least_serving={}, broken=why)

    def _replaced_revision(self, ledger: Ledger) -> str | None:
        """Returns what it replaces; of a resumed rollout, what it replaced when it began."""
        records = ledger_store.read(self.scope.layout.app(self.app), ledger.number)
        resumed = story(ledger.number, records)
        same = resumed and resumed.revision == self.target.id
        return resumed.previous if resumed and same else self.previous

    def _restore(self) -> str:
        """Returns what brings back old code that was updated in place; empty: a rollback does."""
        goal = self.rollback_target
        return restore_commands(self.scope, goal, self.target) if goal else ""

    def _why_no_rollback(self, outcome: Outcome) -> str:
        """Returns why no rollback follows a failure."""
        goal, target, settings = self.rollback_target, self.target, self.settings
        if outcome.detached:
            return "nobody waited for the end"
        if not outcome.rollout.failed and not outcome.broken:
            return f"no more have failed than max_failures ({settings.max_failures}) allows"
        if outcome.failed and all(state.stopped_externally for state in outcome.failed):
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
